// SPDX-License-Identifier: BSD-2-Clause
/*
 * epoll over SAN sockets (fake ones), the kernel's descriptors and both. The
 * scenarios of the first part run on a TCP connection too, which the switch
 * passes to the kernel: the kernel says what is right.
 */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll.h"
#include "epoll_fixture.h"
#include "readiness.h"
#include "waiter.h"

/* ---- the same on both kinds of connection ---- */

static void level(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(0), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), EPOLLIN);
	side_drain(side);
	ck_assert_uint_eq(one(0), 0);
	ck_assert_uint_eq(one(10 * MS), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	side_drain(side);
	ck_assert_uint_eq(one(10 * MS), 0);
}

static void edge(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLET, 42), 0);
	ck_assert_uint_eq(one(0), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), 0);
	ck_assert_uint_eq(one(10 * MS), 0);
	/* More of it is a new edge, though the first was not read. */
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(10 * MS), 0);
	side_drain(side);
	ck_assert_uint_eq(one(10 * MS), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	/* Modifying reports what holds once more. */
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN | EPOLLET, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), 0);
}

static void edge_both_ways(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLOUT | EPOLLET, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	ck_assert_uint_eq(one(0), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN | EPOLLOUT);
	ck_assert_uint_eq(one(0), 0);
}

static void ready_when_added(struct side *side)
{
	side_data(side);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLET, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), 0);
}

static void oneshot(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLONESHOT, 42), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), 0);
	side_data(side);
	ck_assert_uint_eq(one(10 * MS), 0);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN | EPOLLONESHOT, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	side_drain(side);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN | EPOLLONESHOT, 42), 0);
	ck_assert_uint_eq(one(10 * MS), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(10 * MS), 0);
}

static void half_close(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 42), 0);
	side_finish(side);
	ck_assert_uint_eq(one(-1), EPOLLIN | EPOLLRDHUP);
	ck_assert_uint_eq(one(0), 0);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(0), EPOLLIN);
}

static void other_events(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLOUT, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLOUT | EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLOUT | EPOLLWRNORM | EPOLLRDNORM, 42),
			 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLOUT | EPOLLWRNORM | EPOLLRDNORM);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, 0, 42), 0);
	ck_assert_uint_eq(one(10 * MS), 0);
}

static void refusals(struct side *side)
{
	struct epoll_event event = { .events = EPOLLIN };

	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN, 42), -ENOENT);
	ck_assert_int_eq(control(EPOLL_CTL_DEL, side->fd, EPOLLIN, 42), -ENOENT);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), -EEXIST);
	ck_assert_int_eq(control(77, side->fd, EPOLLIN, 42), -EINVAL);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN | EPOLLEXCLUSIVE, 42), -EINVAL);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_MOD, side->fd, NULL), -EFAULT);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_DEL, side->fd, NULL), 0);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_DEL, side->fd, NULL), -ENOENT);
	ck_assert_int_eq(switch_epoll_ctl(set, EPOLL_CTL_ADD, side->fd, NULL), -EFAULT);
	ck_assert_int_eq(switch_epoll_ctl(999, EPOLL_CTL_ADD, side->fd, &event), -EBADF);
	ck_assert_int_eq(switch_epoll_ctl(pipe_fds[0], EPOLL_CTL_ADD, side->fd, &event), -EINVAL);
	ck_assert_int_eq(switch_epoll_ctl(side->fd, EPOLL_CTL_ADD, pipe_fds[0], &event), -EINVAL);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd,
				 EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 42), -EINVAL);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN | EPOLLEXCLUSIVE, 42), 0);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side->fd, EPOLLIN, 42), -EINVAL);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_int_eq(wait_for(&event, 0, 0), -EINVAL);
	ck_assert_int_eq(wait_for(&event, -1, 0), -EINVAL);
}

static void two_sets(struct side *side)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = 43 };
	int other = epoll_create1(0);

	switch_epoll_created(other);
	ck_assert_int_eq(switch_epoll_ctl(other, EPOLL_CTL_ADD, side->fd, &event), 0);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	ck_assert_int_eq(wait_on(other, &event, 1, 0), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_int_eq(wait_on(other, &event, 1, -1), 1);
	ck_assert_uint_eq(event.data.u64, 43);
	ck_assert_int_eq(wait_on(other, &event, 1, 0), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	close_fd(other);
	ck_assert_uint_eq(one(-1), EPOLLIN);
}

static void duplicated_set(struct side *side)
{
	struct epoll_event event;
	int other = dup(set);

	descriptor_duplicated(set, other);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	side_data(side);
	ck_assert_int_eq(wait_on(other, &event, 1, -1), 1);
	close_fd(set);
	ck_assert_int_eq(wait_on(other, &event, 1, -1), 1);
	set = other;
	ck_assert_int_eq(control(EPOLL_CTL_DEL, side->fd, 0, 0), 0);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLIN);
}

static void closing_removes(struct side *side)
{
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	side_data(side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	close_fd(side->fd);
	ck_assert_uint_eq(one(10 * MS), 0);
	side->fd = open("/dev/null", O_RDONLY);
}

/* poll() on the set itself, and a set within a set. */
static void seen_from_outside(struct side *side)
{
	struct pollfd entry = { .fd = set, .events = POLLIN };
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 44 };
	int outer = epoll_create1(0), round;

	switch_epoll_created(outer);
	ck_assert_int_eq(switch_epoll_ctl(outer, EPOLL_CTL_ADD, set, &event), 0);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side->fd, EPOLLIN, 42), 0);
	for (round = 0; round < 3; round++) {
		ck_assert_int_eq(switch_poll(&entry, 1, 0, NULL), 0);
		ck_assert_int_eq(wait_on(outer, &event, 1, 0), 0);
		side_data(side);
		ck_assert_int_eq(switch_poll(&entry, 1, -1, NULL), 1);
		ck_assert_int_eq(entry.revents, POLLIN);
		ck_assert_int_eq(wait_on(outer, &event, 1, -1), 1);
		ck_assert_uint_eq(event.data.u64, 44);
		ck_assert_uint_eq(one(0), EPOLLIN);
		/* Level: it still holds. */
		ck_assert_int_eq(wait_on(outer, &event, 1, -1), 1);
		ck_assert_int_eq(switch_poll(&entry, 1, 0, NULL), 1);
		side_drain(side);
		ck_assert_uint_eq(one(0), 0);
	}
	close_fd(outer);
}

static void (*const scenarios[])(struct side *side) = {
	level, edge, edge_both_ways, ready_when_added, oneshot, half_close, other_events, refusals,
	two_sets, duplicated_set, closing_removes, seen_from_outside,
};

#define SCENARIOS (int)(sizeof(scenarios) / sizeof(scenarios[0]))

/* Each alone, and in a set in which other sockets are. */
START_TEST(same_on_both)
{
	struct side side = side_open(_i % SIDES), other = { .fd = -1, .peer = -1 };
	struct socket *idle;

	if (_i / SIDES % 2) {
		other = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, other.fd, EPOLLIN, 1), 0);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, fake_open(&idle), EPOLLIN | EPOLLET, 1), 0);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, pipe_fds[0], EPOLLIN, 1), 0);
	}
	scenarios[_i / SIDES / 2](&side);
	side_close(&side);
}
END_TEST

/* ---- sockets that come and go ---- */

START_TEST(registered_before_it_was_a_san_socket)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct socket *san;

	ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 42), 0);
	/* The kernel's view of a socket that is not connected... */
	ck_assert_uint_eq(one(0), EPOLLOUT | EPOLLHUP);
	san = fake_enter(fd);
	fake_wait(san, SOCKET_WAIT_WAKE);
	/* ... is no longer heard once the SAN has it. */
	ck_assert_uint_eq(one(10 * MS), 0);
	fake_wait(san, SOCKET_WAIT_COMPANION);
	ck_assert_uint_eq(one(10 * MS), 0);
	fake_arrive(san, POLLOUT);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	ck_assert_uint_eq(one(0), 0);
}
END_TEST

START_TEST(back_to_plain_tcp)
{
	struct side side = side_open(TCP);
	struct socket *san;

	ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	san = fake_enter(side.fd);
	fake_wait(san, SOCKET_WAIT_WAKE);
	side_data(&side);
	ck_assert_uint_eq(one(10 * MS), 0);
	fake_wait(san, SOCKET_WAIT_KERNEL);
	descriptor_clear_all(san);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	side_drain(&side);
	ck_assert_uint_eq(one(10 * MS), 0);
	ck_assert_int_eq(control(EPOLL_CTL_MOD, side.fd, EPOLLOUT, 42), 0);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	/* And once more to the SAN. */
	san = fake_enter(side.fd);
	ck_assert_uint_eq(one(10 * MS), 0);
	fake_arrive(san, POLLOUT);
	ck_assert_uint_eq(one(-1), EPOLLOUT);
	side_close(&side);
}
END_TEST

START_TEST(two_descriptors_of_one_socket)
{
	struct side side = side_open(SAN);
	struct epoll_event events[4];
	int other = dup(side.fd);

	descriptor_duplicated(side.fd, other);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, other, EPOLLIN, 42), 0);
	ck_assert_int_eq(wait_for(events, 4, 5 * MS), 0);
	side_data(&side);
	/* The kernel, too, may tell of the second only the next time. */
	ck_assert_int_ge(wait_for(events, 4, -1), 1);
	ck_assert_int_eq(wait_for(events, 4, -1), 2);
	close_fd(side.fd);
	ck_assert_int_eq(fake_closed, 0);
	ck_assert_int_eq(wait_for(events, 4, -1), 1);
	close_fd(other);
	ck_assert_int_eq(fake_closed, 1);
	ck_assert_int_eq(wait_for(events, 4, 5 * MS), 0);
}
END_TEST

START_TEST(a_listener_reports_both_once)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), taken;
	uint32_t flags = _i & 1 ? EPOLLET : _i & 2 ? EPOLLEXCLUSIVE : 0;
	socklen_t length = sizeof(address);
	struct socket *san;

	fake_listeners = true;
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	if (_i & 4)
		ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, EPOLLIN | flags, 42), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	descriptor_mark_listening(fd, true);
	ck_assert_int_eq(fake_alive, 0);
	if (!(_i & 4))
		ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, EPOLLIN | flags, 42), 0);
	/* In the order "register, listen" the kernel may report its unconnected socket. */
	one(0);
	ck_assert_uint_eq(one(0), 0);
	ck_assert_int_eq(fake_alive, 1);
	san = descriptor_get(fd);
	fake_set(san, POLLIN);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	fake_set(san, 0);
	ck_assert_uint_eq(one(10 * MS), 0);
	getsockname(fd, (struct sockaddr *)&address, &length);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, length), 0);
	fake_set(san, POLLIN);
	ck_assert_uint_eq(one(-1), EPOLLIN);
	fake_set(san, 0);
	if (!(flags & EPOLLET))
		ck_assert_uint_eq(one(-1), EPOLLIN);
	taken = accept(fd, NULL, NULL);
	ck_assert_int_ge(taken, 0);
	one(0);
	ck_assert_uint_eq(one(10 * MS), 0);
	close(taken);
	close(client);
	socket_put(san);
}
END_TEST

START_TEST(oneshot_listener)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), round;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct socket *san;

	fake_listeners = true;
	ck_assert_int_eq(listen(fd, 5), 0);
	getsockname(fd, (struct sockaddr *)&address, &length);
	descriptor_mark_listening(fd, true);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 42), 0);
	ck_assert_uint_eq(one(0), 0);
	san = descriptor_get(fd);
	for (round = 0; round < 4; round++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);

		if (round & 1)
			ck_assert_int_eq(connect(client, (struct sockaddr *)&address, length), 0);
		else
			fake_set(san, POLLIN);
		ck_assert_uint_eq(one(-1), EPOLLIN);
		ck_assert_uint_eq(one(5 * MS), 0);
		if (round & 1)
			close(accept(fd, NULL, NULL));
		else
			fake_set(san, 0);
		ck_assert_int_eq(control(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 42), 0);
		ck_assert_uint_eq(one(5 * MS), 0);
		close(client);
	}
	socket_put(san);
}
END_TEST

/* ---- mixed sets ---- */

START_TEST(mixed_and_fair)
{
	struct side sides[8];
	struct epoll_event event, events[16];
	unsigned int seen_san = 0, seen_pipe = 0;
	int i;

	for (i = 0; i < 8; i++) {
		sides[i] = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, sides[i].fd, EPOLLIN, (uint64_t)i), 0);
		side_data(&sides[i]);
	}
	ck_assert_int_eq(control(EPOLL_CTL_ADD, pipe_fds[0], EPOLLIN, 100), 0);
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	/* All, in one wait that is large enough, soon. */
	for (i = 0; i < 4; i++) {
		int count = wait_for(events, 16, -1);

		ck_assert_int_ge(count, 1);
		while (count--)
			if (events[count].data.u64 == 100)
				seen_pipe++;
			else
				seen_san |= 1U << events[count].data.u64;
	}
	ck_assert_uint_ge(seen_pipe, 1);
	ck_assert_uint_eq(seen_san, 0xff);
	/* One at a time: nobody starves. */
	seen_pipe = seen_san = 0;
	for (i = 0; i < 40; i++) {
		ck_assert_int_eq(wait_for(&event, 1, -1), 1);
		if (event.data.u64 == 100)
			seen_pipe++;
		else
			seen_san |= 1U << event.data.u64;
	}
	ck_assert_uint_ge(seen_pipe, 4);
	ck_assert_uint_eq(seen_san, 0xff);
}
END_TEST

/* What is armed and idle is not looked at. */
START_TEST(a_wait_costs_by_the_active)
{
	struct side sides[500];
	struct epoll_event events[16];
	unsigned int polls[500], before = 0, after = 0;
	int i;

	for (i = 0; i < 500; i++) {
		sides[i] = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, sides[i].fd,
					 EPOLLIN | (i & 1 ? EPOLLET : 0), (uint64_t)i), 0);
	}
	ck_assert_int_eq(wait_for(events, 16, MS), 0);
	for (i = 0; i < 500; i++)
		before += polls[i] = fake_polls(sides[i].san);
	for (i = 0; i < 1000; i++) {
		struct side *side = &sides[i % 7 * 70];

		side_data(side);
		ck_assert_int_eq(wait_for(events, 16, -1), 1);
		ck_assert_ptr_eq(&sides[events[0].data.u64], side);
		side_drain(side);
	}
	for (i = 0; i < 500; i++)
		after += fake_polls(sides[i].san);
	/* A few looks a round, spinning included only where somebody spins: nothing near 500. */
	ck_assert_uint_lt((after - before) / 1000, 40);
	for (i = 0; i < 500; i++)
		if (i % 70)
			ck_assert_uint_eq(fake_polls(sides[i].san), polls[i]);
}
END_TEST

/* As programs do that have every request watched anew. */
START_TEST(adding_and_removing_arms_nothing)
{
	struct side side = side_open(SAN);

	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
		if (i & 1) {
			side_data(&side);
			ck_assert_uint_eq(one(MS), EPOLLIN);
			side_drain(&side);
		}
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), -EEXIST);
		ck_assert_int_eq(control(EPOLL_CTL_DEL, side.fd, 0, 0), 0);
		ck_assert_int_eq(control(EPOLL_CTL_DEL, side.fd, 0, 0), -ENOENT);
	}
	ck_assert_uint_eq(fake_arms(side.san), 0);
	/* But whoever sleeps hears of it. */
	ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(MS), 0);
	ck_assert_uint_gt(fake_arms(side.san), 0);
	side_data(&side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
}
END_TEST

START_TEST(times_out)
{
	struct side side = side_open(SAN);
	int64_t start = clock_now();

	ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	ck_assert_uint_eq(one(50 * MS), 0);
	ck_assert_int_ge(clock_now() - start, 50 * MS);
	start = clock_now();
	ck_assert_uint_eq(one(1500000), 0);
	ck_assert_int_ge(clock_now() - start, 1500000);
}
END_TEST

static atomic_int handled;

static void handle(int number)
{
	(void)number;
	handled++;
}

START_TEST(signals)
{
	struct side side = side_open(SAN);
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	struct epoll_event event;
	sigset_t block, open;

	ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	ck_assert_uint_eq(one(5 * MS), 0);
	ck_assert_int_eq(handled, 0);
	ck_assert_int_eq(switch_epoll_wait(descriptor_epoll_get(set), set, &event, 1, -1, &open),
			 -EINTR);
	ck_assert_int_eq(handled, 1);
}
END_TEST

/* close() in a handler that interrupts epoll_ctl() must not wait for it. */
static struct side handler_side;
static atomic_bool handler_done;

static void close_in_handler(int number)
{
	(void)number;
	if (!handler_done)
		close_fd(handler_side.fd);
	handler_done = true;
}

START_TEST(close_in_a_signal_handler)
{
	struct sigaction action = { .sa_handler = close_in_handler };
	struct side busy = side_open(SAN);
	int round;

	sigaction(SIGALRM, &action, NULL);
	ck_assert_int_eq(control(EPOLL_CTL_ADD, busy.fd, EPOLLIN, 42), 0);
	for (round = 0; round < 50; round++) {
		handler_side = side_open(SAN);
		handler_done = false;
		/* The same stripe of locks is hit now and then; the set's lock always. */
		ck_assert_int_eq(control(EPOLL_CTL_ADD, handler_side.fd, EPOLLIN, 43), 0);
		ualarm(200 + (useconds_t)round * 7, 0);
		while (!handler_done) {
			control(EPOLL_CTL_MOD, busy.fd, EPOLLIN, 42);
			one(0);
		}
	}
	ck_assert_int_eq(fake_closed, 50);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("epoll");
	TCase *same = tcase_create("same"), *cases = tcase_create("epoll");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(same, set_up, tear_down);
	tcase_set_timeout(same, 20);
	tcase_add_loop_test(same, same_on_both, 0, SCENARIOS * SIDES * 2);
	suite_add_tcase(suite, same);

	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_set_timeout(cases, 60);
	tcase_add_test(cases, registered_before_it_was_a_san_socket);
	tcase_add_test(cases, back_to_plain_tcp);
	tcase_add_test(cases, two_descriptors_of_one_socket);
	tcase_add_loop_test(cases, a_listener_reports_both_once, 0, 8);
	tcase_add_test(cases, oneshot_listener);
	tcase_add_test(cases, mixed_and_fair);
	tcase_add_test(cases, a_wait_costs_by_the_active);
	tcase_add_test(cases, adding_and_removing_arms_nothing);
	tcase_add_test(cases, times_out);
	tcase_add_test(cases, signals);
	tcase_add_test(cases, close_in_a_signal_handler);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
