// SPDX-License-Identifier: BSD-2-Clause
/*
 * SO_RCVTIMEO and SO_SNDTIMEO: the call gives up with EAGAIN after the time set
 * and not before it, with a short count if it had moved something, and the
 * connection goes on.
 */
#include "stream.h"

#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { SIZE = 16 << 20 };
/* Generous above: the machine under test may be an emulated one. */
static const double shortest = 0.29, longest = 5.0;

static void set_timeout(int fd, int option, int milliseconds)
{
	struct timeval timeout = { .tv_usec = milliseconds * 1000 };
	struct timeval back = { 0 };
	socklen_t length = sizeof(back);

	check(setsockopt(fd, SOL_SOCKET, option, &timeout, sizeof(timeout)) == 0);
	check(getsockopt(fd, SOL_SOCKET, option, &back, &length) == 0);
	/* The kernel rounds to its clock ticks. */
	check(back.tv_sec == 0 && labs(back.tv_usec - timeout.tv_usec) <= 10 * 1000);
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(SIZE);
	double start, spent;
	size_t total;

	check(buffer != NULL);
	set_timeout(fd, SO_RCVTIMEO, 300);
	start = stream_now();
	check_error(recv(fd, buffer, 10, 0), EAGAIN);
	spent = stream_now() - start;
	check(spent >= shortest && spent <= longest);

	/* Part of what MSG_WAITALL wants arrives: that part, after the time. */
	stream_step_reach('a');
	stream_step_await('b');
	start = stream_now();
	check_count(recv(fd, buffer, 100, MSG_WAITALL), 10);
	check(stream_now() - start >= shortest);
	stream_pattern_check(buffer, 10, 1, 0);
	set_timeout(fd, SO_RCVTIMEO, 0);
	stream_step_reach('d');

	/* Do not read until the sender has given up. */
	stream_step_await('c');
	total = stream_receive_rest(fd, buffer, SIZE);
	stream_pattern_check(buffer, total, 2, 0);
	stream_send_all(fd, &total, sizeof(total));
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(SIZE);
	size_t total = 0, arrived;
	ssize_t sent;
	double start, spent;

	check(buffer != NULL);
	stream_step_await('a');
	stream_pattern_fill(buffer, 10, 1, 0);
	stream_send_all(fd, buffer, 10);
	stream_step_reach('b');

	stream_step_await('d');
	set_timeout(fd, SO_SNDTIMEO, 300);
	stream_pattern_fill(buffer, SIZE, 2, 0);
	for (;;) {
		size_t piece = SIZE - total < 300000 ? SIZE - total : 300000;

		check(piece > 0);
		start = stream_now();
		sent = send(fd, buffer + total, piece, MSG_NOSIGNAL);
		spent = stream_now() - start;
		if (sent < 0)
			break;
		/* How soon a short count comes, Linux leaves open (it waits for memory too). */
		total += (size_t)sent;
	}
	check(errno == EAGAIN);
	check(spent >= shortest && spent <= longest);
	stream_step_reach('c');
	check(shutdown(fd, SHUT_WR) == 0);
	stream_receive_all(fd, &arrived, sizeof(arrived));
	check_count(arrived, total);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
