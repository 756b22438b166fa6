// SPDX-License-Identifier: BSD-2-Clause
/*
 * The registration cache, one thread: what hits, what is never returned, what
 * leaves. Pages are numbers; see test_memory_double.h. Test cases `stale`, `again`
 * and `overlap` are the ones that must fail when the safeguard of that name is
 * compiled out.
 */
#include <errno.h>

#include "cache_private.h"
#include "test_memory_fixture.h"

/* ---- hits ---- */

START_TEST(second_get_is_a_hit)
{
	struct cache_region *first = get(3, 4, MEMORY_READ);
	struct cache_region *second = get(3, 4, MEMORY_READ);

	ck_assert_ptr_eq(first, second);
	cache_put(cache, first);
	cache_put(cache, second);
	for (int i = 0; i < 98; i++)
		touch(3, 4, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 1);
	ck_assert_uint_eq(atomic_load(&space->secures), 1);
	ck_assert_uint_eq(grown(STATISTIC_cache_misses), 1);
	ck_assert_uint_eq(grown(STATISTIC_cache_hits), 99);
}
END_TEST

START_TEST(any_part_of_a_region_is_a_hit)
{
	touch(10, 8, MEMORY_READ);
	touch(10, 1, MEMORY_READ);
	touch(17, 1, MEMORY_READ);
	touch(12, 4, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 1);
}
END_TEST

/* A page that was once found in a region is looked for there first, whatever is there now. */
START_TEST(hint_left_by_a_region_that_has_gone_is_no_answer)
{
	touch(10, 8, MEMORY_READ);
	touch(12, 1, MEMORY_READ);
	touch(14, 1, MEMORY_READ);
	ck_assert_int_eq(release(10, 8), 0);
	touch(12, 1, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 2);
	/* It may use the other's memory now. */
	touch(14, 1, MEMORY_READ);
	touch(14, 1, MEMORY_READ);
	touch(10, 1, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 4);
	ck_assert_uint_eq(cached(), 3);
}
END_TEST

START_TEST(regions_are_whole_pages)
{
	struct cache_region *region;

	ck_assert_int_eq(cache_get(cache, device, (char *)PAGE_AT(5) + 100, 1, MEMORY_READ,
				   &region), 0);
	ck_assert_uint_eq(registration(region)->first, 5);
	ck_assert_uint_eq(registration(region)->pages, 1);
	cache_put(cache, region);
	ck_assert_int_eq(cache_get(cache, device, (char *)PAGE_AT(6) + 4095, 2, MEMORY_READ,
				   &region), 0);
	ck_assert_uint_eq(registration(region)->first, 6);
	ck_assert_uint_eq(registration(region)->pages, 2);
	cache_put(cache, region);
	touch(6, 1, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 2);
}
END_TEST

START_TEST(beyond_the_end_is_a_miss)
{
	touch(10, 8, MEMORY_READ);
	touch(17, 2, MEMORY_READ);
	touch(9, 2, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 3);
	ck_assert_uint_eq(cached(), 3);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	struct cache_region *region;

	ck_assert_int_eq(get_error(1, 0, MEMORY_READ), -EINVAL);
	ck_assert_int_eq(get_error(1, 1, 0), -EINVAL);
	ck_assert_int_eq(get_error(1, 1, 4), -EINVAL);
	ck_assert_int_eq(cache_get(cache, device, PAGE_AT(0), SIZE_MAX, MEMORY_READ, &region),
			 -EFAULT);
	ck_assert_int_eq(cache_get(cache, device, (void *)(UINTPTR_MAX - 8), 4, MEMORY_READ,
				   &region), -EFAULT);
}
END_TEST

/* The locks are held by this very thread: a hit that took one would never return. */
START_TEST(a_hit_takes_no_lock)
{
	struct cache_region *region = get_from(other_device, 3, 4, MEMORY_WRITE);

	touch(3, 4, MEMORY_WRITE);
	lock_acquire(&cache->lock);
	lock_acquire(&device->lock);
	lock_acquire(&other_device->lock);
	for (unsigned page = 3; page < 7; page++) {
		touch(page, 1, MEMORY_READ);
		touch(page, 1, MEMORY_WRITE);
		cache_put(cache, get_from(other_device, page, 1, MEMORY_READ));
	}
	lock_release(&other_device->lock);
	lock_release(&device->lock);
	lock_release(&cache->lock);
	cache_put(cache, region);
	ck_assert_uint_eq(atomic_load(&nic.made), 1);
	ck_assert_uint_eq(atomic_load(&other_nic.made), 1);
}
END_TEST

/* ---- overlap of regions ---- */

START_TEST(pieces_that_overlap_at_the_edge_coexist)
{
	for (int round = 0; round < 2; round++)
		for (unsigned piece = 0; piece < 8; piece++)
			touch(piece * 4, 5, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 8);
	ck_assert_uint_eq(cached(), 8);
}
END_TEST

START_TEST(a_region_takes_the_place_of_those_it_covers)
{
	struct cache_region *small = get(12, 2, MEMORY_READ);

	touch(8, 2, MEMORY_READ);
	touch(9, 5, MEMORY_READ);	/* covers 12 to 13, overlaps 8 to 9 */
	ck_assert_uint_eq(cached(), 2);
	ck_assert_uint_eq(atomic_load(&nic.live), 3);
	ck_assert_uint_eq(leaving(), 1);
	touch(0, 30, MEMORY_READ);
	ck_assert_uint_eq(cached(), 1);
	cache_put(cache, small);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	ck_assert_uint_eq(leaving(), 0);
}
END_TEST

START_TEST(same_start_longer_takes_the_place_of_shorter)
{
	touch(8, 2, MEMORY_READ);
	touch(8, 4, MEMORY_READ);
	ck_assert_uint_eq(cached(), 1);
	touch(6, 6, MEMORY_READ);	/* same end */
	ck_assert_uint_eq(cached(), 1);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
}
END_TEST

static void get_the_same_meanwhile(struct device_double *double_, unsigned first, unsigned pages)
{
	(void)double_;
	touch(first - 1, pages + 2, MEMORY_READ);
}

START_TEST(region_made_by_another_meanwhile_is_used)
{
	struct cache_region *region;

	nic.during = get_the_same_meanwhile;
	atomic_store(&nic.during_times, 1);
	region = get(10, 2, MEMORY_READ);
	ck_assert_uint_eq(registration(region)->first, 9);
	cache_put(cache, region);
	ck_assert_uint_eq(cached(), 1);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
}
END_TEST

/* ---- rights ---- */

START_TEST(read_only_region_is_not_written_through)
{
	struct cache_region *sent = get(4, 4, MEMORY_READ);
	struct cache_region *received;

	ck_assert_uint_eq(registration(sent)->access, MEMORY_READ);
	received = get(5, 2, MEMORY_WRITE);
	ck_assert_ptr_ne(sent, received);
	ck_assert_uint_eq(registration(received)->access, MEMORY_READ | MEMORY_WRITE);
	cache_put(cache, sent);
	cache_put(cache, received);
	ck_assert_uint_eq(cached(), 2);
}
END_TEST

START_TEST(writable_region_is_read_through)
{
	touch(4, 4, MEMORY_WRITE);
	touch(4, 4, MEMORY_READ);
	touch(4, 4, MEMORY_READ | MEMORY_WRITE);
	ck_assert_uint_eq(atomic_load(&nic.made), 1);
}
END_TEST

START_TEST(writable_region_takes_the_place_of_read_only_ones)
{
	touch(4, 2, MEMORY_READ);
	touch(6, 2, MEMORY_READ);
	touch(4, 4, MEMORY_WRITE);
	ck_assert_uint_eq(cached(), 1);
	touch(2, 10, MEMORY_READ);	/* but not the other way round */
	ck_assert_uint_eq(cached(), 2);
	touch(4, 4, MEMORY_WRITE);
	ck_assert_uint_eq(atomic_load(&nic.made), 4);
}
END_TEST

START_TEST(read_only_memory_can_be_sent_from)
{
	space->writable_to = 0;
	touch(4, 2, MEMORY_READ);
	touch(4, 2, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 1);
	ck_assert_int_eq(get_error(4, 2, MEMORY_WRITE), -EFAULT);
	ck_assert_uint_eq(cached(), 1);
}
END_TEST

START_TEST(unmapped_memory_is_a_fault)
{
	space->readable_to = 20;
	ck_assert_int_eq(get_error(18, 3, MEMORY_READ), -EFAULT);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(leaving(), 0);
}
END_TEST

/* ---- staleness: safeguard `state check` ---- */

START_TEST(stale_region_is_never_returned)
{
	struct cache_region *region;

	for (unsigned page = 8; page < 12; page++) {
		touch(8, 4, MEMORY_READ);
		space_change(space, page, 1);
		region = get(8, 4, MEMORY_READ);
		ck_assert_uint_eq(registration(region)->generations[page - 8], 1);
		cache_put(cache, region);
		ck_assert_uint_eq(cached(), 1);
		ck_assert_uint_eq(atomic_load(&nic.live), 1);
	}
	ck_assert_uint_eq(grown(STATISTIC_cache_stale), 4);
}
END_TEST

START_TEST(stale_region_in_use_lives_until_put)
{
	struct cache_region *old = get(8, 4, MEMORY_WRITE);
	struct cache_region *new;

	space_change(space, 9, 1);
	new = get(8, 4, MEMORY_WRITE);
	ck_assert_ptr_ne(old, new);
	ck_assert_uint_eq(atomic_load(&nic.live), 2);
	ck_assert_uint_eq(registration(old)->generations[1], 0);
	cache_put(cache, old);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	ck_assert_ptr_eq(get(8, 4, MEMORY_WRITE), new);
	cache_put(cache, new);
	cache_put(cache, new);
}
END_TEST

START_TEST(slot_reused_by_another_range_does_not_revive)
{
	struct monitor_event event;
	struct cache_region *region;

	touch(8, 4, MEMORY_READ);
	space_change(space, 8, 4);
	ck_assert_int_eq(monitor_read(&space->monitor, &event, 1), 1);
	touch(100, 1, MEMORY_READ);	/* takes the slot whose event was read */
	region = get(8, 4, MEMORY_READ);
	ck_assert_uint_eq(registration(region)->generations[0], 1);
	cache_put(cache, region);
}
END_TEST

START_TEST(stale_region_does_not_hide_a_good_one)
{
	struct cache_region *region;

	/* The last to start at or before 6 goes stale, one that starts earlier covers it too. */
	touch(5, 5, MEMORY_READ);
	touch(2, 6, MEMORY_READ);
	space_change(space, 9, 1);
	region = get(5, 2, MEMORY_READ);
	ck_assert_uint_eq(registration(region)->first, 2);
	cache_put(cache, region);
	ck_assert_uint_eq(atomic_load(&nic.made), 2);
}
END_TEST

/* ---- changes while registering: safeguard `look again` ---- */

static void change_meanwhile(struct device_double *double_, unsigned first, unsigned pages)
{
	space_change(double_->space, first + pages - 1, 1);
}

START_TEST(change_while_registering_is_noticed)
{
	struct cache_region *region;

	nic.during = change_meanwhile;
	atomic_store(&nic.during_times, 2);
	region = get(8, 4, MEMORY_READ);
	ck_assert_uint_eq(registration(region)->generations[3], 2);
	cache_put(cache, region);
	ck_assert_uint_eq(atomic_load(&nic.made), 3);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	ck_assert_uint_eq(grown(STATISTIC_cache_retries), 2);
}
END_TEST

START_TEST(memory_that_keeps_changing_is_not_cached)
{
	struct cache_region *region;

	nic.during = change_meanwhile;
	atomic_store(&nic.during_times, 4);
	region = get(8, 4, MEMORY_READ);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	cache_put(cache, region);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
}
END_TEST

START_TEST(change_while_registering_with_a_second_device_is_noticed)
{
	struct cache_region *region;
	const struct registration_double *made;

	touch(8, 4, MEMORY_READ);
	other_nic.during = change_meanwhile;
	atomic_store(&other_nic.during_times, 1);
	region = get_from(other_device, 8, 4, MEMORY_READ);
	made = cache_region_handle(region, other_device);
	ck_assert_uint_eq(made->generations[3], 1);
	cache_put(cache, region);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
	ck_assert_uint_eq(atomic_load(&other_nic.live), 1);
}
END_TEST

/* ---- release: safeguard `overlap rule` ---- */

static const struct { unsigned first, pages; bool released; } overlap_cases[] = {
	{ 8, 4, true }, { 9, 1, true }, { 8, 1, true }, { 11, 1, true }, { 0, 9, true },
	{ 11, 30, true }, { 0, 100, true }, { 0, 8, false }, { 12, 4, false },
};

START_TEST(any_overlap_releases)
{
	touch(8, 4, _i % 2 ? MEMORY_READ : MEMORY_WRITE);
	ck_assert_int_eq(release(overlap_cases[_i].first, overlap_cases[_i].pages),
			 overlap_cases[_i].released ? 0 : -EINVAL);
	ck_assert_uint_eq(atomic_load(&nic.live), overlap_cases[_i].released ? 0 : 1);
	ck_assert_uint_eq(space_watched(space), overlap_cases[_i].released ? 0 : 1);
}
END_TEST

START_TEST(one_byte_of_overlap_releases)
{
	touch(8, 4, MEMORY_READ);
	ck_assert_int_eq(cache_release_range(cache, PAGE_NUMBER(8) - 10, 10), -EINVAL);
	ck_assert_int_eq(cache_release_range(cache, PAGE_NUMBER(12), 10), -EINVAL);
	ck_assert_int_eq(cache_release_range(cache, PAGE_NUMBER(12) - 1, 1), 0);
}
END_TEST

START_TEST(all_regions_that_overlap_are_released)
{
	for (unsigned i = 0; i < 10; i++) {
		touch(i * 4, 6, MEMORY_READ);
		touch(i * 4, 5, MEMORY_WRITE);
	}
	/* Page 20: regions to read from 16 and 20, to write from 16 and 20. */
	ck_assert_int_eq(release(20, 1), 0);
	ck_assert_uint_eq(cached(), 16);
	ck_assert_int_eq(release(0, 1000), 0);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_int_eq(release(0, 1000), -EINVAL);
	ck_assert_int_eq(cache_release_range(cache, 0, SIZE_MAX), -EINVAL);
}
END_TEST

/* One region, two protection domains, a user of each. */
START_TEST(region_in_use_by_two_devices_stays_with_both_until_its_last_user)
{
	struct cache_region *first = get(8, 4, MEMORY_READ);
	struct cache_region *second = get_from(other_device, 8, 4, MEMORY_READ);

	ck_assert_int_eq(release(11, 1), 0);
	ck_assert_int_eq(release(8, 4), -EINVAL);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(leaving(), 1);
	cache_put(cache, first);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	ck_assert_uint_eq(atomic_load(&other_nic.live), 1);
	ck_assert_ptr_nonnull(cache_region_handle(second, other_device));
	cache_put(cache, second);
	ck_assert_uint_eq(atomic_load(&nic.live), 0);
	ck_assert_uint_eq(atomic_load(&other_nic.live), 0);
	ck_assert_uint_eq(leaving(), 0);
}
END_TEST

START_TEST(region_in_use_leaves_at_once_and_is_deregistered_by_its_last_user)
{
	struct cache_region *first = get(8, 4, MEMORY_READ);
	struct cache_region *second = get(9, 1, MEMORY_READ);

	ck_assert_ptr_eq(first, second);
	ck_assert_int_eq(release(9, 1), 0);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
	touch(8, 4, MEMORY_READ);
	ck_assert_uint_eq(atomic_load(&nic.made), 2);
	cache_put(cache, first);
	ck_assert_uint_eq(atomic_load(&nic.live), 2);
	cache_put(cache, second);
	ck_assert_uint_eq(atomic_load(&nic.live), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory/cache");
	TCase *tests;

	tests = fixture_case(suite, "hits");
	tcase_add_test(tests, second_get_is_a_hit);
	tcase_add_test(tests, any_part_of_a_region_is_a_hit);
	tcase_add_test(tests, hint_left_by_a_region_that_has_gone_is_no_answer);
	tcase_add_test(tests, regions_are_whole_pages);
	tcase_add_test(tests, a_hit_takes_no_lock);
	tcase_add_test(tests, beyond_the_end_is_a_miss);
	tcase_add_test(tests, nonsense_is_refused);
	tcase_add_test(tests, pieces_that_overlap_at_the_edge_coexist);
	tcase_add_test(tests, a_region_takes_the_place_of_those_it_covers);
	tcase_add_test(tests, same_start_longer_takes_the_place_of_shorter);
	tcase_add_test(tests, region_made_by_another_meanwhile_is_used);

	tests = fixture_case(suite, "rights");
	tcase_add_test(tests, read_only_region_is_not_written_through);
	tcase_add_test(tests, writable_region_is_read_through);
	tcase_add_test(tests, writable_region_takes_the_place_of_read_only_ones);
	tcase_add_test(tests, read_only_memory_can_be_sent_from);
	tcase_add_test(tests, unmapped_memory_is_a_fault);

	tests = fixture_case(suite, "stale");
	tcase_add_test(tests, stale_region_is_never_returned);
	tcase_add_test(tests, stale_region_in_use_lives_until_put);
	tcase_add_test(tests, slot_reused_by_another_range_does_not_revive);
	tcase_add_test(tests, stale_region_does_not_hide_a_good_one);

	tests = fixture_case(suite, "again");
	tcase_add_test(tests, change_while_registering_is_noticed);
	tcase_add_test(tests, memory_that_keeps_changing_is_not_cached);
	tcase_add_test(tests, change_while_registering_with_a_second_device_is_noticed);

	tests = fixture_case(suite, "overlap");
	tcase_add_loop_test(tests, any_overlap_releases, 0,
			    sizeof(overlap_cases) / sizeof(overlap_cases[0]));
	tcase_add_test(tests, one_byte_of_overlap_releases);
	tcase_add_test(tests, all_regions_that_overlap_are_released);
	tcase_add_test(tests, region_in_use_by_two_devices_stays_with_both_until_its_last_user);
	tcase_add_test(tests, region_in_use_leaves_at_once_and_is_deregistered_by_its_last_user);

	return fixture_run(suite);
}
