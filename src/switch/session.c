/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session: what it sends and when, its credits, its life. What it receives
 * is in session_messages.c, its memory in session_buffers.c; the application's
 * calls are in send.c and receive.c.
 *
 * Theory of operation. Nothing happens by itself: whoever holds the socket's
 * lock calls session_progress(), which asks the provider to complete requests,
 * takes finished sends back and handles received messages in order. Who calls:
 * the application's thread in any call on the socket; otherwise the switch
 * thread, woken by solicited events (attention.c). A change is seen by others in
 * `generation`, and sleeping ones are woken by socket_changed().
 *
 * When the SAN connection breaks, every posted request completes with an error;
 * the first such completion breaks the session. What was received in messages
 * before stays readable, as with TCP; what was only advertised is lost.
 */
#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"
#include "session_parts.h"
#include "settings.h"
#include "spinner.h"
#include "statistics.h"
#include "wsa_errno.h"
#include "socket_state.h"

#define POLLED	((HANDLE)(uintptr_t)1)	/* low bit of hEvent: no up-call */

void session_break(struct session *session, int error)
{
	if (session->broken)
		return;
	session->broken = true;
	session->generation++;
	/* After the peer's FIN there was nothing more to come: readers see the end, writers EPIPE. */
	if (!session->finished_received)
		session->error = error;
	if (session->error)
		statistic_add(STATISTIC_resets, 1);
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++)
		if (session->outgoing[i].used && !session->outgoing[i].ended)
			session->outgoing[i].ended = true;
	log_debug("session: connection ended: %s", log_errno_name(session->error));
}

void session_refused(struct session *session, int wsa_error)
{
	bool ended = wsa_error == WSAECONNRESET || wsa_error == WSAENOTCONN ||
		     wsa_error == WSAENETDOWN || wsa_error == WSAETIMEDOUT;

	if (ended && session->posted_first)
		session->refused = true;
	else
		session_break(session, wsa_error_to_errno(wsa_error));
}

/* ---- sending messages ---- */

/* How many bytes the next message may have in all. */
static uint32_t next_message_limit(struct session *session)
{
	if (session->peer_larger_size && session->messages_sent >= session->peer_larger_first &&
	    session->peer_message_size != session->peer_larger_size) {
		session->peer_message_size = session->peer_larger_size;
		session_grow_send(session, session->peer_larger_size);
	}
	return session->peer_message_size;
}

/* The message with these bytes left: what it told the peer is told. */
static void transmitted(struct session *session)
{
	session->credits_peer += session->credits_owed;
	session->credits_owed = 0;
	session->messages_sent++;
}

void session_transmit(struct session *session, struct message *message, DWORD flags)
{
	struct message_header *header = (struct message_header *)message->data;
	WSABUFEX buffer = { message->end, (char *)message->data, message->pool->handle };
	int result, error;
	DWORD bytes;

	header->credits = htole16((uint16_t)session->credits_owed);
	transmitted(session);
	message->next = NULL;
	message->overlapped.Internal = STATUS_PENDING;
	message->overlapped.hEvent = POLLED;
	result = session->provider->table.lpWSPSend(session->companion, &buffer, 1, &bytes, flags,
						    &message->overlapped, NULL, NULL, &error);
	if (result && error != WSA_IO_PENDING) {
		session_free_push(session, message);
		session_refused(session, error);
		return;
	}
	statistic_add(STATISTIC_messages_sent, 1);
	if (session->sending_last)
		session->sending_last->next = message;
	else
		session->sending_first = message;
	session->sending_last = message;
	session->sending++;
}

/* Starts a message in a free buffer; the caller adds to it and moves its end. */
struct message *session_compose(struct session *session, enum message_type type, uint8_t flags,
				uint64_t position)
{
	struct message *message;

	next_message_limit(session);
	message = session_free_pop(session);
	if (!message)
		return NULL;
	*(struct message_header *)message->data = session_header(type, flags, position);
	message->begin = 0;
	message->end = sizeof(struct message_header);
	return message;
}

int session_send_message(struct session *session, enum message_type type, uint8_t flags,
			uint64_t position, const void *body, uint32_t length)
{
	struct message *message = session_compose(session, type, flags, position);

	if (!message)
		return -EAGAIN;
	if (length)
		memcpy(message->data + sizeof(struct message_header), body, length);
	message->end += length;
	/*
	 * Not copied: who closes or waits learns from its completion that it, and the data before
	 * it, is with the peer.
	 */
	session_transmit(session, message, type != MESSAGE_ADVERTISE ? MSG_WSDIRECT_SOLICITED : 0);
	return 0;
}

int session_send_control(struct session *session, enum message_type type, uint8_t flags,
			 uint64_t position, const void *body, uint32_t length, bool data)
{
	int error;

	if (session->broken)
		return -EPIPE;
	if (session->refused)
		return -EAGAIN;
	if (session->credits <= (data ? CREDITS_CONTROL : 0))
		return -EAGAIN;
	error = session_send_message(session, type, flags, position, body, length);
	if (!error)
		session->credits--;
	return error;
}

static void send_done_queue(struct session *session)
{
	while (session->control_count) {
		unsigned int first = session->control_first;
		struct done_body body = {
			.id = htole32(session->control[first].id),
			.count = htole64(session->control[first].count),
		};

		if (session_send_control(session, MESSAGE_DONE, session->control[first].flags, 0, &body,
					 sizeof(body), false))
			return;
		session->control_first = (first + 1) % (2 * ADVERTISEMENTS_MAX);
		session->control_count--;
	}
}

/*
 * The queue cannot overflow: each direction has at most ADVERTISEMENTS_MAX
 * advertisements open, and a newer DONE for one takes the place of an older.
 */
void session_done(struct session *session, uint8_t flags, uint32_t id, uint64_t count)
{
	unsigned int slot;

	for (unsigned int i = 0; i < session->control_count; i++) {
		slot = (session->control_first + i) % (2 * ADVERTISEMENTS_MAX);
		if (session->control[slot].id == id &&
		    !((session->control[slot].flags ^ flags) & DONE_PUSHED)) {
			session->control[slot].flags = flags;
			session->control[slot].count = count;
			return;
		}
	}
	slot = (session->control_first + session->control_count) % (2 * ADVERTISEMENTS_MAX);
	session->control[slot].flags = flags;
	session->control[slot].id = id;
	session->control[slot].count = count;
	session->control_count++;
	send_done_queue(session);
}

/* Takes the credit of a message with data, and says with which flags it is to go. */
static DWORD data_flags(struct session *session)
{
	/* Out of credits: the peer must act for us to go on, wherever its program is. */
	return --session->credits <= CREDITS_CONTROL ? MSG_WSDIRECT_SOLICITED : 0;
}

bool session_transmit_copied(struct session *session, const WSABUF *pieces, DWORD count)
{
	int error;

	if (session->provider->send_copied(session->companion, pieces, count, data_flags(session),
					   &error)) {
		session->credits++;
		return false;
	}
	transmitted(session);
	statistic_add(STATISTIC_messages_sent, 1);
	return true;
}

void session_transmit_data(struct session *session, struct message *message)
{
	WSABUF whole = { message->end, (char *)message->data };

	((struct message_header *)message->data)->credits = htole16((uint16_t)session->credits_owed);
	if (message->end <= session->copied_most && session_transmit_copied(session, &whole, 1))
		session_free_push(session, message);
	else
		session_transmit(session, message, data_flags(session));
}

/*
 * The open message collects what is sent meanwhile. A completion, a credit, or the switch
 * thread within a millisecond sends it; a full one goes at once.
 */
static bool open_waits(struct session *session)
{
	return !session->want_finish && session_collects(session) &&
	       session->open->end < session_message_limit(session, session->open);
}

void session_flush_open(struct session *session)
{
	struct message *message = session->open;

	if (!message || session->credits <= CREDITS_CONTROL || session->broken || session->refused)
		return;
	session->open = NULL;
	session_transmit_data(session, message);
}

void session_flush_waiting(struct session *session)
{
	if (session->broken || session->refused || !session->established)
		return;
	send_done_queue(session);
	if (session->open && !open_waits(session))
		session_flush_open(session);
	if (session->want_buffers) {
		struct buffers_body body = {
			.first = htole64(session->buffers_first), .size = htole32(session->buffers_size),
		};

		if (!session_send_control(session, MESSAGE_BUFFERS, 0, 0, &body, sizeof(body), false))
			session->want_buffers = false;
	}
	if (session->want_finish && !session->open && !session->exclusive &&
	    !session_send_control(session, MESSAGE_FIN, 0, session->sent, NULL, 0, false))
		session->want_finish = false;
	if (session_credits_due(session)) {
		session_post_spent(session);
		session_send_message(session, MESSAGE_CREDIT, 0, 0, NULL, 0);
	}
}

void session_finish(struct session *session)
{
	if (session->finished_sent)
		return;
	session->finished_sent = true;
	session->want_finish = true;
	session->generation++;
	session_flush(session);
}

void session_reset(struct session *session, int error)
{
	if (session->broken)
		return;
	if (session->established && !session->reset_sent && session->credits) {
		session->reset_sent = true;
		session_send_message(session, MESSAGE_RESET, 0, 0, NULL, 0);
	}
	session_break(session, error);
	session->error = error;
}

bool session_draining(const struct session *session)
{
	if (session->open || session->sending || session->want_finish || session->control_count)
		return true;
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++)
		if (session->outgoing[i].used && !session->outgoing[i].ended)
			return true;
	return false;
}

/* ---- life ---- */

int session_open(struct session *session, struct provider *provider, SOCKET companion)
{
	uint32_t credits = (uint32_t)setting_number(SETTING_message_count);
	uint32_t bytes = (uint32_t)setting_number(SETTING_message_size);
	struct message_pool *pool;
	uint32_t i;

	session->completion = provider_completion(provider, companion);
	if (session->completion < 0)
		return session->completion;
	session->provider = provider;
	session->companion = companion;
	session->poll_time = poll_time_least();
	if (provider->send_copied)
		session->copied_most = provider_limit(provider, companion,
						      SO_WSDIRECT_MAX_COPY_SIZE);
	/* Then no peer's buffers can be too small. */
	if (session->copied_most > MESSAGE_SIZE_LEAST)
		session->copied_most = MESSAGE_SIZE_LEAST;
	pool = session_pool_new(session, credits + CREDIT_RESERVE + SEND_BUFFERS, bytes);
	if (!pool)
		return -ENOBUFS;
	session->credits_granted = session->credits_peer = credits;
	for (i = 0; i < credits + CREDIT_RESERVE; i++) {
		int error = session_post(session, &pool->messages[i]);

		if (error)
			return -wsa_error_to_errno(error);
	}
	for (; i < pool->count; i++)
		session_free_push(session, &pool->messages[i]);
	return 0;
}

int session_hello(struct session *session)
{
	struct hello_body body = {
		.magic = htole32(PROTOCOL_MAGIC), .version = htole16(PROTOCOL_VERSION),
		.credits = htole16((uint16_t)session->credits_granted),
		.message_size = htole32(session->pools->messages[0].size),
	};
	int error = session_send_message(session, MESSAGE_HELLO, 0, 0, &body, sizeof(body));

	if (!error)
		session->hello_sent = true;
	return session->broken ? -ECONNRESET : error;
}

void session_close(struct session *session)
{
	struct message_pool *pool;
	struct spill *spill;
	struct chunk *chunk, *next;
	int error;

	/* The provider aborts what is pending; afterwards nothing of ours is in use. */
	if (session->companion != INVALID_SOCKET)
		for (int i = 0; i < ADVERTISEMENTS_MAX; i++) {
			struct outgoing *outgoing = &session->outgoing[i];

			if (outgoing->used && outgoing->staged) {
				session->provider->deregister_rdma_memory(session->companion,
						outgoing->descriptor, outgoing->descriptor_length, &error);
				session_spill_put(session, outgoing->staged);
				outgoing->used = false;
			}
		}
	for (chunk = session->chunks_first; chunk; chunk = next) {
		next = chunk->next;
		if (chunk->kind == CHUNK_SPILLED) {
			spill = (struct spill *)chunk;
			spill->next = session->spare;
			session->spare = spill;
		}
	}
	session->chunks_first = session->chunks_last = NULL;
	while ((spill = session->spare)) {
		session->spare = spill->next;
		session_spill_free(session, spill);
	}
	if (session->companion != INVALID_SOCKET) {
		/*
		 * The buffers are deregistered first, but they stay mapped until the
		 * provider has closed, that is, until no request can write to them.
		 */
		session->provider->table.lpWSPCloseSocket(session->companion, &error);
		session->companion = INVALID_SOCKET;
	}
	while ((pool = session->pools)) {
		session->pools = pool->next;
		munmap(pool, pool->length);
	}
}
