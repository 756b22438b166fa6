// SPDX-License-Identifier: BSD-2-Clause
/*
 * shutdown(SHUT_WR) ends one direction only: the other still carries data, and
 * each reader sees the end of the stream after the last byte, repeatedly.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 300 * 1024 };

/* Sends, ends its direction, then still receives all of the other one. */
static void close_first(int fd, char *buffer)
{
	stream_pattern_fill(buffer, SIZE, 1, 0);
	stream_send_all(fd, buffer, SIZE);
	check(shutdown(fd, SHUT_WR) == 0);
	check_error(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	check_count(stream_receive_rest(fd, buffer, SIZE), SIZE);
	stream_pattern_check(buffer, SIZE, 2, 0);
	check_count(recv(fd, buffer, 1, 0), 0);
}

/* Receives to the end, and can still send. */
static void close_second(int fd, char *buffer)
{
	check_count(stream_receive_rest(fd, buffer, SIZE), SIZE);
	stream_pattern_check(buffer, SIZE, 1, 0);
	check_count(recv(fd, buffer, 1, 0), 0);
	check_count(recv(fd, buffer, 1, MSG_DONTWAIT), 0);
	check(stream_poll(fd, POLLIN | POLLRDHUP) & POLLRDHUP);
	stream_pattern_fill(buffer, SIZE, 2, 0);
	stream_send_all(fd, buffer, SIZE);
	check(shutdown(fd, SHUT_WR) == 0);
	check(stream_poll(fd, POLLIN) & POLLHUP);
}

static void exchange(int fd, bool client)
{
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	if (client == !stream_arguments()[0])
		close_first(fd, buffer);
	else
		close_second(fd, buffer);
	check(close(fd) == 0);
	free(buffer);
}

static void server(int listener)
{
	exchange(stream_accept(listener), false);
}

static void client(const struct sockaddr_in *peer)
{
	exchange(stream_connect(peer), true);
}

/* An ARGUMENT makes the server the end that closes its direction first. */
int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
