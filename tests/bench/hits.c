// SPDX-License-Identifier: BSD-2-Clause
/*
 * Hits are timed by the clock, in batches of some 50 us, of which the median counts: a
 * machine that does other things takes the processor away for longer and more seldom.
 *
 * With two threads it is the rate during a batch that counts: its own hits, and those that
 * the other thread made meanwhile. Only batches during which the other thread was at work
 * are asked, that is, none of its batches around that time took twenty times as long as one
 * does alone. So waiting for each other counts, and waiting for a processor, in a guest whose
 * processors are threads of a busy host too, does not. What one thread does alone is measured
 * in turns with that.
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
#include "processors.h"
#include "registrar.h"

#define ORDER_LENGTH	(1u << 15)
#define BATCH_TIME	5e4	/* ns */
#define MOST_BATCHES	20000	/* of a turn */
#define TURNS		6
#define FEWEST_BATCHES	100	/* that make a figure of two threads */
#define DISTURBED	20

struct batch {
	double start, end;
};

struct hitter {
	pthread_t thread;
	bool pinned;
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

static void *hitter_run(void *argument)
{
	struct hitter *hitter = argument;
	unsigned at = 0;
	cpu_set_t all;
	double end;

	sched_getaffinity(0, sizeof(all), &all);
	if (hitter->pinned)
		processors_stay(&all, hitter->processor);
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
	sched_setaffinity(0, sizeof(all), &all);
	return NULL;
}

static void hitters_run(struct hitter *hitters, unsigned count)
{
	pthread_barrier_init(&start_line, NULL, count);
	for (unsigned i = 0; i < count; i++)
		hitter_prepare(&hitters[i]);
	for (unsigned i = 1; i < count; i++)
		must(-pthread_create(&hitters[i].thread, NULL, hitter_run, &hitters[i]), "thread");
	hitter_run(&hitters[0]);
	for (unsigned i = 1; i < count; i++)
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

struct samples {
	double *of;
	unsigned count;
};

static void samples_prepare(struct samples *samples)
{
	samples->count = 0;
	samples->of = malloc(sizeof(*samples->of) * 2 * MOST_BATCHES * TURNS);
	if (!samples->of)
		must(-ENOMEM, "samples");
}

static double length(const struct batch *batch)
{
	return batch->end - batch->start;
}

/* Hits of @other during @batch; less than 0: it was not at work. *first does not go back. */
static double hits_meanwhile(const struct hitter *other, const struct batch *batch, double limit,
			     unsigned *first)
{
	double hits = 0;

	while (*first < other->count && other->batches[*first].end < batch->start)
		++*first;
	if (*first == other->count || other->batches[*first].start > batch->start)
		return -1;
	for (unsigned at = *first; at < other->count; at++) {
		const struct batch *beside = &other->batches[at];
		double start = beside->start > batch->start ? beside->start : batch->start;
		double end = beside->end < batch->end ? beside->end : batch->end;

		if (length(beside) > limit)
			return -1;
		hits += other->hits * (end - start) / length(beside);
		if (beside->end >= batch->end)
			return hits;
	}
	return -1;
}

/* Adds the rates during those batches of @one that may be asked. */
static void add_rates(struct samples *rates, const struct hitter *one, const struct hitter *other,
		      double limit)
{
	unsigned first = 0;

	for (unsigned i = 0; i < one->count; i++) {
		const struct batch *batch = &one->batches[i];
		double hits = hits_meanwhile(other, batch, limit, &first);

		if (hits >= 0 && length(batch) <= limit)
			rates->of[rates->count++] = (one->hits + hits) / length(batch);
	}
}

static void half_of(struct hitter *hitter, unsigned which, unsigned regions, unsigned hits)
{
	*hitter = (struct hitter){
		.pinned = true,
		.processor = which,
		.from = regions < 2 ? 0 : regions * which / 2,
		.to = regions < 2 ? regions : regions * (which + 1) / 2,
		.hits = hits,
	};
}

/* One thread alone, on either processor in turn, then both. */
static void turn(unsigned number, unsigned regions, double expected, struct samples *alone,
		 struct samples *together)
{
	unsigned hits = batch_hits(expected);
	double limit = DISTURBED * expected * hits;
	struct hitter hitters[2];

	half_of(&hitters[0], number % 2, regions, hits);
	hitters[0].duration = 1e8;
	hitters_run_checked(hitters, 1, regions);
	for (unsigned i = 0; i < hitters[0].count; i++)
		alone->of[alone->count++] = hits / length(&hitters[0].batches[i]);
	hitter_free(&hitters[0]);

	for (unsigned i = 0; i < 2; i++) {
		half_of(&hitters[i], i, regions, hits);
		hitters[i].duration = 5e8;
	}
	hitters_run_checked(hitters, 2, regions);
	add_rates(together, &hitters[0], &hitters[1], limit);
	add_rates(together, &hitters[1], &hitters[0], limit);
	hitter_free(&hitters[0]);
	hitter_free(&hitters[1]);
}

double hits_measure_two(unsigned regions)
{
	double expected = hits_measure(regions < 2 ? regions : regions / 2, 0);
	struct samples alone;
	struct samples together;
	double result = 0;

	samples_prepare(&alone);
	samples_prepare(&together);
	for (unsigned i = 0; i < TURNS; i++)
		turn(i, regions, expected, &alone, &together);
	fprintf(stderr, "%u regions: %u batches of two threads together\n", regions,
		together.count);
	if (together.count >= FEWEST_BATCHES)
		result = median(together.of, together.count) / median(alone.of, alone.count);
	free(alone.of);
	free(together.of);
	return result;
}
