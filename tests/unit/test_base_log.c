// SPDX-License-Identifier: BSD-2-Clause
/*
 * The log reaches its file whatever the program does to descriptors, and never
 * harms the program: no SIGPIPE, no bytes into a descriptor that is not ours,
 * errno kept.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descriptor.h"
#include "log.h"

static char directory[] = "/tmp/wsdirect-log-XXXXXX";
static char log_name[128];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(log_name, sizeof(log_name), "%s/log", directory);
	setenv("WSDIRECT_CONFIG", "", 1);
}

static void teardown(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static const char *file_text(const char *name)
{
	static char text[4096];
	FILE *file = fopen(name, "r");
	size_t length;

	ck_assert_ptr_nonnull(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	return text;
}

START_TEST(lines_below_the_threshold_are_not_written)
{
	setenv("WSDIRECT_LOG_FILE", log_name, 1);
	setenv("WSDIRECT_LOG", "info", 1);
	log_open();
	log_debug("hidden");
	log_info("shown %d", 1);
	errno = EXDEV;
	log_error("shown %s", log_errno_name(-ECONNREFUSED));
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_ptr_null(strstr(file_text(log_name), "hidden"));
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "] info: shown 1\n"));
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "] error: shown ECONNREFUSED\n"));
}
END_TEST

START_TEST(a_long_line_is_one_line)
{
	char *message = calloc(1, 5000);

	setenv("WSDIRECT_LOG_FILE", log_name, 1);
	log_open();
	memset(message, 'm', 4999);
	log_error("%s", message);
	log_error("next");
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "mmm...\n"));
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "] error: next\n"));
	free(message);
}
END_TEST

/* In a process of its own, since Check's descriptors go too. */
static void close_everything_and_log(void)
{
	int sockets[2];
	char byte;

	log_open();
	log_error("before");
	for (int fd = 3; fd < 20000; fd++)
		close(fd);
	log_error("after");
	/* Now a connection of the program's takes the log's number. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) < 0)
		_exit(1);
	for (int fd = 3; fd < 20000; fd++)
		if (fd != sockets[0] && fd != sockets[1] && fcntl(fd, F_GETFD) >= 0)
			if (dup2(sockets[0], fd) != fd)
				_exit(2);
	log_error("reused");
	_exit(read(sockets[1], &byte, 1) < 0 ? 0 : 3);
}

START_TEST(file_survives_close_of_everything)
{
	pid_t child;
	int status;

	setenv("WSDIRECT_LOG_FILE", log_name, 1);
	child = fork();
	if (child == 0)
		close_everything_and_log();
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "before"));
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "after"));
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "reused"));
}
END_TEST

START_TEST(socket_in_place_of_standard_error_gets_nothing)
{
	int sockets[2];
	char byte;

	log_open();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets), 0);
	dup2(sockets[0], STDERR_FILENO);
	log_error("not for the peer");
	ck_assert_int_eq(read(sockets[1], &byte, 1), -1);
}
END_TEST

START_TEST(standard_error_led_to_a_file_is_followed)
{
	log_open();
	dup2(open(log_name, O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
	log_error("followed");
	ck_assert_ptr_nonnull(strstr(file_text(log_name), "followed"));
}
END_TEST

START_TEST(broken_pipe_does_not_kill)
{
	int ends[2];
	sigset_t pending;

	ck_assert_int_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_open();
	close(ends[0]);
	signal(SIGPIPE, SIG_DFL);
	log_error("to nobody");
	ck_assert_int_eq(sigpending(&pending), 0);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
}
END_TEST

START_TEST(file_that_cannot_be_opened_falls_back)
{
	int ends[2];
	char text[512] = "";

	ck_assert_int_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	setenv("WSDIRECT_LOG_FILE", "/nonexistent/log", 1);
	log_open();
	ck_assert_int_gt(read(ends[0], text, sizeof(text) - 1), 0);
	ck_assert_ptr_nonnull(strstr(text, "/nonexistent/log: ENOENT"));
}
END_TEST

START_TEST(child_writes_a_file_of_its_own)
{
	char pattern[160], childs[160];
	pid_t child;
	int status;

	snprintf(pattern, sizeof(pattern), "%s.%%p", log_name);
	setenv("WSDIRECT_LOG_FILE", pattern, 1);
	log_open();
	child = fork();
	if (child == 0) {
		log_forked();
		log_error("from the child");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	log_error("from the parent");
	snprintf(childs, sizeof(childs), "%s.%d", log_name, (int)child);
	ck_assert_ptr_nonnull(strstr(file_text(childs), "from the child"));
	ck_assert_ptr_null(strstr(file_text(childs), "from the parent"));
}
END_TEST

START_TEST(hidden_descriptor_is_high_and_close_on_exec)
{
	struct rlimit limit = { 400, 400 };
	int fd = open("/dev/null", O_RDONLY);
	int hidden;

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	hidden = descriptor_hide(fd);
	ck_assert_int_ge(hidden, 300);
	ck_assert_int_eq(fcntl(hidden, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(descriptor_hide(hidden), hidden);
	ck_assert_int_eq(descriptor_hide(-EMFILE), -EMFILE);
}
END_TEST

START_TEST(descriptor_stays_where_no_high_number_is_free)
{
	struct rlimit limit;
	int fd = open("/dev/null", O_RDONLY);

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 40;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int number = 30; number < 40; number++)
		ck_assert_int_eq(dup2(fd, number), number);
	ck_assert_int_eq(descriptor_hide(fd), fd);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/log");
	TCase *tests = tcase_create("log");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, lines_below_the_threshold_are_not_written);
	tcase_add_test(tests, a_long_line_is_one_line);
	tcase_add_test(tests, file_survives_close_of_everything);
	tcase_add_test(tests, socket_in_place_of_standard_error_gets_nothing);
	tcase_add_test(tests, standard_error_led_to_a_file_is_followed);
	tcase_add_test(tests, broken_pipe_does_not_kill);
	tcase_add_test(tests, file_that_cannot_be_opened_falls_back);
	tcase_add_test(tests, child_writes_a_file_of_its_own);
	tcase_add_test(tests, hidden_descriptor_is_high_and_close_on_exec);
	tcase_add_test(tests, descriptor_stays_where_no_high_number_is_free);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
