// SPDX-License-Identifier: BSD-2-Clause
/*
 * Edge-triggered epoll: one event for what arrived, none again until more does,
 * one when writing becomes possible again, EPOLLONESHOT silent until armed
 * anew; and a server in this style drains large transfers without missing one.
 */
#include "stream.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { LARGE = 3 << 20, BUFFER = 100 * 1000 };

static void expect_at(int line, int set, int fd, uint32_t events)
{
	struct epoll_event event[4];

	stream_caller(line);
	check_count(epoll_wait(set, event, 4, 20000), 1);
	check_count(event[0].data.fd, fd);
	check_count(event[0].events & events, events);
}

static void expect_nothing_at(int line, int set)
{
	struct epoll_event event;

	stream_caller(line);
	check_count(epoll_wait(set, &event, 1, 100), 0);
}

/* So that a failure tells which call it was. */
#define expect(...) expect_at(__LINE__, __VA_ARGS__)
#define expect_nothing(...) expect_nothing_at(__LINE__, __VA_ARGS__)

/* Reads until EAGAIN or the end, which it reports. */
static bool drain(int fd, char *buffer, uint64_t seed, size_t *offset)
{
	for (;;) {
		ssize_t count = recv(fd, buffer, BUFFER, 0);

		if (count < 0) {
			check(errno == EAGAIN);
			return false;
		}
		if (!count)
			return true;
		stream_pattern_check(buffer, (size_t)count, seed, *offset);
		*offset += (size_t)count;
	}
}

static void server(int listener)
{
	int set = epoll_create1(0), fd = stream_accept(listener);
	char *buffer = malloc(BUFFER);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = fd };
	size_t offset = 0;

	check(set >= 0 && buffer != NULL);
	stream_set_nonblocking(fd, true);
	check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
	expect_nothing(set);

	/* Once for what arrived, although it is not taken. */
	stream_step_reach('a');
	stream_step_await('b');
	expect(set, fd, EPOLLIN);
	expect_nothing(set);
	check_count(recv(fd, buffer, 1, 0), 1);
	expect_nothing(set);
	/* Once more when more arrives, although the old is still there. */
	stream_step_reach('c');
	expect(set, fd, EPOLLIN);
	expect_nothing(set);
	/* MOD reports anew what holds. */
	check(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
	expect(set, fd, EPOLLIN);
	check_count(recv(fd, buffer, BUFFER, 0), 3);
	check_error(recv(fd, buffer, BUFFER, 0), EAGAIN);

	/* One shot. */
	event.events = EPOLLIN | EPOLLONESHOT;
	check(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
	stream_step_reach('d');
	expect(set, fd, EPOLLIN);
	check_count(recv(fd, buffer, BUFFER, 0), 1);
	stream_step_reach('e');
	stream_step_await('f');
	expect_nothing(set);
	check(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
	expect(set, fd, EPOLLIN);
	check_count(recv(fd, buffer, BUFFER, 0), 1);

	/* A large stream through edges alone, and out again. */
	event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	check(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
	expect(set, fd, EPOLLOUT);
	stream_step_reach('g');
	while (!drain(fd, buffer, 1, &offset))
		check_count(epoll_wait(set, &event, 1, 20000), 1);
	check_count(offset, LARGE);
	for (offset = 0; offset < LARGE;) {
		size_t piece = LARGE - offset < BUFFER ? LARGE - offset : BUFFER;
		ssize_t sent;

		stream_pattern_fill(buffer, piece, 2, offset);
		sent = send(fd, buffer, piece, MSG_NOSIGNAL);
		if (sent < 0) {
			check(errno == EAGAIN);
			check_count(epoll_wait(set, &event, 1, 20000), 1);
			continue;
		}
		offset += (size_t)sent;
	}
	close(fd);
	close(set);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);

	check(buffer != NULL);
	stream_step_await('a');
	stream_send_all(fd, "xx", 2);
	stream_step_reach('b');
	stream_step_await('c');
	stream_send_all(fd, "yy", 2);
	stream_step_await('d');
	stream_send_all(fd, "o", 1);
	stream_step_await('e');
	stream_send_all(fd, "p", 1);
	stream_step_reach('f');
	stream_step_await('g');
	stream_pattern_fill(buffer, LARGE, 1, 0);
	/* In pieces of every kind, so that edges come in every state. */
	for (size_t sent = 0, piece; sent < LARGE; sent += piece) {
		piece = 1 + sent * 7 % 150000;
		if (piece > LARGE - sent)
			piece = LARGE - sent;
		stream_send_all(fd, buffer + sent, piece);
	}
	check(shutdown(fd, SHUT_WR) == 0);
	check_count(stream_receive_rest(fd, buffer, LARGE), LARGE);
	stream_pattern_check(buffer, LARGE, 2, 0);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
