// SPDX-License-Identifier: BSD-2-Clause
/*
 * Both ends send first and read afterwards: amounts that fit TCP's buffers must
 * not deadlock two blocking senders, neither as one large send each nor as many
 * small ones, and nonblocking ends may have any amount in flight both ways.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { AT_ONCE = 128 * 1024, SMALL = 64, SMALL_COUNT = 1000, LARGE = 4 << 20 };

/* Sends and receives LARGE at the same time, whichever is ready. */
static void exchange_nonblocking(int fd, char *out, char *in, uint64_t me)
{
	size_t sent = 0, received = 0;

	stream_set_nonblocking(fd, true);
	stream_pattern_fill(out, LARGE, me, 0);
	while (sent < LARGE || received < LARGE) {
		short events = (short)((sent < LARGE ? POLLOUT : 0) |
				       (received < LARGE ? POLLIN : 0));
		short ready = stream_poll(fd, events);
		ssize_t count;

		if (ready & POLLOUT && sent < LARGE) {
			count = send(fd, out + sent, LARGE - sent, MSG_NOSIGNAL);
			check(count > 0 || (count < 0 && errno == EAGAIN));
			sent += count > 0 ? (size_t)count : 0;
		}
		if (ready & POLLIN) {
			count = recv(fd, in + received, LARGE - received, 0);
			check(count > 0 || (count < 0 && errno == EAGAIN));
			received += count > 0 ? (size_t)count : 0;
		}
	}
	stream_pattern_check(in, LARGE, !me, 0);
	stream_set_nonblocking(fd, false);
}

static void exchange(int fd, uint64_t me)
{
	char *out = malloc(LARGE), *in = malloc(LARGE);

	check(out != NULL && in != NULL);
	for (int round = 0; round < 3; round++) {
		stream_pattern_fill(out, AT_ONCE, me, 0);
		stream_send_all(fd, out, AT_ONCE);
		stream_receive_all(fd, in, AT_ONCE);
		stream_pattern_check(in, AT_ONCE, !me, 0);
	}

	stream_pattern_fill(out, SMALL * SMALL_COUNT, me, 0);
	for (int i = 0; i < SMALL_COUNT; i++)
		check_count(send(fd, out + i * SMALL, SMALL, MSG_NOSIGNAL), SMALL);
	stream_receive_all(fd, in, SMALL * SMALL_COUNT);
	stream_pattern_check(in, SMALL * SMALL_COUNT, !me, 0);

	exchange_nonblocking(fd, out, in, me);
	close(fd);
	free(out);
	free(in);
}

/* Room for AT_ONCE under way in each direction, whatever the system's defaults. */
static void set_buffers(int fd)
{
	stream_set_number(fd, SOL_SOCKET, SO_SNDBUF, 4 * AT_ONCE);
	stream_set_number(fd, SOL_SOCKET, SO_RCVBUF, 4 * AT_ONCE);
}

static void server(int listener)
{
	int fd;

	set_buffers(listener);
	fd = stream_accept(listener);
	set_buffers(fd);
	exchange(fd, 0);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);

	set_buffers(fd);
	exchange(fd, 1);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
