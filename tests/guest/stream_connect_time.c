// SPDX-License-Identifier: BSD-2-Clause
/*
 * How long connecting takes, the first time and the next; each must be over
 * within 1.5 s, whatever the other end speaks. The times are printed.
 */
#include "stream.h"

#include <stdio.h>
#include <unistd.h>

enum { COUNT = 5 };

static void server(int listener)
{
	for (int i = 0; i < COUNT; i++) {
		char byte;
		int fd = stream_accept(listener);

		check_count(recv(fd, &byte, 1, 0), 1);
		check_count(send(fd, &byte, 1, 0), 1);
		check_count(recv(fd, &byte, 1, 0), 0);
		close(fd);
	}
}

static void client(const struct sockaddr_in *peer)
{
	double spent[COUNT];

	for (int i = 0; i < COUNT; i++) {
		double start = stream_now();
		int fd = stream_connect(peer);
		char byte = 'c';

		spent[i] = stream_now() - start;
		check_count(send(fd, &byte, 1, 0), 1);
		check_count(recv(fd, &byte, 1, 0), 1);
		close(fd);
	}
	for (int i = 0; i < COUNT; i++)
		printf("%sconnect %d: %.1f ms\n", i ? "" : "first ", i + 1, spent[i] * 1000);
	for (int i = 0; i < COUNT; i++)
		check(spent[i] <= 1.5);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
