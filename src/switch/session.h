/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection over a SAN: its message buffers, credits, stream positions and
 * advertisements. The protocol itself is in protocol.h.
 *
 * Invariants:
 *  - Posted buffers complete in the order they were posted; `posted` is that
 *    order, and messages are handled in it.
 *  - received == position of the first byte behind the last chunk of `chunks`.
 *  - A buffer is in exactly one place: posted, held by a chunk, spent, being sent,
 *    the open one, or free.
 *  - A credit is given for a buffer that is posted. Spent ones, whose message was dealt
 *    with, are posted when nobody waits for an answer: before a thread waits itself, after
 *    it has sent, and at the latest when so many are due that the peer must be told.
 *  - An advertisement of ours exposes memory until it is `ended`; the memory
 *    (the application's, or staged) is not given back before.
 *
 * Locking: everything here is under the socket's lock. session_sleep() drops it
 * while the thread sleeps, so any caller must look at the state anew afterwards.
 */
#ifndef WSD_SWITCH_SESSION_H
#define WSD_SWITCH_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "protocol.h"
#include "provider.h"
#include "settings.h"

struct socket;

/* A piece of the received stream that the application has not read yet. */
struct chunk {
	struct chunk *next;
	enum { CHUNK_MESSAGE, CHUNK_ADVERTISED, CHUNK_SPILLED } kind;
};

/* A message buffer, for either direction. */
struct message {
	struct chunk chunk;		/* while it holds unread DATA */
	WSAOVERLAPPED overlapped;
	struct message *next;		/* in posted, spent, sending or the free list */
	struct message_pool *pool;
	uint8_t *data;
	uint32_t size;
	uint32_t begin, end;		/* the part of data that is in use */
	uint32_t ahead;			/* bytes that were taken before it was complete: see sealed.h */
};

/* Message buffers that were allocated and registered together. */
struct message_pool {
	struct message_pool *next;
	HANDLE handle;
	size_t length;			/* of the mapping that begins here */
	uint32_t count;
	struct message messages[];
};

/* Memory of ours for data that the application does not take or wait for. */
struct spill {
	struct chunk chunk;
	struct spill *next;		/* in the list of spare ones */
	HANDLE handle;			/* registered for reading and writing; NULL: it could not be */
	size_t size, begin, end;
	uint8_t *data;
};

/* An advertisement of the peer. */
struct incoming {
	struct chunk chunk;
	bool used;
	bool busy;			/* a thread moves it: only that thread ends it */
	bool offered;			/* our OFFER is open */
	bool withdrawn;			/* the peer wants it back; the busy thread answers */
	bool push;
	uint32_t id;
	uint64_t length, moved;
	uint64_t offer_end;		/* what `moved` is once the peer has filled our offer */
	uint32_t descriptor_length;
	uint8_t descriptor[DESCRIPTOR_MAX];
};

/* An advertisement of ours. */
struct outgoing {
	bool used;
	bool ended;			/* nobody will touch its memory any more */
	bool withdrawn;			/* WITHDRAW was sent: OFFERs are ignored */
	bool asked;			/* WITHDRAW if idle was sent and nothing was heard since */
	bool asked_once;		/* it was sent, and its answer may still come */
	bool offered;			/* the peer's OFFER waits for us */
	uint32_t id;
	uint64_t length, moved;
	uint32_t descriptor_length;
	uint8_t descriptor[DESCRIPTOR_MAX];
	struct offer_body offer;
	struct spill *staged;		/* or NULL: the application's memory, a thread waits */
};

/* An RDMA request on its way; on the stack of the thread that waits for it. */
struct transfer {
	WSAOVERLAPPED overlapped;
	struct transfer *next;
	bool done;
};

struct session {
	struct provider *provider;
	SOCKET companion;
	int completion;			/* descriptor of the provider; readable after an armed event */

	bool established;		/* HELLO was exchanged */
	bool hello_sent;
	bool finished_sent;		/* FIN left or waits in `want_finish` */
	bool want_finish;		/* FIN is to be sent when credits allow */
	bool finished_received;
	bool broken;			/* the SAN connection is gone; error says how */
	bool lost;			/* bytes were sent to a peer that had closed and gone */
	bool reset_sent;
	int error;			/* errno of the break, 0 while whole or after an orderly end */
	bool refused;			/* the provider takes no requests: what it received comes first */

	/* Receiving. */
	struct message *posted_first, *posted_last;
	struct message *unseen;		/* the first posted one that was not taken ahead */
	uint32_t ahead;			/* messages taken ahead and not complete yet: see sealed.h */
	struct chunk *chunks_first, *chunks_last;
	struct message *spent;		/* to be posted again, which the peer is owed a credit for */
	uint32_t spent_count;
	struct message *reserve;	/* buffers not posted: more than the peer may use */
	uint64_t received;		/* stream bytes announced so far */
	uint64_t readable;		/* bytes in chunks */
	size_t spilled;			/* bytes held in spills */
	uint32_t credits_granted;	/* what HELLO told the peer */
	uint32_t credits_owed;		/* consumed, posted again, not yet told */
	uint32_t credits_peer;		/* the peer's unused ones as far as we know */
	uint64_t messages_received, messages_posted;
	uint32_t full_messages;		/* received with no room left: a sign to post larger ones */
	bool receiving;			/* a thread moves RDMA data to the application */
	bool buffers_grown, want_buffers;
	uint64_t buffers_first;
	uint32_t buffers_size;		/* of the larger ones, from that message on */

	/* Sending. */
	struct message *sending_first, *sending_last;
	struct message *free;
	struct message *open;		/* filled but not sent: more may be appended */
	uint32_t sending;		/* messages with the provider, which may still read them */
	uint32_t send_size;		/* smallest buffer that returns to `free` */
	uint64_t sent;			/* stream bytes given out */
	uint64_t taken;			/* signs that the peer takes what we send */
	bool exclusive;			/* a thread waits for its advertisement, the stream's last part */
	uint32_t copied_most;		/* messages up to this size the provider copies at once */
	uint32_t credits, credits_total;
	bool collect;			/* small sends may wait for others: no TCP_NODELAY */
	uint64_t messages_sent;
	uint32_t peer_message_size;	/* of the buffers that messages meet now */
	uint64_t peer_larger_first;	/* from this message on they are larger */
	uint32_t peer_larger_size;	/* 0: no change announced */
	uint32_t next_id;
	size_t staged;			/* bytes in staged advertisements */
	bool large_refused;		/* a large send found no room: not writable until there may be */

	struct transfer *transfers;
	uint64_t generation;		/* grows with every message, completion and change */
	bool guarded;			/* the switch thread sleeps on it, armed for solicited events */
	uint32_t sleepers;		/* threads inside session_sleep */
	int64_t poll_time;		/* how long session_sleep polls, in nanoseconds */
	uint64_t activity, receives;	/* calls of the application: tell the switch thread who is idle */

	/* Large data and memory. Behind what every message touches. */
	struct incoming incoming[ADVERTISEMENTS_MAX];
	struct outgoing outgoing[ADVERTISEMENTS_MAX];
	uint32_t control_first, control_count;	/* DONEs that wait for a credit */
	struct { uint8_t flags; uint32_t id; uint64_t count; } control[2 * ADVERTISEMENTS_MAX];
	struct spill *spare;
	bool spill_refused;		/* said so in the log */
	struct message_pool *pools;
};

/*
 * Has the peer closed in order and gone? That is TCP's CLOSE_WAIT: the program is
 * not to notice before it sends, and not even by the first send, whose bytes TCP
 * takes too before the refusal is back.
 */
static inline bool session_deserted(const struct session *session)
{
	return session->broken && session->finished_received && !session->finished_sent &&
	       !session->lost;
}

/*
 * How long a peer may keep memory of a program that wants out of its call, in nanoseconds;
 * then the connection ends, and the peer's access with it.
 */
static inline int64_t session_answer_patience(void)
{
	return (int64_t)setting_number(SETTING_send_patience) * 20 * 1000000;
}

/* ---- life: session.c ---- */

/*
 * Takes over a companion that is being connected or was just accepted, and
 * posts its receive buffers. 0 or -errno (the companion stays the caller's).
 */
int session_open(struct session *session, struct provider *provider, SOCKET companion);
/* Sends our HELLO. 0 or -errno. */
int session_hello(struct session *session);
/* Closes the companion and frees everything. Nothing of it may be in use by a thread. */
void session_close(struct session *session);

/* ---- moving forward: session.c ---- */

/*
 * Polls the provider, up to @looks times until something is complete, handles completed
 * messages, sends what waited for credits. Returns true if anything changed. Never blocks.
 */
bool session_progress(struct session *session, unsigned int looks);
/*
 * The same for who has just sent: completes what was taken ahead, and nothing else, for which
 * there will be a look.
 */
void session_progress_ahead(struct session *session);

/* Sends the open message even if it could hold more. */
void session_flush_open(struct session *session);

/* Bytes that fit a composed message in all: what it and the peer's buffer hold. */
static inline uint32_t session_message_limit(const struct session *session,
					     const struct message *message)
{
	uint32_t limit = session->peer_message_size;

	return limit < message->size ? limit : message->size;
}

/*
 * May a stream byte be accepted for sending now? One message may be filled without a
 * credit: it goes out with the next. So a stream of small sends that waits for credits
 * fills messages meanwhile.
 */
static inline bool session_writable(const struct session *session)
{
	if (session->large_refused)
		return false;
	if (session->open)
		return session->open->end < session_message_limit(session, session->open) ||
		       session->credits > CREDITS_CONTROL;
	return session->free;
}

#define COLLECT_BEHIND	2	/* messages with the provider that make small sends collect */

/*
 * Shall small sends wait for others? While larger messages are on their way, and while half
 * of the credits are not back: then the peer is behind, and will return some as soon
 * as it is not. Unless the program asked for no delay, a few that are not back
 * suffice (Nagle's rule, with credits for acknowledgements).
 */
static inline bool session_collects(const struct session *session)
{
	uint32_t unreturned = session->credits_total - session->credits;

	return session->sending >= COLLECT_BEHIND || unreturned * 2 >= session->credits_total ||
	       (session->collect && unreturned >= COLLECT_BEHIND);
}

/* Must the peer be told of its credits now, by a message of their own if need be? */
static inline bool session_credits_due(const struct session *session)
{
	uint32_t due = session->credits_owed + session->spent_count;

	return due * 2 >= session->credits_granted || (due && !session->credits_peer);
}

/* For session_flush(). */
void session_flush_waiting(struct session *session);

/* Sends what should not wait any longer, as far as credits go. */
static inline void session_flush(struct session *session)
{
	if (session->open || session->control_count || session->want_buffers ||
	    session->want_finish || session_credits_due(session))
		session_flush_waiting(session);
}

/* Is anything of ours not yet with the peer (messages, staged data, FIN)? */
bool session_draining(const struct session *session);

/* The header, but for what session_transmit() and its like fill in. */
static inline struct message_header session_header(enum message_type type, uint8_t flags,
						   uint64_t position)
{
	return (struct message_header){
		.type = (uint8_t)type, .flags = flags, .position = htole32((uint32_t)position),
	};
}

/*
 * Starts a message in a free send buffer: header in place, end behind it. The
 * caller owns it until session_transmit(). NULL: no buffer is free now.
 */
struct message *session_compose(struct session *session, enum message_type type, uint8_t flags,
				uint64_t position);
/* A free send buffer as such; NULL: none now. */
static inline struct message *session_free_pop(struct session *session)
{
	struct message *message = session->free;

	if (message)
		session->free = message->next;
	return message;
}

/* Smaller ones retire once larger ones are there; their pool is freed at the end. */
static inline void session_free_push(struct session *session, struct message *message)
{
	if (message->size < session->send_size)
		return;
	message->next = session->free;
	session->free = message;
}

/*
 * Gives the message (header in place, begin 0, end set) to the provider, with the flags of
 * WSPSend. Takes it over.
 */
void session_transmit(struct session *session, struct message *message, DWORD flags);
/* The same for DATA, which takes one of the credits beyond CREDITS_CONTROL. */
void session_transmit_data(struct session *session, struct message *message);
/*
 * The same for DATA of session->copied_most bytes at most, from anywhere in memory: @pieces, of
 * which the first begins with the header, credits and all. False: nothing was sent, it must go
 * the way above. It is over with this: only the FIN behind it tells when the peer has it.
 */
bool session_transmit_copied(struct session *session, const WSABUF *pieces, DWORD count);
/* Sends a message with a body, which costs a credit. -EAGAIN: no credit or buffer now. */
int session_send_control(struct session *session, enum message_type type, uint8_t flags,
			 uint64_t position, const void *body, uint32_t length, bool data);
/* Like it for DONE: waits in a queue if it must. */
void session_done(struct session *session, uint8_t flags, uint32_t id, uint64_t count);

/* Ends the connection: tells the peer if it can, wakes everyone. */
void session_reset(struct session *session, int error);
/* Closes the sending direction; FIN goes out when the credits allow. */
void session_finish(struct session *session);

/* The peer gives these back. False: there are not so many, and none was taken. */
static inline bool session_credits_arrive(struct session *session, uint32_t credits)
{
	if (session->credits + credits > session->credits_total)
		return false;
	session->credits += credits;
	if (credits) {
		session->taken++;
		session->large_refused = false;
	}
	return true;
}

/* The message was dealt with: its buffer will be posted again, and the peer be given a credit. */
static inline void session_spent(struct session *session, struct message *message)
{
	message->next = session->spent;
	session->spent = message;
	session->spent_count++;
}

/* Posts the spent buffers: for a thread that has the time. */
void session_post_spent(struct session *session);
/* Removes the first chunk; its owner frees it. */
static inline void session_chunk_pop(struct session *session)
{
	session->chunks_first = session->chunks_first->next;
	if (!session->chunks_first)
		session->chunks_last = NULL;
}

/* Puts bytes of @advertised that were moved here in front of it. */
void session_chunk_insert(struct session *session, struct chunk *chunk, struct chunk *advertised);
/* The advertisement is over: tells the peer unless its own DONE did. */
void session_incoming_end(struct session *session, struct incoming *incoming);

/*
 * If the peer is out of credits for data because its messages are not read: moves
 * them to a receive buffer, up to its limit, and posts their buffers again. For
 * threads that know that nobody receives just now.
 */
void session_spill_messages(struct session *session);

/* Registered memory of at least size bytes, reused where possible; NULL: none to be had. */
struct spill *session_spill_get(struct session *session, size_t size);
/* Memory that is not registered (no handle), for when none can be: only we can fill it. */
struct spill *session_spill_plain(size_t size);
void session_spill_put(struct session *session, struct spill *spill);
/* The same, never to be used again. */
void session_spill_free(struct session *session, struct spill *spill);

/*
 * Moves length bytes between registered memory and the peer's descriptor, and
 * waits for it. Drops the lock while it waits. 0 or -errno (then the connection
 * is broken).
 */
int session_rdma(struct socket *socket, bool write, HANDLE handle, uint8_t *address,
		 uint64_t length, const uint8_t *descriptor, uint32_t descriptor_length,
		 uint64_t offset);

/*
 * Sleeps until something changed, the deadline (CLOCK_MONOTONIC nanoseconds, or
 * -1) passes or, if interruptible, a signal arrives. Polls first for the time
 * the settings say. Called and returns with the lock held. A cancellation point, unless the
 * caller has set the socket's cancel_state otherwise. 0, -ETIMEDOUT, -EINTR.
 */
int session_sleep(struct socket *socket, int64_t deadline, bool interruptible);

/*
 * The same, interruptible, for who has nothing yet and room in a writable buffer: takes a
 * sealed message there when it sees one. *taken is its size or 0.
 */
int session_sleep_receiving(struct socket *socket, int64_t deadline, const struct iovec *buffer,
			    size_t *taken);

#endif
