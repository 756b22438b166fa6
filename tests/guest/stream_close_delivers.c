// SPDX-License-Identifier: BSD-2-Clause
/*
 * What was sent arrives although the sender closed its socket at once, and even
 * although the process has ended; the reader starts late.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* Fits TCP's buffers, so that no send waits for the reader. */
enum { SIZE = 60 * 1000, CONNECTIONS = 4 };

static void server(int listener)
{
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = stream_accept(listener);

		stream_step_await('a');
		poll(NULL, 0, 100);
		check_count(stream_receive_rest(fd, buffer, SIZE), SIZE);
		stream_pattern_check(buffer, SIZE, (uint64_t)i, 0);
		check(close(fd) == 0);
		if (i < CONNECTIONS - 1)
			stream_step_reach('b');
	}
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = stream_connect(peer);
		size_t pieces = i % 2 ? 1 : 20;

		stream_pattern_fill(buffer, SIZE, (uint64_t)i, 0);
		for (size_t piece = 0; piece < pieces; piece++)
			stream_send_all(fd, buffer + SIZE / pieces * piece, SIZE / pieces);
		/* The last one is closed by the end of the process. */
		if (i == CONNECTIONS - 1) {
			stream_step_reach('a');
			return;
		}
		check(close(fd) == 0);
		stream_step_reach('a');
		stream_step_await('b');
	}
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
