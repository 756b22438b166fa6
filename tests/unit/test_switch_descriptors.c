// SPDX-License-Identifier: BSD-2-Clause
/* The descriptor table: entries, duplicates, marks, and threads that look while others close. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll.h"
#include "fake_socket.h"
#include "libc_calls.h"
#include "settings.h"

static void set_up(void)
{
	libc_calls_resolve();
	settings_open();
	descriptors_open();
}

static void tear_down(void)
{
	fake_close_all();
	ck_assert_int_eq(fake_alive, 0);
}

static bool has(int fd, struct socket *socket)
{
	struct socket *found = descriptor_get(fd);

	if (found)
		socket_put(found);
	return found == socket;
}

START_TEST(unknown_descriptors)
{
	static const int fds[] = { -1, 0, 5, 4095, 4096, 1 << 20, 1 << 26, INT32_MAX, INT32_MIN };

	for (unsigned int i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		ck_assert_ptr_null(descriptor_get(fds[i]));
		ck_assert_ptr_null(descriptor_get_waitable(fds[i]));
		ck_assert(!descriptor_is_known(fds[i]));
		ck_assert(!descriptor_closing_matters(fds[i]));
		ck_assert_int_eq(descriptor_closing(fds[i]), 0);
		descriptor_clear(fds[i], NULL);
		descriptor_mark_listening(fds[i], false);
		descriptor_duplicated(fds[i], 6);
	}
	ck_assert_int_eq(descriptor_highest(), -1);
}
END_TEST

START_TEST(beyond_the_table)
{
	struct socket *socket;
	int fd = fake_open(&socket);

	ck_assert_int_eq(descriptor_set(1 << 26, socket_get(socket)), -EMFILE);
	socket_put(socket);
	ck_assert_int_eq(descriptor_set(-1, socket), -EMFILE);
	ck_assert(has(fd, socket));
	/* The last one of the table, far from the others. */
	descriptor_duplicated(fd, (1 << 26) - 1);
	ck_assert(has((1 << 26) - 1, socket));
	descriptor_clear_all(socket);
	ck_assert(!descriptor_is_known((1 << 26) - 1));
}
END_TEST

START_TEST(set_and_clear)
{
	struct socket *socket, *other;
	int fd = fake_open(&socket), second = fake_open(&other);

	ck_assert(has(fd, socket) && has(second, other));
	ck_assert_int_eq(descriptor_set(fd, other), -EEXIST);
	descriptor_clear(fd, other);
	ck_assert(has(fd, socket));
	descriptor_clear(fd, socket);
	ck_assert(has(fd, NULL));
	ck_assert_int_eq(fake_closed, 0);
	ck_assert_int_eq(fake_alive, 1);
}
END_TEST

START_TEST(the_last_descriptor_closes)
{
	struct socket *socket;
	int fd = fake_open(&socket), i;

	for (i = 1; i < 5; i++)
		descriptor_duplicated(fd, 700 + i);
	ck_assert(has(703, socket));
	descriptor_closing(702);
	descriptor_closing(fd);
	descriptor_closing(704);
	descriptor_closing(704);
	ck_assert_int_eq(fake_closed, 0);
	descriptor_duplicated(703, 706);
	descriptor_closing(701);
	descriptor_closing(703);
	ck_assert_int_eq(fake_closed, 0);
	ck_assert_int_eq(descriptor_closing(706), 0);
	ck_assert_int_eq(fake_closed, 1);
	ck_assert_int_eq(fake_alive, 0);
	close(fd);
}
END_TEST

START_TEST(clear_all_takes_every_duplicate)
{
	struct socket *socket, *other;
	int fd = fake_open(&socket), bystander = fake_open(&other);

	descriptor_duplicated(fd, 800);
	descriptor_duplicated(800, 9000);
	descriptor_clear_all(socket);
	ck_assert(has(fd, NULL) && has(800, NULL) && has(9000, NULL));
	ck_assert(has(bystander, other));
	ck_assert_int_eq(fake_closed, 0);
	ck_assert_int_eq(fake_alive, 1);
	close(fd);
}
END_TEST

/* A call that is still running when its descriptor is closed, and given out again. */
START_TEST(a_hold_outlives_its_descriptor)
{
	struct socket *socket, *other;
	int fd = fake_open(&socket), second = fake_open(&other);

	ck_assert_ptr_eq(descriptor_hold(fd), socket);
	ck_assert_ptr_eq(descriptor_hold(fd), socket);
	descriptor_closing(fd);
	ck_assert_int_eq(fake_closed, 1);
	ck_assert_int_eq(fake_alive, 2);
	ck_assert_ptr_null(descriptor_hold(fd));
	descriptor_release(fd, socket);
	ck_assert_int_eq(fake_alive, 2);
	descriptor_duplicated(second, fd);
	ck_assert_ptr_eq(descriptor_hold(fd), other);
	descriptor_release(fd, socket);
	ck_assert_int_eq(fake_alive, 1);
	descriptor_release(fd, other);
	ck_assert(has(fd, other));
	close(fd);
}
END_TEST

/* Whoever gives back first, and what: the last one frees. */
START_TEST(holds_and_references_are_alike)
{
	struct socket *socket;
	int fd = fake_open(&socket);

	ck_assert_ptr_eq(descriptor_hold(fd), socket);
	ck_assert_ptr_eq(descriptor_get(fd), socket);
	descriptor_release(fd, socket);
	descriptor_release(fd, socket);
	ck_assert(has(fd, socket));
	ck_assert_ptr_eq(descriptor_get(fd), socket);
	ck_assert_ptr_eq(descriptor_hold(fd), socket);
	descriptor_release(fd, socket);
	descriptor_closing(fd);
	ck_assert_int_eq(fake_alive, 1);
	descriptor_release(fd, socket);
	ck_assert_int_eq(fake_alive, 0);
	close(fd);
}
END_TEST

/* More than the word can count. */
START_TEST(very_many_holds)
{
	enum { MANY = 200000 };
	struct socket *socket;
	int fd = fake_open(&socket), i;

	for (i = 0; i < MANY; i++)
		ck_assert_ptr_eq(descriptor_hold(fd), socket);
	for (i = 0; i < MANY / 2; i++)
		descriptor_release(fd, socket);
	descriptor_closing(fd);
	for (i = 0; i < MANY / 2 - 1; i++)
		descriptor_release(fd, socket);
	ck_assert_int_eq(fake_alive, 1);
	descriptor_release(fd, socket);
	ck_assert_int_eq(fake_alive, 0);
	close(fd);
}
END_TEST

/* A signal handler forks in the midst of a call, and the child goes on with it. */
START_TEST(a_forked_child_keeps_its_hold)
{
	struct socket *socket;
	int fd = fake_open(&socket), status;
	pid_t pid;

	ck_assert_ptr_eq(descriptor_hold(fd), socket);
	pid = fork();
	if (!pid) {
		descriptors_open();
		descriptor_release(fd, socket);
		if (fake_alive != 1 || !has(fd, socket))
			_exit(1);
		descriptor_closing(fd);
		_exit(fake_alive ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	descriptor_release(fd, socket);
	ck_assert(has(fd, socket));
}
END_TEST

/* The kernel gives a number out again that was closed where we could not see it. */
START_TEST(a_duplicate_replaces_what_is_stale)
{
	struct socket *socket, *other;
	int fd = fake_open(&socket), stale = fake_open(&other);

	descriptor_duplicated(fd, stale);
	ck_assert(has(stale, socket));
	ck_assert_int_eq(fake_closed, 1);
	ck_assert_int_eq(fake_alive, 1);
	/* By a descriptor that is nobody's, too. */
	descriptor_duplicated(950, stale);
	ck_assert(has(stale, NULL));
	ck_assert_int_eq(fake_closed, 1);
	close(stale);
}
END_TEST

START_TEST(listening_marks)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct socket *socket;

	descriptor_mark_listening(fd, true);
	ck_assert(descriptor_is_known(fd) && descriptor_is_listening(fd));
	ck_assert_ptr_null(descriptor_get(fd));
	ck_assert_ptr_null(descriptor_get_waitable(fd));
	descriptor_duplicated(fd, 600);
	ck_assert(descriptor_is_listening(600));
	descriptor_closing(600);
	ck_assert(!descriptor_is_known(600));
	fake_listeners = true;
	socket = descriptor_get_waitable(fd);
	ck_assert_ptr_nonnull(socket);
	socket_put(socket);
	ck_assert(has(fd, socket) && descriptor_is_listening(fd));
	descriptor_clear(fd, socket);
	ck_assert(!descriptor_is_known(fd));
	close(fd);
}
END_TEST

/* A child that shares our memory closes its descriptors, not ours. */
START_TEST(a_vfork_child_changes_nothing)
{
	struct socket *socket;
	int fd = fake_open(&socket), status;
	pid_t pid = vfork();

	if (pid == 0) {
		descriptor_closing(fd);
		descriptor_duplicated(fd, 650);
		_exit(descriptors_are_ours());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(descriptors_are_ours());
	ck_assert(has(fd, socket) && has(650, NULL));
	ck_assert_int_eq(fake_closed, 0);
}
END_TEST

/* After fork the sets are the kernel's and the parent's; the child's calls do no harm. */
START_TEST(a_forked_child_leaves_the_sets_alone)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 42 };
	int set = epoll_create1(0), pipe_fds[2], status;
	struct socket *socket;
	int fd = fake_open(&socket);
	pid_t pid;

	switch_epoll_created(set);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), 0);
	event.data.u64 = 43;
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_ADD, pipe_fds[0], &event), 0);
	pid = fork();
	if (pid == 0) {
		descriptors_open();
		epoll_forked_child();
		/* A plain entry still works; the socket's is the parent's. */
		if (switch_epoll_wait(descriptor_epoll_get(set), set, &event, 1, 0, NULL) != 0)
			_exit(1);
		if (write(pipe_fds[1], "x", 1) != 1)
			_exit(2);
		if (switch_epoll_wait(descriptor_epoll_get(set), set, &event, 1, -1, NULL) != 1 ||
		    event.data.u64 != 43)
			_exit(3);
		descriptor_closing(set);
		close(set);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_DEL, pipe_fds[0], NULL), 0);
	fake_arrive(socket, POLLIN);
	ck_assert_int_eq(switch_epoll_wait(descriptor_epoll_get(set), set, &event, 1, -1, NULL), 1);
	ck_assert_uint_eq(event.data.u64, 42);
	descriptor_closing(set);
	close(set);
}
END_TEST

/* ---- threads ---- */

#define RACE_FDS 4

static atomic_bool race_over;
static int race_fds[RACE_FDS];

static void *race_look(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;

	while (!race_over) {
		int fd = race_fds[rand_r(&seed) % RACE_FDS];
		bool hold = rand_r(&seed) % 2;
		struct socket *socket = hold ? descriptor_hold(fd) : descriptor_get(fd);

		if (!socket)
			continue;
		/* Freed memory, if the table let go of it too early. */
		socket_poll(socket);
		if (hold)
			descriptor_release(fd, socket);
		else
			socket_put(socket);
	}
	return NULL;
}

static void *race_change(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;
	int fd = race_fds[(uintptr_t)argument % RACE_FDS];
	int round;

	for (round = 0; round < 20000; round++) {
		struct socket *socket = fake_enter(fd);

		switch (rand_r(&seed) % 3) {
		case 0:
			descriptor_closing(fd);
			break;
		case 1:
			descriptor_clear(fd, socket);
			break;
		case 2:
			descriptor_duplicated(fd, fd + 100);
			descriptor_closing(fd);
			descriptor_closing(fd + 100);
			break;
		}
	}
	return NULL;
}

START_TEST(looking_while_others_close)
{
	pthread_t lookers[2], changers[RACE_FDS];
	int i;

	for (i = 0; i < RACE_FDS; i++)
		race_fds[i] = 1000 + i;
	for (i = 0; i < 2; i++)
		pthread_create(&lookers[i], NULL, race_look, (void *)(uintptr_t)(i + 1));
	for (i = 0; i < RACE_FDS; i++)
		pthread_create(&changers[i], NULL, race_change, (void *)(uintptr_t)i);
	for (i = 0; i < RACE_FDS; i++)
		pthread_join(changers[i], NULL);
	race_over = true;
	for (i = 0; i < 2; i++)
		pthread_join(lookers[i], NULL);
	ck_assert_int_eq(fake_alive, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("descriptors");
	TCase *cases = tcase_create("descriptors");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_set_timeout(cases, 60);
	tcase_add_test(cases, unknown_descriptors);
	tcase_add_test(cases, beyond_the_table);
	tcase_add_test(cases, set_and_clear);
	tcase_add_test(cases, the_last_descriptor_closes);
	tcase_add_test(cases, clear_all_takes_every_duplicate);
	tcase_add_test(cases, a_hold_outlives_its_descriptor);
	tcase_add_test(cases, holds_and_references_are_alike);
	tcase_add_test(cases, very_many_holds);
	tcase_add_test(cases, a_forked_child_keeps_its_hold);
	tcase_add_test(cases, a_duplicate_replaces_what_is_stale);
	tcase_add_test(cases, listening_marks);
	tcase_add_test(cases, a_vfork_child_changes_nothing);
	tcase_add_test(cases, a_forked_child_leaves_the_sets_alone);
	tcase_add_test(cases, looking_while_others_close);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
