// SPDX-License-Identifier: BSD-2-Clause
/* poll and select over SAN sockets (fake ones), the kernel's descriptors and both. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll.h"
#include "fake_socket.h"
#include "libc_calls.h"
#include "readiness.h"
#include "settings.h"
#include "spinner.h"
#include "waiter.h"

#define MS 1000000LL

static struct socket *san;
static int san_fd, pipe_fds[2];

static void set_up(void)
{
	libc_calls_resolve();
	settings_open();
	descriptors_open();
	san_fd = fake_open(&san);
	ck_assert_int_eq(pipe(pipe_fds), 0);
}

static int poll_one(int fd, short events, int64_t timeout, short *revents)
{
	struct pollfd entry = { .fd = fd, .events = events, .revents = 0x55 };
	int result = switch_poll(&entry, 1, timeout, NULL);

	*revents = entry.revents;
	return result;
}

/* ---- something that another thread does a moment later ---- */

struct later {
	pthread_t thread, target;
	int delay;
	void (*act)(struct later *later);
	unsigned int bits;
	enum socket_wait wait;
	atomic_bool over;	/* for act_signal: it was seen */
};

static void *later_run(void *argument)
{
	struct later *later = argument;

	usleep((useconds_t)later->delay * 1000);
	later->act(later);
	return NULL;
}

static void later_start(struct later *later)
{
	later->target = pthread_self();
	ck_assert_int_eq(pthread_create(&later->thread, NULL, later_run, later), 0);
}

static void act_arrive(struct later *later)
{
	fake_arrive(san, later->bits);
}

/* Another thread takes the completion before the sleeper can. */
static void act_arrive_and_take(struct later *later)
{
	fake_set(san, later->bits);
}

static void act_write_pipe(struct later *later)
{
	(void)later;
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
}

/* Again and again: the first may come before the sleeper sleeps. */
static void act_signal(struct later *later)
{
	do {
		pthread_kill(later->target, SIGUSR1);
		usleep(20 * 1000);
	} while (!later->over);
}

static void act_wait(struct later *later)
{
	fake_wait(san, later->wait);
}

START_TEST(nobody_concerned)
{
	struct pollfd fds[] = { { .fd = pipe_fds[0] }, { .fd = -1 }, { .fd = 1 << 30 } };
	fd_set set;

	ck_assert(!switch_poll_concerns(fds, 3));
	ck_assert(!switch_poll_concerns(NULL, 3));
	FD_ZERO(&set);
	FD_SET(pipe_fds[0], &set);
	ck_assert(!switch_select_concerns(FD_SETSIZE, &set, NULL, NULL));
	fds[1].fd = san_fd;
	ck_assert(switch_poll_concerns(fds, 3));
	FD_SET(san_fd, &set);
	ck_assert(switch_select_concerns(FD_SETSIZE, NULL, NULL, &set));
	ck_assert(!switch_select_concerns(san_fd, &set, NULL, NULL));
}
END_TEST

START_TEST(ready_at_once)
{
	short revents;

	fake_set(san, POLLIN | POLLRDNORM | POLLOUT);
	ck_assert_int_eq(poll_one(san_fd, POLLIN, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLIN);
	ck_assert_int_eq(poll_one(san_fd, POLLOUT | POLLPRI, 0, &revents), 1);
	ck_assert_int_eq(revents, POLLOUT);
	ck_assert_uint_eq(fake_arms(san), 0);
}
END_TEST

START_TEST(errors_come_unasked)
{
	short revents;

	fake_set(san, POLLIN | POLLHUP | POLLERR);
	ck_assert_int_eq(poll_one(san_fd, 0, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLHUP | POLLERR);
}
END_TEST

START_TEST(times_out)
{
	int64_t start = clock_now();
	short revents;

	ck_assert_int_eq(poll_one(san_fd, POLLIN, 50 * MS, &revents), 0);
	ck_assert_int_eq(revents, 0);
	ck_assert_int_ge(clock_now() - start, 50 * MS);
	ck_assert_int_eq(poll_one(san_fd, POLLIN, 0, &revents), 0);
}
END_TEST

START_TEST(woken_by_the_companion)
{
	struct later later = { .delay = 50, .act = act_arrive, .bits = POLLIN };
	short revents;

	later_start(&later);
	ck_assert_int_eq(poll_one(san_fd, POLLIN, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLIN);
	pthread_join(later.thread, NULL);
}
END_TEST

START_TEST(woken_by_another_thread)
{
	struct later later = { .delay = 50, .act = act_arrive_and_take, .bits = POLLOUT };
	short revents;

	later_start(&later);
	ck_assert_int_eq(poll_one(san_fd, POLLOUT, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLOUT);
	pthread_join(later.thread, NULL);
}
END_TEST

/* What wakes the sleeper need not be what it waits for. */
START_TEST(sleeps_on_after_the_wrong_bit)
{
	struct later wrong = { .delay = 30, .act = act_arrive, .bits = POLLIN };
	struct later right = { .delay = 90, .act = act_arrive, .bits = POLLIN | POLLOUT };
	int64_t start = clock_now();
	short revents;

	later_start(&wrong);
	later_start(&right);
	ck_assert_int_eq(poll_one(san_fd, POLLOUT, -1, &revents), 1);
	ck_assert_int_ge(clock_now() - start, 80 * MS);
	pthread_join(wrong.thread, NULL);
	pthread_join(right.thread, NULL);
}
END_TEST

START_TEST(the_kernel_wakes_a_mixed_set)
{
	struct later later = { .delay = 50, .act = act_write_pipe };
	struct pollfd fds[] = {
		{ .fd = san_fd, .events = POLLIN }, { .fd = -1, .events = POLLIN, .revents = 7 },
		{ .fd = pipe_fds[0], .events = POLLIN },
	};

	later_start(&later);
	ck_assert_int_eq(switch_poll(fds, 3, -1, NULL), 1);
	ck_assert_int_eq(fds[0].revents, 0);
	ck_assert_int_eq(fds[1].revents, 0);
	ck_assert_int_eq(fds[2].revents, POLLIN);
	pthread_join(later.thread, NULL);
}
END_TEST

START_TEST(both_kinds_are_reported)
{
	struct pollfd fds[] = {
		{ .fd = pipe_fds[0], .events = POLLIN }, { .fd = san_fd, .events = POLLIN },
		{ .fd = 999, .events = POLLIN }, { .fd = san_fd, .events = POLLOUT },
		{ .fd = san_fd, .events = POLLIN | POLLOUT },
	};

	fake_arrive(san, POLLIN);
	act_write_pipe(NULL);
	ck_assert_int_eq(switch_poll(fds, 5, -1, NULL), 4);
	ck_assert_int_eq(fds[0].revents, POLLIN);
	ck_assert_int_eq(fds[1].revents, POLLIN);
	ck_assert_int_eq(fds[2].revents, POLLNVAL);
	ck_assert_int_eq(fds[3].revents, 0);
	ck_assert_int_eq(fds[4].revents, POLLIN);
}
END_TEST

START_TEST(one_socket_twice_in_a_set)
{
	struct later later = { .delay = 50, .act = act_arrive, .bits = POLLIN | POLLOUT };
	struct pollfd fds[] = {
		{ .fd = san_fd, .events = POLLIN }, { .fd = san_fd, .events = POLLOUT },
	};

	later_start(&later);
	ck_assert_int_eq(switch_poll(fds, 2, -1, NULL), 2);
	ck_assert_int_eq(fds[0].revents, POLLIN);
	ck_assert_int_eq(fds[1].revents, POLLOUT);
	pthread_join(later.thread, NULL);
}
END_TEST

START_TEST(large_set)
{
	struct pollfd fds[300];
	struct socket *sockets[100];
	int i;

	for (i = 0; i < 300; i++)
		fds[i] = (struct pollfd){ .fd = i % 3 ? pipe_fds[0] : fake_open(&sockets[i / 3]),
					  .events = POLLIN };
	ck_assert_int_eq(switch_poll(fds, 300, 10 * MS, NULL), 0);
	fake_arrive(sockets[77], POLLIN);
	ck_assert_int_eq(switch_poll(fds, 300, -1, NULL), 1);
	ck_assert_int_eq(fds[231].revents, POLLIN);
	act_write_pipe(NULL);
	ck_assert_int_eq(switch_poll(fds, 300, -1, NULL), 201);
}
END_TEST

/* ---- signals ---- */

static atomic_int handled;

static void handle(int number)
{
	(void)number;
	handled++;
}

static void handle_by_polling(int number)
{
	int error = errno;
	short revents;

	(void)number;
	poll_one(san_fd, POLLPRI, 0, &revents);
	poll_one(san_fd, POLLPRI, 5 * MS, &revents);
	handled++;
	errno = error;
}

START_TEST(a_signal_interrupts)
{
	struct sigaction action = { .sa_handler = _i ? handle_by_polling : handle,
				    .sa_flags = SA_RESTART };
	struct later later = { .delay = 50, .act = act_signal };
	short revents;

	sigaction(SIGUSR1, &action, NULL);
	later_start(&later);
	ck_assert_int_eq(poll_one(san_fd, POLLIN, -1, &revents), -EINTR);
	later.over = true;
	pthread_join(later.thread, NULL);
	ck_assert_int_ge(handled, 1);
}
END_TEST

START_TEST(the_mask_holds_while_asleep_only)
{
	struct sigaction action = { .sa_handler = handle };
	struct pollfd entry = { .fd = san_fd, .events = POLLIN };
	sigset_t block, open;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	ck_assert_int_eq(switch_poll(&entry, 1, 20 * MS, NULL), 0);
	ck_assert_int_eq(handled, 0);
	/* Ready: the kernel returns at once too and leaves the signal pending. */
	fake_set(san, POLLIN);
	ck_assert_int_eq(switch_poll(&entry, 1, -1, &open), 1);
	ck_assert_int_eq(handled, 0);
	fake_set(san, 0);
	ck_assert_int_eq(switch_poll(&entry, 1, -1, &open), -EINTR);
	ck_assert_int_eq(handled, 1);
}
END_TEST

/* The kernel counts places without a descriptor, too; an array of all numbers is allowed. */
START_TEST(as_many_entries_as_the_limit)
{
	struct later later = { .delay = 50, .act = act_arrive, .bits = POLLIN };
	struct rlimit limit = { 64, 64 };
	struct pollfd fds[64];

	waiter_self();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 64; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	fds[san_fd].fd = san_fd;
	fds[pipe_fds[0]].fd = pipe_fds[0];
	ck_assert_int_eq(switch_poll(fds, 64, 20 * MS, NULL), 0);
	later_start(&later);
	ck_assert_int_eq(switch_poll(fds, 64, -1, NULL), 1);
	pthread_join(later.thread, NULL);
	ck_assert_int_eq(fds[san_fd].revents, POLLIN);
	ck_assert_int_eq(fds[pipe_fds[0]].revents, 0);
}
END_TEST

/* ---- ways of waiting ---- */

START_TEST(becomes_plain_tcp_meanwhile)
{
	struct later later = { .delay = 50, .act = act_wait, .wait = SOCKET_WAIT_KERNEL };
	short revents;

	fake_wait(san, SOCKET_WAIT_WAKE);
	later_start(&later);
	/* The kernel says so of a TCP socket that is not connected. */
	ck_assert_int_eq(poll_one(san_fd, POLLOUT, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLOUT | POLLHUP);
	pthread_join(later.thread, NULL);
}
END_TEST

START_TEST(becomes_connected_meanwhile)
{
	struct later later = { .delay = 50, .act = act_wait, .wait = SOCKET_WAIT_COMPANION };
	struct later ready = { .delay = 100, .act = act_arrive, .bits = POLLOUT };
	short revents;

	fake_wait(san, SOCKET_WAIT_WAKE);
	later_start(&later);
	later_start(&ready);
	ck_assert_int_eq(poll_one(san_fd, POLLOUT, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLOUT);
	pthread_join(later.thread, NULL);
	pthread_join(ready.thread, NULL);
}
END_TEST

static int listening(struct sockaddr_storage *address, socklen_t *length)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, length), 0);
	return fd;
}

START_TEST(a_listener_waits_for_both)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd = listening(&address, &length), client = socket(AF_INET, SOCK_STREAM, 0);
	struct later later = { .delay = 50, .act = act_arrive_and_take, .bits = POLLIN };
	short revents;

	descriptor_mark_listening(fd, true);
	fake_listeners = true;
	ck_assert_int_eq(poll_one(fd, POLLIN, 0, &revents), 0);
	san = descriptor_get(fd);
	ck_assert_ptr_nonnull(san);
	later_start(&later);
	ck_assert_int_eq(poll_one(fd, POLLIN, -1, &revents), 1);
	pthread_join(later.thread, NULL);
	fake_set(san, 0);
	ck_assert_int_eq(poll_one(fd, POLLIN, 20 * MS, &revents), 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(poll_one(fd, POLLIN, 0, &revents), 1);
	ck_assert_int_eq(poll_one(fd, POLLIN, -1, &revents), 1);
	ck_assert_int_eq(revents, POLLIN);
	socket_put(san);
}
END_TEST

/* ---- select ---- */

START_TEST(select_reports_three_sets)
{
	fd_set in, out, except;
	int limit = 64;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&except);
	FD_SET(san_fd, &in);
	FD_SET(san_fd, &out);
	FD_SET(san_fd, &except);
	FD_SET(pipe_fds[0], &in);
	FD_SET(pipe_fds[1], &out);
	fake_set(san, POLLIN | POLLOUT | POLLPRI);
	ck_assert_int_eq(switch_select(limit, &in, &out, &except, -1, NULL), 4);
	ck_assert(FD_ISSET(san_fd, &in) && FD_ISSET(san_fd, &out) && FD_ISSET(san_fd, &except));
	ck_assert(!FD_ISSET(pipe_fds[0], &in) && FD_ISSET(pipe_fds[1], &out));
}
END_TEST

/* A hang-up makes readable, an error both; neither is exceptional. */
START_TEST(select_on_hang_up)
{
	int plain = socket(AF_INET, SOCK_STREAM, 0);
	fd_set in, out, except;
	int64_t start;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&except);
	FD_SET(san_fd, &in);
	FD_SET(san_fd, &out);
	FD_SET(san_fd, &except);
	fake_set(san, POLLHUP);
	ck_assert_int_eq(switch_select(64, &in, &out, &except, -1, NULL), 1);
	ck_assert(FD_ISSET(san_fd, &in) && !FD_ISSET(san_fd, &out));
	FD_SET(san_fd, &out);
	fake_set(san, POLLERR);
	ck_assert_int_eq(switch_select(64, &in, &out, NULL, -1, NULL), 2);
	/* Only asked for as exceptional: waits on. */
	FD_ZERO(&except);
	FD_SET(san_fd, &except);
	start = clock_now();
	ck_assert_int_eq(switch_select(64, NULL, NULL, &except, 40 * MS, NULL), 0);
	ck_assert_int_ge(clock_now() - start, 40 * MS);
	/* So does a descriptor of the kernel's: the socket is not connected, which is a hang-up. */
	FD_SET(san_fd, &except);
	fake_wait(san, SOCKET_WAIT_KERNEL);
	start = clock_now();
	ck_assert_int_eq(switch_select(64, NULL, NULL, &except, 40 * MS, NULL), 0);
	ck_assert_int_ge(clock_now() - start, 40 * MS);
	fake_wait(san, SOCKET_WAIT_COMPANION);
	fake_set(san, 0);
	FD_ZERO(&except);
	FD_SET(san_fd, &except);
	FD_SET(plain, &except);
	start = clock_now();
	ck_assert_int_eq(switch_select(64, NULL, NULL, &except, 40 * MS, NULL), 0);
	ck_assert_int_ge(clock_now() - start, 40 * MS);
}
END_TEST

START_TEST(select_times_out_and_clears)
{
	fd_set in;

	FD_ZERO(&in);
	FD_SET(san_fd, &in);
	FD_SET(pipe_fds[0], &in);
	ck_assert_int_eq(switch_select(64, &in, NULL, NULL, 20 * MS, NULL), 0);
	ck_assert(!FD_ISSET(san_fd, &in) && !FD_ISSET(pipe_fds[0], &in));
}
END_TEST

START_TEST(select_refuses_a_closed_descriptor)
{
	fd_set in, before;

	FD_ZERO(&in);
	FD_SET(san_fd, &in);
	FD_SET(60, &in);
	before = in;
	ck_assert_int_eq(switch_select(64, &in, NULL, NULL, -1, NULL), -EBADF);
	ck_assert(!memcmp(&in, &before, sizeof(in)));
}
END_TEST

/* ---- cancellation ---- */

static void *poll_for_ever(void *unused)
{
	short revents;

	(void)unused;
	poll_one(san_fd, POLLIN, -1, &revents);
	return NULL;
}

START_TEST(a_cancelled_sleeper_leaves_nothing)
{
	pthread_t thread;
	void *result;

	ck_assert_int_eq(pthread_create(&thread, NULL, poll_for_ever, NULL), 0);
	while (!fake_arms(san))
		usleep(1000);
	usleep(20000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	/* socket_put() aborts on a socket with a waiter. */
	descriptor_closing(san_fd);
	ck_assert_int_eq(fake_alive, 0);
}
END_TEST

START_TEST(what_a_sleep_teaches)
{
	int64_t least = poll_time_least(), most = 20 * least, poll_time;

	ck_assert_int_gt(least, 0);
	/* Spared by polling longer: twice what it took, up to the most. */
	ck_assert_int_eq(poll_time_learn(least, 3 * least, false, most), 6 * least);
	ck_assert_int_eq(poll_time_learn(3 * least, 1, false, most), 6 * least);
	poll_time = poll_time_learn(least, most, false, most);
	ck_assert_int_eq(poll_time, most);
	ck_assert_int_eq(poll_time_learn(most, most, false, most), most);
	/* One that grew while more was allowed stays. */
	ck_assert_int_eq(poll_time_learn(5 * most, 1, false, most), 5 * most);
	/* One long wait does not unlearn it, many do; as those in vain. */
	ck_assert_int_eq(poll_time_learn(most, most + 1, false, most), most / 2);
	ck_assert_int_eq(poll_time_learn(most, 1, true, most), most / 2);
	for (int i = 0; i < 5; i++)
		poll_time = poll_time_learn(poll_time, most + 1, i % 2, most);
	ck_assert_int_eq(poll_time, least);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poll");
	TCase *cases = tcase_create("poll");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(cases, set_up, fake_close_all);
	tcase_set_timeout(cases, 20);
	tcase_add_test(cases, nobody_concerned);
	tcase_add_test(cases, ready_at_once);
	tcase_add_test(cases, errors_come_unasked);
	tcase_add_test(cases, times_out);
	tcase_add_test(cases, woken_by_the_companion);
	tcase_add_test(cases, woken_by_another_thread);
	tcase_add_test(cases, sleeps_on_after_the_wrong_bit);
	tcase_add_test(cases, the_kernel_wakes_a_mixed_set);
	tcase_add_test(cases, both_kinds_are_reported);
	tcase_add_test(cases, one_socket_twice_in_a_set);
	tcase_add_test(cases, large_set);
	tcase_add_loop_test(cases, a_signal_interrupts, 0, 2);
	tcase_add_test(cases, the_mask_holds_while_asleep_only);
	tcase_add_test(cases, as_many_entries_as_the_limit);
	tcase_add_test(cases, becomes_plain_tcp_meanwhile);
	tcase_add_test(cases, becomes_connected_meanwhile);
	tcase_add_test(cases, a_listener_waits_for_both);
	tcase_add_test(cases, select_reports_three_sets);
	tcase_add_test(cases, select_on_hang_up);
	tcase_add_test(cases, select_times_out_and_clears);
	tcase_add_test(cases, select_refuses_a_closed_descriptor);
	tcase_add_test(cases, a_cancelled_sleeper_leaves_nothing);
	tcase_add_test(cases, what_a_sleep_teaches);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
