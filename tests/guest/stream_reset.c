// SPDX-License-Identifier: BSD-2-Clause
/*
 * A connection closed with unread data, or with SO_LINGER of zero, is reset:
 * the peer reads ECONNRESET once, then the end of the stream, and a sleeper in
 * poll wakes with POLLERR and POLLHUP.
 */
#include "stream.h"

#include <poll.h>
#include <unistd.h>

static void server(int listener)
{
	int fd = stream_accept(listener);
	struct linger at_once = { .l_onoff = 1 };

	/* Unread data. */
	stream_poll(fd, POLLIN);
	stream_step_await('a');
	check(close(fd) == 0);
	stream_step_reach('b');

	/* Nothing unread, but told not to linger, the peer asleep in poll. */
	fd = stream_accept(listener);
	stream_step_await('c');
	check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
	check(close(fd) == 0);
}

static void check_reset(int fd)
{
	char byte;

	check(stream_poll(fd, POLLIN) & POLLHUP);
	check_error(recv(fd, &byte, 1, 0), ECONNRESET);
	check_count(recv(fd, &byte, 1, 0), 0);
	check_error(send(fd, &byte, 1, MSG_NOSIGNAL), EPIPE);
	check(close(fd) == 0);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer), error = 0;
	socklen_t length = sizeof(error);

	stream_send_all(fd, "unread", 6);
	stream_step_reach('a');
	stream_step_await('b');
	check_reset(fd);

	fd = stream_connect(peer);
	stream_step_reach('c');
	check(stream_poll(fd, 0) & POLLERR);
	check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
	check_count(error, ECONNRESET);
	/* Taken by SO_ERROR: the next is the end of the stream. */
	check_count(recv(fd, &error, 1, 0), 0);
	check(close(fd) == 0);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
