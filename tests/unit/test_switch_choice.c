/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of choice, the memory of TCP-only destinations, and a connect just left to TCP. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "choice.h"
#include "descriptors.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "socket_state.h"

static struct sockaddr_storage address(const char *text, uint16_t port)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		v6->sin6_family = AF_INET6;
	else
		ck_abort_msg("bad address %s", text);
	v4->sin_port = htons(port);
	return storage;
}

static const struct {
	const char *rules;
	enum choice_call call;
	const char *address;
	uint16_t port;
	enum choice expected;
} cases[] = {
	{ "", CHOICE_CONNECT, "10.0.0.1", 80, CHOICE_AUTO },
	{ "tcp", CHOICE_CONNECT, "10.0.0.1", 80, CHOICE_TCP },
	{ ":22 tcp", CHOICE_CONNECT, "10.0.0.1", 22, CHOICE_TCP },
	{ ":22 tcp", CHOICE_CONNECT, "10.0.0.1", 23, CHOICE_AUTO },
	{ "listen :22 tcp", CHOICE_CONNECT, "10.0.0.1", 22, CHOICE_AUTO },
	{ "listen :22 tcp", CHOICE_LISTEN, "10.0.0.1", 22, CHOICE_TCP },
	{ "10.1.0.0/16 san; tcp", CHOICE_CONNECT, "10.1.200.3", 1, CHOICE_SAN },
	{ "10.1.0.0/16 san; tcp", CHOICE_CONNECT, "10.2.0.3", 1, CHOICE_TCP },
	{ "10.1.0.0/17 san", CHOICE_CONNECT, "10.1.128.1", 1, CHOICE_AUTO },
	{ "10.0.0.0/0 san", CHOICE_CONNECT, "200.1.2.3", 1, CHOICE_SAN },
	{ "10.1.0.0/16:80 san", CHOICE_CONNECT, "10.1.2.3", 80, CHOICE_SAN },
	{ "10.1.0.0/16:80 san", CHOICE_CONNECT, "10.1.2.3", 81, CHOICE_AUTO },
	{ "10.1.0.0/16 tcp", CHOICE_CONNECT, "::ffff:10.1.2.3", 1, CHOICE_TCP },
	{ "[fd00::]/8:80 tcp", CHOICE_CONNECT, "fd12::1", 80, CHOICE_TCP },
	{ "[fd00::]/8:80 tcp", CHOICE_CONNECT, "fe80::1", 80, CHOICE_AUTO },
	{ "program test_switch_choice tcp", CHOICE_CONNECT, "10.0.0.1", 1, CHOICE_TCP },
	{ "program lt-other tcp", CHOICE_CONNECT, "10.0.0.1", 1, CHOICE_AUTO },
	/* Malformed ones are left out, the rest stays in force. */
	{ "nonsense; :5 tcp", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_TCP },
	{ ":70000 tcp; san", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_SAN },
	{ "10.0.0.1/33 tcp", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_AUTO },
	{ "[fd77::1] tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_TCP },
	{ "[fd77::1]:5 tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_TCP },
	{ "* tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_TCP },
	{ "*:5 tcp", CHOICE_CONNECT, "fd77::1", 6, CHOICE_AUTO },
	{ "fd77::1:5 tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_AUTO },
	{ "fd77::1 tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_AUTO },
	{ "[fd77::1]junk tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_AUTO },
	{ "[fd77::1]junk:5 tcp", CHOICE_CONNECT, "fd77::1", 5, CHOICE_AUTO },
	{ ":5 tcp extra", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_AUTO },
	{ "program", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_AUTO },
	{ " ; ;", CHOICE_CONNECT, "10.0.0.1", 5, CHOICE_AUTO },
};

/* Settings are read once a process, so each case runs in its own (CK_FORK). */
START_TEST(the_first_rule_that_fits_decides)
{
	struct sockaddr_storage where = address(cases[_i].address, cases[_i].port);

	setenv("WSDIRECT_RULES", cases[_i].rules, 1);
	switch_open();
	ck_assert_int_eq(choice_rule(cases[_i].call, (struct sockaddr *)&where), cases[_i].expected);
}
END_TEST

/* Programs that work for others: what bash connects (/dev/tcp) is for its children. */
static const struct {
	const char *program;
	enum choice connect, listen;
} defaults[] = {
	{ "bas", CHOICE_AUTO, CHOICE_AUTO },
	{ "bash", CHOICE_TCP, CHOICE_AUTO },
	{ "sshd", CHOICE_AUTO, CHOICE_TCP },
	{ "rsync", CHOICE_AUTO, CHOICE_TCP },
	{ "xinetd", CHOICE_AUTO, CHOICE_TCP },
};

START_TEST(without_rules_some_programs_are_known)
{
	struct sockaddr_storage where = address("10.0.0.1", 80);

	unsetenv("WSDIRECT_RULES");
	program_invocation_short_name = (char *)(uintptr_t)defaults[_i].program;
	switch_open();
	ck_assert_int_eq(choice_rule(CHOICE_CONNECT, (struct sockaddr *)&where),
			 defaults[_i].connect);
	ck_assert_int_eq(choice_rule(CHOICE_LISTEN, (struct sockaddr *)&where), defaults[_i].listen);
}
END_TEST

START_TEST(a_destination_is_remembered_for_its_time)
{
	struct sockaddr_storage one = address("10.0.0.1", 80), other = address("10.0.0.1", 81);
	struct pollfd nothing = { .fd = -1 };

	switch_open();
	ck_assert(!choice_remembers_tcp(&one));
	choice_remember_tcp(&one, 50);
	ck_assert(choice_remembers_tcp(&one));
	ck_assert(!choice_remembers_tcp(&other));
	poll(&nothing, 1, 60);
	ck_assert(!choice_remembers_tcp(&one));
}
END_TEST

START_TEST(what_speaks_the_san_takes_no_place_of_what_does_not)
{
	struct sockaddr_storage one = address("10.0.0.1", 80);

	switch_open();
	choice_remember_tcp(&one, 60000);
	ck_assert(!choice_remembers_san(&one, 60000));
	for (uint16_t i = 1; i < 1000; i++) {
		struct sockaddr_storage other = address("10.0.0.2", i);

		choice_remember_san(&other);
		ck_assert(choice_remembers_san(&other, 60000));
		ck_assert(!choice_remembers_san(&other, 0));
		ck_assert(!choice_remembers_tcp(&other));
	}
	ck_assert(choice_remembers_tcp(&one));
	/* Only others like it do, in the end. */
	for (uint16_t i = 1; i < 1000; i++) {
		struct sockaddr_storage other = address("10.0.0.3", i);

		choice_remember_tcp(&other, 60000);
		ck_assert(choice_remembers_tcp(&other));
	}
	ck_assert(!choice_remembers_tcp(&one));
}
END_TEST

START_TEST(the_source_is_the_routes)
{
	struct sockaddr_storage peer = address("127.0.0.1", 9), source;

	switch_open();
	ck_assert_int_eq(choice_source(&peer, sizeof(struct sockaddr_in), &source), 0);
	ck_assert_uint_eq(((struct sockaddr_in *)&source)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	ck_assert_uint_eq(((struct sockaddr_in *)&source)->sin_port, 0);
}
END_TEST

/*
 * TCP carries a connect that did not wait, but its descriptor is not out of the table yet: asked
 * for the outcome meanwhile, success is told once, by whoever is asked.
 */
START_TEST(success_is_told_once)
{
	struct sockaddr_storage where = address("127.0.0.1", 0);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd waited = { .fd = fd, .events = POLLOUT };
	socklen_t length = sizeof(struct sockaddr_in);
	struct socket *socket = socket_new(SOCKET_PLAIN);

	switch_open();
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&where, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&where, &length), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&where, length), -1);
	ck_assert_int_eq(errno, EINPROGRESS);
	ck_assert_int_eq(poll(&waited, 1, 10000), 1);

	ck_assert_int_eq(descriptor_set(fd, socket_get(socket)), 0);
	ck_assert_int_eq(switch_connect(fd, (struct sockaddr *)&where, length), 0);
	ck_assert_int_eq(switch_connect(fd, (struct sockaddr *)&where, length), -EISCONN);
	descriptor_clear(fd, socket);
	ck_assert_int_eq(switch_connect(fd, (struct sockaddr *)&where, length), -EISCONN);
	socket_put(socket);
	close(fd);
	close(listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("switch choice");
	TCase *tests = tcase_create("choice");
	SRunner *runner = srunner_create(suite);
	int failed;

	libc_calls_resolve();
	setenv("WSDIRECT_LOG", "off", 1);
	srunner_set_fork_status(runner, CK_FORK);
	tcase_add_loop_test(tests, the_first_rule_that_fits_decides, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(tests, without_rules_some_programs_are_known, 0,
			    sizeof(defaults) / sizeof(defaults[0]));
	tcase_add_test(tests, a_destination_is_remembered_for_its_time);
	tcase_add_test(tests, what_speaks_the_san_takes_no_place_of_what_does_not);
	tcase_add_test(tests, the_source_is_the_routes);
	tcase_add_test(tests, success_is_told_once);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
