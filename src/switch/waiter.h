/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calling thread's waiter (see socket.h, readiness) and the clock that
 * deadlines are in.
 */
#ifndef WSD_SWITCH_WAITER_H
#define WSD_SWITCH_WAITER_H

#include <stdint.h>

#include "socket.h"

/*
 * This thread's waiter; made at the first call, closed when the thread ends.
 * NULL if no descriptor could be had.
 */
struct waiter *waiter_self(void);
bool waiter_is_self(const struct waiter *waiter);
/* After fork, in the child. */
void waiter_forked(void);
/* Reads the wake descriptor empty. */
void waiter_clear(struct waiter *waiter);
/* Writes it. Any thread. */
void waiter_wake(struct waiter *waiter);

/*
 * For the socket: wakes the owner of the link if it is armed. The caller keeps
 * the link from being removed meanwhile; any other lock may be held. Call it
 * after the change is visible to socket_poll() (a lock in common is enough): the
 * owner arms first and looks afterwards, so one of the two sees the other.
 */
static inline void waiter_link_wake(struct waiter_link *link)
{
	struct waiter *waiter = link->waiter;
	int armed = LINK_ARMED;

	if (atomic_load(&link->armed) != LINK_ARMED ||
	    !atomic_compare_exchange_strong(&link->armed, &armed, LINK_WOKEN))
		return;
	link->woken_next = atomic_load(&waiter->woken);
	while (!atomic_compare_exchange_weak(&waiter->woken, &link->woken_next, link))
		;
	waiter_wake(waiter);
}

/* For the owner. False: it was woken and has not been taken off the list. */
static inline bool waiter_link_arm(struct waiter_link *link)
{
	int idle = LINK_IDLE;

	return atomic_compare_exchange_strong(&link->armed, &idle, LINK_ARMED) ||
	       idle == LINK_ARMED;
}

static inline void waiter_link_disarm(struct waiter_link *link)
{
	int armed = LINK_ARMED;

	atomic_compare_exchange_strong(&link->armed, &armed, LINK_IDLE);
}

/* For an owner who has taken the whole list `woken`: the link is off it. */
static inline void waiter_link_taken(struct waiter_link *link)
{
	atomic_store(&link->armed, LINK_IDLE);
}

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t clock_now(void);

#endif
