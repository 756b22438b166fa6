// SPDX-License-Identifier: BSD-2-Clause
/*
 * Connections come and go, in order, by reset and by refusal, each with small
 * and large data: afterwards as many descriptors are open as after the first.
 *
 * ARGUMENTS: [COUNT] (default 40)
 */
#include "stream.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 100 * 1000 };

static int wanted_count(void)
{
	char **words = stream_arguments();

	return words[0] ? atoi(words[0]) : 40;
}

static int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	check(directory != NULL);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Closing may go on in the background for a while. */
static void check_descriptors(int expected)
{
	int count = 0;

	for (int i = 0; i < 500; i++) {
		count = open_descriptors();
		if (count <= expected)
			return;
		poll(NULL, 0, 20);
	}
	check_count(count, expected);
}

static void exchange(int fd, int round, bool client)
{
	struct linger at_once = { .l_onoff = 1 };
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	if (client) {
		stream_pattern_fill(buffer, SIZE, 1, 0);
		stream_send_all(fd, buffer, SIZE);
		stream_receive_all(fd, buffer, 10);
	} else {
		stream_receive_all(fd, buffer, SIZE);
		stream_pattern_check(buffer, SIZE, 1, 0);
		stream_send_all(fd, buffer, 10);
	}
	/* The client by order or by reset; the server waits for it. */
	if (client && round % 3 == 1)
		check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
	if (!client && recv(fd, buffer, 1, 0) < 0)
		check(errno == ECONNRESET);
	check(close(fd) == 0);
	free(buffer);
}

static void server(int listener)
{
	int before = 0;

	for (int i = 0; i < wanted_count(); i++) {
		exchange(stream_accept(listener), i, false);
		if (i == 2)
			before = open_descriptors();
	}
	check_descriptors(before);
}

static void client(const struct sockaddr_in *peer)
{
	struct sockaddr_in nobody = *peer;
	int before = 0;

	nobody.sin_port = htons(1);
	for (int i = 0; i < wanted_count(); i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		check(fd >= 0);
		check_error(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), ECONNREFUSED);
		close(fd);
		exchange(stream_connect(peer), i, true);
		if (i == 2)
			before = open_descriptors();
	}
	check_descriptors(before);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
