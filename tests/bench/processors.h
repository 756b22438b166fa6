/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a thread runs while it is timed: two threads are not to share a processor, and what is
 * compared is to run on the same one, for one may be slower than another.
 */
#ifndef WSD_BENCH_PROCESSORS_H
#define WSD_BENCH_PROCESSORS_H

#include <sched.h>

/* This thread on the @which-th of @all processors. */
static inline void processors_stay(const cpu_set_t *all, unsigned which)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	which %= (unsigned)CPU_COUNT(all);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, all) && which-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

#endif
