// SPDX-License-Identifier: BSD-2-Clause
/*
 * A blocking sender of many small pieces meets a reader that starts late: the
 * sender sleeps when the reader's room is used up, wakes when it reads, and no
 * piece is lost or moved.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOTAL = 4 << 20, BUFFER = 100 * 1000 };

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(BUFFER);
	uint64_t state = 1;
	size_t total = 0;

	check(buffer != NULL);
	/* The sender says when it has begun; it cannot say that it is stuck. */
	stream_step_await('a');
	poll(NULL, 0, 300);
	while (total < TOTAL) {
		ssize_t count = recv(fd, buffer, 1 + stream_random(&state) % BUFFER, 0);

		check(count > 0);
		stream_pattern_check(buffer, (size_t)count, 1, total);
		total += (size_t)count;
	}
	check_count(recv(fd, buffer, 1, 0), 0);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(2000);
	uint64_t state = 2;

	check(buffer != NULL);
	stream_step_reach('a');
	for (size_t total = 0, piece; total < TOTAL; total += piece) {
		piece = 1 + stream_random(&state) % 2000;
		if (piece > TOTAL - total)
			piece = TOTAL - total;
		stream_pattern_fill(buffer, piece, 1, total);
		check_count(send(fd, buffer, piece, 0), piece);
	}
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
