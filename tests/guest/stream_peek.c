// SPDX-License-Identifier: BSD-2-Clause
/*
 * MSG_PEEK shows the next bytes, as often as wanted, and takes none away: of a
 * small message, of a large transfer, and at the end of the stream.
 */
#include "stream.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SMALL = 100, LARGE = 256 * 1024 };

static void server(int listener)
{
	int fd = stream_accept(listener), there = 0;
	char *buffer = malloc(LARGE);
	ssize_t peeked;

	check(buffer != NULL);
	check_count(recv(fd, buffer, 10, MSG_PEEK), 10);
	check_count(recv(fd, buffer, 10, MSG_PEEK), 10);
	stream_pattern_check(buffer, 10, 1, 0);
	stream_step_await('a');
	check_count(recv(fd, buffer, LARGE, MSG_PEEK), SMALL);
	stream_pattern_check(buffer, SMALL, 1, 0);
	check(ioctl(fd, FIONREAD, &there) == 0);
	check_count(there, SMALL);
	check_count(recv(fd, buffer, 40, 0), 40);
	check_count(recv(fd, buffer, LARGE, MSG_PEEK), 60);
	stream_pattern_check(buffer, 60, 1, 40);
	check_count(recv(fd, buffer, LARGE, 0), 60);
	stream_pattern_check(buffer, 60, 1, 40);
	check_error(recv(fd, buffer, LARGE, MSG_PEEK | MSG_DONTWAIT), EAGAIN);

	stream_step_reach('b');
	peeked = recv(fd, buffer, LARGE, MSG_PEEK);
	check(peeked > 0 && peeked <= LARGE);
	stream_pattern_check(buffer, (size_t)peeked, 2, 0);
	check_count(recv(fd, buffer, 5, MSG_PEEK), 5);
	stream_pattern_check(buffer, 5, 2, 0);
	stream_receive_all(fd, buffer, LARGE);
	stream_pattern_check(buffer, LARGE, 2, 0);

	check_count(recv(fd, buffer, 1, MSG_PEEK), 0);
	check_count(recv(fd, buffer, 1, MSG_PEEK), 0);
	check_count(recv(fd, buffer, 1, 0), 0);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);

	check(buffer != NULL);
	stream_pattern_fill(buffer, SMALL, 1, 0);
	stream_send_all(fd, buffer, SMALL);
	stream_step_reach('a');
	stream_step_await('b');
	stream_pattern_fill(buffer, LARGE, 2, 0);
	stream_send_all(fd, buffer, LARGE);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
