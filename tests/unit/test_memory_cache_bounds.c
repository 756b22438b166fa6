// SPDX-License-Identifier: BSD-2-Clause
/*
 * The registration cache at its limits, with several devices, across fork, and
 * when calls fail: nothing is lost, and nothing is left behind.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_memory_fixture.h"

/* ---- bounds ---- */

START_TEST(count_is_bounded_and_the_least_used_go)
{
	fixture_restart(8, 1 << 30);
	for (unsigned i = 0; i < 8; i++)
		touch(i, 1, MEMORY_READ);
	for (unsigned i = 0; i < 4; i++)
		touch(i, 1, MEMORY_READ);	/* used a second time */
	for (unsigned i = 100; i < 104; i++)
		touch(i, 1, MEMORY_READ);
	ck_assert_uint_eq(cached(), 8);
	grown(STATISTIC_cache_misses);
	for (unsigned i = 0; i < 4; i++)
		touch(i, 1, MEMORY_READ);
	ck_assert_uint_eq(grown(STATISTIC_cache_misses), 0);
	ck_assert_uint_eq(grown(STATISTIC_cache_evictions), 4);
	ck_assert_uint_eq(atomic_load(&nic.live), 8);
}
END_TEST

START_TEST(regions_in_use_are_not_evicted)
{
	struct cache_region *used[4];
	struct cache_region *extra;

	fixture_restart(4, 1 << 30);
	for (unsigned i = 0; i < 4; i++)
		used[i] = get(i, 1, MEMORY_READ);
	extra = get(50, 1, MEMORY_READ);
	ck_assert_uint_eq(cached(), 4);		/* the fifth is uncached */
	cache_put(cache, extra);
	ck_assert_uint_eq(atomic_load(&nic.live), 4);
	cache_put(cache, used[2]);
	touch(50, 1, MEMORY_READ);
	ck_assert_uint_eq(cached(), 4);
	for (unsigned i = 0; i < 4; i++)
		if (i != 2)
			cache_put(cache, used[i]);
}
END_TEST

START_TEST(bytes_are_bounded)
{
	struct cache_account account;

	fixture_restart(256, 10 * SPACE_PAGE);
	for (unsigned i = 0; i < 20; i++)
		touch(i * 4, 3, MEMORY_READ);
	cache_account(cache, &account);
	ck_assert_uint_eq(account.regions, 3);
	ck_assert_uint_eq(account.bytes, 9 * SPACE_PAGE);
	touch(200, 10, MEMORY_READ);
	ck_assert_uint_eq(cached(), 1);
	touch(100, 11, MEMORY_READ);		/* too large for the cache, so uncached */
	ck_assert_uint_eq(cached(), 1);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
}
END_TEST

START_TEST(cache_of_no_size_registers_each_time)
{
	fixture_restart(0, 1 << 30);
	touch(1, 1, MEMORY_READ);
	touch(1, 1, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 2);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
	ck_assert_uint_eq(atomic_load(&space->secures), 0);
	ck_assert_int_eq(release(0, 100), -EINVAL);
	fixture_restart(256, 0);
	touch(1, 1, MEMORY_READ);
	ck_assert_uint_eq(cached(), 0);
}
END_TEST

START_TEST(device_out_of_memory_makes_the_cache_let_go)
{
	struct cache_region *used[3];

	nic.most_live = 3;
	for (unsigned i = 0; i < 20; i++)
		touch(i * 2, 1, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.live), 3);
	for (unsigned i = 0; i < 3; i++)
		used[i] = get(i * 2, 1, MEMORY_READ);
	ck_assert_int_eq(get_error(100, 1, MEMORY_READ), -ENOMEM);
	ck_assert_uint_eq(cached(), 3);
	ck_assert_uint_eq(leaving(), 0);
	for (unsigned i = 0; i < 3; i++)
		cache_put(cache, used[i]);
	touch(100, 1, MEMORY_READ);
}
END_TEST

/* Who registers outside the cache asks it for room. */
START_TEST(cache_shrinks_when_asked_to)
{
	struct cache_region *used = get(0, 1, MEMORY_READ);

	for (unsigned i = 1; i < 6; i++)
		touch(i * 2, 1, MEMORY_READ);
	ck_assert(cache_shrink(cache, 2 * SPACE_PAGE));
	ck_assert_uint_eq(cached(), 4);
	ck_assert_uint_eq(atomic_load(&nic.live), 4);
	ck_assert(cache_shrink(cache, 100 * SPACE_PAGE));
	ck_assert_uint_eq(cached(), 1);
	ck_assert(!cache_shrink(cache, 1));
	cache_put(cache, used);
	ck_assert(cache_shrink(cache, 1));
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
}
END_TEST

START_TEST(monitor_without_room_makes_the_cache_let_go)
{
	struct cache_region *used[4];
	struct cache_region *extra;

	space->most_slots = 4;
	for (unsigned i = 0; i < 20; i++)
		touch(i * 2, 1, MEMORY_READ);
	ck_assert_uint_eq(cached(), 4);
	for (unsigned i = 0; i < 4; i++)
		used[i] = get(i * 2, 1, MEMORY_READ);
	extra = get(100, 1, MEMORY_READ);	/* works, uncached */
	ck_assert_uint_eq(cached(), 4);
	cache_put(cache, extra);
	for (unsigned i = 0; i < 4; i++)
		cache_put(cache, used[i]);
}
END_TEST

START_TEST(slots_of_unread_events_are_had_back)
{
	space->most_slots = 4;
	for (unsigned i = 0; i < 20; i++) {
		touch(i, 1, MEMORY_READ);
		space_change(space, i, 1);
	}
	grown(STATISTIC_cache_misses);
	touch(30, 1, MEMORY_READ);
	touch(30, 1, MEMORY_READ);
	ck_assert_uint_eq(grown(STATISTIC_cache_misses), 1);
	ck_assert_uint_le(cached(), 4);
}
END_TEST

/* In a child, that drops the rights to lock any memory and then does nothing but answer. */
static bool half_of_the_limit_in_a_child(void)
{
	struct rlimit small = { 1 << 20, 1 << 20 };
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(setrlimit(RLIMIT_MEMLOCK, &small) != 0 ||
		      (geteuid() == 0 && seteuid(65534) != 0) ||
		      cache_setting_bytes() != 1 << 19);
	return waitpid(child, &status, 0) == child && status == 0;
}

START_TEST(limits_come_from_settings_and_memory)
{
	ck_assert_uint_eq(cache_setting_regions(), 4096);
	ck_assert_uint_gt(cache_setting_bytes(), 0);
	ck_assert(half_of_the_limit_in_a_child());
}
END_TEST

/* ---- devices ---- */

START_TEST(device_that_will_not_deregister_is_a_fault_and_asked_again)
{
	touch(8, 4, MEMORY_READ);
	atomic_store(&nic.dereg_error, -EBUSY);
	ck_assert_int_eq(release(8, 1), -EFAULT);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_int_eq(cache_flush_device(cache, device), -EFAULT);
	ck_assert_int_eq(cache_destroy(cache), -EBUSY);
	atomic_store(&nic.dereg_error, 0);
	ck_assert_int_eq(cache_flush_device(cache, device), 0);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
}
END_TEST

START_TEST(devices_share_a_region)
{
	struct cache_region *first = get(8, 4, MEMORY_READ);
	struct cache_region *second = get_from(other_device, 8, 4, MEMORY_READ);

	ck_assert_ptr_eq(first, second);
	ck_assert_ptr_ne(cache_region_handle(first, device),
			 cache_region_handle(first, other_device));
	ck_assert_uint_eq(atomic_load(&space->secures), 1);
	cache_put(cache, first);
	cache_put(cache, second);
	grown(STATISTIC_cache_misses);
	cache_put(cache, get_from(other_device, 9, 1, MEMORY_READ));
	ck_assert_uint_eq(grown(STATISTIC_cache_misses), 0);
	ck_assert_int_eq(release(9, 1), 0);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
	ck_assert_uint_eq(atomic_load(&other_nic.live), 0);
}
END_TEST

START_TEST(flushed_device_has_nothing_left)
{
	struct cache_region *used = get(20, 1, MEMORY_READ);

	touch(8, 4, MEMORY_READ);
	cache_put(cache, get_from(other_device, 8, 4, MEMORY_READ));
	cache_put(cache, get_from(other_device, 30, 4, MEMORY_READ));
	ck_assert_int_eq(cache_flush_device(cache, device), -EBUSY);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	ck_assert_uint_eq(cached(), 1);			/* the one the other device has alone */
	ck_assert_int_eq(cache_device_remove(cache, device), -EBUSY);
	cache_put(cache, used);
	ck_assert_int_eq(cache_device_remove(cache, device), 0);
	ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &nic, &device), 0);
	touch(8, 4, MEMORY_READ);
}
END_TEST

START_TEST(devices_are_bounded)
{
	struct cache_device *more;

	for (int i = 2; i < CACHE_DEVICES; i++)
		ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &nic, &more), 0);
	ck_assert_int_eq(cache_device_add(cache, &device_double_ops, &nic, &more), -ENOSPC);
}
END_TEST

/* ---- fork ---- */

START_TEST(child_gets_nothing_and_harms_nothing)
{
	struct cache_region *region = get(8, 4, MEMORY_READ);
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct cache_region *childs;

		if (cache_get(cache, device, PAGE_AT(8), SPACE_PAGE, MEMORY_READ, &childs) != -EPERM)
			_exit(1);
		if (release(8, 4) != -EPERM || cache_flush_device(cache, device) != -EPERM)
			_exit(2);
		cache_put(cache, region);
		if (atomic_load(&nic.live) != 1 || cache_destroy(cache) != 0 ||
		    atomic_load(&nic.live) != 1)
			_exit(3);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_ptr_eq(get(8, 4, MEMORY_READ), region);
	cache_put(cache, region);
	cache_put(cache, region);
}
END_TEST

/* ---- failures ---- */

/* Everything that calls the monitor or a device, in one run. Errors are expected. */
static void run_through(void)
{
	struct cache_region *held[6] = { NULL };

	cache_get(cache, device, PAGE_AT(8), 4 * SPACE_PAGE, MEMORY_READ, &held[0]);
	cache_get(cache, other_device, PAGE_AT(8), 4 * SPACE_PAGE, MEMORY_READ, &held[1]);
	cache_get(cache, device, PAGE_AT(10), 8 * SPACE_PAGE, MEMORY_WRITE, &held[2]);
	cache_get(cache, device, PAGE_AT(4), 20 * SPACE_PAGE, MEMORY_WRITE, &held[3]);
	space_change(space, 6, 1);
	cache_get(cache, other_device, PAGE_AT(4), 20 * SPACE_PAGE, MEMORY_READ, &held[4]);
	cache_get(cache, device, PAGE_AT(4), 1 * SPACE_PAGE, MEMORY_READ, &held[5]);
	for (int i = 0; i < 3; i++)
		if (held[i])
			cache_put(cache, held[i]);
	release(0, 12);
	for (int i = 3; i < 6; i++)
		if (held[i])
			cache_put(cache, held[i]);
	release(0, SPACE_PAGES);
}

START_TEST(nothing_is_lost_when_the_nth_call_fails)
{
	static const int errors[] = { -ENOMEM, -EFAULT, -EINVAL, -ENOSPC, -EIO };
	struct cache_account account;

	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		bool failed = true;

		for (int n = 1; failed; n++) {
			ck_assert_int_lt(n, 200);
			atomic_store(&space->failure, errors[e]);
			atomic_store(&space->calls_to_failure, n);
			run_through();
			failed = atomic_load(&space->calls_to_failure) == 0;
			atomic_store(&space->calls_to_failure, 0);
			/* A refused deregistration is asked for again by the flush. */
			ck_assert_int_eq(cache_flush_device(cache, device), 0);
			ck_assert_int_eq(cache_flush_device(cache, other_device), 0);
			cache_account(cache, &account);
			ck_assert_uint_eq(account.regions, 0);
			ck_assert_uint_eq(account.leaving, 0);
			ck_assert_uint_eq(account.bytes, 0);
			ck_assert_uint_eq(account.registrations, 0);
			ck_assert_uint_eq(atomic_load(&nic.live), 0);
			ck_assert_uint_eq(atomic_load(&other_nic.live), 0);
			ck_assert_uint_eq(space_watched(space), 0);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory/cache_bounds");
	TCase *tests;

	tests = fixture_case(suite, "bounds");
	tcase_add_test(tests, count_is_bounded_and_the_least_used_go);
	tcase_add_test(tests, regions_in_use_are_not_evicted);
	tcase_add_test(tests, bytes_are_bounded);
	tcase_add_test(tests, cache_of_no_size_registers_each_time);
	tcase_add_test(tests, device_out_of_memory_makes_the_cache_let_go);
	tcase_add_test(tests, cache_shrinks_when_asked_to);
	tcase_add_test(tests, monitor_without_room_makes_the_cache_let_go);
	tcase_add_test(tests, slots_of_unread_events_are_had_back);
	tcase_add_test(tests, limits_come_from_settings_and_memory);

	tests = fixture_case(suite, "devices");
	tcase_add_test(tests, devices_share_a_region);
	tcase_add_test(tests, flushed_device_has_nothing_left);
	tcase_add_test(tests, devices_are_bounded);
	tcase_add_test(tests, device_that_will_not_deregister_is_a_fault_and_asked_again);
	tcase_add_test(tests, child_gets_nothing_and_harms_nothing);
	tcase_add_test(tests, nothing_is_lost_when_the_nth_call_fails);

	return fixture_run(suite);
}
