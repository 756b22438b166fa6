// SPDX-License-Identifier: BSD-2-Clause
/*
 * A receive returns what is there and no more than it asked for, keeps the
 * rest for later, and does not care how the sender cut its data.
 */
#include "stream.h"

#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE = 1000, LARGE = 200 * 1000 };

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(LARGE);
	size_t total = 0;

	check(buffer != NULL);
	/* Less than is there: in three pieces. */
	stream_step_await('a');
	check_count(recv(fd, buffer, 1, 0), 1);
	check_count(recv(fd, buffer + 1, 998, 0), 998);
	check_count(recv(fd, buffer + 999, LARGE, 0), 1);
	stream_pattern_check(buffer, MESSAGE, 1, 0);
	check_error(recv(fd, buffer, 1, MSG_DONTWAIT), EAGAIN);

	/* More asked than is there: what there is, at once. */
	stream_step_reach('b');
	check_count(recv(fd, buffer, LARGE, 0), MESSAGE);
	stream_pattern_check(buffer, MESSAGE, 2, 0);

	/* A large send into receives of odd sizes. */
	stream_step_reach('c');
	while (total < LARGE) {
		size_t wanted = 1 + total % 7777 < LARGE - total ? 1 + total % 7777 : LARGE - total;
		ssize_t received = recv(fd, buffer, wanted, 0);

		check(received > 0 && (size_t)received <= wanted);
		stream_pattern_check(buffer, (size_t)received, 3, total);
		total += (size_t)received;
	}
	check_count(total, LARGE);

	/* Many small sends into one large buffer. */
	stream_receive_all(fd, buffer, LARGE);
	stream_pattern_check(buffer, LARGE, 4, 0);
	check_count(recv(fd, buffer, 1, 0), 0);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);

	check(buffer != NULL);
	stream_pattern_fill(buffer, MESSAGE, 1, 0);
	stream_send_all(fd, buffer, MESSAGE);
	stream_step_reach('a');

	stream_step_await('b');
	stream_pattern_fill(buffer, MESSAGE, 2, 0);
	stream_send_all(fd, buffer, MESSAGE);

	stream_step_await('c');
	stream_pattern_fill(buffer, LARGE, 3, 0);
	stream_send_all(fd, buffer, LARGE);

	stream_pattern_fill(buffer, LARGE, 4, 0);
	for (size_t sent = 0, piece; sent < LARGE; sent += piece) {
		piece = 1 + sent % 997;
		if (piece > LARGE - sent)
			piece = LARGE - sent;
		stream_send_all(fd, buffer + sent, piece);
	}
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
