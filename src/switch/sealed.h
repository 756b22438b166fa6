/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small messages that are taken before the SAN says that they are there.
 *
 * An adapter writes a message to its buffer and then reports it; who looks at the buffer sees
 * it sooner, and by a plain load. But nothing is promised of a buffer before its completion:
 * neither in which order its bytes appear nor when the last one does. So such a message is
 * sealed: a hash of its bytes and its place in the stream, by which what was copied from the
 * buffer is known to be the whole message, or is dropped. Who drops it waits for the
 * completion, as for all other messages. A wrong copy that fits its seal is as likely as one in
 * 2^64, which is less than what the link's own checksum lets through.
 *
 * The completion still comes, and until then the buffer is the adapter's. That needs no hurry: the
 * next message is looked for in the next buffer, and a few may be ahead before completions are
 * looked for and the buffers posted again, all by one call. Only then the peer has its credits
 * back. These are fewer than half of all it has: with half of them out it would believe that we
 * are behind, and collect small sends.
 *
 * With the socket's lock.
 */
#ifndef WSD_SWITCH_SEALED_H
#define WSD_SWITCH_SEALED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "session.h"

#define AHEAD_MOST	7	/* messages taken ahead, at most */

/* Puts the seal into a header that has everything else. @position: the stream bytes before. */
void sealed_seal(struct sealed_header *header, uint64_t position, const void *data);

/*
 * Sends bytes, 1 to SEALED_MOST, as a message of their own by the provider's copying send. False:
 * nothing was sent. The caller has looked at credits, as for session_transmit_copied().
 */
bool sealed_send(struct session *session, const void *data, size_t size);

/* A byte that the adapter may write meanwhile. */
static NOT_WATCHED inline uint8_t sealed_byte(const uint8_t *byte)
{
	return *(const volatile uint8_t *)byte;
}

/* Does the next message show in its buffer? Of any kind: none begins with a 0, as the buffer does. */
static inline bool sealed_stirs(const struct session *session)
{
	const struct message *message = session->unseen;

	return message && sealed_byte(message->data);
}

/* How many may be ahead: one at least, or nothing would be gained at all. */
static inline uint32_t sealed_ahead_most(const struct session *session)
{
	uint32_t most = (session->credits_granted - 1) / 2;

	return most < AHEAD_MOST ? most : AHEAD_MOST;
}

/*
 * Worth calling sealed_take(): what is to come next may be there, and is the next to be read,
 * and alone. Where more has come the program shall have all of it by one call.
 */
static inline bool sealed_seen(const struct session *session)
{
	const struct message *message = session->unseen;

	return message && sealed_byte(message->data) == MESSAGE_SEALED &&
	       session->ahead < sealed_ahead_most(session) && !session->chunks_first &&
	       !(message->next && sealed_byte(message->next->data));
}

/*
 * Takes its bytes to the program's buffer. How many, or 0 if it is not whole yet, does not fit,
 * or is for the ordinary way to find fault with.
 */
size_t sealed_take(struct socket *socket, const struct iovec *buffer);

/* It is complete now. NULL, or what the peer did wrong. */
const char *sealed_complete(struct session *session, struct message *message, size_t bytes);

#endif
