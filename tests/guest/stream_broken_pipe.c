// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sending to a peer that is gone: nothing shows before, the first bytes are taken,
 * then EPIPE in the end, with one SIGPIPE a call unless MSG_NOSIGNAL; after the own
 * SHUT_WR at once.
 */
#include "stream.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t pipes;

static void count_pipe(int signal_number)
{
	(void)signal_number;
	pipes++;
}

static void server(int listener)
{
	char byte;
	int fd = stream_accept(listener);

	check_count(recv(fd, &byte, 1, 0), 1);
	check(close(fd) == 0);
	stream_step_reach('a');

	/* The second connection only ends its own direction. */
	fd = stream_accept(listener);
	check_count(recv(fd, &byte, 1, 0), 1);
	check_count(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer), i, error = 0;
	char byte;
	struct sigaction action = { .sa_handler = count_pipe };
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	struct pollfd both = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

	check(sigaction(SIGPIPE, &action, NULL) == 0);
	check_count(send(fd, "x", 1, 0), 1);
	stream_step_await('a');
	/* The peer closed in order: the end of its stream is read... */
	check_count(recv(fd, &byte, 1, 0), 0);
	/* ...which is all that shows, however long it has been gone... */
	poll(NULL, 0, 500);
	check_count(poll(&both, 1, 20000), 1);
	check_count(both.revents, POLLIN | POLLOUT | POLLRDHUP);
	check(getpeername(fd, (struct sockaddr *)&name, &length) == 0);
	check(shutdown(fd, SHUT_RD) == 0);
	/* ...and sending fails, but not before its refusal is back. */
	check_count(send(fd, "y", 1, 0), 1);
	for (i = 0; i < 1000; i++) {
		if (send(fd, "y", 1, MSG_NOSIGNAL) < 0) {
			error = errno;
			break;
		}
		poll(NULL, 0, 5);
	}
	check(error == EPIPE || error == ECONNRESET);
	check_count(pipes, 0);
	check_error(send(fd, "y", 1, MSG_NOSIGNAL), EPIPE);
	check_count(pipes, 0);
	check_error(send(fd, "y", 1, 0), EPIPE);
	check_count(pipes, 1);
	check_error(write(fd, "y", 1), EPIPE);
	check_count(pipes, 2);
	check(stream_poll(fd, POLLOUT) & (POLLHUP | POLLERR));
	close(fd);

	fd = stream_connect(peer);
	check_count(send(fd, "x", 1, 0), 1);
	check(shutdown(fd, SHUT_WR) == 0);
	check_error(send(fd, "y", 1, 0), EPIPE);
	check_count(pipes, 3);
	check_count(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
