// SPDX-License-Identifier: BSD-2-Clause
/*
 * One listener serves clients that are under the library and clients that are
 * not: accept hands out both kinds, in one poll loop, and each stream is right.
 * With ENDS "mixed" the second client is without the library.
 */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 200 * 1000, ROUNDS = 3 };

static void server(int listener)
{
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	stream_set_nonblocking(listener, true);
	for (int done = 0; done < 2 * ROUNDS; done++) {
		unsigned char number;
		int fd;

		do {
			stream_poll(listener, POLLIN);
			fd = accept(listener, NULL, NULL);
			check(fd >= 0 || errno == EAGAIN);
		} while (fd < 0);
		stream_receive_all(fd, &number, 1);
		stream_receive_all(fd, buffer, SIZE);
		stream_pattern_check(buffer, SIZE, number, 0);
		stream_pattern_fill(buffer, SIZE, number + 10u, 0);
		stream_send_all(fd, buffer, SIZE);
		check_count(recv(fd, buffer, 1, 0), 0);
		close(fd);
	}
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	unsigned char me = (unsigned char)stream_number();
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	for (int round = 0; round < ROUNDS; round++) {
		int fd = stream_connect(peer);

		stream_send_all(fd, &me, 1);
		stream_pattern_fill(buffer, SIZE, me, 0);
		stream_send_all(fd, buffer, SIZE);
		stream_receive_all(fd, buffer, SIZE);
		stream_pattern_check(buffer, SIZE, me + 10u, 0);
		close(fd);
	}
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){
		.server = server, .client = client, .clients = 2,
	});
}
