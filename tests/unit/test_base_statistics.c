// SPDX-License-Identifier: BSD-2-Clause
/* The statistics page: counted by many threads, read from outside, gone at the end. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "settings.h"
#include "statistics.h"

#define THREADS		40	/* more than have a shard of their own */
#define ADDITIONS	200000

static char directory[] = "/tmp/wsdirect-statistics-XXXXXX";

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	setenv("WSDIRECT_CONFIG", "", 1);
	setenv("WSDIRECT_STATISTICS", directory, 1);
}

static void teardown(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static const char *path_of(pid_t pid)
{
	static char path[128];

	settings_open();
	ck_assert_int_eq(statistics_path(pid, path, sizeof(path)), 0);
	return path;
}

static void *count(void *unused)
{
	for (int i = 0; i < ADDITIONS; i++)
		statistic_add(STATISTIC_cache_hits, 2);
	return unused;
}

START_TEST(threads_lose_no_addition)
{
	struct statistics_snapshot snapshot;
	pthread_t threads[THREADS];

	statistics_open();
	statistics_open();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(statistic_read(STATISTIC_cache_hits), 2 * THREADS * ADDITIONS);
	ck_assert_uint_eq(statistic_read(STATISTIC_cache_misses), 0);

	ck_assert_int_eq(statistics_load(path_of(getpid()), &snapshot), 0);
	ck_assert_int_eq(snapshot.pid, getpid());
	ck_assert_uint_eq(snapshot.values[STATISTIC_cache_hits], 2 * THREADS * ADDITIONS);
	ck_assert_str_eq(snapshot.program, program_invocation_short_name);
	ck_assert_uint_gt(snapshot.start_time, 0);
}
END_TEST

static volatile sig_atomic_t signals;

static void count_in_signal(int number)
{
	(void)number;
	statistic_add(STATISTIC_cache_hits, 1);
	signals++;
}

START_TEST(signal_handlers_lose_no_addition)
{
	struct itimerval often = { .it_interval.tv_usec = 50, .it_value.tv_usec = 50 };
	struct sigaction action = { .sa_handler = count_in_signal };
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	uint64_t own = 0;

	statistics_open();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (signals < 500) {
		for (int i = 0; i < 1000; i++, own++)
			statistic_add(STATISTIC_cache_hits, 1);
		/* The thread sanitizer lets handlers run in calls only. */
		pthread_mutex_lock(&mutex);
		pthread_mutex_unlock(&mutex);
	}
	often = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &often, NULL);
	ck_assert_uint_eq(statistic_read(STATISTIC_cache_hits), own + (uint64_t)signals);
}
END_TEST

static pthread_barrier_t barrier;

/* Long enough to meet the other thread on another processor. */
static void *count_together(void *unused)
{
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 50; i++)
		count(NULL);
	return unused;
}

/* What the threads of a child own is given away anew. */
START_TEST(threads_of_a_child_lose_no_addition)
{
	struct statistics_snapshot snapshot;
	pthread_t other;
	pid_t child;
	int status;

	statistics_open();
	statistic_add(STATISTIC_cache_hits, 1);
	child = fork();
	if (child == 0) {
		statistics_forked();
		pthread_barrier_init(&barrier, NULL, 2);
		if (pthread_create(&other, NULL, count_together, NULL))
			_exit(2);
		count_together(NULL);
		pthread_join(other, NULL);
		if (statistics_load(path_of(getpid()), &snapshot))
			_exit(3);
		_exit(snapshot.values[STATISTIC_cache_hits] != 2 * 50 * 2 * ADDITIONS);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(counts_made_before_opening_are_kept)
{
	statistic_add(STATISTIC_resets, 3);
	statistics_open();
	statistic_add(STATISTIC_resets, 1);
	ck_assert_uint_eq(statistic_read(STATISTIC_resets), 4);
}
END_TEST

START_TEST(no_directory_means_private_counting)
{
	setenv("WSDIRECT_STATISTICS", "/nonexistent", 1);
	statistics_open();
	statistic_add(STATISTIC_resets, 3);
	ck_assert_uint_eq(statistic_read(STATISTIC_resets), 3);
	statistics_forked();
	ck_assert_uint_eq(statistic_read(STATISTIC_resets), 0);
}
END_TEST

START_TEST(page_left_by_another_process_is_replaced)
{
	struct statistics_snapshot snapshot;
	int fd = open(path_of(getpid()), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_eq(ftruncate(fd, 1 << 16), 0);
	close(fd);
	statistics_open();
	statistic_add(STATISTIC_resets, 5);
	ck_assert_int_eq(statistics_load(path_of(getpid()), &snapshot), 0);
	ck_assert_uint_eq(snapshot.values[STATISTIC_resets], 5);
}
END_TEST

START_TEST(symbolic_link_is_not_followed)
{
	char target[160];
	struct stat st;

	snprintf(target, sizeof(target), "%s/target", directory);
	close(open(target, O_WRONLY | O_CREAT, 0600));
	ck_assert_int_eq(symlink(target, path_of(getpid())), 0);
	statistics_open();
	statistic_add(STATISTIC_resets, 5);
	ck_assert_int_eq(stat(target, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}
END_TEST

/* Runs in a child: opens the page, says so by its exit. */
static pid_t child_with_page(void)
{
	pid_t child = fork();

	if (child == 0) {
		statistics_open();
		exit(access(path_of(getpid()), R_OK) ? 1 : 0);
	}
	return child;
}

START_TEST(page_goes_when_the_program_ends)
{
	pid_t child = child_with_page();
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(path_of(child), F_OK), -1);
}
END_TEST

START_TEST(page_stays_when_asked_to)
{
	struct statistics_snapshot snapshot;
	pid_t child;
	int status;

	setenv("WSDIRECT_STATISTICS_KEEP", "1", 1);
	child = child_with_page();
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(statistics_load(path_of(child), &snapshot), 0);
	ck_assert_int_eq(snapshot.pid, child);
}
END_TEST

START_TEST(child_counts_apart_and_leaves_the_parents_page)
{
	struct statistics_snapshot snapshot;
	pid_t child;
	int status;

	statistics_open();
	statistic_add(STATISTIC_resets, 7);
	child = fork();
	if (child == 0) {
		statistics_forked();
		statistic_add(STATISTIC_resets, 1);
		if (statistic_read(STATISTIC_resets) != 1)
			exit(1);
		if (statistics_load(path_of(getpid()), &snapshot) != 0 ||
		    snapshot.values[STATISTIC_resets] != 1)
			exit(2);
		exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(path_of(child), F_OK), -1);
	ck_assert_int_eq(statistics_load(path_of(getpid()), &snapshot), 0);
	ck_assert_uint_eq(snapshot.values[STATISTIC_resets], 7);
}
END_TEST

/* However many, and they end as they like. */
START_TEST(child_that_counts_nothing_has_no_page)
{
	pid_t child;
	int status;

	statistics_open();
	statistic_add(STATISTIC_resets, 7);
	child = fork();
	if (child == 0) {
		statistics_forked();
		if (statistic_read(STATISTIC_resets) != 0 ||
		    access(path_of(getpid()), F_OK) == 0)
			_exit(1);
		/* Its own child can still have one. */
		child = fork();
		if (child == 0) {
			statistics_forked();
			statistic_add(STATISTIC_resets, 1);
			_exit(access(path_of(getpid()), F_OK) ? 2 : 0);
		}
		waitpid(child, &status, 0);
		_exit(status != 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(path_of(child), F_OK), -1);
}
END_TEST

START_TEST(child_that_was_not_told_leaves_the_parents_page)
{
	pid_t child;
	int status;

	statistics_open();
	child = fork();
	if (child == 0)
		exit(0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(access(path_of(getpid()), F_OK), 0);
}
END_TEST

START_TEST(other_files_are_refused)
{
	struct statistics_snapshot snapshot;
	char path[160];
	int fd;

	ck_assert_int_eq(statistics_load("/nonexistent", &snapshot), -ENOENT);
	ck_assert_int_eq(statistics_load("/dev/null", &snapshot), -EINVAL);
	ck_assert_int_eq(statistics_load("/proc/self/exe", &snapshot), -ELOOP);
	snprintf(path, sizeof(path), "%s/short", directory);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(statistics_load(path, &snapshot), -EINVAL);
	ck_assert_int_eq(ftruncate(fd, 1 << 16), 0);
	ck_assert_int_eq(statistics_load(path, &snapshot), -EINVAL);
	close(fd);
	/* A page with other counters: its fingerprint, the second word, differs. */
	statistics_open();
	fd = open(path_of(getpid()), O_RDWR);
	ck_assert_int_eq(pwrite(fd, "x", 1, 8), 1);
	ck_assert_int_eq(statistics_load(path_of(getpid()), &snapshot), -EPROTONOSUPPORT);
	close(fd);
}
END_TEST

START_TEST(every_counter_has_a_name)
{
	for (int i = 0; i < STATISTIC_COUNT; i++) {
		ck_assert_str_ne(statistic_name(i), "");
		ck_assert_str_ne(statistic_help(i), "");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/statistics");
	TCase *tests = tcase_create("statistics");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, threads_lose_no_addition);
	tcase_add_test(tests, signal_handlers_lose_no_addition);
	tcase_add_test(tests, threads_of_a_child_lose_no_addition);
	tcase_add_test(tests, counts_made_before_opening_are_kept);
	tcase_add_test(tests, no_directory_means_private_counting);
	tcase_add_test(tests, page_left_by_another_process_is_replaced);
	tcase_add_test(tests, symbolic_link_is_not_followed);
	tcase_add_test(tests, page_goes_when_the_program_ends);
	tcase_add_test(tests, page_stays_when_asked_to);
	tcase_add_test(tests, child_counts_apart_and_leaves_the_parents_page);
	tcase_add_test(tests, child_that_counts_nothing_has_no_page);
	tcase_add_test(tests, child_that_was_not_told_leaves_the_parents_page);
	tcase_add_test(tests, other_files_are_refused);
	tcase_add_test(tests, every_counter_has_a_name);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
