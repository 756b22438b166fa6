// SPDX-License-Identifier: BSD-2-Clause
/*
 * One end is killed by SIGKILL in the middle of a transfer: the other gets the
 * end of the stream or ECONNRESET (a sender EPIPE or ECONNRESET) within
 * seconds, never wrong bytes, and never waits for ever.
 *
 * ARGUMENTS: [VICTIM] server (default; it receives) or client (it sends)
 */
#include "stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 1 << 20, PIECES = 64, FATAL_PIECE = 6 };
static const double longest = 10;

static bool server_is_victim(void)
{
	return !stream_arguments()[0] || !strcmp(stream_arguments()[0], "server");
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(SIZE);
	double last = 0;
	size_t total = 0;
	ssize_t count;

	check(buffer != NULL);
	for (;;) {
		count = recv(fd, buffer, SIZE, 0);
		if (count <= 0)
			break;
		stream_pattern_check(buffer, (size_t)count, 1, total);
		total += (size_t)count;
		last = stream_now();
		if (server_is_victim() && total >= FATAL_PIECE * SIZE + SIZE / 2)
			raise(SIGKILL);
	}
	check(!server_is_victim());
	check(count == 0 || errno == ECONNRESET);
	check(total >= FATAL_PIECE * SIZE && total < PIECES * (size_t)SIZE);
	printf("the receiver learned of it after %.3f s: %s\n", stream_now() - last,
	       count ? strerror(errno) : "end of the stream");
	check(stream_now() - last < longest);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer), piece;
	char *buffer = malloc(SIZE);
	double last = 0;
	ssize_t sent = 0;

	check(buffer != NULL);
	for (piece = 0; piece < PIECES; piece++) {
		last = stream_now();
		stream_pattern_fill(buffer, SIZE, 1, (uint64_t)piece * SIZE);
		for (size_t done = 0; done < SIZE; done += (size_t)sent) {
			sent = send(fd, buffer + done, SIZE - done, MSG_NOSIGNAL);
			if (sent < 0)
				break;
			last = stream_now();
		}
		if (sent < 0)
			break;
		if (!server_is_victim() && piece == FATAL_PIECE)
			raise(SIGKILL);
	}
	check(server_is_victim());
	check(sent < 0 && (errno == EPIPE || errno == ECONNRESET));
	printf("the sender learned of it after %.3f s: %s\n", stream_now() - last,
	       strerror(errno));
	check(stream_now() - last < longest);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){
		.server = server, .client = client, .server_dies = true, .client_dies = true,
	});
}
