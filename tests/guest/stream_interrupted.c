// SPDX-License-Identifier: BSD-2-Clause
/*
 * What comes between a blocking call and its end. A signal restarts it or ends it, as its
 * handler and the socket's timeout say; a process that exits beside a thread of its own that
 * receives still delivers what it sent; and a look at the stream goes as far as it reaches.
 */
#include "stream.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 256 * 1024, LAST = 300 * 1000 };

static volatile sig_atomic_t signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* From now on SIGALRM comes every 20 milliseconds, or not at all. */
static void disturb(bool on, int flags)
{
	struct sigaction action = { .sa_handler = count, .sa_flags = flags };
	struct timeval time = { .tv_usec = on ? 20000 : 0 };

	signals = 0;
	check(sigaction(SIGALRM, &action, NULL) == 0);
	check(setitimer(ITIMER_REAL, &(struct itimerval){ time, time }, NULL) == 0);
}

static void signals_in_receive(int fd)
{
	char byte;

	disturb(true, SA_RESTART);
	stream_step_reach('a');
	check_count(recv(fd, &byte, 1, 0), 1);
	check(signals > 0);
	disturb(true, 0);
	check_error(recv(fd, &byte, 1, 0), EINTR);
	/* Who has a timeout is never restarted. */
	check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 30 },
			 sizeof(struct timeval)) == 0);
	disturb(true, SA_RESTART);
	check_error(recv(fd, &byte, 1, 0), EINTR);
	disturb(false, 0);
	check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0 },
			 sizeof(struct timeval)) == 0);
}

static void look_far(int fd)
{
	char *buffer = malloc(LARGE + 2), small[8];
	int there = 0;

	check(buffer != NULL);
	stream_step_reach('b');
	while (there < 1000) {
		check(ioctl(fd, FIONREAD, &there) == 0);
		poll(NULL, 0, 1);
	}
	check_count(recv(fd, NULL, 8, MSG_PEEK | MSG_TRUNC), 8);
	check_count(recv(fd, small, 8, MSG_PEEK), 8);
	check_count(recv(fd, small, 8, MSG_PEEK | MSG_WAITALL), 8);
	check(small[0] == 'a' && small[1] == 'b');
	stream_pattern_check(small + 2, 6, 1, 0);
	stream_receive_all(fd, buffer, LARGE + 2);
	stream_pattern_check(buffer + 2, LARGE, 1, 0);
	free(buffer);
}

static void server(int listener)
{
	char *buffer = malloc(LAST + 1);
	int fd;

	check(buffer != NULL);
	disturb(true, 0);
	check_error(accept(listener, NULL, NULL), EINTR);
	disturb(true, SA_RESTART);
	stream_step_reach('0');
	fd = accept(listener, NULL, NULL);
	check(fd >= 0 && signals > 0);
	disturb(false, 0);
	signals_in_receive(fd);
	look_far(fd);
	close(fd);

	fd = stream_accept(listener);
	check_count(stream_receive_rest(fd, buffer, LAST + 1), LAST);
	stream_pattern_check(buffer, LAST, 2, 0);
	close(fd);
	free(buffer);
}

static void *receive(void *fd)
{
	char byte;

	(void)!recv(*(int *)fd, &byte, 1, 0);
	return NULL;
}

/* All is taken, as far as the program knows, when it exits. */
static void say_last_words(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LAST);
	pthread_t thread;
	size_t sent = 0;

	check(buffer != NULL);
	stream_pattern_fill(buffer, LAST, 2, 0);
	check(pthread_create(&thread, NULL, receive, &fd) == 0);
	poll(NULL, 0, 50);
	while (sent < LAST) {
		ssize_t part = send(fd, buffer + sent, LAST - sent, MSG_DONTWAIT);

		check(part > 0 || errno == EAGAIN);
		if (part > 0)
			sent += (size_t)part;
		else
			poll(NULL, 0, 1);
	}
	exit(0);
}

static void client(const struct sockaddr_in *peer)
{
	char *buffer = malloc(LARGE);
	int fd, status;
	pid_t child;

	check(buffer != NULL);
	stream_step_await('0');
	poll(NULL, 0, 120);
	fd = stream_connect(peer);
	stream_step_await('a');
	poll(NULL, 0, 120);
	check_count(send(fd, "x", 1, 0), 1);
	stream_step_await('b');
	check_count(send(fd, "ab", 2, 0), 2);
	stream_pattern_fill(buffer, LARGE, 1, 0);
	for (size_t sent = 0; sent < LARGE;) {
		ssize_t part = send(fd, buffer + sent, LARGE - sent, MSG_DONTWAIT);

		check(part > 0 || errno == EAGAIN);
		sent += part > 0 ? (size_t)part : 0;
	}
	close(fd);

	child = fork();
	check(child >= 0);
	if (!child)
		say_last_words(peer);
	check(waitpid(child, &status, 0) == child && status == 0);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
