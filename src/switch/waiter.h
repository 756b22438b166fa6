/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleepers and who wakes them; and the clock that deadlines are in.
 *
 * A waiter is who sleeps: a thread, or an epoll set for all that sleep on it. A list holds
 * the waiters of one socket, by links, since a waiter may be on many.
 *
 * The owner of a link arms it, looks at the socket, and sleeps. The socket wakes its list at
 * every change, whichever thread makes it: that wakes an armed link once and costs one load
 * otherwise, and tells the owner of many links which one it was.
 */
#ifndef WSD_SWITCH_WAITER_H
#define WSD_SWITCH_WAITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct waiter {
	int wake;				/* an eventfd, nonblocking and hidden; read to clear it */
	_Atomic(struct waiter_link *) woken;	/* newest first; the owner takes them all at once */
	atomic_int inside;			/* threads in a call that may sleep; of a thread's, 1 */
	atomic_uint calls;			/* such calls of a set so far */
};

/* On the list of the woken (or about to be) a link is not armed again: it stands there once. */
enum { LINK_IDLE, LINK_ARMED, LINK_WOKEN };

/* A waiter's place on one list; embedded by the owner, who removes it before freeing it. */
struct waiter_link {
	struct waiter *waiter;
	struct waiter_link *next, *previous;	/* the list's */
	atomic_int armed;			/* LINK_*; zeroed at first */
	struct waiter_link *woken_next;		/* written by who woke it */
};

struct waiter_list {
	pthread_mutex_t lock;			/* no other is taken under it */
	struct waiter_link *_Atomic first;
};

/*
 * This thread's waiter; made at the first call, closed when the thread ends.
 * NULL if no descriptor could be had.
 */
struct waiter *waiter_self(void);
/* After fork, in the child. */
void waiter_forked(void);
/* Reads the wake descriptor empty. */
void waiter_clear(struct waiter *waiter);
/* Writes it. Any thread. */
void waiter_wake(struct waiter *waiter);

/* An empty list; also in a child, whose parent's waiters are not there. */
void waiter_list_init(struct waiter_list *list);
void waiter_list_destroy(struct waiter_list *list);
void waiter_list_add(struct waiter_list *list, struct waiter_link *link, struct waiter *waiter);
void waiter_list_remove(struct waiter_list *list, struct waiter_link *link);
/* Is a link of it armed, or woken and not yet taken off the woken? */
bool waiter_list_armed(struct waiter_list *list);
/*
 * Is a thread in a call that waits for it? *calls is a number that differs from an earlier one
 * if there have been such calls since; not so if they did not have to sleep for it.
 */
bool waiter_list_attended(struct waiter_list *list, unsigned int *calls);
/* For waiter_list_wake(). */
void waiter_list_wake_armed(struct waiter_list *list);

static inline bool waiter_list_empty(struct waiter_list *list)
{
	return !atomic_load(&list->first);
}

/*
 * Wakes the owners of armed links, but for the calling thread, which sees what it does itself.
 * Any lock may be held. Call it after the change is visible to socket_poll() (a lock in common
 * is enough): the owner arms first and looks afterwards, so one of the two sees the other.
 */
static inline void waiter_list_wake(struct waiter_list *list)
{
	if (!waiter_list_empty(list))
		waiter_list_wake_armed(list);
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
