/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receiving for the application.
 *
 * The queue of chunks is the received stream. Bytes in messages and in spills
 * are copied. An advertisement at the head of the queue is moved
 *  - straight to the application's buffer, if that has room for a quarter of
 *    rdma_threshold: by asking the sender to push them when both are in blocking calls
 *    (half a round trip more, but writes are what adapters do best), otherwise
 *    by pulling them;
 *  - else into a spill, from which small reads are served.
 *
 * While a thread moves an advertisement it sets `receiving`, and others that
 * want to receive wait: they would take bytes that come later in the stream.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "compiler.h"
#include "handover.h"
#include "log.h"
#include "program_memory.h"
#include "restart.h"
#include "sealed.h"
#include "settings.h"
#include "socket_state.h"
#include "statistics.h"
#include "waiter.h"

#define PULL_PIECE	(512u << 10)	/* the sender hears of progress this often */
#define SPILL_PIECE	(256u << 10)
#define PLAIN_PIECE	(64u << 10)	/* of a spill that could not be registered */
#define OFFER_MOST	(16u << 20)	/* so that one push is over within the peer's time for it */
#define RDMA_DEPTH	2		/* requests on their way for one transfer */

/*
 * Does the setting rdma_direction leave both ways, and the peer a choice? Who has a timeout
 * pulls: that needs nothing of the peer's program, which may be stopped.
 */
static bool prefers_push(const struct socket *socket)
{
	if (socket->receive_timeout >= 0 && socket->session.provider->rdma_read)
		return false;
	return strcmp(setting_text(SETTING_rdma_direction), "read") != 0;
}

int session_rdma(struct socket *socket, bool write, HANDLE handle, uint8_t *address,
		 uint64_t length, const uint8_t *descriptor, uint32_t descriptor_length,
		 uint64_t offset)
{
	struct session *session = &socket->session;
	struct provider *provider = session->provider;
	struct transfer transfers[RDMA_DEPTH];
	uint64_t posted = 0, piece = provider_limit(provider, session->companion, SO_MAX_RDMA_SIZE);
	unsigned int started = 0, finished = 0;
	int error = 0;

	if (!piece || (!write && !provider->rdma_read))
		error = -EOPNOTSUPP;
	while ((posted < length && !error) || finished < started) {
		struct transfer *transfer = &transfers[finished % RDMA_DEPTH];

		if (posted < length && !error && started - finished < RDMA_DEPTH) {
			uint64_t part = length - posted < piece ? length - posted : piece;
			WSABUFEX buffer = { (ULONG)part, (char *)address + posted, handle };
			void *target = (void *)(uintptr_t)descriptor;
			DWORD bytes, at = (DWORD)(offset + posted);
			int result, code = 0;

			transfer = &transfers[started % RDMA_DEPTH];
			*transfer = (struct transfer){ .overlapped = { .Internal = STATUS_PENDING,
				.hEvent = (HANDLE)(uintptr_t)1 } };
			result = write ?
				provider->rdma_write(session->companion, &buffer, 1, target,
						     descriptor_length, at, &bytes, 0,
						     &transfer->overlapped, NULL, NULL, &code) :
				provider->rdma_read(session->companion, &buffer, 1, target,
						    descriptor_length, at, &bytes, 0,
						    &transfer->overlapped, NULL, NULL, &code);
			if (result && code != WSA_IO_PENDING) {
				log_error("session: RDMA %s failed to start: WSA error %d",
					  write ? "write" : "read", code);
				error = -ECONNRESET;
				continue;
			}
			transfer->next = session->transfers;
			session->transfers = transfer;
			posted += part;
			started++;
			continue;
		}
		while (!transfer->done)
			session_sleep(socket, -1, false);
		if (transfer->overlapped.Internal && !error) {
			log_info("session: RDMA %s failed: WSA error %d", write ? "write" : "read",
				 (int)transfer->overlapped.Internal);
			error = -ECONNRESET;
		}
		finished++;
	}
	if (error)
		session_reset(session, ECONNRESET);
	return error;
}

/* The head advertisement's moved bytes went to the application: account for them. */
static void moved_to_application(struct session *session, uint64_t bytes)
{
	session->readable -= bytes;
	statistic_add(STATISTIC_bytes_received_rdma, bytes);
}

/* The thread that moved it is done with it. */
static void incoming_release(struct session *session, struct incoming *incoming)
{
	incoming->busy = false;
	session->receiving = false;
	session->generation++;
	if (incoming->moved == incoming->length && !incoming->withdrawn) {
		session_incoming_end(session, incoming);
	} else if (incoming->withdrawn && !session->broken) {
		session_done(session, DONE_FINAL, incoming->id, incoming->moved);
		session_incoming_end(session, incoming);
	}
}

/*
 * Asks the sender to write to the buffer. Returns bytes moved, 0: try to pull, or -errno. It
 * cannot be taken back, so a signal that is to end the call ends it afterwards: *interrupted.
 */
static ssize_t receive_pushed(struct socket *socket, struct incoming *incoming, uint8_t *buffer,
			      uint64_t size, bool *interrupted)
{
	struct session *session = &socket->session;
	uint64_t before = incoming->moved;
	struct offer_body body = { .id = htole32(incoming->id), .offset = htole64(before) };
	DWORD length = DESCRIPTOR_MAX;
	int64_t given_up = -1;
	int error, code;

	if (size > OFFER_MOST)
		size = OFFER_MOST;
	if (session->provider->register_rdma_memory(session->companion, buffer, (DWORD)size,
						    MEM_WRITE, body.descriptor, &length, &code))
		return 0;
	body.length = htole64(size);
	body.descriptor_length = htole32(length);
	incoming->offer_end = before + size;
	incoming->offered = true;
	while ((error = session_send_control(session, MESSAGE_OFFER, 0, 0, &body, sizeof(body),
					     false)) == -EAGAIN && !incoming->withdrawn)
		session_sleep(socket, -1, false);
	if (error)
		incoming->offered = false;
	while (incoming->offered && !incoming->withdrawn && !session->broken) {
		int result = session_sleep(socket, given_up, true);

		if (result == -EINTR && !*interrupted && !interrupted_call_goes_on(-1)) {
			*interrupted = true;
			given_up = clock_now() + session_answer_patience();
		} else if (result == -ETIMEDOUT) {
			session_reset(session, ETIMEDOUT);
		}
	}
	incoming->offered = false;
	/* Hides the buffer from the peer before the application gets it back. */
	session->provider->deregister_rdma_memory(session->companion, body.descriptor, length, &code);
	/* What was moved counts even if the connection ended right behind it. */
	if (incoming->moved > before)
		return (ssize_t)(incoming->moved - before);
	return session->broken ? -ECONNRESET : 0;
}

/* Reads from the sender's memory to registered memory of ours. Bytes or -errno. */
static ssize_t pull(struct socket *socket, struct incoming *incoming, HANDLE handle, uint8_t *buffer,
		    uint64_t size)
{
	struct session *session = &socket->session;
	int error = session_rdma(socket, false, handle, buffer, size, incoming->descriptor,
				 incoming->descriptor_length, incoming->moved);

	if (error)
		return error;
	incoming->moved += size;
	if (!incoming->withdrawn)
		session_done(session, 0, incoming->id, incoming->moved);
	return (ssize_t)size;
}

/* Pulls to the application's buffer. Bytes, 0: its memory cannot be registered, or -errno. */
static ssize_t receive_pulled(struct socket *socket, struct incoming *incoming, uint8_t *buffer,
			      uint64_t size)
{
	struct session *session = &socket->session;
	uint64_t done = 0;
	ssize_t moved = 0;
	HANDLE handle;
	int code;

	handle = session->provider->register_memory(session->companion, buffer, (DWORD)size, MEM_WRITE,
						    &code);
	if (!handle)
		return 0;
	while (done < size && !incoming->withdrawn) {
		moved = pull(socket, incoming, handle, buffer + done,
			     size - done < PULL_PIECE ? size - done : PULL_PIECE);
		if (moved < 0)
			break;
		done += (uint64_t)moved;
	}
	session->provider->deregister_memory(session->companion, handle, &code);
	return moved < 0 ? moved : (ssize_t)done;
}

/*
 * Fills a spill that the device cannot write to by way of a message buffer, which it
 * can. Fills less if the peer wants its memory back. Bytes or -errno.
 */
static ssize_t pull_by_message(struct socket *socket, struct incoming *incoming,
			       struct spill *spill, uint64_t size)
{
	struct session *session = &socket->session;
	struct message *message;
	uint64_t done = 0;
	ssize_t moved = 0;

	while (!(message = session_free_pop(session))) {
		if (session->broken || incoming->withdrawn)
			return 0;
		session_sleep(socket, -1, false);
	}
	while (done < size && !incoming->withdrawn && !session->broken) {
		uint64_t part = size - done < message->size ? size - done : message->size;

		moved = pull(socket, incoming, message->pool->handle, message->data, part);
		if (moved < 0)
			break;
		memcpy(spill->data + done, message->data, part);
		done += part;
	}
	session_free_push(session, message);
	return moved < 0 ? moved : (ssize_t)done;
}

/* Moves the next part into memory of ours, in front of the rest of it. 0 or -errno. */
static int receive_spilled(struct socket *socket, struct incoming *incoming)
{
	struct session *session = &socket->session;
	uint64_t size = incoming->length - incoming->moved;
	struct spill *spill = session_spill_get(session, SPILL_PIECE);
	ssize_t moved;

	if (!spill)
		spill = session_spill_plain(PLAIN_PIECE);
	if (!spill) {
		session_reset(session, ENOBUFS);
		return -ENOBUFS;
	}
	if (size > spill->size)
		size = spill->size;
	moved = spill->handle ? pull(socket, incoming, spill->handle, spill->data, size) :
				pull_by_message(socket, incoming, spill, size);
	if (moved <= 0) {
		session_spill_put(session, spill);
		return (int)moved;
	}
	spill->chunk.kind = CHUNK_SPILLED;
	spill->begin = 0;
	spill->end = (size_t)moved;
	session_chunk_insert(session, &spill->chunk, &incoming->chunk);
	statistic_add(STATISTIC_bytes_received_rdma, (uint64_t)moved);
	statistic_add(STATISTIC_bytes_received_spilled, (uint64_t)moved);
	return 0;
}

/*
 * Deals with the first advertisement in the queue; straight to the buffer only if it is
 * at its head. Returns bytes moved to the buffer, 0 when the queue changed (look again),
 * or -errno. May drop the lock.
 */
static NOT_INLINE ssize_t take_advertised(struct socket *socket, struct incoming *incoming,
					  uint8_t *buffer, size_t room, bool block, bool peek,
					  bool *interrupted)
{
	struct session *session = &socket->session;
	uint64_t size = incoming->length - incoming->moved;
	ssize_t moved = 0;
	int cancel_state;
	bool direct;

	if (size > room)
		size = room;
	/* The sender has paid for exposing it already: smaller buffers are worth it, too. */
	direct = !peek && size >= setting_number(SETTING_rdma_threshold) / 4;
	incoming->busy = true;
	session->receiving = true;
	/* A cancelled thread would leave requests on their way to its memory. */
	socket_forbid_cancel(socket);
	cancel_state = socket->cancel_state;
	socket->cancel_state = PTHREAD_CANCEL_DISABLE;
	if (direct) {
		if (block && incoming->push && prefers_push(socket))
			moved = receive_pushed(socket, incoming, buffer, size, interrupted);
		if (moved == 0 && !incoming->withdrawn && !session->broken)
			moved = receive_pulled(socket, incoming, buffer, size);
		if (moved > 0)
			moved_to_application(session, (uint64_t)moved);
	}
	if (moved == 0 && !incoming->withdrawn && !session->broken)
		moved = receive_spilled(socket, incoming);
	incoming_release(session, incoming);
	socket->cancel_state = cancel_state;
	return moved;
}

/* Where in the application's vector the next byte goes. */
struct cursor {
	const struct iovec *vector;
	int left;
	size_t skip;
	bool fault;		/* where the next byte goes cannot */
};

static bool cursor_room(struct cursor *cursor, uint8_t **buffer, size_t *room)
{
	while (cursor->left && cursor->skip == cursor->vector->iov_len) {
		cursor->vector++;
		cursor->left--;
		cursor->skip = 0;
	}
	if (!cursor->left)
		return false;
	/* As a number: with MSG_TRUNC it may be NULL, which has no offsets. */
	*buffer = (uint8_t *)((uintptr_t)cursor->vector->iov_base + cursor->skip);
	*room = cursor->vector->iov_len - cursor->skip;
	return true;
}

/*
 * Copies local bytes of a chunk to the cursor's entry of the vector, as far as the
 * program's memory can be written to. 0: no room in any entry is left, or a fault.
 */
static size_t copy_out(const uint8_t *data, size_t size, struct cursor *cursor, bool discard)
{
	uint8_t *buffer;
	size_t room, part;

	if (!cursor_room(cursor, &buffer, &room))
		return 0;
	part = size < room ? size : room;
	if (!discard) {
		size_t there = program_writable(buffer, part);

		cursor->fault = there < part;
		part = there;
		memcpy(buffer, data, part);
	}
	cursor->skip += part;
	return part;
}

/* The program has @size more bytes of the message at the head. */
static void message_taken(struct session *session, struct message *message, size_t size)
{
	session->readable -= size;
	statistic_add(STATISTIC_bytes_received_message, size);
	message->begin += (uint32_t)size;
	if (message->begin < message->end)
		return;
	session_chunk_pop(session);
	session_spent(session, message);
	if (session_credits_due(session))
		session_flush(session);
}

/*
 * The usual small receive: one buffer with room for the one message that is here. Returns its
 * size, or 0 if it must go the long way.
 */
static size_t receive_at_once(struct session *session, const struct iovec *buffer)
{
	struct message *message = (struct message *)session->chunks_first;
	size_t size;

	if (!message || message->chunk.kind != CHUNK_MESSAGE || message->chunk.next ||
	    session->receiving)
		return 0;
	size = message->end - message->begin;
	if (size > buffer->iov_len || program_writable(buffer->iov_base, size) < size)
		return 0;
	memcpy(buffer->iov_base, message->data + message->begin, size);
	message_taken(session, message, size);
	return size;
}

/* Consumes local chunks at the head. Returns bytes. */
static size_t receive_local(struct session *session, struct cursor *cursor, bool discard)
{
	struct chunk *chunk;
	size_t done = 0, part;

	while ((chunk = session->chunks_first) && chunk->kind != CHUNK_ADVERTISED &&
	       !cursor->fault) {
		if (chunk->kind == CHUNK_MESSAGE) {
			struct message *message = (struct message *)chunk;

			part = copy_out(message->data + message->begin, message->end - message->begin,
					cursor, discard);
			if (!part)
				break;
			message_taken(session, message, part);
		} else {
			struct spill *spill = (struct spill *)chunk;

			part = copy_out(spill->data + spill->begin, spill->end - spill->begin, cursor,
					discard);
			if (!part)
				break;
			session->readable -= part;
			spill->begin += part;
			if (spill->begin == spill->end) {
				session_chunk_pop(session);
				session_spill_put(session, spill);
			}
		}
		done += part;
	}
	return done;
}

/*
 * To who does not block a short count says that nothing is left: with EPOLLET nobody waits for
 * what is (epoll(7)). So advertised bytes that come next belong to the call, too.
 */
static bool more_to_move(const struct session *session)
{
	return session->chunks_first && session->chunks_first->kind == CHUNK_ADVERTISED &&
	       !session->broken;
}

static struct incoming *first_advertised(const struct session *session)
{
	struct chunk *chunk = session->chunks_first;

	while (chunk && chunk->kind != CHUNK_ADVERTISED)
		chunk = chunk->next;
	return (struct incoming *)chunk;
}

static NOT_INLINE size_t peek_local(struct session *session, struct cursor cursor, bool discard,
				    bool *fault)
{
	size_t done = 0;

	for (struct chunk *chunk = session->chunks_first; chunk && chunk->kind != CHUNK_ADVERTISED;
	     chunk = chunk->next) {
		bool in_message = chunk->kind == CHUNK_MESSAGE;
		const struct message *message = (struct message *)chunk;
		const struct spill *spill = (struct spill *)chunk;
		const uint8_t *data = in_message ? message->data + message->begin :
						   spill->data + spill->begin;
		size_t left = in_message ? message->end - message->begin :
					   spill->end - spill->begin;

		while (left && !cursor.fault) {
			size_t part = copy_out(data, left, &cursor, discard);

			if (!part)
				break;
			data += part;
			left -= part;
			done += part;
		}
	}
	*fault = cursor.fault;
	return done;
}

/* With the connection the advertised bytes at the head are lost, and all behind them. */
static void drop_lost(struct session *session)
{
	struct chunk *chunk = session->chunks_first;

	if (!session->broken || !chunk || chunk->kind != CHUNK_ADVERTISED)
		return;
	session->readable = 0;
	/* Even behind the peer's FIN: bytes before it are missing. */
	session->finished_received = false;
	if (!session->error)
		session->error = ECONNRESET;
	while ((chunk = session->chunks_first)) {
		session_chunk_pop(session);
		if (chunk->kind == CHUNK_SPILLED)
			session_spill_put(session, (struct spill *)chunk);
	}
}

/* What the queue's end means: 0 for end of file, -errno, or 1 to wait for more. */
static int receive_end(struct socket *socket)
{
	struct session *session = &socket->session;
	int error;

	handover_noticed(socket);
	if (socket->state != SOCKET_CONNECTED)
		return -EBADF;
	if (session->finished_received || socket->shut_read)
		return 0;
	if (!session->broken)
		return 1;
	error = session->error;
	session->error = 0;
	return -error;
}

ssize_t socket_receive(struct socket *socket, const struct iovec *vector, int count, int flags)
{
	struct session *session = &socket->session;
	struct cursor cursor = { .vector = vector, .left = count };
	bool block, peek = flags & MSG_PEEK, looked = false, interrupted = false;
	bool usual = count == 1 && !(flags & (MSG_PEEK | MSG_TRUNC));
	size_t total = 0, done = 0, taken = 0, enough, room;
	int64_t deadline;
	uint8_t *buffer;
	ssize_t result = 0;

	if (flags & MSG_OOB)
		return -EINVAL;		/* there never is urgent data */
	for (int i = 0; i < count; i++) {
		if (vector[i].iov_len > SSIZE_MAX - total)
			return -EINVAL;
		total += vector[i].iov_len;
	}
	socket_lock_plain(socket);
	block = !socket->nonblocking && !(flags & MSG_DONTWAIT);
	if (socket->state != SOCKET_CONNECTED) {
		result = socket->state == SOCKET_PLAIN ? -ERESTART :
			 socket->state == SOCKET_CONNECTING && !block ? -EAGAIN : -ENOTCONN;
		goto out;
	}
	session->activity++;
	session->receives++;
	deadline = socket->receive_timeout < 0 ? -1 : clock_now() + socket->receive_timeout;
	enough = flags & MSG_WAITALL ? total : (size_t)socket->low_water;
	if (enough > total)
		enough = total;
	if (usual && sealed_seen(session))
		taken = sealed_take(socket, vector);
	/*
	 * What is here already needs no look, but for who wants to know how much it is; and who
	 * waits if there is nothing looks then.
	 */
	if (!taken && (peek || (!session->chunks_first && !(block && usual))))
		socket_progress(socket);
	for (;;) {
		if (usual && !done) {
			done = cursor.skip = taken ? taken : receive_at_once(session, vector);
			if (done && done >= enough)
				break;
		}
		if (!session->receiving) {
			if (peek) {
				struct incoming *next = first_advertised(session);

				done = peek_local(session, cursor, flags & MSG_TRUNC, &cursor.fault);
				/* What stands behind is seen only once it is here, too. */
				if (next && done && done < total && (done < enough || !looked) &&
				    !session->broken && !cursor.fault) {
					looked = true;
					take_advertised(socket, next, NULL, 0, block, true,
							&interrupted);
					continue;
				}
			} else {
				done += receive_local(session, &cursor, flags & MSG_TRUNC);
			}
			/* Nothing wanted is had once there is something, or the end: as TCP. */
			if (done >= enough && (done || (!total && session->chunks_first)) &&
			    (block || peek || done == total || !more_to_move(session)))
				break;
			if (cursor.fault) {
				result = -EFAULT;
				break;
			}
			drop_lost(session);
			if (session->chunks_first && session->chunks_first->kind == CHUNK_ADVERTISED &&
			    cursor_room(&cursor, &buffer, &room)) {
				result = take_advertised(socket, (struct incoming *)session->chunks_first,
							 buffer, room, block, peek || flags & MSG_TRUNC,
							 &interrupted);
				if (result > 0) {
					done += (size_t)result;
					cursor.skip += (size_t)result;
				}
				if (interrupted && result >= 0) {
					result = -EINTR;
					break;
				}
				continue;
			}
			result = receive_end(socket);
			if (result <= 0)
				break;
		}
		result = -EAGAIN;
		if (!block)
			break;
		/* Whoever waits for an answer wants the question to be on its way. */
		session_flush_open(session);
		result = session_sleep_receiving(socket, deadline, usual && !done ? vector : NULL,
						 &taken);
		if (result == -EINTR && !done && interrupted_call_goes_on(socket->receive_timeout))
			result = 0;
		if (result == -ETIMEDOUT)
			result = -EAGAIN;
		if (result)
			break;
	}
out:
	socket_unlock(socket);
	return done ? (ssize_t)done : result;
}
