/* SPDX-License-Identifier: BSD-2-Clause */
/* Light locks: that they exclude, and that nobody who waits is forgotten. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "light_lock.h"

#define THREADS	8
#define ROUNDS	20000

static struct light_lock lock;
static unsigned int counter;	/* under the lock, and not atomic: ThreadSanitizer watches */

START_TEST(one_at_a_time)
{
	light_lock_init(&lock);
	ck_assert(light_lock_try(&lock));
	ck_assert(!light_lock_try(&lock));
	light_lock_release(&lock);
	light_lock_acquire(&lock);
	ck_assert(!light_lock_try(&lock));
	light_lock_release(&lock);
	ck_assert(light_lock_try(&lock));
	light_lock_release(&lock);
}
END_TEST

static void *count(void *argument)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (i % 7 || !light_lock_try(&lock))
			light_lock_acquire(&lock);
		counter++;
		/* With the lock taken away others come to wait, and to wait in a row. */
		if (i % 512 == 0)
			sched_yield();
		light_lock_release(&lock);
	}
	return argument;
}

START_TEST(everybody_gets_it)
{
	pthread_t threads[THREADS];

	light_lock_init(&lock);
	counter = 0;
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, count, NULL));
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert(!pthread_join(threads[i], NULL));
	ck_assert_uint_eq(counter, THREADS * ROUNDS);
	ck_assert(light_lock_try(&lock));
}
END_TEST

static void *count_once(void *argument)
{
	light_lock_acquire(&lock);
	counter++;
	light_lock_release(&lock);
	return argument;
}

/* All sleep before the lock is let go, which wakes one of them only. */
START_TEST(who_is_woken_wakes_the_next)
{
	struct timespec pause = { .tv_nsec = 50 * 1000000 };
	pthread_t threads[THREADS];

	light_lock_init(&lock);
	counter = 0;
	light_lock_acquire(&lock);
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, count_once, NULL));
	while (atomic_load(&lock.word) != LIGHT_LOCK_AWAITED)
		sched_yield();
	nanosleep(&pause, NULL);
	ck_assert_uint_eq(counter, 0);
	light_lock_release(&lock);
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert(!pthread_join(threads[i], NULL));
	ck_assert_uint_eq(counter, THREADS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/light_lock");
	TCase *tests = tcase_create("light_lock");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, one_at_a_time);
	tcase_add_test(tests, everybody_gets_it);
	tcase_add_test(tests, who_is_woken_wakes_the_next);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
