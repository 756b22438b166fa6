// SPDX-License-Identifier: BSD-2-Clause
/*
 * The frame of the stream_* tests: starting, watching and judging the ends, and
 * the few socket helpers that all of them need. See stream.h.
 */
#include "stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CLIENTS = 8 };

/* Which end this process is; for messages. */
static const char *end_name = "stream";
static int number;
static char **arguments;
static int step_fd = -1;
/* The line that called the helper a check is in; 0: none said so. */
static __thread int caller;

char **stream_arguments(void)
{
	return arguments;
}

int stream_number(void)
{
	return number;
}

void stream_caller(int line)
{
	caller = line;
}

static void __attribute__((noreturn)) end_failed(void)
{
	if (caller)
		fprintf(stderr, "%s: the last helper was called in line %d\n", end_name, caller);
	_exit(1);
}

void stream_fail(const char *file, int line, const char *what, int error)
{
	fprintf(stderr, "%s: %s:%d: does not hold: %s (errno %s)\n", end_name, file, line, what,
		error ? strerror(error) : "0");
	end_failed();
}

void stream_check_number(const char *file, int line, const char *what, long long got,
			 long long expected)
{
	if (got == expected)
		return;
	fprintf(stderr, "%s: %s:%d: %s is %lld, not %lld (errno %s)\n", end_name, file, line,
		what, got, expected, errno ? strerror(errno) : "0");
	end_failed();
}

void stream_check_error(const char *file, int line, const char *what, long long result,
			int expected)
{
	int error = errno;

	if (result == -1 && error == expected)
		return;
	fprintf(stderr, "%s: %s:%d: %s is %lld with errno %s, not -1 with %s\n", end_name, file,
		line, what, result, strerrorname_np(error), strerrorname_np(expected));
	end_failed();
}

/* ---- connections ------------------------------------------------------- */

int stream_accept(int listener)
{
	int fd = accept(listener, NULL, NULL);

	check(fd >= 0);
	return fd;
}

int stream_connect(const struct sockaddr_in *peer)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd >= 0);
	check(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) == 0);
	return fd;
}

int stream_listen_anew(int listener)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	check(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
	close(listener);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	check(listener >= 0);
	stream_set_number(listener, SOL_SOCKET, SO_REUSEADDR, 1);
	check(bind(listener, (struct sockaddr *)&name, sizeof(name)) == 0);
	check(listen(listener, 16) == 0);
	return listener;
}

void stream_set_nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	check(flags >= 0);
	check(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

void stream_set_number(int fd, int level, int option, int value)
{
	check(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

short stream_poll(int fd, short events)
{
	struct pollfd entry = { .fd = fd, .events = events };

	check_count(poll(&entry, 1, 20000), 1);
	return entry.revents;
}

void stream_send_all(int fd, const void *buffer, size_t size)
{
	const char *next = buffer;

	while (size) {
		ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			stream_poll(fd, POLLOUT);
			continue;
		}
		check(sent > 0 && (size_t)sent <= size);
		next += sent;
		size -= (size_t)sent;
	}
}

void stream_receive_all(int fd, void *buffer, size_t size)
{
	char *next = buffer;

	while (size) {
		ssize_t received = recv(fd, next, size, 0);

		if (received < 0 && errno == EAGAIN) {
			stream_poll(fd, POLLIN);
			continue;
		}
		check(received > 0 && (size_t)received <= size);
		next += received;
		size -= (size_t)received;
	}
}

size_t stream_receive_rest(int fd, void *buffer, size_t size)
{
	size_t total = 0;

	for (;;) {
		char extra;
		ssize_t received = total < size ?
			recv(fd, (char *)buffer + total, size - total, 0) :
			recv(fd, &extra, 1, 0);

		if (received < 0 && errno == EAGAIN) {
			stream_poll(fd, POLLIN);
			continue;
		}
		check(received >= 0);
		if (!received)
			return total;
		check(total < size);
		total += (size_t)received;
	}
}

/* ---- the other process ------------------------------------------------- */

void stream_step_reach(char step)
{
	check_count(write(step_fd, &step, 1), 1);
}

void stream_step_await(char step)
{
	char got = 0;

	check_count(read(step_fd, &got, 1), 1);
	check_count(got, step);
}

/* ---- contents ---------------------------------------------------------- */

static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t word = (index + 1) * 0x9e3779b97f4a7c15u + seed * 0xd1342543de82ef95u;

	word ^= word >> 29;
	word *= 0xbf58476d1ce4e5b9u;
	return word ^ word >> 32;
}

/*
 * Whole words at once: in software emulation a byte-wise pattern would take
 * longer than moving the data.
 */
static size_t pattern_piece(uint64_t seed, uint64_t offset, size_t size, uint64_t *word,
			    size_t *skip)
{
	*word = pattern_word(seed, offset / 8);
	*skip = offset % 8;
	return size < 8 - *skip ? size : 8 - *skip;
}

void stream_pattern_fill(void *buffer, size_t size, uint64_t seed, uint64_t offset)
{
	char *next = buffer;

	while (size) {
		uint64_t word;
		size_t skip;
		size_t piece = pattern_piece(seed, offset, size, &word, &skip);

		memcpy(next, (const char *)&word + skip, piece);
		next += piece;
		offset += piece;
		size -= piece;
	}
}

void stream_pattern_check(const void *buffer, size_t size, uint64_t seed, uint64_t offset)
{
	const char *next = buffer;

	while (size) {
		uint64_t word;
		size_t skip;
		size_t piece = pattern_piece(seed, offset, size, &word, &skip);

		if (memcmp(next, (const char *)&word + skip, piece)) {
			fprintf(stderr, "%s: wrong bytes at %llu of stream %llu\n", end_name,
				(unsigned long long)offset, (unsigned long long)seed);
			_exit(1);
		}
		next += piece;
		offset += piece;
		size -= piece;
	}
}

uint64_t stream_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return pattern_word(*state, 0);
}

double stream_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the ends ---------------------------------------------------------- */

/* What an end is told in its environment; the descriptors are inherited. */
#define ENVIRONMENT_ROLE "STREAM_ROLE"	/* server or client */

static int number_from_environment(const char *name)
{
	const char *text = getenv(name);

	check(text != NULL);
	return atoi(text);
}

static void run_server(const struct stream_roles *roles, const char *address)
{
	struct sockaddr_in name = { .sin_family = AF_INET };
	socklen_t length = sizeof(name);
	int port_fd = number_from_environment("STREAM_PORT_FD");
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	check(listener >= 0);
	check_count(inet_pton(AF_INET, address, &name.sin_addr), 1);
	check(bind(listener, (struct sockaddr *)&name, sizeof(name)) == 0);
	check(listen(listener, 16) == 0);
	check(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
	/*
	 * Look for clients once before any can come, as a server does that has been
	 * up for a while: libraries may finish their set-up only then.
	 */
	check_count(poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 0), 0);
	check_count(write(port_fd, &name.sin_port, sizeof(name.sin_port)), sizeof(name.sin_port));
	close(port_fd);
	roles->server(listener);
}

static void run_client(const struct stream_roles *roles, const char *address)
{
	struct sockaddr_in peer = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)number_from_environment("STREAM_PORT")),
	};

	check_count(inet_pton(AF_INET, address, &peer.sin_addr), 1);
	roles->client(&peer);
}

/* ---- the watcher ------------------------------------------------------- */

static struct child {
	const char *name;
	pid_t pid;
	bool may_be_killed;
} children[1 + MOST_CLIENTS];
static int child_count;

static void set_number(const char *name, int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	setenv(name, text, 1);
}

/* @client: which of the clients, -1 for the server. */
static bool under_library(int client, const char *ends)
{
	if (!strcmp(ends, "mixed"))
		return client <= 0;
	return !strcmp(ends, "both") || !strcmp(ends, client < 0 ? "server" : "client");
}

static void start(char **argv, int client, const char *ends, bool may_be_killed)
{
	const char *role = client < 0 ? "server" : "client";
	pid_t pid = fork();

	check(pid >= 0);
	if (!pid) {
		setenv(ENVIRONMENT_ROLE, role, 1);
		if (under_library(client, ends))
			setenv("LD_PRELOAD", getenv("STREAM_PRELOAD"), 1);
		execv("/proc/self/exe", argv);
		check(!"executing this program again");
	}
	children[child_count++] = (struct child){
		.name = role, .pid = pid, .may_be_killed = may_be_killed,
	};
}

/* Async-signal-safe. */
static void out_of_time(int signal_number)
{
	static const char text[] = "stream: out of time\n";

	(void)signal_number;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(1);
	for (int i = 0; i < child_count; i++)
		if (children[i].pid)
			kill(children[i].pid, SIGKILL);
	_exit(1);
}

/* The first end that fails decides; the others may wait for it for ever. */
static int judge(void)
{
	int left = child_count;

	while (left) {
		int status, i;
		pid_t pid = waitpid(-1, &status, 0);

		check(pid > 0);
		for (i = 0; i < child_count && children[i].pid != pid; i++)
			;
		if (i == child_count)
			continue;
		left--;
		children[i].pid = 0;
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			continue;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
		    children[i].may_be_killed)
			continue;
		if (WIFSIGNALED(status))
			fprintf(stderr, "stream: the %s died of signal %d\n", children[i].name,
				WTERMSIG(status));
		else
			fprintf(stderr, "stream: the %s exited with status %d\n",
				children[i].name, WEXITSTATUS(status));
		for (i = 0; i < child_count; i++) {
			if (children[i].pid)
				kill(children[i].pid, SIGKILL);
		}
		return 1;
	}
	return 0;
}

static int watch(char **argv, const struct stream_roles *roles, const char *ends)
{
	int steps[2], ports[2];
	const char *limit = getenv("STREAM_LIMIT");
	uint16_t port = 0;

	signal(SIGALRM, out_of_time);
	alarm(limit ? (unsigned)atoi(limit) : 60);

	/* Inherited by the ends on purpose, hence no close-on-exec. */
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, steps) == 0);
	check(pipe(ports) == 0);

	set_number("STREAM_PORT_FD", ports[1]);
	set_number("STREAM_STEP_FD", steps[0]);
	check(fcntl(steps[1], F_SETFD, FD_CLOEXEC) == 0);
	check(fcntl(ports[0], F_SETFD, FD_CLOEXEC) == 0);
	start(argv, -1, ends, roles->server_dies);
	close(ports[1]);
	close(steps[0]);
	if (read(ports[0], &port, sizeof(port)) != sizeof(port)) {
		fprintf(stderr, "stream: the server ended before it listened\n");
		judge();
		return 1;
	}
	close(ports[0]);

	set_number("STREAM_PORT", ntohs(port));
	set_number("STREAM_STEP_FD", steps[1]);
	check(fcntl(steps[1], F_SETFD, 0) == 0);
	for (int i = 0; i < (roles->clients ? roles->clients : 1); i++) {
		set_number("STREAM_NUMBER", i);
		start(argv, i, ends, roles->client_dies);
	}
	close(steps[1]);
	return judge();
}

int stream_main(int argc, char **argv, const struct stream_roles *roles)
{
	const char *address = argc > 1 ? argv[1] : "127.0.0.1";
	const char *ends = argc > 2 ? argv[2] : "none";
	const char *role = getenv(ENVIRONMENT_ROLE);

	arguments = argc > 3 ? argv + 3 : argv + argc;
	if (role) {
		end_name = role;
		step_fd = number_from_environment("STREAM_STEP_FD");
		if (roles->prepare)
			roles->prepare(!strcmp(role, "server"));
		if (!strcmp(role, "server")) {
			run_server(roles, address);
		} else {
			number = number_from_environment("STREAM_NUMBER");
			run_client(roles, address);
		}
		return 0;
	}
	if (strcmp(ends, "none") && strcmp(ends, "both") && strcmp(ends, "server") &&
	    strcmp(ends, "client") && strcmp(ends, "mixed")) {
		fprintf(stderr, "%s: no such ends '%s'\n", argv[0], ends);
		return 2;
	}
	if (strcmp(ends, "none") && !getenv("STREAM_PRELOAD")) {
		fprintf(stderr, "%s: STREAM_PRELOAD is not set\n", argv[0]);
		return 2;
	}
	return watch(argv, roles, ends);
}
