// SPDX-License-Identifier: BSD-2-Clause
/*
 * MSG_WAITALL fills the buffer across many sends, returns less only at the end
 * of the stream, and MSG_DONTWAIT wins over it. MSG_DONTWAIT on a blocking
 * socket holds for its own call only.
 */
#include "stream.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LARGE = 1 << 20, PIECES = 50, PIECE = 777, REST = 12345 };

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(LARGE);
	struct iovec parts[3] = {
		{ buffer, 1000 }, { buffer + 1000, 1 }, { buffer + 1001, LARGE - 1001 },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };

	check(buffer != NULL);
	check_error(recv(fd, buffer, 10, MSG_DONTWAIT), EAGAIN);
	check_error(recv(fd, buffer, 10, MSG_DONTWAIT | MSG_WAITALL), EAGAIN);
	stream_step_reach('a');
	check_count(recv(fd, buffer, PIECES * PIECE, MSG_WAITALL), PIECES * PIECE);
	stream_pattern_check(buffer, PIECES * PIECE, 1, 0);

	check_count(recvmsg(fd, &message, MSG_WAITALL), LARGE);
	stream_pattern_check(buffer, LARGE, 2, 0);

	stream_step_await('b');
	check_count(recv(fd, buffer, LARGE, MSG_WAITALL | MSG_DONTWAIT), 100);
	stream_pattern_check(buffer, 100, 3, 0);

	stream_step_reach('c');
	check_count(recv(fd, buffer, LARGE, MSG_WAITALL), REST);
	stream_pattern_check(buffer, REST, 4, 0);
	check_count(recv(fd, buffer, LARGE, MSG_WAITALL), 0);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);

	check(buffer != NULL);
	stream_step_await('a');
	stream_pattern_fill(buffer, PIECES * PIECE, 1, 0);
	for (int i = 0; i < PIECES; i++)
		stream_send_all(fd, buffer + i * PIECE, PIECE);
	stream_pattern_fill(buffer, LARGE, 2, 0);
	stream_send_all(fd, buffer, LARGE / 2 + 1);
	stream_send_all(fd, buffer + LARGE / 2 + 1, LARGE / 2 - 1);

	stream_pattern_fill(buffer, 100, 3, 0);
	stream_send_all(fd, buffer, 100);
	stream_step_reach('b');
	stream_step_await('c');
	stream_pattern_fill(buffer, REST, 4, 0);
	stream_send_all(fd, buffer, REST);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
