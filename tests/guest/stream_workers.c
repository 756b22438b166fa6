// SPDX-License-Identifier: BSD-2-Clause
/*
 * A server whose workers accept from the listener they inherited. Each serves one connection
 * at a time, and all have one at the same time; also when one was killed, and when another has
 * come in its place. With the argument "turns" they take turns in waiting, by a lock and with
 * an epoll set of their own, as servers with several listeners do.
 */
#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, BATCHES = 3 };

static int turn_fd;

struct worker {
	pid_t pid;
	int ready[2];
};

/* Returns when there is a connection, perhaps. */
static void wait_all(int listener)
{
	struct pollfd entry = { .fd = listener, .events = POLLIN };

	check_count(poll(&entry, 1, -1), 1);
}

static void wait_in_turn(int listener)
{
	static int set = -1, turn;
	struct epoll_event event = { .events = EPOLLIN };
	char path[64];

	if (set < 0) {
		set = epoll_create1(0);
		check(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) == 0);
		/* A lock of one's own takes a file opened by oneself. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", turn_fd);
		turn = open(path, O_RDWR);
		check(turn >= 0);
	}
	check(flock(turn, LOCK_EX) == 0);
	check_count(epoll_wait(set, &event, 1, -1), 1);
	check(flock(turn, LOCK_UN) == 0);
}

static void serve(int listener, int ready)
{
	bool turns = stream_arguments()[0] && !strcmp(stream_arguments()[0], "turns");
	char byte;

	/* All look before any client comes: from then on they are found. */
	stream_set_nonblocking(listener, true);
	check_error(accept(listener, NULL, NULL), EAGAIN);
	check_count(write(ready, "r", 1), 1);
	for (;;) {
		int fd;

		if (turns)
			wait_in_turn(listener);
		else
			wait_all(listener);
		fd = accept(listener, NULL, NULL);
		/* The others are woken, too. */
		if (fd < 0) {
			check(errno == EAGAIN);
			continue;
		}
		while (recv(fd, &byte, 1, 0) == 1)
			stream_send_all(fd, &byte, 1);
		close(fd);
		check_count(write(ready, "r", 1), 1);
	}
}

/* For its next connection. */
static void await_ready(const struct worker *worker)
{
	char byte;

	check_count(read(worker->ready[0], &byte, 1), 1);
	check_count(byte, 'r');
}

static void start(struct worker *worker, int listener)
{
	check(pipe(worker->ready) == 0);
	worker->pid = fork();
	check(worker->pid >= 0);
	if (!worker->pid)
		serve(listener, worker->ready[1]);
	await_ready(worker);
}

static void end(struct worker *worker)
{
	int status;

	check(kill(worker->pid, SIGKILL) == 0);
	check_count(waitpid(worker->pid, &status, 0), worker->pid);
	check(WIFSIGNALED(status));
	close(worker->ready[0]);
	close(worker->ready[1]);
}

static void server(int listener)
{
	struct worker workers[WORKERS];

	listener = stream_listen_anew(listener);
	turn_fd = memfd_create("turn", 0);
	check(turn_fd >= 0);
	for (int i = 0; i < WORKERS; i++)
		start(&workers[i], listener);
	stream_step_reach('l');
	for (int batch = 0; batch < BATCHES; batch++) {
		stream_step_await('1');
		for (int i = 0; i < WORKERS; i++)
			await_ready(&workers[i]);
		stream_step_reach('a');
	}
	/* Not the first, which has the port. */
	end(&workers[1]);
	stream_step_reach('k');
	stream_step_await('2');
	await_ready(&workers[0]);
	await_ready(&workers[2]);
	start(&workers[1], listener);
	stream_step_reach('n');
	stream_step_await('3');
	for (int i = 0; i < WORKERS; i++)
		end(&workers[i]);
	close(listener);
}

/* So many at a time. */
static void connections(const struct sockaddr_in *peer, int count)
{
	int fds[WORKERS];

	for (int i = 0; i < count; i++)
		fds[i] = stream_connect(peer);
	for (int round = 0; round < 10; round++)
		for (int i = 0; i < count; i++) {
			char byte = (char)(16 * round + i), back;

			stream_send_all(fds[i], &byte, 1);
			stream_receive_all(fds[i], &back, 1);
			check_count(back, byte);
		}
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

static void client(const struct sockaddr_in *peer)
{
	stream_step_await('l');
	for (int batch = 0; batch < BATCHES; batch++) {
		connections(peer, WORKERS);
		stream_step_reach('1');
		stream_step_await('a');
	}
	stream_step_await('k');
	connections(peer, WORKERS - 1);
	stream_step_reach('2');
	stream_step_await('n');
	connections(peer, WORKERS);
	stream_step_reach('3');
}

int main(int argc, char **argv)
{
	static const struct stream_roles roles = { .server = server, .client = client };

	return stream_main(argc, argv, &roles);
}
