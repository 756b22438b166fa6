/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a thread passes the short time before it sleeps, in the hope that what it
 * waits for comes first: setting `poll_time`, but never beyond its deadline.
 */
#ifndef WSD_SWITCH_SPINNER_H
#define WSD_SWITCH_SPINNER_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/sysinfo.h>

#include "settings.h"
#include "waiter.h"

struct spinner {
	int64_t until;
	unsigned int rounds;
};

/* deadline: CLOCK_MONOTONIC nanoseconds or -1. */
static inline void spinner_start(struct spinner *spinner, int64_t deadline)
{
	spinner->until = clock_now() + (int64_t)setting_number(SETTING_poll_time) * 1000;
	if (deadline >= 0 && deadline < spinner->until)
		spinner->until = deadline;
	spinner->rounds = 0;
}

/* Waits a moment; false when the time is over. */
static inline bool spinner_again(struct spinner *spinner)
{
	static atomic_int processors;

	if (!processors)
		processors = get_nprocs();
	spinner->rounds++;
	/* Whoever is to bring it about may need this processor. */
	if (processors <= 4)
		sched_yield();
	else
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
	return clock_now() < spinner->until;
}

#endif
