// SPDX-License-Identifier: BSD-2-Clause
/* The start, the end and the short ways of the cache's tests. */
#include "test_memory_fixture.h"

#include <stdlib.h>

#include "settings.h"

struct space *space;
struct cache *cache;
struct device_double nic, other_nic;
struct cache_device *device, *other_device;

static void start(size_t regions, uint64_t bytes)
{
	ck_assert_int_eq(cache_create(&space->monitor, regions, bytes, &cache), 0);
	nic = other_nic = (struct device_double){ .space = space };
	ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &nic, &device), 0);
	ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &other_nic, &other_device), 0);
}

/* Everything is given back at the end of every test: the books balance. */
static void finish(void)
{
	ck_assert_int_eq(cache_destroy(cache), 0);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
	ck_assert_uint_eq(atomic_load(&other_nic.live), 0);
	ck_assert_uint_eq(space_watched(space), 0);
}

void fixture_restart(size_t regions, uint64_t bytes)
{
	finish();
	start(regions, bytes);
}

static void setup(void)
{
	setenv("WSDIRECT_LOG", "off", 1);
	setenv("WSDIRECT_CONFIG", "", 1);
	settings_open();
	space = space_create();
	start(256, 1 << 30);
}

static void teardown(void)
{
	finish();
	space_destroy(space);
}

struct cache_region *get_from(struct cache_device *from, unsigned first, unsigned pages,
			      unsigned access)
{
	struct cache_region *region = NULL;

	ck_assert_int_eq(cache_get(cache, from, PAGE_AT(first), pages * SPACE_PAGE, access,
				   &region), 0);
	return region;
}

struct cache_region *get(unsigned first, unsigned pages, unsigned access)
{
	return get_from(device, first, pages, access);
}

void touch(unsigned first, unsigned pages, unsigned access)
{
	cache_put(cache, get(first, pages, access));
}

int get_error(unsigned first, unsigned pages, unsigned access)
{
	struct cache_region *region;

	return cache_get(cache, device, PAGE_AT(first), pages * SPACE_PAGE, access, &region);
}

const struct registration_double *registration(const struct cache_region *region)
{
	return cache_region_handle(region, device);
}

size_t cached(void)
{
	struct cache_account account;

	cache_account(cache, &account);
	return account.regions;
}

size_t leaving(void)
{
	struct cache_account account;

	cache_account(cache, &account);
	return account.leaving;
}

uint64_t grown(enum statistic which)
{
	static uint64_t before[STATISTIC_COUNT];
	uint64_t now = statistic_read(which);
	uint64_t growth = now - before[which];

	before[which] = now;
	return growth;
}

int release(unsigned first, unsigned pages)
{
	return cache_release_range(cache, PAGE_NUMBER(first), pages * SPACE_PAGE);
}

TCase *fixture_case(Suite *suite, const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	suite_add_tcase(suite, tests);
	return tests;
}

int fixture_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
