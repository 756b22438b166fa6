/* SPDX-License-Identifier: BSD-2-Clause */
/* The cost of using buffers that are registered already, in one thread and in two. */
#ifndef WSD_BENCH_HITS_H
#define WSD_BENCH_HITS_H

#include <stddef.h>

/*
 * Nanoseconds of getting and putting one of the first @regions buffers, chosen at random,
 * from byte @offset on. Ends the program if the device saw a registration.
 */
double hits_measure(unsigned regions, size_t offset);

/*
 * Hits per second of two threads at once, each in its half of the buffers (or both in the
 * only one), in units of those of one thread in one half. 0: the threads had no processors
 * at the same time for long enough to tell.
 */
double hits_measure_two(unsigned regions);

#endif
