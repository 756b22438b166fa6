// SPDX-License-Identifier: BSD-2-Clause
/*
 * poll and select over a mixed set: two connections, a listener, a pipe and an
 * eventfd. Only what is ready is reported, with the right bits, at once when
 * it already is and by waking a sleeper when it becomes so; a timeout is kept.
 */
#include "stream.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

enum { FIRST, SECOND, LISTENER, PIPE, EVENT, NOBODY, COUNT };

/* Waits by poll or select, and expects exactly one descriptor readable. */
static void expect_readable_at(int line, const struct pollfd *entries, int which, bool by_select)
{
	struct pollfd set[COUNT];
	fd_set readable;
	int highest = 0;

	stream_caller(line);
	if (!by_select) {
		for (int i = 0; i < COUNT; i++)
			set[i] = entries[i];
		check_count(poll(set, COUNT, 20000), 1);
		for (int i = 0; i < COUNT; i++)
			check_count(set[i].revents, i == which ? POLLIN : 0);
		return;
	}
	FD_ZERO(&readable);
	for (int i = 0; i < COUNT; i++) {
		if (entries[i].fd < 0)
			continue;
		FD_SET(entries[i].fd, &readable);
		if (entries[i].fd > highest)
			highest = entries[i].fd;
	}
	check_count(select(highest + 1, &readable, NULL, NULL,
			   &(struct timeval){ .tv_sec = 20 }), 1);
	check(FD_ISSET(entries[which].fd, &readable));
}

static void expect_nothing_at(int line, struct pollfd *entries)
{
	double start = stream_now();
	sigset_t none;

	stream_caller(line);
	check_count(poll(entries, COUNT, 0), 0);
	check_count(poll(entries, COUNT, 200), 0);
	check(stream_now() - start >= 0.19);
	sigemptyset(&none);
	check_count(ppoll(entries, COUNT, &(struct timespec){ .tv_nsec = 1000000 }, &none), 0);
}

/* So that a failure tells which call it was. */
#define expect_readable(...) expect_readable_at(__LINE__, __VA_ARGS__)
#define expect_nothing(...) expect_nothing_at(__LINE__, __VA_ARGS__)

static void server(int listener)
{
	int first = stream_accept(listener), second = stream_accept(listener), pipes[2], fd;
	int event = eventfd(0, 0);
	uint64_t one = 1;
	char bytes[4];

	check(event >= 0);
	check(pipe(pipes) == 0);

	struct pollfd entries[COUNT] = {
		[FIRST] = { .fd = first, .events = POLLIN },
		[SECOND] = { .fd = second, .events = POLLIN },
		[LISTENER] = { .fd = listener, .events = POLLIN },
		[PIPE] = { .fd = pipes[0], .events = POLLIN },
		[EVENT] = { .fd = event, .events = POLLIN },
		[NOBODY] = { .fd = -1, .events = POLLIN },
	};

	expect_nothing(entries);
	for (int round = 0; round < 6; round++) {
		bool by_select = round & 1;

		/* Already ready, or (odd pairs) while asleep. */
		stream_step_reach('a');
		if (round < 2)
			stream_step_await('b');
		expect_readable(entries, FIRST, by_select);
		expect_readable(entries, FIRST, by_select);
		check_count(recv(first, bytes, 4, 0), 1);
		if (round >= 2)
			stream_step_await('b');

		stream_step_reach('c');
		expect_readable(entries, SECOND, by_select);
		check_count(recv(second, bytes, 4, 0), 2);

		stream_step_reach('d');
		expect_readable(entries, LISTENER, by_select);
		fd = stream_accept(listener);
		close(fd);

		check_count(write(pipes[1], "p", 1), 1);
		expect_readable(entries, PIPE, by_select);
		check_count(read(pipes[0], bytes, 1), 1);
		check_count(write(event, &one, 8), 8);
		expect_readable(entries, EVENT, by_select);
		check_count(read(event, &one, 8), 8);
		check_count(poll(entries, COUNT, 0), 0);
	}

	/* Writable as well, several at once, and the end of the stream. */
	entries[FIRST].events = POLLIN | POLLOUT;
	entries[SECOND].events = POLLIN | POLLRDHUP;
	check_count(poll(entries, COUNT, 20000), 1);
	check_count(entries[FIRST].revents, POLLOUT);
	stream_step_reach('e');
	stream_step_await('f');
	stream_poll(second, POLLRDHUP);
	check_count(poll(entries, COUNT, 20000), 2);
	check_count(entries[FIRST].revents, POLLOUT);
	check_count(entries[SECOND].revents, POLLIN | POLLRDHUP);
	check_count(recv(second, bytes, 1, 0), 0);

	/* A descriptor that is not open is POLLNVAL and counts as ready. */
	close(first);
	check_count(poll(entries, 1, 20000), 1);
	check_count(entries[FIRST].revents, POLLNVAL);
	stream_step_reach('g');
}

static void client(const struct sockaddr_in *peer)
{
	int first = stream_connect(peer), second = stream_connect(peer), third;
	char byte;

	for (int round = 0; round < 6; round++) {
		stream_step_await('a');
		/* Let the server fall asleep; if it did not, the test is only weaker. */
		if (round >= 2)
			poll(NULL, 0, 30);
		stream_send_all(first, "x", 1);
		stream_step_reach('b');
		stream_step_await('c');
		if (round >= 2)
			poll(NULL, 0, 30);
		stream_send_all(second, "yy", 2);
		stream_step_await('d');
		if (round >= 2)
			poll(NULL, 0, 30);
		third = stream_connect(peer);
		check_count(recv(third, &byte, 1, 0), 0);
		close(third);
	}
	stream_step_await('e');
	check(shutdown(second, SHUT_WR) == 0);
	stream_step_reach('f');
	stream_step_await('g');
	check_count(recv(first, &byte, 1, 0), 0);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
