// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the registration cache costs: a hit, a miss, and letting go, with 1, 100
 * and 10,000 regions cached and with one and two threads.
 *
 * The device is a stand-in that does nothing, so these are the cache's own costs,
 * with the monitor's. Without arguments the state words lie in ordinary memory,
 * as on any host; "module" uses /dev/wsdirect and real mappings, and then also
 * times an unrelated munmap beside the cached regions and one of a cached buffer.
 *
 * Hits are of whole buffers, or inside one; they are timed by the thread's processor
 * time, in batches of which the median counts, so that other programs on the machine
 * do not. The rate of two threads to one is of time that passed: it needs two idle
 * processors.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fork_mark.h"
#include "log.h"
#include "monitor.h"
#include "registration_cache.h"
#include "settings.h"

#define REGION_PAGES	4
#define MOST_REGIONS	10000
#define MOST_THREADS	2
#define ORDER_LENGTH	(1 << 16)
#define BATCHES		64
#define BATCH_HITS	ORDER_LENGTH
#define SLOW_OPERATIONS	2000

/* ---- stand-ins ---- */

static _Atomic uint64_t words[2 * MOST_REGIONS];
static uint32_t free_slots[2 * MOST_REGIONS];
static unsigned free_slot_count;
static uint64_t last_sequence;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

static int ordinary_secure(struct monitor *monitor, uintptr_t address, size_t length,
			   unsigned access, struct monitor_watch *watch)
{
	(void)monitor, (void)address, (void)length, (void)access;
	pthread_mutex_lock(&slots_lock);
	watch->slot = free_slots[--free_slot_count];
	watch->sequence = ++last_sequence;
	watch->word = &words[watch->slot];
	atomic_store_explicit(&words[watch->slot], watch->sequence, memory_order_release);
	pthread_mutex_unlock(&slots_lock);
	return 0;
}

static int ordinary_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	(void)monitor;
	pthread_mutex_lock(&slots_lock);
	free_slots[free_slot_count++] = watch->slot;
	pthread_mutex_unlock(&slots_lock);
	return 0;
}

static int ordinary_read(struct monitor *monitor, struct monitor_event *events, int count)
{
	(void)monitor, (void)events, (void)count;
	return 0;
}

static void ordinary_close(struct monitor *monitor)
{
	fork_mark_free(monitor->fork_mark);
}

static const struct monitor_operations ordinary_operations = {
	.secure = ordinary_secure, .unsecure = ordinary_unsecure,
	.read = ordinary_read, .close = ordinary_close,
};

static int nothing_register(void *device, void *address, size_t length, unsigned access,
			    void **handle)
{
	(void)device, (void)length, (void)access;
	*handle = address;
	return 0;
}

static int nothing_deregister(void *device, void *handle)
{
	(void)device, (void)handle;
	return 0;
}

static const struct cache_device_ops nothing_ops = {
	.reg = nothing_register, .dereg = nothing_deregister,
};

/* ---- measuring ---- */

static struct monitor ordinary = {
	.operations = &ordinary_operations, .name = "ordinary memory", .event_descriptor = -1,
	.most_ranges = 2 * MOST_REGIONS,
};
static struct monitor *monitor = &ordinary;
static struct cache *cache;
static struct cache_device *device;
static char *area;
static size_t region_size;
static unsigned regions;
static pthread_barrier_t start_line;

static double clock_now(clockid_t which)
{
	struct timespec time;

	clock_gettime(which, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double now(void)
{
	return clock_now(CLOCK_MONOTONIC);
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

/* A page lies between two regions, so that neighbours stay apart. */
static char *region_at(unsigned n)
{
	return area + n * (region_size + region_size / REGION_PAGES);
}

static void must(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "cache_bench: %s: %s\n", what, log_errno_name(error));
	exit(EXIT_FAILURE);
}

/* Uses region @n from byte @offset on. */
static void get_and_put(unsigned n, size_t offset)
{
	struct cache_region *region;

	must(cache_get(cache, device, region_at(n) + offset, region_size - offset, MEMORY_READ,
		       &region), "get");
	cache_put(cache, region);
}

/* Regions from @from on, below @to, in random order, over and over. */
struct worker {
	pthread_t thread;
	unsigned from, to;
	size_t offset;
	double nanoseconds;	/* a hit */
};

static void *worker_run(void *argument)
{
	struct worker *worker = argument;
	uint32_t *order = malloc(ORDER_LENGTH * sizeof(*order));
	uint32_t state = 1 + worker->from;
	double batches[BATCHES];

	if (!order)
		must(-ENOMEM, "order");
	for (unsigned i = 0; i < ORDER_LENGTH; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		order[i] = worker->from + state % (worker->to - worker->from);
	}
	for (unsigned i = 0; i < ORDER_LENGTH; i++)
		get_and_put(order[i], worker->offset);
	pthread_barrier_wait(&start_line);
	for (unsigned batch = 0; batch < BATCHES; batch++) {
		double start = clock_now(CLOCK_THREAD_CPUTIME_ID);

		for (unsigned i = 0; i < BATCH_HITS; i++)
			get_and_put(order[i], worker->offset);
		batches[batch] = (clock_now(CLOCK_THREAD_CPUTIME_ID) - start) / BATCH_HITS;
	}
	qsort(batches, BATCHES, sizeof(batches[0]), compare);
	worker->nanoseconds = batches[BATCHES / 2];
	free(order);
	return NULL;
}

/*
 * Nanoseconds of processor time a hit takes; in *rate the hits of all threads
 * per nanosecond that passed.
 */
static double measure_hits(unsigned threads, size_t offset, double *rate)
{
	struct worker workers[MOST_THREADS];
	double nanoseconds = 0;
	double start;

	pthread_barrier_init(&start_line, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].offset = offset;
		workers[i].from = regions < threads ? 0 : regions * i / threads;
		workers[i].to = regions < threads ? regions : regions * (i + 1) / threads;
		must(-pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), "thread");
	}
	pthread_barrier_wait(&start_line);
	start = now();
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		nanoseconds += workers[i].nanoseconds / threads;
	}
	*rate = threads * (double)BATCHES * BATCH_HITS / (now() - start);
	pthread_barrier_destroy(&start_line);
	return nanoseconds;
}

/* A miss beside the cached regions, and letting the new region go again. */
static void measure_slow(double *miss, double *release)
{
	double middle = 0;
	double start;

	*miss = *release = 0;
	for (unsigned i = 0; i < SLOW_OPERATIONS; i++) {
		start = now();
		get_and_put(MOST_REGIONS + i, 0);
		middle = now();
		must(cache_release_range(cache, (uintptr_t)region_at(MOST_REGIONS + i), region_size),
		     "release");
		*miss += (middle - start) / SLOW_OPERATIONS;
		*release += (now() - middle) / SLOW_OPERATIONS;
	}
}

/* munmap of memory that nobody watches, and of a cached buffer with the event it makes. */
static void measure_unmap(double *unrelated, double *watched)
{
	struct monitor_event event;
	double start;

	*unrelated = *watched = 0;
	for (unsigned i = 0; i < SLOW_OPERATIONS; i++) {
		char *other = mmap(NULL, region_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		start = now();
		munmap(other, region_size);
		*unrelated += (now() - start) / SLOW_OPERATIONS;

		get_and_put(MOST_REGIONS + i, 0);
		start = now();
		mmap(region_at(MOST_REGIONS + i), region_size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		if (monitor_read(monitor, &event, 1) != 1)
			must(-EIO, "no event after unmapping a watched region");
		cache_release_range(cache, (uintptr_t)event.address, (size_t)event.length);
		*watched += (now() - start) / SLOW_OPERATIONS;
	}
}

static void measure(unsigned count)
{
	double one, inside, two, one_rate, two_rate, miss, release;

	must(cache_create(monitor, MOST_REGIONS + 8, UINT64_MAX, &cache), "cache");
	must(cache_device_add(cache, &nothing_ops, NULL, &device), "device");
	regions = count;
	for (unsigned i = 0; i < count; i++)
		get_and_put(i, 0);
	one = measure_hits(1, 0, &one_rate);
	inside = measure_hits(1, region_size / REGION_PAGES, &two_rate);
	two = measure_hits(2, 0, &two_rate);
	measure_slow(&miss, &release);
	printf("%8u %7.1f ns %7.1f ns %7.1f ns %6.2fx %7.0f ns %7.0f ns", count, one, inside, two,
	       two_rate / one_rate, miss, release);
	if (monitor != &ordinary) {
		double unrelated, watched;

		measure_unmap(&unrelated, &watched);
		printf(" %7.0f ns %7.0f ns", unrelated, watched);
	}
	printf("\n");
	must(cache_destroy(cache), "destroy");
}

int main(int argc, char **argv)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t area_size = (REGION_PAGES + 1) * page * (MOST_REGIONS + SLOW_OPERATIONS);
	bool real = argc == 2 && strcmp(argv[1], "module") == 0;

	if (argc > 2 || (argc == 2 && !real)) {
		fprintf(stderr, "usage: cache_bench [module]\n");
		return EXIT_FAILURE;
	}
	settings_open();
	region_size = REGION_PAGES * page;
	area = mmap(NULL, area_size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (real ? MAP_POPULATE : MAP_NORESERVE), -1, 0);
	if (area == MAP_FAILED)
		must(-errno, "memory");
	if (real) {
		must(monitor_open("module", &monitor), "/dev/wsdirect");
	} else {
		must(fork_mark_alloc(&monitor->fork_mark), "fork mark");
		while (free_slot_count < 2 * MOST_REGIONS) {
			free_slots[free_slot_count] = free_slot_count;
			free_slot_count++;
		}
	}
	printf("state words: %s; two threads use regions of their own\n", monitor->name);
	printf("%8s %10s %10s %10s %7s %10s %10s%s\n", "regions", "hit", "inside", "2 threads",
	       "rate", "miss", "release", real ? "     munmap    watched" : "");
	measure(1);
	measure(100);
	measure(MOST_REGIONS);
	monitor_close(monitor);
	return EXIT_SUCCESS;
}
