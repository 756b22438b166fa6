// SPDX-License-Identifier: BSD-2-Clause
/*
 * Hits are timed by the clock, in batches of some 200 us, of which the median counts: a
 * machine that does other things takes the processor away for longer and more seldom.
 *
 * With two threads a batch counts if the other thread was at work all the while, that is,
 * if none of its batches around that time took ten times as long as one would alone. So
 * waiting for each other counts, and waiting for a processor does not.
 */
#include "hits.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "buffers.h"
#include "figures.h"
#include "registrar.h"

#define ORDER_LENGTH	(1u << 15)
#define BATCH_TIME	2e5	/* ns */
#define MOST_BATCHES	20000
#define FEWEST_BATCHES	32	/* that make a figure of two threads */
#define DISTURBED	10

struct batch {
	double start, end;
};

struct hitter {
	pthread_t thread;
	unsigned processor;
	unsigned from, to;	/* buffers */
	size_t offset;
	unsigned hits;		/* of a batch */
	double duration;	/* of the measurement */
	uint32_t *order;
	struct batch *batches;
	unsigned count;
};

static pthread_barrier_t start_line;

static void hit(unsigned n, size_t offset)
{
	void *held;

	must(registrar_get(buffer_at(n) + offset, buffer_size() - offset, &held), "hit");
	registrar_put(held);
}

static void hitter_prepare(struct hitter *hitter)
{
	uint32_t state = 1 + hitter->from;

	hitter->order = malloc(ORDER_LENGTH * sizeof(*hitter->order));
	hitter->batches = malloc(MOST_BATCHES * sizeof(*hitter->batches));
	if (!hitter->order || !hitter->batches)
		must(-ENOMEM, "hits");
	for (unsigned i = 0; i < ORDER_LENGTH; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		hitter->order[i] = hitter->from + state % (hitter->to - hitter->from);
	}
}

static void hitter_free(struct hitter *hitter)
{
	free(hitter->order);
	free(hitter->batches);
}

/* On the @which-th of those the program may have: two threads are not to share one. */
static void stay_on_processor(unsigned which)
{
	cpu_set_t all;
	cpu_set_t one;

	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	which %= (unsigned)CPU_COUNT(&all);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && which-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void *hitter_run(void *argument)
{
	struct hitter *hitter = argument;
	unsigned at = 0;
	double end;

	stay_on_processor(hitter->processor);

	for (unsigned n = hitter->from; n < hitter->to; n++)
		hit(n, hitter->offset);
	pthread_barrier_wait(&start_line);
	end = now() + hitter->duration;
	for (hitter->count = 0; hitter->count < MOST_BATCHES; hitter->count++) {
		struct batch *batch = &hitter->batches[hitter->count];

		batch->start = now();
		if (batch->start > end)
			break;
		for (unsigned i = 0; i < hitter->hits; i++)
			hit(hitter->order[at++ % ORDER_LENGTH], hitter->offset);
		batch->end = now();
	}
	return NULL;
}

static void hitters_run(struct hitter *hitters, unsigned count)
{
	pthread_barrier_init(&start_line, NULL, count);
	for (unsigned i = 0; i < count; i++) {
		hitter_prepare(&hitters[i]);
		must(-pthread_create(&hitters[i].thread, NULL, hitter_run, &hitters[i]), "thread");
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(hitters[i].thread, NULL);
	pthread_barrier_destroy(&start_line);
}

static unsigned registrations(unsigned regions)
{
	unsigned sum = 0;

	for (unsigned n = 0; n < regions; n++)
		sum += times_registered(n);
	return sum;
}

/* Runs them, and makes sure that they were hits. */
static void hitters_run_checked(struct hitter *hitters, unsigned count, unsigned regions)
{
	unsigned before = registrations(regions);

	hitters_run(hitters, count);
	if (registrations(regions) == before)
		return;
	fprintf(stderr, "%u registrations were made by what should have been hits\n",
		registrations(regions) - before);
	exit(EXIT_FAILURE);
}

static double median_hit(const struct hitter *hitter)
{
	double *times = malloc((hitter->count + 1) * sizeof(*times));
	double result;

	if (!times)
		must(-ENOMEM, "times");
	for (unsigned i = 0; i < hitter->count; i++)
		times[i] = hitter->batches[i].end - hitter->batches[i].start;
	result = median(times, hitter->count) / hitter->hits;
	free(times);
	return result;
}

static unsigned batch_hits(double nanoseconds)
{
	double hits = BATCH_TIME / nanoseconds;

	return hits < 16 ? 16 : hits > 8192 ? 8192 : (unsigned)hits;
}

double hits_measure(unsigned regions, size_t offset)
{
	struct hitter hitter = { .from = 0, .to = regions, .offset = offset, .hits = 64 };
	double result;

	/* First how many make a batch. */
	hitter.duration = 5e7;
	hitters_run_checked(&hitter, 1, regions);
	hitter.hits = batch_hits(median_hit(&hitter));
	hitter_free(&hitter);
	hitter.duration = 5e8;
	hitters_run_checked(&hitter, 1, regions);
	result = median_hit(&hitter);
	hitter_free(&hitter);
	return result;
}

/*
 * Hits per nanosecond of @one while @other was at work too; 0: not often enough. Both
 * have their batches in the order of time.
 */
static double rate_beside(const struct hitter *one, const struct hitter *other, double limit)
{
	double *times = malloc((one->count + 1) * sizeof(*times));
	unsigned together = 0;
	unsigned first = 0;
	double rate = 0;

	if (!times)
		must(-ENOMEM, "times");
	for (unsigned i = 0; i < one->count; i++) {
		const struct batch *batch = &one->batches[i];
		unsigned last;

		while (first < other->count && other->batches[first].end < batch->start)
			first++;
		for (last = first; last < other->count; last++) {
			const struct batch *beside = &other->batches[last];

			if (beside->end - beside->start > limit || beside->end >= batch->end)
				break;
		}
		if (last < other->count && other->batches[first].start <= batch->start &&
		    other->batches[last].end - other->batches[last].start <= limit &&
		    batch->end - batch->start <= limit)
			times[together++] = batch->end - batch->start;
	}
	if (together >= FEWEST_BATCHES)
		rate = one->hits / median(times, together);
	fprintf(stderr, "two threads: %u of %u batches together\n", together, one->count);
	free(times);
	return rate;
}

double hits_measure_two(unsigned regions)
{
	struct hitter hitters[2];
	double alone = hits_measure(regions < 2 ? regions : regions / 2, 0);
	double limit = DISTURBED * alone * batch_hits(alone);
	double rates[2];

	for (unsigned i = 0; i < 2; i++)
		hitters[i] = (struct hitter){
			.processor = i,
			.from = regions < 2 ? 0 : regions * i / 2,
			.to = regions < 2 ? regions : regions * (i + 1) / 2,
			.hits = batch_hits(alone), .duration = 2e9,
		};
	hitters_run_checked(hitters, 2, regions);
	rates[0] = rate_beside(&hitters[0], &hitters[1], limit);
	rates[1] = rate_beside(&hitters[1], &hitters[0], limit);
	hitter_free(&hitters[0]);
	hitter_free(&hitters[1]);
	return rates[0] > 0 && rates[1] > 0 ? (rates[0] + rates[1]) * alone : 0;
}
