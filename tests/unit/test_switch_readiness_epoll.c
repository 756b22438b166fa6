// SPDX-License-Identifier: BSD-2-Clause
/*
 * epoll over SAN sockets (fake ones), the kernel's descriptors and both. The
 * scenarios of the first part run on a TCP connection too, which the switch
 * passes to the kernel: the kernel says what is right.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll.h"
#include "fake_socket.h"
#include "libc_calls.h"
#include "readiness.h"
#include "settings.h"
#include "waiter.h"

#define MS 1000000LL

static int set, pipe_fds[2];

static void set_up(void)
{
	libc_calls_resolve();
	settings_open();
	descriptors_open();
	set = epoll_create1(0);
	switch_epoll_created(set);
	ck_assert_int_eq(pipe(pipe_fds), 0);
}

static void close_fd(int fd)
{
	descriptor_closing(fd);
	close(fd);
}

static void tear_down(void)
{
	fake_close_all();
	close_fd(pipe_fds[0]);
	close_fd(pipe_fds[1]);
	close_fd(set);
	ck_assert_int_eq(fake_alive, 0);
}

static int control(int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return switch_epoll_ctl(set, operation, fd, &event);
}

static int wait_on(int epoll_fd, struct epoll_event *events, int room, int64_t timeout)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);

	ck_assert_ptr_nonnull(epoll);
	return switch_epoll_wait(epoll, epoll_fd, events, room, timeout, NULL);
}

static int wait_for(struct epoll_event *events, int room, int64_t timeout)
{
	return wait_on(set, events, room, timeout);
}

/* The events of the one report there is; 0: none. */
static uint32_t one(int64_t timeout)
{
	struct epoll_event events[8];
	int count = wait_for(events, 8, timeout);

	ck_assert_int_ge(count, 0);
	ck_assert_int_le(count, 1);
	if (!count)
		return 0;
	ck_assert_uint_eq(events[0].data.u64, 42);
	return events[0].events;
}

/* ---- both kinds of connection ---- */

struct side {
	const char *name;
	int fd, peer;
	struct socket *san;
};

enum { TCP, SAN, SIDES };

static struct side side_open(int kind)
{
	struct side side = { .name = kind == SAN ? "san" : "tcp", .peer = -1 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	socklen_t length = sizeof(address);
	int listener;

	if (kind == SAN) {
		side.fd = fake_open(&side.san);
		fake_set(side.san, POLLOUT | POLLWRNORM);
		return side;
	}
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&address, &length);
	side.peer = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(side.peer, (struct sockaddr *)&address, length), 0);
	side.fd = accept(listener, NULL, NULL);
	close(listener);
	return side;
}

static void side_close(struct side *side)
{
	close_fd(side->fd);
	if (side->peer >= 0)
		close(side->peer);
}

static void side_data(struct side *side)
{
	if (side->san)
		fake_arrive(side->san, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
	else
		ck_assert_int_eq(send(side->peer, "x", 1, 0), 1);
}

/* The program reads all there is. */
static void side_drain(struct side *side)
{
	char buffer[64];

	if (side->san) {
		socket_poll(side->san);
		fake_set(side->san, POLLOUT | POLLWRNORM);
	} else {
		ck_assert_int_gt(recv(side->fd, buffer, sizeof(buffer), MSG_DONTWAIT), 0);
	}
}

/* The peer will send no more. */
static void side_finish(struct side *side)
{
	if (side->san)
		fake_arrive(side->san, POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM);
	else
		shutdown(side->peer, SHUT_WR);
}

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
	unsigned int before = 0, after = 0;
	int i;

	for (i = 0; i < 500; i++) {
		sides[i] = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, sides[i].fd,
					 EPOLLIN | (i & 1 ? EPOLLET : 0), (uint64_t)i), 0);
	}
	ck_assert_int_eq(wait_for(events, 16, MS), 0);
	for (i = 0; i < 500; i++)
		before += fake_polls(sides[i].san);
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
			ck_assert_uint_le(fake_polls(sides[i].san), 4);
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

/* ---- threads ---- */

struct sleeper {
	pthread_t thread;
	int result;
	struct epoll_event event;
	atomic_bool done;
};

static void *sleep_in_set(void *argument)
{
	struct sleeper *sleeper = argument;

	sleeper->result = wait_for(&sleeper->event, 1, -1);
	sleeper->done = true;
	return NULL;
}

START_TEST(a_socket_arrives_while_threads_sleep)
{
	struct side side;
	struct sleeper sleepers[2] = { 0 };
	int i, fd = socket(AF_INET, SOCK_STREAM, 0);

	/* In a set that knew no SAN, or only of it. */
	if (_i & 1) {
		side = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 41), 0);
	}
	for (i = 0; i < 2; i++)
		pthread_create(&sleepers[i].thread, NULL, sleep_in_set, &sleepers[i]);
	usleep(30000);
	if (_i & 2) {
		side = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
		usleep(20000);
		side_data(&side);
	} else {
		ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, 0, 42), 0);
		/* Both report the hang-up of the unconnected socket; the SAN ends that. */
		for (i = 0; i < 2; i++) {
			pthread_join(sleepers[i].thread, NULL);
			ck_assert_uint_eq(sleepers[i].event.events, EPOLLHUP);
			sleepers[i].done = false;
		}
		side = (struct side){ .fd = fd, .peer = -1, .san = fake_enter(fd) };
		ck_assert_int_eq(control(EPOLL_CTL_MOD, fd, EPOLLIN, 42), 0);
		for (i = 0; i < 2; i++)
			pthread_create(&sleepers[i].thread, NULL, sleep_in_set, &sleepers[i]);
		usleep(30000);
		ck_assert(!sleepers[0].done && !sleepers[1].done);
		side_data(&side);
	}
	/* Level-triggered and not read: each of them learns of it. */
	for (i = 0; i < 2; i++) {
		pthread_join(sleepers[i].thread, NULL);
		ck_assert_int_eq(sleepers[i].result, 1);
		ck_assert_uint_eq(sleepers[i].event.data.u64, 42);
		ck_assert_uint_eq(sleepers[i].event.events, EPOLLIN);
	}
	if (!(_i & 2))
		return;
	close_fd(side.fd);
	close(fd);
}
END_TEST

START_TEST(a_cancelled_sleeper_leaves_nothing)
{
	struct side side = side_open(SAN);
	struct sleeper sleeper = { 0 };
	void *result;

	if (_i)
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	pthread_create(&sleeper.thread, NULL, sleep_in_set, &sleeper);
	usleep(30000);
	pthread_cancel(sleeper.thread);
	pthread_join(sleeper.thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	if (!_i)
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	side_data(&side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
}
END_TEST

/*
 * Producers make sockets readable, consumers in epoll_wait empty them; a lost
 * wake-up leaves a token behind and the test hangs. Tokens come through the
 * queue or at once, on level, edge and one-shot registrations.
 */
#define STRESS_SOCKETS	16
#define STRESS_TOKENS	20000

static struct {
	struct side side;
	uint32_t flags;
	pthread_mutex_t lock;
	int tokens;
} stress[STRESS_SOCKETS];
static atomic_int stress_made, stress_taken;

static void *stress_produce(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;

	while (atomic_fetch_add(&stress_made, 1) < STRESS_TOKENS) {
		int i = rand_r(&seed) % STRESS_SOCKETS;

		pthread_mutex_lock(&stress[i].lock);
		stress[i].tokens++;
		if (rand_r(&seed) & 1)
			fake_arrive(stress[i].side.san, POLLIN);
		else
			fake_set(stress[i].side.san, POLLIN);
		pthread_mutex_unlock(&stress[i].lock);
		if (rand_r(&seed) % 16 == 0)
			usleep(rand_r(&seed) % 200);
	}
	return NULL;
}

static void *stress_consume(void *argument)
{
	struct epoll_event events[4];
	int room = 1 + (int)(uintptr_t)argument % 4;

	while (atomic_load(&stress_taken) < STRESS_TOKENS) {
		int count = wait_for(events, room, 20 * MS), i;

		for (i = 0; i < count; i++) {
			int which = (int)events[i].data.u64;

			pthread_mutex_lock(&stress[which].lock);
			socket_poll(stress[which].side.san);
			atomic_fetch_add(&stress_taken, stress[which].tokens);
			stress[which].tokens = 0;
			fake_set(stress[which].side.san, 0);
			pthread_mutex_unlock(&stress[which].lock);
			if (stress[which].flags & EPOLLONESHOT)
				ck_assert_int_eq(control(EPOLL_CTL_MOD, stress[which].side.fd,
							 EPOLLIN | stress[which].flags,
							 (uint64_t)which), 0);
		}
	}
	return NULL;
}

START_TEST(no_token_is_lost)
{
	static const uint32_t flags[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLONESHOT | EPOLLET };
	pthread_t threads[6];
	int i, consumers = _i ? 3 : 1;

	for (i = 0; i < STRESS_SOCKETS; i++) {
		stress[i].side = side_open(SAN);
		fake_set(stress[i].side.san, 0);
		stress[i].flags = flags[i % 4];
		pthread_mutex_init(&stress[i].lock, NULL);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, stress[i].side.fd,
					 EPOLLIN | stress[i].flags, (uint64_t)i), 0);
	}
	for (i = 0; i < consumers + 3; i++)
		pthread_create(&threads[i], NULL, i < consumers ? stress_consume : stress_produce,
			       (void *)(uintptr_t)(i + 1));
	for (i = 0; i < consumers + 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_ge(stress_taken, STRESS_TOKENS);
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
	tcase_add_test(cases, times_out);
	tcase_add_test(cases, signals);
	tcase_add_test(cases, close_in_a_signal_handler);
	tcase_add_loop_test(cases, a_socket_arrives_while_threads_sleep, 0, 4);
	tcase_add_loop_test(cases, a_cancelled_sleeper_leaves_nothing, 0, 2);
	tcase_add_loop_test(cases, no_token_is_lost, 0, 2);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
