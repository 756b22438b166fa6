// SPDX-License-Identifier: BSD-2-Clause
/*
 * connect to a port where nobody listens answers ECONNREFUSED soon, blocking
 * and nonblocking, and the program can go on from there.
 */
#include "stream.h"

#include <poll.h>
#include <unistd.h>

static void server(int listener)
{
	close(listener);
	stream_step_reach('a');
	stream_step_await('b');
}

static void client(const struct sockaddr_in *peer)
{
	double start;
	int error = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t length = sizeof(error);

	check(fd >= 0);
	stream_step_await('a');
	start = stream_now();
	check_error(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)), ECONNREFUSED);
	/* The SAN answered: it is not waited for as long as for one that does not. */
	check(stream_now() - start < 15);
	check_error(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	close(fd);

	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	check(fd >= 0);
	if (connect(fd, (const struct sockaddr *)peer, sizeof(*peer))) {
		if (errno == EINPROGRESS) {
			stream_poll(fd, POLLOUT);
			check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
			check_count(error, ECONNREFUSED);
			check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
			check_count(error, 0);
		} else {
			check(errno == ECONNREFUSED);
		}
	} else {
		check(!"connected to a closed port");
	}
	close(fd);
	stream_step_reach('b');
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
