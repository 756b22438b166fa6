// SPDX-License-Identifier: BSD-2-Clause
/* Choice of the monitor, and what stays true without the kernel module. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wsdirect.h>

#include "monitor.h"
#include "settings.h"

static void setup(void)
{
	setenv("WSDIRECT_LOG", "off", 1);
	setenv("WSDIRECT_CONFIG", "", 1);
	settings_open();
}

START_TEST(none_watches_nothing)
{
	struct monitor *monitor;
	struct monitor_watch watch = { .word = NULL };
	struct monitor_event event;

	ck_assert_int_eq(monitor_open("none", &monitor), 0);
	ck_assert_str_eq(monitor->name, "none");
	ck_assert_int_eq(monitor->event_descriptor, -1);
	ck_assert_uint_eq(monitor->most_ranges, 0);
	ck_assert_int_eq(monitor_secure(monitor, 4096, 4096, MEMORY_READ, &watch), -EOPNOTSUPP);
	ck_assert_int_eq(monitor_unsecure(monitor, &watch), -ENOENT);
	ck_assert_int_eq(monitor_read(monitor, &event, 1), 0);
	monitor_close(monitor);
}
END_TEST

START_TEST(unknown_name_is_refused)
{
	struct monitor *monitor;

	ck_assert_int_eq(monitor_open("hope", &monitor), -EINVAL);
}
END_TEST

/* On a host with the module the second half of each does not apply. */
START_TEST(without_the_module_auto_is_none)
{
	struct monitor *monitor;

	ck_assert_int_eq(monitor_open("auto", &monitor), 0);
	if (access(WSDIRECT_DEVICE, R_OK | W_OK) != 0)
		ck_assert_str_eq(monitor->name, "none");
	monitor_close(monitor);
}
END_TEST

START_TEST(module_asked_for_by_name_is_an_error_without_it)
{
	struct monitor *monitor;

	if (access(WSDIRECT_DEVICE, F_OK) != 0)
		ck_assert_int_eq(monitor_open("module", &monitor), -ENOENT);
}
END_TEST

static int exit_of(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

START_TEST(monitor_is_not_a_childs)
{
	struct monitor *monitor;
	struct monitor_watch watch;
	pid_t child;

	ck_assert_int_eq(monitor_open("none", &monitor), 0);
	ck_assert(monitor_is_ours(monitor));
	child = fork();
	if (child == 0)
		_exit(monitor_is_ours(monitor) ||
		      monitor_secure(monitor, 4096, 4096, MEMORY_READ, &watch) != -EPERM);
	ck_assert_int_eq(exit_of(child), 0);
	/* One made behind libc's back. */
	child = (pid_t)syscall(SYS_fork);
	if (child == 0)
		_exit(monitor_is_ours(monitor));
	ck_assert_int_eq(exit_of(child), 0);
	ck_assert(monitor_is_ours(monitor));
	monitor_close(monitor);
}
END_TEST

START_TEST(word_other_than_the_sequence_is_invalid)
{
	_Atomic uint64_t word = 7;
	struct monitor_watch watch = { .word = &word, .sequence = 7 };

	ck_assert(monitor_watch_valid(&watch));
	atomic_store(&word, 0);
	ck_assert(!monitor_watch_valid(&watch));
	atomic_store(&word, 8);
	ck_assert(!monitor_watch_valid(&watch));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory/monitor");
	TCase *tests = tcase_create("monitor");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, none_watches_nothing);
	tcase_add_test(tests, unknown_name_is_refused);
	tcase_add_test(tests, without_the_module_auto_is_none);
	tcase_add_test(tests, module_asked_for_by_name_is_an_error_without_it);
	tcase_add_test(tests, monitor_is_not_a_childs);
	tcase_add_test(tests, word_other_than_the_sequence_is_invalid);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
