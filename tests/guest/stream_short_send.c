// SPDX-License-Identifier: BSD-2-Clause
/*
 * A nonblocking sender whose peer does not read is stopped by EAGAIN after a
 * bounded amount, and everything it was told it had sent arrives.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 256 * 1024 };
static const uint64_t flood = 64 << 20;

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(PIECE);
	uint64_t total = 0;

	check(buffer != NULL);
	stream_step_await('f');
	for (;;) {
		ssize_t received = recv(fd, buffer, PIECE, 0);

		check(received >= 0);
		if (!received)
			break;
		stream_pattern_check(buffer, (size_t)received, 1, total);
		total += (uint64_t)received;
	}
	stream_send_all(fd, &total, sizeof(total));
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(PIECE);
	uint64_t total = 0, arrived;

	check(buffer != NULL);
	stream_set_nonblocking(fd, true);
	for (;;) {
		ssize_t sent;

		stream_pattern_fill(buffer, PIECE, 1, total);
		sent = send(fd, buffer, PIECE, 0);
		if (sent < 0)
			break;
		check(sent > 0 && sent <= PIECE);
		total += (uint64_t)sent;
		check(total < flood);
	}
	check(errno == EAGAIN);
	check(total > 0);

	/* Once the peer reads, there is room again. */
	stream_step_reach('f');
	check(stream_poll(fd, POLLOUT) & POLLOUT);
	stream_pattern_fill(buffer, 1, 1, total);
	check_count(send(fd, buffer, 1, 0), 1);
	total++;

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
