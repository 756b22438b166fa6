// SPDX-License-Identifier: BSD-2-Clause
/*
 * A sender unmaps one page in the middle of a buffer it has sent from, and after
 * it was told to go on, maps another there and sends all of it again: the
 * receiver sees the new page in its place.
 *
 * ARGUMENTS: [SAY HEAR] two FIFOs: the sender writes "sent", then "unmapped" to
 * SAY and reads a line from HEAR after each, so that somebody can look from
 * outside at what is registered meanwhile.
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 1 << 20, PAGE = 4096, HOLE = SIZE / 2 };

static void tell(const char *what)
{
	char **words = stream_arguments(), line[16];
	FILE *fifo;

	if (!words[0] || !words[1])
		return;
	fifo = fopen(words[0], "w");
	check(fifo != NULL);
	fprintf(fifo, "%s\n", what);
	check(fclose(fifo) == 0);
	fifo = fopen(words[1], "r");
	check(fifo != NULL);
	check(fgets(line, sizeof(line), fifo) != NULL);
	fclose(fifo);
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	stream_receive_all(fd, buffer, SIZE);
	stream_pattern_check(buffer, SIZE, 1, 0);
	stream_receive_all(fd, buffer, SIZE);
	stream_pattern_check(buffer, HOLE, 1, 0);
	stream_pattern_check(buffer + HOLE, PAGE, 2, 0);
	stream_pattern_check(buffer + HOLE + PAGE, SIZE - HOLE - PAGE, 1, HOLE + PAGE);
	check_count(recv(fd, buffer, 1, 0), 0);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(buffer != MAP_FAILED);
	stream_pattern_fill(buffer, SIZE, 1, 0);
	stream_send_all(fd, buffer, SIZE);
	tell("sent");
	check(munmap(buffer + HOLE, PAGE) == 0);
	tell("unmapped");
	check(mmap(buffer + HOLE, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == buffer + HOLE);
	stream_pattern_fill(buffer + HOLE, PAGE, 2, 0);
	stream_send_all(fd, buffer, SIZE);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
