/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session protocol: what two switches say to each other over one SAN
 * connection so that the two programs see a TCP connection. This header is the
 * specification; a second implementation needs nothing else.
 *
 * Layout. Every message is one WSPSend into one posted WSPRecv. It starts with
 * struct message_header; all fields are little-endian. What follows is as long
 * as the message: a SAN keeps the bounds of messages, so no length is sent. The
 * header is small because small messages are many: a short answer with it shall
 * fit into what adapters and their drivers treat as small (64 bytes and a little).
 * A message that breaks a rule of this page ends the connection with a reset and
 * is counted as a protocol error.
 *
 * Opening. The connecting side passes struct connect_data as private data; a
 * listener refuses a connection without it. It may also decline one and answer
 * with struct elsewhere: then the connecting side tries once more at that port of the
 * same address; if nothing comes of that, it says nothing about TCP. Both sides post their message
 * buffers first. The connecting side sends HELLO, the accepting side answers
 * HELLO; only then do connect() and accept() complete. Nothing else may be
 * sent before a side has sent its own HELLO and seen the peer's.
 *
 * Stream. Each direction is a sequence of bytes counted from 0. DATA carries
 * bytes; ADVERTISE stands for bytes that move by RDMA. They are in stream
 * order; `position` is the number of stream bytes before them, modulo 2^32: the SAN
 * neither loses nor reorders, so it only shows that both ends count alike.
 *
 * SEALED is DATA for a few bytes, which a receiver may take from its buffer before
 * the SAN has completed it, if the seal shows that all of it is there (see sealed.h).
 * With mix(s, w) = t ^ (t >> 32), t = (s ^ w) * 0x9e3779b97f4a7c15 modulo 2^64, s
 * begins as the number of stream bytes before it (all 64 bits) and is mixed with the
 * first four bytes of the header, then with the stream bytes, eight at a time, all read as
 * little-endian. If one to seven are left, the last word is the last eight bytes of all, or, if
 * there are not so many, these with zeros behind. A seal that is wrong is no error:
 * a program may change bytes while they are being sent.
 *
 * Large data. The sender of an ADVERTISE exposes `length` bytes. The receiver
 * either
 *   pulls: reads them with WSPRdmaRead, then sends DONE(count) with the total
 *     of bytes it has taken from this advertisement; or
 *   asks for a push (only if the advertisement has ADVERTISE_PUSH): sends OFFER
 *     with the descriptor of its own buffer; the sender writes with
 *     WSPRdmaWrite, starting at byte `offset` of the advertisement, and sends
 *     DONE_PUSHED(count) behind the write: count is the total moved so far, and
 *     the whole offer is written at once: offset + length of the OFFER, no other.
 * An advertisement ends when all of it was moved, or, after WITHDRAW, with
 * DONE_FINAL. At most one OFFER is open per advertisement, and at most
 * ADVERTISEMENTS_MAX advertisements per direction.
 * A pulling receiver may send DONE with less than the whole to show progress.
 * WITHDRAW(id) asks the receiver to let go: it finishes a pull in progress,
 * forgets an OFFER the sender has not acted on (the sender of WITHDRAW ignores
 * OFFERs from then on), and answers DONE|DONE_FINAL(count). The stream goes on
 * behind the bytes that were moved; the rest of the advertisement never was.
 * WITHDRAW|WITHDRAW_IF_IDLE does so only if the receiver is not moving it and has
 * no OFFER open; if it is, it answers DONE(count) and goes on. Progress, an OFFER and
 * the push for it may cross the question: the answer may come behind a DONE of
 * progress, and DONE(count) behind a push, even one that was the last, with less
 * than that moved. The sender ignores such a count.
 *
 * Credits. A side tells in HELLO how many buffers it has posted for its peer
 * (`credits`, CREDITS_LEAST at least); it has posted CREDIT_RESERVE more than
 * that. Each message except HELLO and CREDIT costs its sender one credit; a
 * message may be sent only with a credit, DATA and ADVERTISE only if more than
 * CREDITS_CONTROL are left. A buffer whose message was consumed is posted again,
 * and then given back in the `credits` field of a message of any type; at the latest
 * at once, and by a CREDIT message, when either
 *   a) half of the peer's credits wait to be given back, or
 *   b) the peer has no credit left that was not used, and one or more wait.
 *
 * Why two full senders cannot deadlock: CREDIT costs no credit, so it needs
 * posted buffers of its own. A rule-a CREDIT carries half of all credits, so
 * at most two of them are unconsumed at any time, since more credits do not
 * exist. A rule-b CREDIT follows only when the peer used up all it had, which
 * it can only have done after consuming the last one. Hence CREDIT_RESERVE = 3.
 * Messages other than DATA and ADVERTISE are consumed at once whatever the
 * application does, so their credits always come back; DATA that the application
 * does not read keeps its buffer, as a closed TCP window does.
 *
 * Larger buffers. A side that receives much may post larger buffers from then
 * on: BUFFERS(first, size) says that the peer's messages from number `first`
 * on (counting every message of the connection, HELLO is 0; never from 0 on) meet
 * buffers of `size` bytes. Sizes never shrink, and grow once.
 *
 * Ending. FIN ends a direction at `position`; RESET ends both at once. A
 * connection that breaks before FIN is a reset for the reader, and so is one that
 * breaks while an advertisement before FIN is not moved: those bytes are lost.
 *
 * State of one direction (sender | receiver):
 *   open      DATA, ADVERTISE          | accepts them
 *   finished  after FIN, until the SAN connection closes: DONE, CREDIT,
 *             WITHDRAW, OFFER still flow; DATA or ADVERTISE is an error
 */
#ifndef WSD_SWITCH_PROTOCOL_H
#define WSD_SWITCH_PROTOCOL_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_MAGIC		0x31445357u	/* "WSD1" */
#define PROTOCOL_VERSION	4
#define CREDITS_LEAST		4
#define CREDITS_MOST		1024
#define CREDITS_CONTROL		2
#define CREDIT_RESERVE		3
#define ADVERTISEMENTS_MAX	16
#define DESCRIPTOR_MAX		64

/* Private data of the SAN connect. */
struct connect_data {
	uint32_t magic;
	uint16_t version;
	uint16_t reserved;		/* sent as 0, ignored */
};
static_assert(sizeof(struct connect_data) == 8, "wire layout");

#define ELSEWHERE_MAGIC		0x45445357u	/* "WSDE" */

/* Answer to it with which a listener that shares its port sends the peer to another. */
struct elsewhere {
	uint32_t magic;
	uint16_t port;
	uint16_t reserved;		/* sent as 0, ignored */
};
static_assert(sizeof(struct elsewhere) == 8, "wire layout");

enum message_type {
	MESSAGE_HELLO = 1,
	MESSAGE_DATA,
	MESSAGE_ADVERTISE,
	MESSAGE_OFFER,
	MESSAGE_DONE,
	MESSAGE_WITHDRAW,
	MESSAGE_CREDIT,
	MESSAGE_BUFFERS,
	MESSAGE_FIN,
	MESSAGE_RESET,
	MESSAGE_SEALED,
	MESSAGE_TYPES
};

#define ADVERTISE_PUSH	0x01		/* the sender waits in its call and would push */
#define WITHDRAW_IF_IDLE 0x01		/* not if it is being moved: then DONE without FINAL */
#define DONE_FINAL	0x01		/* answers WITHDRAW */
#define DONE_PUSHED	0x02		/* from the side that wrote */

struct message_header {
	uint8_t type;			/* enum message_type */
	uint8_t flags;			/* ADVERTISE_*, DONE_*; otherwise 0 */
	uint16_t credits;		/* buffers given back */
	uint32_t position;		/* DATA, ADVERTISE, FIN: stream position; otherwise 0 */
};
static_assert(sizeof(struct message_header) == 8, "wire layout");

#define MESSAGE_SIZE_LEAST	256	/* of a buffer, for the whole message */
#define MESSAGE_SIZE_MOST	(sizeof(struct message_header) + 65536)

#define SEALED_MOST	116		/* with the header 128 bytes */

/* Of SEALED, in the place of the above. */
struct sealed_header {
	uint8_t type;
	uint8_t length;			/* of the stream bytes behind it, 1..SEALED_MOST */
	uint16_t credits;
	uint32_t seal[2];		/* the lower half first */
};
static_assert(sizeof(struct sealed_header) == 12, "wire layout");

struct hello_body {
	uint32_t magic;
	uint16_t version;
	uint16_t credits;		/* CREDITS_LEAST..CREDITS_MOST */
	uint32_t message_size;		/* of each posted buffer, MESSAGE_SIZE_LEAST..MOST */
	uint32_t features;		/* none yet: sent as 0, unknown bits ignored */
};
static_assert(sizeof(struct hello_body) == 16, "wire layout");

struct advertise_body {
	uint32_t id;			/* names the advertisement in its direction */
	uint32_t descriptor_length;	/* 1..DESCRIPTOR_MAX */
	uint64_t length;		/* bytes, not 0 */
	uint8_t descriptor[DESCRIPTOR_MAX];	/* of WSPRegisterRdmaMemory(MEM_READ) */
};
static_assert(sizeof(struct advertise_body) == 80, "wire layout");

struct offer_body {
	uint32_t id;			/* of the peer's advertisement */
	uint32_t descriptor_length;
	uint64_t offset;		/* bytes of the advertisement moved before */
	uint64_t length;		/* bytes wanted; never past the advertisement's end */
	uint8_t descriptor[DESCRIPTOR_MAX];	/* of WSPRegisterRdmaMemory(MEM_WRITE) */
};
static_assert(sizeof(struct offer_body) == 88, "wire layout");

struct done_body {
	uint32_t id;
	uint32_t reserved;
	uint64_t count;			/* bytes of the advertisement moved in all */
};
static_assert(sizeof(struct done_body) == 16, "wire layout");

struct withdraw_body {
	uint32_t id;
	uint32_t reserved;
};
static_assert(sizeof(struct withdraw_body) == 8, "wire layout");

struct buffers_body {
	uint64_t first;
	uint32_t size;
	uint32_t reserved;
};
static_assert(sizeof(struct buffers_body) == 16, "wire layout");

#endif
