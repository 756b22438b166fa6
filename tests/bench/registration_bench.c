// SPDX-License-Identifier: BSD-2-Clause
/*
 * What it costs to have buffers registered, with 1, 100 and 10,000 of them cached: a hit,
 * a miss, a change of a buffer's mapping and what follows from it, and the munmap of other
 * memory. How they are registered is what it is linked with (registrar.h).
 *
 * Prints a line for each figure: what, regions, value, unit, with tabs between them.
 *
 * usage: registration_NAME THREADS [DEVICE]
 *
 * With one thread or with two: not both in one process, because of one whose threads were on
 * several processors these hear of every munmap, for a while.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "buffers.h"
#include "figures.h"
#include "hits.h"
#include "registrar.h"
#include "unrelated.h"

#define SETTLE_TIME 1e9		/* after which a stale registration will not go any more */

static pthread_barrier_t start_line;

struct operator {
	pthread_t thread;
	unsigned first;		/* of OPERATIONS buffers */
	double miss[OPERATIONS];
	double change[OPERATIONS];
	double settle[OPERATIONS];
	unsigned unsettled;
};

static void get_and_put(unsigned n)
{
	void *held;

	must(registrar_get(buffer_at(n), buffer_size(), &held), "registering");
	registrar_put(held);
}

static double time_use(unsigned n)
{
	double start = now();

	get_and_put(n);
	return now() - start;
}

static double time_change(unsigned n)
{
	double start = now();
	double time;

	munmap(buffer_at(n), buffer_size());
	time = now() - start;
	buffer_map_again(n);
	return time;
}

/* Until the device has been told. */
static double time_settle(struct operator *self, unsigned n, unsigned given_back)
{
	double start = now();

	while (times_given_back(n) == given_back) {
		registrar_settle(buffer_at(n), buffer_size());
		if (now() - start > SETTLE_TIME) {
			self->unsettled++;
			break;
		}
	}
	return now() - start;
}

/* Makes sure that the next use of the buffer is a miss. */
static void forget(unsigned n)
{
	if (times_registered(n) == times_given_back(n))
		return;
	munmap(buffer_at(n), buffer_size());
	buffer_map_again(n);
}

static void *operator_run(void *argument)
{
	struct operator *self = argument;

	for (unsigned i = 0; i < OPERATIONS; i++)
		forget(self->first + i);
	pthread_barrier_wait(&start_line);
	for (unsigned i = 0; i < OPERATIONS; i++)
		self->miss[i] = time_use(self->first + i);
	pthread_barrier_wait(&start_line);
	for (unsigned i = 0; registrar_caches && i < OPERATIONS; i++) {
		unsigned given_back = times_given_back(self->first + i);

		self->change[i] = time_change(self->first + i);
		self->settle[i] = time_settle(self, self->first + i, given_back);
		/* One that is never given back is so every time: that is known by now. */
		if (self->unsettled > 2)
			break;
	}
	return NULL;
}

/* Puts all threads' times together. */
static double median_of(const struct operator *operators, unsigned threads, size_t member)
{
	double all[MOST_THREADS * OPERATIONS];

	for (unsigned i = 0; i < threads; i++) {
		const double *times = (const double *)((const char *)&operators[i] + member);

		for (unsigned k = 0; k < OPERATIONS; k++)
			all[i * OPERATIONS + k] = times[k];
	}
	return median(all, threads * (size_t)OPERATIONS);
}

static void print(const char *what, unsigned threads, unsigned regions, double value,
		  const char *unit)
{
	printf("%s%s\t%u\t%.4g\t%s\n", what, threads == 2 ? ", 2 threads" : "", regions, value,
	       unit);
	fflush(stdout);
}

/* Operations that are long enough to be timed one by one. */
static void measure_single(unsigned regions, unsigned threads)
{
	static struct operator operators[MOST_THREADS];
	unsigned registered = 0;
	unsigned unsettled = 0;

	pthread_barrier_init(&start_line, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		operators[i] = (struct operator){ .first = MOST_REGIONS + i * OPERATIONS };
		for (unsigned k = 0; k < OPERATIONS; k++)
			registered -= times_registered(operators[i].first + k);
	}
	for (unsigned i = 1; i < threads; i++)
		must(-pthread_create(&operators[i].thread, NULL, operator_run, &operators[i]),
		     "thread");
	operator_run(&operators[0]);
	for (unsigned i = 0; i < threads; i++) {
		if (i > 0)
			pthread_join(operators[i].thread, NULL);
		unsettled += operators[i].unsettled;
		for (unsigned k = 0; k < OPERATIONS; k++)
			registered += times_registered(operators[i].first + k);
	}
	pthread_barrier_destroy(&start_line);
	if (registered < threads * OPERATIONS) {
		fprintf(stderr, "%u misses made %u registrations\n", threads * OPERATIONS,
			registered);
		exit(EXIT_FAILURE);
	}
	print(registrar_caches ? "miss" : "use", threads, regions,
	      median_of(operators, threads, offsetof(struct operator, miss)) / 1e3, "us");
	if (!registrar_caches)
		return;
	if (unsettled > 0) {
		fprintf(stderr, "registrations of changed mappings were kept\n");
		return;
	}
	if (registrar_watches)
		print("changing munmap", threads, regions,
		      median_of(operators, threads, offsetof(struct operator, change)) / 1e3,
		      "us");
	print("invalidation", threads, regions,
	      median_of(operators, threads, offsetof(struct operator, settle)) / 1e3, "us");
}

/* How this process compared with the other before anything watched it. */
static double unrelated_before;

static void compare_before(unsigned threads)
{
	double there;
	double here;

	/* The first time is for warming up. */
	unrelated_measure(threads, &there);
	here = unrelated_measure(threads, &there);
	unrelated_before = here / there;
}

static void measure_unrelated(unsigned regions, unsigned threads)
{
	double there;
	double here = unrelated_measure(threads, &there);

	print("unrelated munmap", threads, regions, here / 1e3, "us");
	print("unrelated munmap beside none", threads, regions, here / there / unrelated_before,
	      "times");
}

static void measure_hits(unsigned regions, unsigned threads)
{
	double two;

	if (threads == 1) {
		print("hit", 1, regions, hits_measure(regions, 0), "ns");
		print("hit inside", 1, regions,
		      hits_measure(regions, buffer_size() / BUFFER_PAGES), "ns");
		return;
	}
	two = hits_measure_two(regions);
	if (two > 0)
		print("hits", 2, regions, two, "times");
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = { 1, 100, MOST_REGIONS };
	unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned cached = 0;

	if (argc > 3 || threads < 1 || threads > MOST_THREADS) {
		fprintf(stderr, "usage: %s THREADS [DEVICE]\n", argv[0]);
		return EXIT_FAILURE;
	}
	buffers_map();
	unrelated_start();
	if (registrar_watches)
		compare_before(threads);
	registrar_open(argc == 3 ? argv[2] : "rxe0");
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (; registrar_caches && cached < counts[i]; cached++)
			get_and_put(cached);
		measure_single(counts[i], threads);
		if (!registrar_caches)
			break;
		if (registrar_watches)
			measure_unrelated(counts[i], threads);
		measure_hits(counts[i], threads);
	}
	unrelated_stop();
	/* What is registered goes with the process: giving it back one by one takes long. */
	_Exit(EXIT_SUCCESS);
}
