/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that are cancelled must not leave a lock of the switch's behind. Two ways:
 *
 *  - It is forbidden while a lock is held, and allowed again where the thread sleeps.
 *  - In the two calls that every message takes, to forbid and to allow again would cost more
 *    than the locks do: two calls and two atomic instructions. There the thread is `plain`
 *    instead: nothing that it calls is a cancellation point but write(), read() and close()
 *    of drivers below the provider, and of those the preload library's wrappers make system
 *    calls that are none. Who is about to sleep, or to start with large data, forbids.
 *
 * Who may be cancelled anywhere (PTHREAD_CANCEL_ASYNCHRONOUS) always takes the first way. POSIX
 * lets such a thread call hardly anything, but programs do that around a recv().
 */
#ifndef WSD_SWITCH_CANCELLATION_H
#define WSD_SWITCH_CANCELLATION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/*
 * Of this thread alone. A signal handler that meets it plain writes by plain system calls, too,
 * and may itself send on another connection meanwhile: hence a count.
 */
extern __thread struct cancellation {
	unsigned int plain;
	bool anywhere;			/* written by the wrapper of pthread_setcanceltype() */
} cancellation __attribute__((tls_model("initial-exec")));

/* Has anybody been cancelled? Written by the wrapper of pthread_cancel(). */
extern atomic_bool cancellation_used;

/*
 * pthread_testcancel(), which most programs never need: to ask libc costs as much as a lock.
 * Whoever cancelled this thread and then told it of that has also told it of the flag.
 */
static inline void cancellation_point(void)
{
	if (atomic_load_explicit(&cancellation_used, memory_order_relaxed))
		pthread_testcancel();
}

/* As pthread's states: not forbidden, so there is nothing to restore. */
#define CANCELLATION_PLAIN	(-1)

#endif
