/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mutex for the locks that every message and every use of a registration takes.
 * Uncontended it is one atomic instruction each way, in the caller's code, where pthread's is
 * a call that looks at the mutex's kind, owner and robustness first. It sleeps as pthread's
 * does, in the kernel. All other locks are pthread's.
 *
 * Invariant: a thread sleeps only while the word is LIGHT_LOCK_AWAITED, and whoever finds that
 * word when letting go wakes one. A thread that has slept takes the lock with that word again,
 * since there may be more sleepers; so some wake-ups are for nobody, but none is missing.
 *
 * Private to a process. Letting go may wake for memory that is freed by then, which wakes
 * nobody or, spuriously, one who sleeps on something else there: as with pthread's.
 */
#ifndef WSD_BASE_LIGHT_LOCK_H
#define WSD_BASE_LIGHT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

/* ThreadSanitizer is told that these are locks: it watches the order in which they are taken. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define LIGHT_LOCK_SAY(what, ...) __tsan_mutex_##what(__VA_ARGS__)
#else
#define LIGHT_LOCK_SAY(what, ...)
#endif

enum { LIGHT_LOCK_FREE, LIGHT_LOCK_TAKEN, LIGHT_LOCK_AWAITED };

/* Zeroed it is free. */
struct light_lock {
	atomic_int word;
};

/* For those below. */
void light_lock_wait(struct light_lock *lock);
void light_lock_wake(struct light_lock *lock);

static inline void light_lock_init(struct light_lock *lock)
{
	atomic_init(&lock->word, LIGHT_LOCK_FREE);
}

static inline bool light_lock_swap(struct light_lock *lock)
{
	int free = LIGHT_LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&lock->word, &free, LIGHT_LOCK_TAKEN,
						       memory_order_acquire, memory_order_relaxed);
}

/* False if somebody has it. */
static inline bool light_lock_try(struct light_lock *lock)
{
	bool taken;

	LIGHT_LOCK_SAY(pre_lock, lock, __tsan_mutex_try_lock);
	taken = light_lock_swap(lock);
	LIGHT_LOCK_SAY(post_lock, lock, __tsan_mutex_try_lock |
		       (taken ? 0 : __tsan_mutex_try_lock_failed), 0);
	return taken;
}

static inline void light_lock_acquire(struct light_lock *lock)
{
	LIGHT_LOCK_SAY(pre_lock, lock, 0);
	if (!light_lock_swap(lock))
		light_lock_wait(lock);
	LIGHT_LOCK_SAY(post_lock, lock, 0, 0);
}

static inline void light_lock_release(struct light_lock *lock)
{
	int word;

	LIGHT_LOCK_SAY(pre_unlock, lock, 0);
	word = atomic_exchange_explicit(&lock->word, LIGHT_LOCK_FREE, memory_order_release);
	LIGHT_LOCK_SAY(post_unlock, lock, 0);
	if (word == LIGHT_LOCK_AWAITED)
		light_lock_wake(lock);
}

#endif
