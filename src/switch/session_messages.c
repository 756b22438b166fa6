/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the provider has completed: received messages, each checked before a
 * byte of it is believed, finished sends and RDMA.
 */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "compiler.h"
#include "log.h"
#include "sealed.h"
#include "session_parts.h"
#include "settings.h"
#include "socket_state.h"
#include "statistics.h"
#include "wsa_errno.h"

#define GROW_AFTER	64	/* full messages that show a stream worth larger buffers */

/* The peer broke the protocol: no byte after this can be trusted. */
static void protocol_error(struct session *session, const char *what)
{
	log_error("session: peer broke the protocol: %s", what);
	statistic_add(STATISTIC_protocol_errors, 1);
	session_reset(session, ECONNRESET);
}

static void chunk_append(struct session *session, struct chunk *chunk, uint64_t length)
{
	chunk->next = NULL;
	if (session->chunks_last)
		session->chunks_last->next = chunk;
	else
		session->chunks_first = chunk;
	session->chunks_last = chunk;
	session->received += length;
	session->readable += length;
}

void session_chunk_insert(struct session *session, struct chunk *chunk, struct chunk *advertised)
{
	struct chunk **link = &session->chunks_first;

	while (*link != advertised)
		link = &(*link)->next;
	chunk->next = advertised;
	*link = chunk;
}

static void chunk_remove(struct session *session, struct chunk *chunk)
{
	struct chunk **link = &session->chunks_first, *last = NULL;

	while (*link && *link != chunk) {
		last = *link;
		link = &(*link)->next;
	}
	if (!*link)
		return;
	*link = chunk->next;
	if (session->chunks_last == chunk)
		session->chunks_last = last;
}

void session_incoming_end(struct session *session, struct incoming *incoming)
{
	session->readable -= incoming->length - incoming->moved;
	session->received -= incoming->length - incoming->moved;
	chunk_remove(session, &incoming->chunk);
	incoming->used = false;
	session->generation++;
}

/* Each handler returns NULL, or what the peer did wrong. */

/* Is the message where the stream is? */
static bool in_place(const struct session *session, const struct message_header *header)
{
	return le32toh(header->position) == (uint32_t)session->received;
}

/* A chunk holds the buffer of DATA until the program has its bytes. */
static const char *hold(struct session *session, struct message *message, uint32_t begin,
			uint32_t length)
{
	if (session->finished_received)
		return "data after the end of its stream";
	message->chunk.kind = CHUNK_MESSAGE;
	message->begin = begin;
	message->end = begin + length;
	chunk_append(session, &message->chunk, length);
	if (message->end == message->size && !session->buffers_grown &&
	    ++session->full_messages >= GROW_AFTER)
		session_grow_receive(session);
	return NULL;
}

static const char *handle_data(struct session *session, struct message *message,
			       const struct message_header *header, uint32_t length)
{
	if (!length || !in_place(session, header))
		return "data at the wrong position";
	return hold(session, message, sizeof(*header), length);
}

static const char *handle_sealed(struct session *session, struct message *message, size_t bytes)
{
	const struct sealed_header *header = (const struct sealed_header *)message->data;

	if (!header->length || bytes != sizeof(*header) + header->length)
		return "a sealed message of another length than it said";
	return hold(session, message, sizeof(*header), header->length);
}

static const char *handle_advertise(struct session *session, const struct message_header *header,
				    const struct advertise_body *body)
{
	uint64_t length = le64toh(body->length);
	uint32_t descriptor_length = le32toh(body->descriptor_length);
	struct incoming *incoming = NULL;

	if (session->finished_received)
		return "an advertisement after the end of its stream";
	if (!in_place(session, header))
		return "an advertisement at the wrong position";
	if (!length || length > UINT32_MAX || !descriptor_length ||
	    descriptor_length > DESCRIPTOR_MAX)
		return "an advertisement with impossible sizes";
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++) {
		struct incoming *candidate = &session->incoming[i];

		if (candidate->used && candidate->id == le32toh(body->id))
			return "two advertisements with one name";
		if (!candidate->used && !incoming)
			incoming = candidate;
	}
	if (!incoming)
		return "too many advertisements";
	*incoming = (struct incoming){
		.used = true, .push = header->flags & ADVERTISE_PUSH, .id = le32toh(body->id),
		.length = length, .descriptor_length = descriptor_length,
	};
	incoming->chunk.kind = CHUNK_ADVERTISED;
	memcpy(incoming->descriptor, body->descriptor, descriptor_length);
	chunk_append(session, &incoming->chunk, length);
	return NULL;
}

/*
 * An answer to WITHDRAW if idle says what was moved when the question came; the end may
 * have crossed it.
 */
static bool outgoing_was(const struct session *session, uint32_t id)
{
	return session->next_id - id - 1 < UINT32_MAX / 2;
}

static struct outgoing *outgoing_find(struct session *session, uint32_t id)
{
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++)
		if (session->outgoing[i].used && !session->outgoing[i].ended &&
		    session->outgoing[i].id == id)
			return &session->outgoing[i];
	return NULL;
}

static struct incoming *incoming_find(struct session *session, uint32_t id)
{
	for (int i = 0; i < ADVERTISEMENTS_MAX; i++)
		if (session->incoming[i].used && session->incoming[i].id == id)
			return &session->incoming[i];
	return NULL;
}

static const char *handle_offer(struct session *session, const struct offer_body *body)
{
	struct outgoing *outgoing = outgoing_find(session, le32toh(body->id));
	uint64_t offset = le64toh(body->offset), length = le64toh(body->length);
	uint32_t descriptor_length = le32toh(body->descriptor_length);

	if (!outgoing)
		return "an offer for nothing";
	if (outgoing->staged || outgoing->offered)
		return "an offer out of turn";
	if (!descriptor_length || descriptor_length > DESCRIPTOR_MAX || !length ||
	    offset != outgoing->moved || length > outgoing->length - offset)
		return "an offer with impossible sizes";
	if (outgoing->withdrawn)
		return NULL;
	outgoing->offer = *body;
	outgoing->offered = true;
	session->taken++;
	return NULL;
}

static void outgoing_end(struct session *session, struct outgoing *outgoing)
{
	outgoing->ended = true;
	if (outgoing->staged) {
		int error;

		session->provider->deregister_rdma_memory(session->companion, outgoing->descriptor,
							  outgoing->descriptor_length, &error);
		session->staged -= outgoing->staged->size;
		session_spill_put(session, outgoing->staged);
		outgoing->used = false;
		session->large_refused = false;
	}
}

static const char *handle_done(struct session *session, uint8_t flags, const struct done_body *body)
{
	uint64_t count = le64toh(body->count);

	if (flags & DONE_PUSHED) {
		struct incoming *incoming = incoming_find(session, le32toh(body->id));

		if (!incoming || !incoming->offered)
			return "a push that nobody asked for";
		/* More would let the reader believe that its buffer is longer than it is. */
		if (count != incoming->offer_end)
			return "a push of another size than was offered";
		incoming->moved = count;
		incoming->offered = false;
	} else {
		struct outgoing *outgoing = outgoing_find(session, le32toh(body->id));

		if (!(flags & DONE_FINAL) && (outgoing ? outgoing->asked_once && count < outgoing->moved :
							  outgoing_was(session, le32toh(body->id)))) {
			if (outgoing)
				outgoing->asked = false;
			return NULL;
		}
		if (!outgoing)
			return "the end of an advertisement that is none";
		if (count < outgoing->moved || count > outgoing->length)
			return "an advertisement moved by an impossible size";
		if (flags & DONE_FINAL && !outgoing->withdrawn && !outgoing->asked_once)
			return "an advertisement given back unasked";
		outgoing->moved = count;
		outgoing->asked = false;
		session->taken++;
		if (flags & DONE_FINAL || count == outgoing->length)
			outgoing_end(session, outgoing);
	}
	return NULL;
}

static const char *handle_withdraw(struct session *session, uint8_t flags,
				   const struct withdraw_body *body)
{
	struct incoming *incoming = incoming_find(session, le32toh(body->id));

	if (!incoming)
		return NULL;	/* crossed our last DONE */
	if (flags & WITHDRAW_IF_IDLE && incoming->busy) {
		session_done(session, 0, incoming->id, incoming->moved);
		return NULL;
	}
	if (incoming->withdrawn)
		return "an advertisement withdrawn twice";
	incoming->withdrawn = true;
	if (!incoming->busy) {
		session_done(session, DONE_FINAL, incoming->id, incoming->moved);
		session_incoming_end(session, incoming);
	}
	return NULL;
}

static const char *handle_buffers(struct session *session, const struct buffers_body *body)
{
	uint32_t size = le32toh(body->size);

	if (session->peer_larger_size || size < session->peer_message_size ||
	    size > MESSAGE_SIZE_MOST || !body->first)
		return "larger buffers that cannot be";
	session->peer_larger_size = size;
	session->peer_larger_first = le64toh(body->first);
	return NULL;
}

static const char *handle_hello(struct session *session, const struct hello_body *body)
{
	uint32_t credits = le16toh(body->credits), size = le32toh(body->message_size);

	if (session->established)
		return "a second greeting";
	if (le32toh(body->magic) != PROTOCOL_MAGIC || le16toh(body->version) != PROTOCOL_VERSION)
		return "a greeting of another protocol";
	if (credits < CREDITS_LEAST || credits > CREDITS_MOST || size < MESSAGE_SIZE_LEAST ||
	    size > MESSAGE_SIZE_MOST)
		return "a greeting with impossible sizes";
	session->credits = session->credits_total = credits;
	session->peer_message_size = size;
	session->established = true;
	return NULL;
}

/* Least length of each type's body; fixed-size bodies may not be longer either. */
static const struct { uint32_t length; bool exact; } bodies[MESSAGE_TYPES] = {
	[MESSAGE_HELLO] = { sizeof(struct hello_body), false },
	[MESSAGE_DATA] = { 0, false },
	[MESSAGE_ADVERTISE] = { sizeof(struct advertise_body), true },
	[MESSAGE_OFFER] = { sizeof(struct offer_body), true },
	[MESSAGE_DONE] = { sizeof(struct done_body), true },
	[MESSAGE_WITHDRAW] = { sizeof(struct withdraw_body), true },
	[MESSAGE_BUFFERS] = { sizeof(struct buffers_body), true },
	[MESSAGE_CREDIT] = { 0, true },
	[MESSAGE_FIN] = { 0, true },
	[MESSAGE_RESET] = { 0, true },
	[MESSAGE_SEALED] = { sizeof(struct sealed_header) - sizeof(struct message_header), false },
};

/* All but DATA and SEALED. */
static NOT_INLINE const char *handle_control(struct session *session, struct message *message)
{
	const struct message_header *header = (const struct message_header *)message->data;
	const void *body = header + 1;
	const char *wrong = NULL;

	switch (header->type) {
	case MESSAGE_HELLO:
		wrong = handle_hello(session, body);
		break;
	case MESSAGE_ADVERTISE:
		wrong = handle_advertise(session, header, body);
		break;
	case MESSAGE_OFFER:
		wrong = handle_offer(session, body);
		break;
	case MESSAGE_DONE:
		wrong = handle_done(session, header->flags, body);
		break;
	case MESSAGE_WITHDRAW:
		wrong = handle_withdraw(session, header->flags, body);
		break;
	case MESSAGE_BUFFERS:
		wrong = handle_buffers(session, body);
		break;
	case MESSAGE_FIN:
		if (session->finished_received || !in_place(session, header))
			wrong = "an end of stream at the wrong position";
		else
			session->finished_received = true;
		break;
	case MESSAGE_RESET:
		session->finished_received = false;
		session_break(session, ECONNRESET);
		return NULL;
	}
	if (wrong)
		return wrong;
	if (header->type != MESSAGE_HELLO && header->type != MESSAGE_CREDIT)
		session_spent(session, message);
	else
		session_repost(session, message);
	return NULL;
}

static const char *handle_message(struct session *session, struct message *message, size_t bytes)
{
	const struct message_header *header = (const struct message_header *)message->data;
	uint32_t length, credits;

	if (bytes < sizeof(*header))
		return "a message shorter than its header";
	length = (uint32_t)(bytes - sizeof(*header));
	credits = le16toh(header->credits);
	if (!header->type || header->type >= MESSAGE_TYPES)
		return "a message of unknown type";
	if (length < bodies[header->type].length ||
	    (bodies[header->type].exact && length != bodies[header->type].length))
		return "a message with a body of the wrong length";
	if (!session->established && header->type != MESSAGE_HELLO)
		return "a message before its greeting";
	if (!session_credits_arrive(session, credits))
		return "more credits than there are";
	if (header->type != MESSAGE_HELLO && header->type != MESSAGE_CREDIT) {
		if (!session->credits_peer)
			return "a message without a credit";
		session->credits_peer--;
	}

	if (header->type == MESSAGE_SEALED)
		return handle_sealed(session, message, bytes);
	return header->type == MESSAGE_DATA ? handle_data(session, message, header, length) :
					      handle_control(session, message);
}

/*
 * The receive buffer of last resort. It is not used while the program receives:
 * then bytes are copied once, from the message to the program.
 */
#define SPILLED_MOST	(1u << 20)

void session_spill_messages(struct session *session)
{
	struct chunk **link = &session->chunks_first, *before = NULL;
	struct spill *spill = NULL, *fresh;
	size_t held = 0;

	if (session->credits_peer > CREDITS_CONTROL || session->broken)
		return;
	while (*link) {
		struct message *message = (struct message *)*link;
		uint32_t length;

		if ((*link)->kind != CHUNK_MESSAGE) {
			spill = (*link)->kind == CHUNK_SPILLED ? (struct spill *)*link : NULL;
			held += spill ? spill->size : 0;
			before = *link;
			link = &before->next;
			continue;
		}
		length = message->end - message->begin;
		if (!spill || spill->size - spill->end < length) {
			/* Bytes are copied here: memory that cannot be registered will do. */
			fresh = held < SPILLED_MOST ? session_spill_get(session, length) : NULL;
			if (!fresh && held < SPILLED_MOST)
				fresh = session_spill_plain(SPILLED_MOST / 4);
			if (!fresh)
				break;
			held += fresh->size;
			fresh->chunk.kind = CHUNK_SPILLED;
			fresh->chunk.next = *link;
			*link = &fresh->chunk;
			spill = fresh;
			before = &fresh->chunk;
			link = &before->next;
		}
		memcpy(spill->data + spill->end, message->data + message->begin, length);
		spill->end += length;
		*link = message->chunk.next;
		if (session->chunks_last == &message->chunk)
			session->chunks_last = before;
		statistic_add(STATISTIC_bytes_received_spilled, length);
		session_spent(session, message);
	}
	session_flush(session);
}

static void reap_sends(struct session *session)
{
	struct message *message;

	while ((message = session->sending_first) && !WSA_OVERLAPPED_PENDING(&message->overlapped)) {
		session->sending_first = message->next;
		if (!session->sending_first)
			session->sending_last = NULL;
		session->sending--;
		session->generation++;
		session->large_refused = false;
		if (message->overlapped.Internal)
			session_break(session, ECONNRESET);
		session_free_push(session, message);
	}
}

/* @end: the first that is left alone, or NULL. */
static void reap_receives(struct session *session, const struct message *end)
{
	struct message *message;

	while ((message = session->posted_first) != end &&
	       !WSA_OVERLAPPED_PENDING(&message->overlapped)) {
		const char *wrong;

		session->posted_first = message->next;
		if (!session->posted_first)
			session->posted_last = NULL;
		if (session->unseen == message)
			session->unseen = message->next;
		session->generation++;
		if (message->overlapped.Internal) {
			session_break(session, ECONNRESET);
			continue;
		}
		if (session->broken)
			continue;
		session->messages_received++;
		statistic_add(STATISTIC_messages_received, 1);
		wrong = message->ahead ?
			sealed_complete(session, message, message->overlapped.InternalHigh) :
			handle_message(session, message, message->overlapped.InternalHigh);
		if (wrong)
			protocol_error(session, wrong);
	}
}

static void reap_transfers(struct session *session)
{
	struct transfer **link = &session->transfers, *transfer;

	while ((transfer = *link)) {
		if (WSA_OVERLAPPED_PENDING(&transfer->overlapped)) {
			link = &transfer->next;
			continue;
		}
		*link = transfer->next;
		transfer->done = true;
		session->generation++;
	}
}

void session_progress_ahead(struct session *session)
{
	provider_poll(session->provider, session->companion, 1);
	reap_receives(session, session->unseen);
}

bool session_progress(struct session *session, unsigned int looks)
{
	uint64_t before = session->generation;

	if (session->posted_first || session->sending_first || session->transfers)
		provider_poll(session->provider, session->companion, looks);
	/*
	 * Receives first: a peer that sends its last bytes, FIN and closes makes our
	 * sends fail, and what it sent before must not look lost for that.
	 */
	reap_receives(session, NULL);
	reap_sends(session);
	reap_transfers(session);
	/* What waits to be sent waits for one of these. */
	if (session->generation == before)
		return false;
	session_flush(session);
	return true;
}
