// SPDX-License-Identifier: BSD-2-Clause
/* See epoll_fixture.h. */
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll.h"
#include "epoll_fixture.h"
#include "libc_calls.h"
#include "settings.h"

int set, pipe_fds[2];

void set_up(void)
{
	libc_calls_resolve();
	settings_open();
	descriptors_open();
	set = epoll_create1(0);
	switch_epoll_created(set);
	ck_assert_int_eq(pipe(pipe_fds), 0);
}

void close_fd(int fd)
{
	descriptor_closing(fd);
	close(fd);
}

void tear_down(void)
{
	fake_close_all();
	close_fd(pipe_fds[0]);
	close_fd(pipe_fds[1]);
	close_fd(set);
	ck_assert_int_eq(fake_alive, 0);
}

int control(int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return switch_epoll_ctl(set, operation, fd, &event);
}

int wait_on(int epoll_fd, struct epoll_event *events, int room, int64_t timeout)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);

	ck_assert_ptr_nonnull(epoll);
	return switch_epoll_wait(epoll, epoll_fd, events, room, timeout, NULL);
}

int wait_for(struct epoll_event *events, int room, int64_t timeout)
{
	return wait_on(set, events, room, timeout);
}

/* The events of the one report there is; 0: none. */
uint32_t one(int64_t timeout)
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

struct side side_open(int kind)
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

void side_close(struct side *side)
{
	close_fd(side->fd);
	if (side->peer >= 0)
		close(side->peer);
}

void side_data(struct side *side)
{
	if (side->san)
		fake_arrive(side->san, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
	else
		ck_assert_int_eq(send(side->peer, "x", 1, 0), 1);
}

/* The program reads all there is. */
void side_drain(struct side *side)
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
void side_finish(struct side *side)
{
	if (side->san)
		fake_arrive(side->san, POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM);
	else
		shutdown(side->peer, SHUT_WR);
}
