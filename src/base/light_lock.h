/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mutex for the locks that every message takes, of which there are four. Uncontended it
 * is one atomic instruction each way, in the caller's code, where pthread's is a call that
 * looks at the mutex's kind, owner and robustness first. It sleeps as pthread's does, in
 * the kernel. All other locks are pthread's.
 *
 * Invariant: a thread sleeps only while the word is LIGHT_LOCK_AWAITED, and who finds that
 * word when he lets the lock go wakes one. A thread that has slept takes the lock with that word
 * again, since there may be more of them; so some wake-ups are for nobody, but none is missing.
 *
 * Private to a process. Who lets it go may wake for memory that is freed by then, which
 * wakes nobody or, spuriously, one who sleeps on something else there: as with pthread's.
 */
#ifndef WSD_BASE_LIGHT_LOCK_H
#define WSD_BASE_LIGHT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

enum { LIGHT_LOCK_FREE, LIGHT_LOCK_TAKEN, LIGHT_LOCK_AWAITED };

/* Zeroed it is free. */
struct light_lock {
	atomic_int word;
};

/* For the two below. */
void light_lock_wait(struct light_lock *lock);
void light_lock_wake(struct light_lock *lock);

static inline void light_lock_init(struct light_lock *lock)
{
	atomic_init(&lock->word, LIGHT_LOCK_FREE);
}

/* False if somebody has it. */
static inline bool light_lock_try(struct light_lock *lock)
{
	int free = LIGHT_LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&lock->word, &free, LIGHT_LOCK_TAKEN,
						       memory_order_acquire, memory_order_relaxed);
}

static inline void light_lock_acquire(struct light_lock *lock)
{
	if (!light_lock_try(lock))
		light_lock_wait(lock);
}

static inline void light_lock_release(struct light_lock *lock)
{
	if (atomic_exchange_explicit(&lock->word, LIGHT_LOCK_FREE, memory_order_release) ==
	    LIGHT_LOCK_AWAITED)
		light_lock_wake(lock);
}

#endif
