// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sending from memory that may not be written to: a file's pages, mapped privately or
 * shared, or the program's own constants. Nothing may ask for more than reading.
 *
 * ARGUMENTS: [KIND [COUNT]]: private, shared or constant (default private, 5): how often
 * the same memory is sent
 */
#include "stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE	((size_t)1 << 20)

/* Large, never written, and not all zero, so that it is in .rodata. */
static const unsigned char constant[SIZE] = { [0] = 1, [4096] = 2, [SIZE / 2] = 3, [SIZE - 1] = 4 };

static const char *kind(void)
{
	return stream_arguments()[0] ? stream_arguments()[0] : "private";
}

static int count(void)
{
	return stream_arguments()[0] && stream_arguments()[1] ? atoi(stream_arguments()[1]) : 5;
}

static const void *source(void)
{
	char name[] = "/tmp/read_only.XXXXXX";
	char *buffer;
	void *memory;
	int fd, read_only;

	if (!strcmp(kind(), "constant"))
		return constant;
	buffer = malloc(SIZE);
	fd = mkstemp(name);
	check(buffer != NULL && fd >= 0);
	stream_pattern_fill(buffer, SIZE, 3, 0);
	check_count(write(fd, buffer, SIZE), SIZE);
	read_only = open(name, O_RDONLY);
	check(read_only >= 0 && unlink(name) == 0);
	check(!strcmp(kind(), "private") || !strcmp(kind(), "shared"));
	memory = mmap(NULL, SIZE, PROT_READ, !strcmp(kind(), "shared") ? MAP_SHARED : MAP_PRIVATE,
		      read_only, 0);
	check(memory != MAP_FAILED);
	/* Others may map the file too: sending must leave it as it is. */
	check(memcmp(memory, buffer, SIZE) == 0);
	close(fd);
	close(read_only);
	free(buffer);
	return memory;
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	for (int i = 0; i < count(); i++) {
		check_count(recv(fd, buffer, SIZE, MSG_WAITALL), SIZE);
		if (!strcmp(kind(), "constant"))
			check(memcmp(buffer, constant, SIZE) == 0);
		else
			stream_pattern_check(buffer, SIZE, 3, 0);
		memset(buffer, 0xee, SIZE);
	}
	check_count(recv(fd, buffer, 1, 0), 0);
	free(buffer);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	const void *memory = source();

	for (int i = 0; i < count(); i++)
		check_count(send(fd, memory, SIZE, 0), SIZE);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
