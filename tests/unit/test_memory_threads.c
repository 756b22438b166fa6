// SPDX-License-Identifier: BSD-2-Clause
/*
 * The cache under many threads: look-ups against changes of the mapping, events,
 * eviction and a device that runs out of memory. The promise is checked on each
 * look-up: the registration it got is of no page older than that page was when the
 * look-up began. A registration that is used after it was given back is for the
 * sanitizers to find.
 *
 * WSD_TEST_SECONDS: how long each test runs, 1 by default.
 */
#include <check.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "settings.h"
#include "test_memory_double.h"

#define USERS		4
#define LONGEST		12	/* pages of a look-up */
#define PAGES		96	/* few, so that threads meet */

static struct space *space;
static struct cache *cache;
static struct device_double nics[2];
static struct cache_device *devices[2];
static _Atomic bool stopping;
static _Atomic uint64_t stale_answers, answers;

static unsigned draw(unsigned *state, unsigned below)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 10) % below;
}

/* Looks up, checks every page of the answer against its age before, and again while holding it. */
static void look_up_once(unsigned *state)
{
	unsigned pages = 1 + draw(state, LONGEST);
	unsigned first = draw(state, PAGES - pages);
	struct cache_device *device = devices[draw(state, 2)];
	unsigned access = draw(state, 3) == 0 ? MEMORY_WRITE : MEMORY_READ;
	uint64_t before[LONGEST];
	const struct registration_double *made;
	struct cache_region *region;
	bool stale = false;

	for (unsigned i = 0; i < pages; i++)
		before[i] = atomic_load_explicit(&space->generations[first + i],
						 memory_order_acquire);
	if (cache_get(cache, device, PAGE_AT(first), pages * SPACE_PAGE, access, &region) != 0)
		return;
	for (int look = 0; look < 2; look++) {
		made = cache_region_handle(region, device);
		stale = stale || made->first > first || made->first + made->pages < first + pages ||
			(access & ~made->access);
		for (unsigned i = 0; i < pages && !stale; i++)
			stale = made->generations[first - made->first + i] < before[i];
		if (draw(state, 8) == 0)
			sched_yield();
	}
	cache_put(cache, region);
	atomic_fetch_add(&answers, 1);
	if (stale)
		atomic_fetch_add(&stale_answers, 1);
}

static void *user(void *argument)
{
	unsigned state = (unsigned)(uintptr_t)argument;

	while (!atomic_load(&stopping))
		look_up_once(&state);
	return NULL;
}

/* Changes the mapping, now and then in bursts. */
static void *changer(void *argument)
{
	unsigned state = 77 + (unsigned)(uintptr_t)argument;

	while (!atomic_load(&stopping)) {
		unsigned pages = 1 + draw(&state, 4);

		space_change(space, draw(&state, PAGES - pages), pages);
		for (unsigned i = draw(&state, 60); i > 0; i--)
			sched_yield();
	}
	return NULL;
}

/* What the switch's memory thread does. */
static void *event_reader(void *argument)
{
	struct monitor_event events[4];

	while (!atomic_load(&stopping)) {
		int count = monitor_read(&space->monitor, events, 4);

		for (int i = 0; i < count; i++)
			cache_release_range(cache, (uintptr_t)events[i].address,
					    (size_t)events[i].length);
		sched_yield();
	}
	return argument;
}

static void change_in_between(struct device_double *nic, unsigned first, unsigned pages)
{
	space_change(nic->space, first + pages / 2, 1);
}

static void start(size_t regions, unsigned most_live)
{
	setenv("WSDIRECT_LOG", "off", 1);
	setenv("WSDIRECT_CONFIG", "", 1);
	settings_open();
	space = space_create();
	ck_assert_int_eq(cache_create(&space->monitor, regions, 1 << 30, &cache), 0);
	for (int i = 0; i < 2; i++) {
		nics[i] = (struct device_double){ .space = space, .most_live = most_live };
		ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &nics[i],
						  &devices[i]), 0);
	}
	atomic_store(&stopping, false);
}

static void run(bool with_events)
{
	const char *seconds = getenv("WSD_TEST_SECONDS");
	struct timespec time = { .tv_sec = seconds ? atoi(seconds) : 1 };
	pthread_t threads[USERS + 2];
	int count = 0;

	for (; count < USERS; count++)
		pthread_create(&threads[count], NULL, user, (void *)(uintptr_t)(count + 1));
	pthread_create(&threads[count++], NULL, changer, NULL);
	if (with_events)
		pthread_create(&threads[count++], NULL, event_reader, NULL);
	nanosleep(&time, NULL);
	atomic_store(&stopping, true);
	while (count > 0)
		pthread_join(threads[--count], NULL);
}

static void finish(void)
{
	struct monitor_event event;

	ck_assert_uint_gt(atomic_load(&answers), 100);
	ck_assert_uint_eq(atomic_load(&stale_answers), 0);
	ck_assert_int_eq(cache_destroy(cache), 0);
	ck_assert_uint_eq(atomic_load(&nics[0].live), 0);
	ck_assert_uint_eq(atomic_load(&nics[1].live), 0);
	ck_assert_uint_eq(space_watched(space), 0);
	while (monitor_read(&space->monitor, &event, 1) > 0)
		;
	space_destroy(space);
}

START_TEST(no_stale_answer_among_changes_and_events)
{
	start(512, 0);
	run(true);
	finish();
}
END_TEST

START_TEST(no_stale_answer_when_room_is_short)
{
	start(12, 0);
	run(true);
	finish();
}
END_TEST

START_TEST(no_stale_answer_when_the_device_has_no_memory)
{
	start(512, 10);
	run(true);
	finish();
}
END_TEST

/* Nobody reads events: look-ups alone keep the promise. */
START_TEST(no_stale_answer_without_events)
{
	start(64, 0);
	run(false);
	finish();
}
END_TEST

START_TEST(no_stale_answer_when_mappings_change_while_registering)
{
	start(512, 0);
	for (int i = 0; i < 2; i++) {
		nics[i].during = change_in_between;
		atomic_store(&nics[i].during_times, 100000);
	}
	run(true);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory/threads");
	TCase *tests = tcase_create("threads");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 0);
	tcase_add_test(tests, no_stale_answer_among_changes_and_events);
	tcase_add_test(tests, no_stale_answer_when_room_is_short);
	tcase_add_test(tests, no_stale_answer_when_the_device_has_no_memory);
	tcase_add_test(tests, no_stale_answer_without_events);
	tcase_add_test(tests, no_stale_answer_when_mappings_change_while_registering);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
