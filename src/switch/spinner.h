/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a thread passes the short time before it sleeps, in the hope that what it
 * waits for comes first, and how long that is: setting `poll_time` at first, then what the
 * sleeps before have taught, but never beyond its deadline.
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

/* A poll time grows to this many times the setting. */
#define POLL_GROWTH_MOST	20

struct spinner {
	int64_t started, until;
	unsigned int rounds;
};

/* The setting, in nanoseconds. */
static inline int64_t poll_time_least(void)
{
	return (int64_t)setting_number(SETTING_poll_time) * 1000;
}

/*
 * What to poll next, after polling for @poll_time and then a sleep, @waited in all: twice what
 * it took if polling a bit longer would have spared the sleep, up to @most; half as long, but
 * never less than the setting says, if the wait was long or in vain. So who waits for a program
 * soon burns no processor, and one wait that was long by chance does not unlearn what many taught.
 */
static inline int64_t poll_time_learn(int64_t poll_time, int64_t waited, bool in_vain, int64_t most)
{
	int64_t least = poll_time_least();
	int64_t longer = 2 * (waited > poll_time ? waited : poll_time);

	if (in_vain || waited > most)
		return poll_time / 2 > least ? poll_time / 2 : least;
	if (poll_time >= most)
		return poll_time;
	return longer < most ? longer : most;
}

/* deadline: CLOCK_MONOTONIC nanoseconds or -1. */
static inline void spinner_start(struct spinner *spinner, int64_t poll_time, int64_t deadline)
{
	spinner->started = clock_now();
	spinner->until = spinner->started + poll_time;
	if (deadline >= 0 && deadline < spinner->until)
		spinner->until = deadline;
	spinner->rounds = 0;
}

/* Polling was not enough, and the sleep after it is over: the next poll time. */
static inline int64_t spinner_learn(const struct spinner *spinner, int64_t poll_time, bool in_vain)
{
	return poll_time_learn(poll_time, clock_now() - spinner->started, in_vain,
			       poll_time_least() * POLL_GROWTH_MOST);
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
