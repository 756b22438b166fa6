/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading the clock, and making a figure of many times. */
#ifndef WSD_BENCH_FIGURES_H
#define WSD_BENCH_FIGURES_H

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

/* Nanoseconds. */
static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static inline int figures_compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

/*
 * The value that this share of all is below; sorts; 0 of none. Other programs disturb some of
 * many times, hence never their mean.
 */
static inline double quantile(double *values, size_t count, double share)
{
	if (count == 0)
		return 0;
	qsort(values, count, sizeof(*values), figures_compare);
	return values[(size_t)((double)count * share)];
}

static inline double median(double *values, size_t count)
{
	return quantile(values, count, 0.5);
}

#endif
