// SPDX-License-Identifier: BSD-2-Clause
/*
 * Many idle connections at once, served by one epoll loop: each still answers,
 * in any order, and the memory that one costs is printed for each end.
 *
 * ARGUMENTS: [COUNT] (default 500)
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static int wanted_count(void)
{
	char **words = stream_arguments();

	return words[0] ? atoi(words[0]) : 500;
}

static void raise_limit(void)
{
	struct rlimit files;

	check(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &files) == 0);
}

static long resident_kib(void)
{
	char line[256];
	long kib = -1;
	FILE *status = fopen("/proc/self/status", "r");

	check(status != NULL);
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(status);
	return kib;
}

static void server(int listener)
{
	int count = wanted_count(), set = epoll_create1(0), open = 0, accepted = 0;
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, ready[64];
	long before = resident_kib();

	raise_limit();
	check(set >= 0);
	check(listen(listener, 128) == 0);
	stream_set_nonblocking(listener, true);
	check(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) == 0);
	while (accepted < count || open) {
		int events = epoll_wait(set, ready, 64, 20000);

		check(events > 0);
		for (int i = 0; i < events; i++) {
			int fd = ready[i].data.fd;
			uint32_t number;
			ssize_t got;

			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
				if (fd < 0) {
					check(errno == EAGAIN);
					continue;
				}
				event = (struct epoll_event){ .events = EPOLLIN, .data.fd = fd };
				check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
				open++;
				if (++accepted == count)
					printf("server: %.1f KiB resident each\n",
					       (double)(resident_kib() - before) / count);
				continue;
			}
			got = recv(fd, &number, sizeof(number), 0);
			if (got < 0) {
				check(errno == EAGAIN);
				continue;
			}
			if (!got) {
				close(fd);
				open--;
				continue;
			}
			check_count(got, sizeof(number));
			number = ~number;
			check_count(send(fd, &number, sizeof(number), 0), sizeof(number));
		}
	}
	close(set);
}

static void client(const struct sockaddr_in *peer)
{
	int count = wanted_count(), *fds = calloc((size_t)count, sizeof(*fds));
	uint64_t state = 1;
	long before;

	raise_limit();
	check(fds != NULL);
	before = resident_kib();
	for (int i = 0; i < count; i++)
		fds[i] = stream_connect(peer);
	printf("client: %.1f KiB resident each\n", (double)(resident_kib() - before) / count);
	for (int i = 0; i < 2 * count; i++) {
		uint32_t which = (uint32_t)(stream_random(&state) % (uint64_t)count), answer;

		check_count(send(fds[which], &which, sizeof(which), 0), sizeof(which));
		stream_receive_all(fds[which], &answer, sizeof(answer));
		check_count(answer, ~which);
	}
	for (int i = 0; i < count; i++)
		check(close(fds[i]) == 0);
	free(fds);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
