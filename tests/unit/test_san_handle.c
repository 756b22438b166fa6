// SPDX-License-Identifier: BSD-2-Clause
/*
 * The provider's handles: a stale one is noticed, an object lives as long as it is
 * held, and one closer wins, also with threads at it.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "handle.h"

struct object {
	_Atomic int alive;
	_Atomic int users;
};

static _Atomic int released;

static void release(void *argument)
{
	struct object *object = argument;

	ck_assert_int_eq(object->alive, 1);
	object->alive = 0;
	released++;
}

static struct handle_table table = { .lock = PTHREAD_MUTEX_INITIALIZER, .release = release };

START_TEST(handle_is_neither_zero_nor_all_ones)
{
	static struct object objects[1000];

	for (unsigned i = 0; i < 1000; i++) {
		uintptr_t handle = handle_open(&table, &objects[i]);

		ck_assert(handle && handle != UINTPTR_MAX);
		ck_assert(handle >= UINT64_C(1) << 32);
		ck_assert_ptr_eq(handle_get(&table, handle), &objects[i]);
	}
	ck_assert_ptr_null(handle_get(&table, 0));
	ck_assert_ptr_null(handle_get(&table, UINTPTR_MAX));
	ck_assert_ptr_null(handle_get(&table, 1));
	ck_assert_ptr_null(handle_get(&table, 0x100000000));
	ck_assert_ptr_null(handle_get(&table, 0x1fffffffe));
	ck_assert(!handle_close(&table, 12345));
}
END_TEST

START_TEST(object_lives_until_its_last_reference)
{
	struct object object = { .alive = 1 }, next = { .alive = 1 };
	uintptr_t handle = handle_open(&table, &object), second;

	ck_assert_ptr_eq(handle_get(&table, handle), &object);
	ck_assert(handle_close(&table, handle));
	ck_assert(!handle_close(&table, handle));
	ck_assert_ptr_null(handle_get(&table, handle));
	handle_put(&table, handle);
	handle_put(&table, handle);
	ck_assert_int_eq(object.alive, 1);
	handle_put(&table, handle);
	ck_assert_int_eq(object.alive, 0);
	/* The slot's next user has another handle. */
	second = handle_open(&table, &next);
	ck_assert(second != handle);
	ck_assert_ptr_null(handle_get(&table, handle));
}
END_TEST

START_TEST(close_unused_refuses_what_others_hold)
{
	struct object object = { .alive = 1 };
	uintptr_t handle = handle_open(&table, &object);

	handle_put(&table, handle);
	ck_assert_ptr_eq(handle_get(&table, handle), &object);
	ck_assert_ptr_eq(handle_get(&table, handle), &object);
	ck_assert_int_eq(handle_close_unused(&table, handle, 0), -EBUSY);
	ck_assert_int_eq(handle_close_unused(&table, handle, 1), -EBUSY);
	handle_put(&table, handle);
	ck_assert_int_eq(handle_close_unused(&table, handle, 1), 0);
	ck_assert_int_eq(handle_close_unused(&table, handle, 1), -ENOENT);
	handle_put(&table, handle);
	ck_assert_int_eq(object.alive, 1);
	handle_put(&table, handle);
	ck_assert_int_eq(object.alive, 0);
	ck_assert_int_eq(handle_close_unused(&table, handle, 0), -ENOENT);
}
END_TEST

static int counted;

static void count(void *object)
{
	ck_assert_ptr_nonnull(object);
	counted++;
}

START_TEST(forked_child_finds_no_handle_valid)
{
	static struct object objects[300];
	uintptr_t handles[300];

	for (unsigned i = 0; i < 300; i++) {
		objects[i].alive = 1;
		handles[i] = handle_open(&table, &objects[i]);
		if (i % 3 == 0) {
			ck_assert(handle_close(&table, handles[i]));
			handle_put(&table, handles[i]);
			handle_put(&table, handles[i]);
		}
	}
	handle_table_forked(&table, count);
	ck_assert_int_eq(counted, 200);
	for (unsigned i = 0; i < 300; i++) {
		uintptr_t anew;

		ck_assert_ptr_null(handle_get(&table, handles[i]));
		anew = handle_open(&table, &objects[i]);
		for (unsigned j = 0; j < 300; j++)
			ck_assert(anew != handles[j]);
	}
}
END_TEST

#define THREADS 4
#define ROUNDS 20000

static _Atomic uintptr_t shared;

/* Everybody gets, uses, tries to close what is there, and the winner puts a new one. */
static void *contend(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uintptr_t handle = shared;
		struct object *object = handle_get(&table, handle);

		if (!object)
			continue;
		object->users++;
		ck_assert_int_eq(object->alive, 1);
		if (i % 7 == 0 && handle_close(&table, handle)) {
			struct object *next = calloc(1, sizeof(*next));

			next->alive = 1;
			handle_put(&table, handle);
			uintptr_t anew = handle_open(&table, next);

			handle_put(&table, anew);
			shared = anew;
		}
		object->users--;
		ck_assert_int_eq(object->alive, 1);
		handle_put(&table, handle);
	}
	return NULL;
}

static void release_counted(void *argument)
{
	struct object *object = argument;

	ck_assert_int_eq(object->users, 0);
	release(object);
	free(object);
}

START_TEST(threads_never_meet_a_released_object)
{
	struct object *first = calloc(1, sizeof(*first));
	pthread_t threads[THREADS];
	uintptr_t handle;

	table.release = release_counted;
	first->alive = 1;
	handle = handle_open(&table, first);
	handle_put(&table, handle);
	shared = handle;
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, contend, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_gt(released, 100);
	ck_assert(handle_close(&table, shared));
	handle_put(&table, shared);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("handle");
	TCase *tests = tcase_create("handle");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, handle_is_neither_zero_nor_all_ones);
	tcase_add_test(tests, object_lives_until_its_last_reference);
	tcase_add_test(tests, close_unused_refuses_what_others_hold);
	tcase_add_test(tests, forked_child_finds_no_handle_valid);
	tcase_add_test(tests, threads_never_meet_a_released_object);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
