// SPDX-License-Identifier: BSD-2-Clause
/*
 * Nonblocking connect, accept, send and receive: EINPROGRESS, then writable
 * with SO_ERROR 0; EAGAIN where a blocking call would wait; the flag is set by
 * SOCK_NONBLOCK, accept4, fcntl and FIONBIO alike.
 */
#include "stream.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void server(int listener)
{
	char byte;
	int fd, off = 0;

	stream_set_nonblocking(listener, true);
	check_error(accept(listener, NULL, NULL), EAGAIN);
	stream_step_reach('a');
	check(stream_poll(listener, POLLIN) & POLLIN);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	check(fd >= 0);
	check(fcntl(fd, F_GETFL) & O_NONBLOCK);
	check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	check_error(accept(listener, NULL, NULL), EAGAIN);

	check_error(recv(fd, &byte, 1, 0), EAGAIN);
	stream_step_reach('b');
	check(stream_poll(fd, POLLIN) & POLLIN);
	check_count(recv(fd, &byte, 1, 0), 1);
	check_count(byte, 'x');
	check_error(read(fd, &byte, 1), EAGAIN);

	check(ioctl(fd, FIONBIO, &off) == 0);
	check(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	stream_step_reach('c');
	/* Blocks now. */
	check_count(recv(fd, &byte, 1, 0), 1);
	check_count(byte, 'y');

	/* An accepted socket does not inherit the listener's flag. */
	stream_step_reach('d');
	stream_poll(listener, POLLIN);
	fd = accept(listener, NULL, NULL);
	check(fd >= 0);
	check(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	check_count(recv(fd, &byte, 1, 0), 1);
	check_count(byte, 'z');
}

static void client(const struct sockaddr_in *peer)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), second, error = -1;
	socklen_t length = sizeof(error);
	bool asynchronous = false;
	char byte;

	check(fd >= 0);
	stream_step_await('a');
	if (connect(fd, (const struct sockaddr *)peer, sizeof(*peer))) {
		check(errno == EINPROGRESS);
		asynchronous = true;
		check(stream_poll(fd, POLLOUT) & POLLOUT);
	}
	check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
	check_count(error, 0);
	/* A second call asks for the outcome: Linux tells success once, then EISCONN. */
	if (asynchronous)
		check(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) == 0 || errno == EISCONN);
	check_error(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)), EISCONN);
	check_error(recv(fd, &byte, 1, 0), EAGAIN);

	stream_step_await('b');
	check_count(send(fd, "x", 1, 0), 1);
	stream_step_await('c');
	check_count(send(fd, "y", 1, 0), 1);

	stream_step_await('d');
	second = stream_connect(peer);
	stream_set_number(second, IPPROTO_TCP, TCP_NODELAY, 1);
	check_count(send(second, "z", 1, 0), 1);
	/* The end of the server's life. */
	check_count(recv(second, &byte, 1, 0), 0);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
