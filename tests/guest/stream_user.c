// SPDX-License-Identifier: BSD-2-Clause
/*
 * A server that becomes another user once it listens, as many do that are started by root: it
 * accepts nonetheless, whatever the kernel thinks of its descriptors, nobody waits for it, and
 * it does not keep a processor busy.
 */
#include "stream.h"

#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOBODY = 65534, CONNECTIONS = 3, SIZE = 100 * 1000 };

static char buffer[SIZE];

static double processor_time(void)
{
	struct rusage usage;

	check(getrusage(RUSAGE_SELF, &usage) == 0);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* It may have had one that it needs no longer. */
static int listen_elsewhere(int listener)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	int other = socket(AF_INET, SOCK_STREAM, 0);

	check(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
	name.sin_port = 0;
	check(bind(other, (struct sockaddr *)&name, sizeof(name)) == 0);
	check(listen(other, 16) == 0);
	return other;
}

static void server(int listener)
{
	int other = listen_elsewhere(listener);
	double before;

	check(setgroups(0, NULL) == 0);
	check(setgid(NOBODY) == 0);
	check(setuid(NOBODY) == 0);
	check(close(other) == 0);
	stream_step_reach('u');
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = stream_accept(listener);

		stream_receive_all(fd, buffer, SIZE);
		stream_pattern_check(buffer, SIZE, 1, 0);
		stream_send_all(fd, buffer, SIZE);
		check_count(recv(fd, buffer, 1, 0), 0);
		check(close(fd) == 0);
	}
	before = processor_time();
	poll(NULL, 0, 2000);
	check(processor_time() - before < 1);
	check(close(listener) == 0);
}

static void client(const struct sockaddr_in *peer)
{
	stream_step_await('u');
	for (int i = 0; i < CONNECTIONS; i++) {
		double before = stream_now();
		int fd = stream_connect(peer);

		/* The scripts allow twenty for an answer of the SAN. */
		check(stream_now() - before < 10);
		stream_pattern_fill(buffer, SIZE, 1, 0);
		stream_send_all(fd, buffer, SIZE);
		stream_receive_all(fd, buffer, SIZE);
		stream_pattern_check(buffer, SIZE, 1, 0);
		check(close(fd) == 0);
	}
}

int main(int argc, char **argv)
{
	static const struct stream_roles roles = { .server = server, .client = client };

	return stream_main(argc, argv, &roles);
}
