// SPDX-License-Identifier: BSD-2-Clause
/*
 * A server that leaves accepting to its children, and goes on making them: while they serve
 * it forks again, as for a reload, and each child's connection is its own.
 */
#include "stream.h"

#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4 };

static void serve_one(int listener)
{
	int fd = stream_accept(listener);
	char byte;

	stream_receive_all(fd, &byte, 1);
	stream_send_all(fd, &byte, 1);
	check_count(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void server(int listener)
{
	int status;

	listener = stream_listen_anew(listener);
	stream_step_reach('l');
	for (int i = 0; i < CHILDREN; i++) {
		pid_t child = fork();

		check(child >= 0);
		if (!child) {
			serve_one(listener);
			_exit(0);
		}
		stream_step_await((char)('a' + i));
		check_count(waitpid(child, &status, 0), child);
		check_count(status, 0);
		/* Now nobody listens over the SAN whose end the next connection could meet. */
		stream_step_reach((char)('A' + i));
	}
	close(listener);
}

static void client(const struct sockaddr_in *peer)
{
	stream_step_await('l');
	for (int i = 0; i < CHILDREN; i++) {
		int fd = stream_connect(peer);
		char byte = (char)i;

		stream_send_all(fd, &byte, 1);
		stream_receive_all(fd, &byte, 1);
		check_count(byte, i);
		close(fd);
		stream_step_reach((char)('a' + i));
		stream_step_await((char)('A' + i));
	}
}

int main(int argc, char **argv)
{
	static const struct stream_roles roles = { .server = server, .client = client };

	return stream_main(argc, argv, &roles);
}
