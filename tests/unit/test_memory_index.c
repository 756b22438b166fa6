// SPDX-License-Identifier: BSD-2-Clause
/* The ordered index answers as a plain list would, whatever the order of changes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "region.h"
#include "region_index.h"

#define CAPACITY	1500
#define PLACES		4000	/* possible starts: 1 page apart */
#define PAGE		4096

static struct cache_region *regions;	/* by place */
static bool present[PLACES];
static struct region_index index_under_test;
static unsigned seed;

static unsigned draw(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

static void setup(void)
{
	regions = aligned_alloc(64, PLACES * sizeof(*regions));
	memset(regions, 0, PLACES * sizeof(*regions));
	for (uintptr_t i = 0; i < PLACES; i++)
		regions[i].start = i * PAGE;
	memset(present, 0, sizeof(present));
	ck_assert_int_eq(region_index_init(&index_under_test, CAPACITY), 0);
}

static void teardown(void)
{
	region_index_free(&index_under_test);
	free(regions);
}

static struct cache_region *model_before(uintptr_t address)
{
	for (size_t i = address / PAGE < PLACES ? address / PAGE + 1 : PLACES; i-- > 0;)
		if (present[i])
			return &regions[i];
	return NULL;
}

static struct cache_region *model_after(uintptr_t address)
{
	for (size_t i = address / PAGE + 1; i < PLACES; i++)
		if (present[i])
			return &regions[i];
	return NULL;
}

static void compare(uintptr_t address)
{
	struct cache_region *there = region_index_hint(&index_under_test, address);

	/* While nobody remembers another, a hint may be missing, but not wrong. */
	ck_assert(!there || (there == model_before(address) && there->start == address));
	ck_assert_ptr_eq(region_index_before(&index_under_test, address), model_before(address));
	ck_assert_ptr_eq(region_index_after(&index_under_test, address), model_after(address));
}

static void insert(unsigned place)
{
	region_index_insert(&index_under_test, &regions[place]);
	present[place] = true;
}

static void take_out(unsigned place)
{
	region_index_remove(&index_under_test, &regions[place]);
	present[place] = false;
}

START_TEST(empty_index_finds_nothing)
{
	compare(0);
	compare(UINTPTR_MAX);
	insert(7);
	take_out(7);
	compare(7 * PAGE);
}
END_TEST

START_TEST(random_changes_match_a_list)
{
	unsigned count = 0;

	seed = (unsigned)_i;
	for (int step = 0; step < 30000; step++) {
		unsigned place = draw(PLACES);
		/* Fills, empties and fills again. */
		bool filling = (step / 5000) % 2 == 0;

		if (!present[place] && count < CAPACITY && (filling || draw(4) == 0)) {
			insert(place);
			count++;
		} else if (present[place] && (!filling || draw(4) == 0)) {
			take_out(place);
			count--;
		}
		compare(draw(PLACES * PAGE));
		compare((uintptr_t)place * PAGE);
		compare(UINTPTR_MAX);
	}
}
END_TEST

START_TEST(hints_lead_to_most_regions)
{
	unsigned found = 0;

	for (unsigned place = 0; place < CAPACITY; place++)
		insert(place * 2);
	for (unsigned place = 0; place < CAPACITY; place++)
		found += region_index_hint(&index_under_test, (uintptr_t)place * 2 * PAGE) != NULL;
	ck_assert_uint_gt(found, CAPACITY / 2);
}
END_TEST

START_TEST(what_is_remembered_last_is_the_hint)
{
	insert(3);
	region_index_remember(&index_under_test, 9 * PAGE, &regions[3]);
	ck_assert_ptr_eq(region_index_hint(&index_under_test, 9 * PAGE), &regions[3]);
	insert(9);
	ck_assert_ptr_eq(region_index_hint(&index_under_test, 9 * PAGE), &regions[9]);
	take_out(9);
	ck_assert_ptr_null(region_index_hint(&index_under_test, 9 * PAGE));
	compare(9 * PAGE);
}
END_TEST

START_TEST(room_suffices_for_any_order)
{
	/* Ascending fill leaves half-full leaves behind; then thin out to one of three and refill. */
	for (unsigned place = 0; place < CAPACITY; place++)
		insert(place);
	for (unsigned place = 0; place < CAPACITY; place++)
		if (place % 3)
			take_out(place);
	for (unsigned place = CAPACITY; place-- > 0;)
		if (place % 3)
			insert(place);
	ck_assert_uint_le(index_under_test.pool_used, index_under_test.pool_size);
	for (unsigned place = 0; place < CAPACITY + 5; place++)
		compare((uintptr_t)place * PAGE + 1);
	for (unsigned place = 0; place < CAPACITY; place++)
		take_out(place);
	compare(PAGE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory/index");
	TCase *tests = tcase_create("index");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, empty_index_finds_nothing);
	tcase_add_loop_test(tests, random_changes_match_a_list, 1, 5);
	tcase_add_test(tests, hints_lead_to_most_regions);
	tcase_add_test(tests, what_is_remembered_last_is_the_hint);
	tcase_add_test(tests, room_suffices_for_any_order);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
