// SPDX-License-Identifier: BSD-2-Clause
/*
 * Level-triggered epoll over connections, a listener and a pipe: an event is
 * repeated while its cause lasts, carries the data it was added with, follows
 * MOD and DEL, is cut to the size of the array without losing the rest, and an
 * epoll descriptor can itself be polled and be a member of another.
 */
#include "stream.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static void add(int set, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* Exactly one event, of this member. */
static void expect_at(int line, int set, uint64_t data, uint32_t events)
{
	struct epoll_event event[4];

	stream_caller(line);
	check_count(epoll_wait(set, event, 4, 20000), 1);
	check_count(event[0].data.u64, data);
	check_count(event[0].events, events);
}

static void expect_nothing_at(int line, int set)
{
	struct epoll_event event;

	stream_caller(line);
	check_count(epoll_wait(set, &event, 1, 0), 0);
	check_count(epoll_pwait(set, &event, 1, 100, NULL), 0);
}

/* So that a failure tells which call it was. */
#define expect(...) expect_at(__LINE__, __VA_ARGS__)
#define expect_nothing(...) expect_nothing_at(__LINE__, __VA_ARGS__)

static void server(int listener)
{
	int set = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create(1), pipes[2], first, second;
	struct epoll_event event, several[2];
	char bytes[8];

	check(set >= 0 && outer >= 0);
	check(pipe(pipes) == 0);
	add(set, listener, EPOLLIN, 1);
	add(set, pipes[0], EPOLLIN, 2);
	expect_nothing(set);
	stream_step_reach('a');
	expect(set, 1, EPOLLIN);
	first = stream_accept(listener);
	add(set, first, EPOLLIN, 3);
	event.events = EPOLLIN;
	check_error(epoll_ctl(set, EPOLL_CTL_ADD, first, &event), EEXIST);
	stream_step_reach('b');
	expect(set, 1, EPOLLIN);
	second = stream_accept(listener);
	check_error(epoll_ctl(set, EPOLL_CTL_MOD, second, &event), ENOENT);
	check_error(epoll_ctl(set, EPOLL_CTL_DEL, second, NULL), ENOENT);
	add(set, second, EPOLLIN, (uint64_t)1 << 63 | 4);
	expect_nothing(set);

	/* Repeated while it lasts. */
	stream_step_reach('c');
	expect(set, 3, EPOLLIN);
	expect(set, 3, EPOLLIN);
	check_count(recv(first, bytes, 1, 0), 1);
	expect(set, 3, EPOLLIN);
	check_count(recv(first, bytes, 8, 0), 1);
	expect_nothing(set);

	/* MOD and DEL. */
	event = (struct epoll_event){ .events = EPOLLIN | EPOLLOUT, .data.u64 = 5 };
	check(epoll_ctl(set, EPOLL_CTL_MOD, first, &event) == 0);
	expect(set, 5, EPOLLOUT);
	event.events = 0;
	check(epoll_ctl(set, EPOLL_CTL_MOD, first, &event) == 0);
	expect_nothing(set);
	check(epoll_ctl(set, EPOLL_CTL_DEL, first, NULL) == 0);
	check_error(epoll_ctl(set, EPOLL_CTL_DEL, first, NULL), ENOENT);
	add(set, first, EPOLLIN, 3);

	/* More ready than the array holds: each comes in its turn. */
	stream_step_reach('d');
	stream_step_await('e');
	check_count(write(pipes[1], "p", 1), 1);
	stream_poll(first, POLLIN);
	stream_poll(second, POLLIN);
	{
		bool seen[5] = { false };

		for (int i = 0; i < 30; i++) {
			int count = epoll_wait(set, several, 2, 20000);

			check(count >= 1 && count <= 2);
			for (int j = 0; j < count; j++)
				seen[several[j].data.u64 & 7] = true;
		}
		check(seen[2] && seen[3] && seen[4] && !seen[1]);
	}
	check_count(read(pipes[0], bytes, 8), 1);
	check_count(recv(first, bytes, 8, 0), 1);

	/* As a member of another, and polled. */
	add(outer, set, EPOLLIN, 7);
	expect(outer, 7, EPOLLIN);
	check(stream_poll(set, POLLIN) & POLLIN);
	check_count(recv(second, bytes, 8, 0), 1);
	/* The outer set may be woken once for nothing; asking the inner one settles it. */
	expect_nothing(set);
	expect_nothing(outer);
	stream_step_reach('f');
	expect(outer, 7, EPOLLIN);
	expect(set, 3, EPOLLIN);
	check_count(recv(first, bytes, 8, 0), 1);
	expect_nothing(set);
	expect_nothing(outer);

	/* The end of a stream, and a member that is closed. */
	event = (struct epoll_event){ .events = EPOLLIN | EPOLLRDHUP, .data.u64 = 8 };
	check(epoll_ctl(set, EPOLL_CTL_MOD, first, &event) == 0);
	stream_step_reach('g');
	expect(set, 8, EPOLLIN | EPOLLRDHUP);
	close(first);
	expect_nothing(set);
	stream_step_reach('h');
	expect(set, (uint64_t)1 << 63 | 4, EPOLLIN);
	check_count(recv(second, bytes, 8, 0), 0);
	check(shutdown(second, SHUT_WR) == 0);
	expect(set, (uint64_t)1 << 63 | 4, EPOLLIN | EPOLLHUP);
	close(set);
	close(outer);
}

static void client(const struct sockaddr_in *peer)
{
	int first, second;

	stream_step_await('a');
	first = stream_connect(peer);
	stream_step_await('b');
	second = stream_connect(peer);
	stream_step_await('c');
	stream_send_all(first, "xy", 2);
	stream_step_await('d');
	stream_send_all(first, "z", 1);
	stream_send_all(second, "z", 1);
	stream_step_reach('e');
	stream_step_await('f');
	stream_send_all(first, "f", 1);
	stream_step_await('g');
	check(shutdown(first, SHUT_WR) == 0);
	stream_step_await('h');
	check(shutdown(second, SHUT_WR) == 0);
	check_count(recv(second, &(char){ 0 }, 1, 0), 0);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
