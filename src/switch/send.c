/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending for the application.
 *
 * Three ways, chosen per piece of the application's vector:
 *  - in messages (copied): small pieces. While earlier messages are still with
 *    the provider, further small ones are collected in the `open` message, so a
 *    stream of tiny sends fills messages; an idle connection sends at once.
 *  - advertised: a blocking send of at least rdma_threshold bytes exposes the
 *    application's own pages and returns when the peer has them.
 *  - staged: a nonblocking one is copied to registered memory of ours, which is
 *    advertised and given back when the peer is done; at most STAGED_MOST bytes
 *    wait so. A blocking send whose peer does not read for PATIENCE falls back
 *    to it, for programs rely on TCP's buffers when both sides send first.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "attention.h"
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
#include "zerocopy.h"

#define STAGED_MOST	(4u << 20)
#define STAGED_PIECE	(256u << 10)
/*
 * An advertisement that the peer leaves alone is staged after the time that
 * send_patience says, for a receiver may be busy with what it has; sooner when the
 * peer is blocked in a large send too, for then both wait for each other.
 */
#define PATIENCE	((int64_t)setting_number(SETTING_send_patience) * 1000000)
#define PATIENCE_FACING	(20 * 1000000ll)	/* nanoseconds */
#define ADVERTISE_MOST	(1u << 30)

/* What a send knows while it runs. */
struct sending {
	struct socket *socket;
	bool block;
	int64_t deadline;		/* of SO_SNDTIMEO, -1: none */
	int64_t halfway;		/* to it: then there is still time to stage */
	bool fault;			/* the next byte of the program's cannot be read */
	bool copied;			/* some bytes went by way of memory of ours */
};

/* Errors that end a send at once; 0 if it may go on. */
static int send_error(struct socket *socket)
{
	struct session *session = &socket->session;
	int error = session->error;

	handover_noticed(socket);
	if (socket->state != SOCKET_CONNECTED)
		return -EBADF;
	if (session->finished_sent)
		return -EPIPE;
	if (!session->broken)
		return 0;
	/* As TCP: the error once, then a broken pipe. */
	session->lost = true;
	session->error = 0;
	return error ? -error : -EPIPE;
}

/* The bytes are taken and nobody gets them; the next call hears of it. */
static NOT_INLINE ssize_t send_to_nobody(struct socket *socket, size_t size)
{
	struct session *session = &socket->session;

	session->lost = true;
	session->error = EPIPE;
	session->generation++;
	socket->in_edge++;
	socket->out_edge++;
	socket_changed(socket);
	return (ssize_t)size;
}

/* ---- in messages ---- */

/*
 * The usual small send: one buffer that fits into a message, which may go out at once. It
 * does so before anybody looks at what has come: the peer may be waiting for it, and the
 * look is the next call's. Returns its size, or 0 if it must go the long way.
 */
static ssize_t send_at_once(struct session *session, const struct iovec *buffer)
{
	size_t size = buffer->iov_len, whole = sizeof(struct message_header) + size;

	if (session->open || !session->free || session->exclusive || session->broken ||
	    session->refused || session->finished_sent || session->credits <= CREDITS_CONTROL ||
	    session_collects(session))
		return 0;
	if (!size || size >= setting_number(SETTING_rdma_threshold) ||
	    whole > session_message_limit(session, session->free) ||
	    program_readable(buffer->iov_base, size) < size)
		return 0;
	if (sizeof(struct sealed_header) + size > session->copied_most ||
	    !sealed_send(session, buffer->iov_base, size)) {
		struct message *message = session_compose(session, MESSAGE_DATA, 0, session->sent);

		memcpy(message->data + message->end, buffer->iov_base, size);
		message->end = (uint32_t)whole;
		session_transmit_data(session, message);
	}
	session->sent += size;
	statistic_add(STATISTIC_bytes_sent_message, size);
	return (ssize_t)size;
}

/* Copies as much as fits now. */
static size_t copy_to_messages(struct sending *sending, const uint8_t *data, size_t size)
{
	struct session *session = &sending->socket->session;
	size_t done = 0, there = program_readable(data, size);

	while (done < there) {
		struct message *message = session->open;
		uint32_t room;
		size_t part;

		if (!message) {
			message = session_compose(session, MESSAGE_DATA, 0, session->sent);
			if (!message)
				break;
			session->open = message;
		}
		room = session_message_limit(session, message) - message->end;
		part = there - done < room ? there - done : room;
		memcpy(message->data + message->end, data + done, part);
		message->end += (uint32_t)part;
		session->sent += part;
		done += part;
		if (part == room) {
			session_flush(session);
			if (session->open)
				break;	/* no credit: it stays open and full */
		}
	}
	sending->copied |= done > 0;
	sending->fault = done == there && there < size;
	statistic_add(STATISTIC_bytes_sent_message, done);
	return done;
}

/* ---- advertised ---- */

static struct outgoing *outgoing_new(struct session *session, uint64_t length)
{
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++) {
		struct outgoing *outgoing = &session->outgoing[i];

		if (outgoing->used)
			continue;
		*outgoing = (struct outgoing){
			.id = session->next_id++, .length = length,
			.descriptor_length = DESCRIPTOR_MAX,
		};
		return outgoing;
	}
	return NULL;
}

/* Sends ADVERTISE for it. 0, or -EAGAIN when a credit or buffer is missing. */
static int advertise(struct session *session, struct outgoing *outgoing, bool push)
{
	struct advertise_body body = {
		.id = htole32(outgoing->id),
		.descriptor_length = htole32(outgoing->descriptor_length),
		.length = htole64(outgoing->length),
	};
	int error;

	session_flush_open(session);
	if (session->open)
		return -EAGAIN;
	memcpy(body.descriptor, outgoing->descriptor, outgoing->descriptor_length);
	error = session_send_control(session, MESSAGE_ADVERTISE, push ? ADVERTISE_PUSH : 0,
				     session->sent, &body, sizeof(body), true);
	if (!error) {
		outgoing->used = true;
		session->sent += outgoing->length;
	}
	return error;
}

/* Does the peer wait in a large send of its own that nobody here receives? */
static bool facing(const struct session *session)
{
	const struct chunk *chunk = session->chunks_first;

	return chunk && chunk->kind == CHUNK_ADVERTISED && !session->receiving &&
	       ((const struct incoming *)chunk)->push;
}

/* Answers the peer's offer: writes to its buffer and says so. */
static void push(struct sending *sending, struct outgoing *outgoing, HANDLE handle,
		 const uint8_t *data)
{
	struct session *session = &sending->socket->session;
	struct offer_body offer = outgoing->offer;
	uint64_t offset = le64toh(offer.offset), length = le64toh(offer.length);

	if (session_rdma(sending->socket, true, handle, (uint8_t *)(uintptr_t)data + offset, length,
			 offer.descriptor, le32toh(offer.descriptor_length), 0))
		return;
	outgoing->offered = false;
	outgoing->moved = offset + length;
	session_done(session, DONE_PUSHED, outgoing->id, outgoing->moved);
	if (outgoing->moved == outgoing->length)
		outgoing->ended = true;
	session->generation++;
}

/* Takes it back: at once, or only if the peer is not about to take it. */
static void withdraw(struct session *session, struct outgoing *outgoing, bool at_once)
{
	struct withdraw_body body = { .id = htole32(outgoing->id) };

	if (outgoing->withdrawn || outgoing->ended || (outgoing->asked && !at_once))
		return;
	/* Without a credit it is tried again at the next round. */
	if (session_send_control(session, MESSAGE_WITHDRAW, at_once ? 0 : WITHDRAW_IF_IDLE, 0, &body,
				 sizeof(body), false))
		return;
	if (at_once)
		outgoing->withdrawn = true;
	else
		outgoing->asked = outgoing->asked_once = true;
}

/*
 * Sends from the application's memory. Returns the bytes the peer has taken,
 * which may be fewer than size when it does not read, a signal or the timeout
 * came; or -errno: -EAGAIN if it could not even start (use messages).
 */
static NOT_INLINE ssize_t send_advertised(struct sending *sending, const uint8_t *data,
					  size_t size, int *interrupted)
{
	struct session *session = &sending->socket->session;
	struct outgoing *outgoing;
	int cancel_state = sending->socket->cancel_state;
	int64_t started, patience, given_up = -1;
	WSABUFEX exposed;
	bool stop = false;
	HANDLE handle;
	uint64_t moved, seen;
	int error;

	if (size > ADVERTISE_MOST)
		size = ADVERTISE_MOST;
	outgoing = outgoing_new(session, size);
	if (!outgoing)
		return -EAGAIN;
	/* The push needs a local handle, the pull a descriptor: the peer chooses. */
	handle = session->provider->register_memory(session->companion, (void *)(uintptr_t)data,
						    (DWORD)size, MEM_READ, &error);
	if (!handle) {
		log_debug("switch: cannot register %zu bytes to send: WSA error %d", size, error);
		return -EAGAIN;
	}
	exposed = (WSABUFEX){ (ULONG)size, (char *)(uintptr_t)data, handle };
	if (session->provider->register_rdma_memory(session->companion, &exposed, 0,
						    MEM_READ | MEM_WSDIRECT_REGISTERED,
						    outgoing->descriptor,
						    &outgoing->descriptor_length, &error)) {
		log_debug("switch: cannot expose %zu bytes to send: WSA error %d", size, error);
		session->provider->deregister_memory(session->companion, handle, &error);
		return -EAGAIN;
	}
	if (advertise(session, outgoing, true)) {
		moved = 0;
		error = -EAGAIN;
		goto hide;
	}
	/*
	 * Nothing may follow it in the stream until it ended, since what is
	 * withdrawn never was part of the stream.
	 */
	session->exclusive = true;
	sending->socket->cancel_state = PTHREAD_CANCEL_DISABLE;
	started = clock_now();
	for (seen = session->taken; !outgoing->ended && !session->broken;) {
		int64_t now, until;
		int result;

		/* As long as the peer takes anything of ours, it will come to this one. */
		if (session->taken != seen) {
			seen = session->taken;
			started = clock_now();
		}
		patience = started + (facing(session) ? PATIENCE_FACING : PATIENCE);
		if (sending->deadline >= 0 && sending->halfway < patience)
			patience = sending->halfway;
		if (outgoing->offered && !outgoing->withdrawn) {
			push(sending, outgoing, handle, data);
			continue;
		}
		now = clock_now();
		if (stop || now >= patience)
			withdraw(session, outgoing, stop);
		if (stop && now >= given_up) {
			session_reset(session, ETIMEDOUT);
			break;
		}
		if (!session->receiving)
			session_spill_messages(session);
		until = now < patience && !stop ? patience : now + PATIENCE_FACING;
		if (sending->deadline >= 0 && !stop && sending->deadline < until)
			until = sending->deadline;
		result = session_sleep(sending->socket, until, !stop);
		if (result == -EINTR && !outgoing->moved &&
		    interrupted_call_goes_on(sending->socket->send_timeout))
			continue;
		now = clock_now();
		if (!stop && (result == -EINTR || (result == -ETIMEDOUT && sending->deadline >= 0 &&
						   now >= sending->deadline))) {
			*interrupted = result == -EINTR ? -EINTR : -EAGAIN;
			given_up = now + session_answer_patience();
			stop = true;
		}
	}
	session->exclusive = false;
	sending->socket->cancel_state = cancel_state;
	session->generation++;
	moved = outgoing->moved;
	if (!session->broken) {
		session->sent -= outgoing->length - moved;
		error = 0;
	} else {
		error = -EPIPE;
	}
	outgoing->used = false;
	statistic_add(STATISTIC_bytes_sent_rdma, moved);
hide:
	{
		int ignored;

		session->provider->deregister_rdma_memory(session->companion, outgoing->descriptor,
							  outgoing->descriptor_length, &ignored);
		session->provider->deregister_memory(session->companion, handle, &ignored);
	}
	return moved ? (ssize_t)moved : error;
}

/* ---- staged ---- */

/* Copies up to STAGED_PIECE and advertises the copy. Bytes taken, or 0 if none can be now. */
static NOT_INLINE size_t send_staged(struct sending *sending, const uint8_t *data, size_t size)
{
	struct session *session = &sending->socket->session;
	struct outgoing *outgoing;
	size_t there;
	struct spill *spill;
	WSABUFEX exposed;
	int error;

	if (size > STAGED_PIECE)
		size = STAGED_PIECE;
	session_flush_open(session);
	if (session->staged + STAGED_PIECE > STAGED_MOST || session->open ||
	    session->credits <= CREDITS_CONTROL || !session->free)
		return 0;
	there = program_readable(data, size);
	if (!there) {
		sending->fault = true;
		return 0;
	}
	outgoing = outgoing_new(session, there);
	if (!outgoing)
		return 0;
	spill = session_spill_get(session, STAGED_PIECE);
	if (!spill)
		return 0;
	sending->fault = there < size;
	size = there;
	memcpy(spill->data, data, size);
	exposed = (WSABUFEX){ (ULONG)size, (char *)spill->data, spill->handle };
	if (session->provider->register_rdma_memory(session->companion, &exposed, 0,
						    MEM_READ | MEM_WSDIRECT_REGISTERED,
						    outgoing->descriptor,
						    &outgoing->descriptor_length, &error)) {
		session_spill_put(session, spill);
		sending->fault = false;
		return 0;
	}
	if (advertise(session, outgoing, false)) {
		session->provider->deregister_rdma_memory(session->companion, outgoing->descriptor,
							  outgoing->descriptor_length, &error);
		session_spill_put(session, spill);
		sending->fault = false;
		return 0;
	}
	sending->copied = true;
	outgoing->staged = spill;
	session->staged += spill->size;
	statistic_add(STATISTIC_bytes_sent_rdma, size);
	statistic_add(STATISTIC_bytes_sent_staged, size);
	return size;
}

/* ---- the call ---- */

/*
 * One piece as far as it goes now. Returns bytes, 0 when nothing can go now, or
 * -errno.
 */
static ssize_t send_piece(struct sending *sending, const uint8_t *data, size_t size, bool *staging,
			  int *interrupted)
{
	struct session *session = &sending->socket->session;
	size_t threshold = setting_number(SETTING_rdma_threshold), part;
	ssize_t sent;

	if (size < threshold)
		return (ssize_t)copy_to_messages(sending, data, size);
	if (sending->block && !*staging) {
		sent = send_advertised(sending, data, size, interrupted);
		if (sent > 0 || (sent < 0 && sent != -EAGAIN))
			return sent;
		if (*interrupted || session->broken)
			return 0;
		/* The peer does not read, or the memory cannot be exposed. */
		*staging = sent == 0;
	}
	part = send_staged(sending, data, size);
	if (part || sending->fault)
		return (ssize_t)part;
	/*
	 * When the staging memory is full the stream waits; only when it cannot be
	 * used at all do large sends go in messages.
	 */
	if (session->staged) {
		session->large_refused = true;
		return 0;
	}
	return (ssize_t)copy_to_messages(sending, data, size < STAGED_PIECE ? size : STAGED_PIECE);
}

/* Any send; with the lock held. */
static NOT_INLINE ssize_t send_vector(struct socket *socket, const struct iovec *vector, int count,
				      int flags)
{
	struct session *session = &socket->session;
	struct sending sending = { .socket = socket };
	bool staging = false;
	size_t total = 0, skip = 0;
	ssize_t done = 0;
	int index = 0, error = 0, interrupted = 0;

	if (flags & MSG_OOB) {
		log_warn("switch: urgent data is not supported over a SAN");
		return -EOPNOTSUPP;
	}
	for (int i = 0; i < count; i++) {
		if (vector[i].iov_len > SSIZE_MAX - total)
			return -EINVAL;
		total += vector[i].iov_len;
	}
	if (socket->state != SOCKET_CONNECTED)
		return socket->state == SOCKET_PLAIN ? -ERESTART : socket->state == SOCKET_CONNECTING ?
			(socket->nonblocking || flags & MSG_DONTWAIT ? -EAGAIN : -ENOTCONN) : -EPIPE;
	sending.block = !socket->nonblocking && !(flags & MSG_DONTWAIT);
	sending.deadline = socket->send_timeout < 0 ? -1 : clock_now() + socket->send_timeout;
	sending.halfway = sending.deadline - socket->send_timeout / 2;
	socket_progress(socket);
	if (total && session_deserted(session)) {
		zerocopy_sent(socket, flags, (ssize_t)total, false);
		return send_to_nobody(socket, total);
	}
	for (;;) {
		error = send_error(socket);
		if (error || interrupted)
			break;
		while (index < count && skip == vector[index].iov_len) {
			index++;
			skip = 0;
		}
		if (index == count)
			break;
		if (!session->exclusive) {
			const uint8_t *data = (const uint8_t *)vector[index].iov_base + skip;
			ssize_t sent = send_piece(&sending, data, vector[index].iov_len - skip,
						  &staging, &interrupted);

			if (sent < 0)
				continue;	/* send_error() says it */
			if (sent > 0) {
				done += sent;
				skip += (size_t)sent;
			}
			if (sending.fault) {
				error = -EFAULT;
				break;
			}
			if (sent > 0)
				continue;
		}
		if (interrupted)
			break;
		if (socket_progress(socket))
			continue;
		if (!sending.block) {
			socket->seen_writable = false;
			error = -EAGAIN;
			break;
		}
		/* Both ends may be here: whoever waits to send receives for the program too. */
		if (!session->receiving)
			session_spill_messages(session);
		error = session_sleep(socket, sending.deadline, true);
		if (error == -EINTR && !done && interrupted_call_goes_on(socket->send_timeout))
			error = 0;
		if (error == -ETIMEDOUT)
			error = -EAGAIN;
		if (error)
			break;
	}
	if (!error)
		error = interrupted;
	session_flush(session);
	if (session->open)
		attention_soon(socket);
	session_post_spent(session);
	zerocopy_sent(socket, flags, done, sending.copied);
	return done ? done : error;
}

ssize_t socket_send(struct socket *socket, const struct iovec *vector, int count, int flags)
{
	struct session *session = &socket->session;
	ssize_t done = 0;

	socket_lock_plain(socket);
	session->activity++;
	if (count == 1 && socket->state == SOCKET_CONNECTED && !(flags & (MSG_OOB | MSG_ZEROCOPY)))
		done = send_at_once(session, vector);
	if (done) {
		/* Behind the send: nobody waits for these. */
		if (session->ahead == sealed_ahead_most(session))
			session_progress_ahead(session);
		session_post_spent(session);
	} else {
		socket_forbid_cancel(socket);
		done = send_vector(socket, vector, count, flags);
	}
	socket_unlock(socket);
	return done;
}
