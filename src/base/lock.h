/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A light lock whose rules clang checks (-Wthread-safety): functions say which lock
 * they need or must not hold. gcc compiles the same code without the checks.
 */
#ifndef WSD_BASE_LOCK_H
#define WSD_BASE_LOCK_H

#include "light_lock.h"

#if defined(__clang__)
#define LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define LOCK_ATTRIBUTE(x)
#endif

/* At the end of a prototype, where the parameters have their names. */
#define NEEDS_LOCK(lock)	LOCK_ATTRIBUTE(requires_capability(lock))
#define LEAVES_LOCK(lock)	LOCK_ATTRIBUTE(locks_excluded(lock))
/*
 * On a member. For the reader only: in C, clang before 19 cannot name another
 * member of the same structure in an attribute.
 */
#define GUARDED_BY(lock)

struct LOCK_ATTRIBUTE(capability("mutex")) lock {
	struct light_lock light;
};

static inline void lock_init(struct lock *lock)
{
	light_lock_init(&lock->light);
}

/* The bodies are not checked: a light lock says nothing to the checker. */
static inline void lock_acquire(struct lock *lock)
	LOCK_ATTRIBUTE(acquire_capability(*lock)) LOCK_ATTRIBUTE(no_thread_safety_analysis);
static inline void lock_release(struct lock *lock)
	LOCK_ATTRIBUTE(release_capability(*lock)) LOCK_ATTRIBUTE(no_thread_safety_analysis);

static inline void lock_acquire(struct lock *lock)
{
	light_lock_acquire(&lock->light);
}

static inline void lock_release(struct lock *lock)
{
	light_lock_release(&lock->light);
}

#endif
