// SPDX-License-Identifier: BSD-2-Clause
/*
 * Buffers that are not there, or not wholly: send() and recv() answer EFAULT or a short
 * count, never more than what was there; no byte is lost or made up, and the connection is
 * as good as before. Which of the two TCP answers depends on how it cut the data up, so
 * both are right; what follows in the stream tells whether the answer was true.
 */
#include "stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE	((size_t)4096)
#define LARGE	((size_t)1 << 20)	/* more than any threshold */
#define TOTAL	(20 * LARGE)		/* more than all that is there in receive_bad() */

/* What lies behind the part of a buffer that is there. */
enum kind { GUARD, HOLE, BEYOND_FILE, READ_ONLY };

struct memory {
	char *start;		/* of the part that is there; it ends at a page's end */
	size_t there, whole;
};

/* @there bytes that can be used, then up to @whole bytes that cannot. */
static struct memory make(enum kind kind, size_t there, size_t whole)
{
	size_t good = (there + PAGE - 1) & ~(PAGE - 1), bad = (whole - there + PAGE) & ~(PAGE - 1);
	char name[] = "/tmp/bad_memory.XXXXXX";
	char *base;
	int fd;

	if (kind == BEYOND_FILE) {
		fd = mkstemp(name);
		check(fd >= 0 && unlink(name) == 0 && ftruncate(fd, (off_t)good) == 0);
		base = mmap(NULL, good + bad, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	} else {
		base = mmap(NULL, good + bad, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	}
	check(base != MAP_FAILED);
	if (kind == GUARD)
		check(mprotect(base + good, bad, PROT_NONE) == 0);
	else if (kind == HOLE)
		check(munmap(base + good, bad) == 0);
	else if (kind == READ_ONLY)
		check(mprotect(base + good, bad, PROT_READ) == 0);
	return (struct memory){ base + good - there, there, whole };
}

/* The answer of a call on such a buffer; how many bytes it moved. */
static size_t answer(const struct memory *memory, ssize_t result, const char *what)
{
	if (result < 0) {
		if (errno != EFAULT)
			stream_fail(__FILE__, __LINE__, what, errno);
		return 0;
	}
	if (result == 0 || (size_t)result > memory->there) {
		fprintf(stderr, "%s: %zd bytes of %zu, of which %zu are there\n", what, result,
			memory->whole, memory->there);
		stream_fail(__FILE__, __LINE__, "a count of bytes that were there", 0);
	}
	return (size_t)result;
}

static const struct { size_t there, whole; } sizes[] = {
	{ 0, 1 }, { 0, 3000 }, { 100, 3000 }, { 5000, 9000 }, { 0, LARGE }, { 1, LARGE },
	{ PAGE, LARGE }, { 300000, LARGE }, { LARGE, LARGE + 1 },
};

#define SIZES	(sizeof(sizes) / sizeof(sizes[0]))

/* Sends every size from memory of one kind; where the stream then stands. */
static uint64_t send_bad(int fd, enum kind kind, uint64_t position)
{
	for (size_t i = 0; i < SIZES; i++) {
		struct memory memory = make(kind, sizes[i].there, sizes[i].whole);
		struct memory both = { NULL, memory.there + 1, memory.whole + 1 };
		char first;
		struct iovec parts[2] = { { &first, 1 }, { memory.start, memory.whole } };
		ssize_t result;

		stream_pattern_fill(memory.start, memory.there, 7, position);
		result = send(fd, memory.start, memory.whole, i % 2 ? MSG_DONTWAIT : 0);
		/* Before it looks at the buffer a full connection may say that it is full. */
		if (result < 0 && errno == EAGAIN)
			result = send(fd, memory.start, memory.whole, 0);
		position += answer(&memory, result, "send");
		/* The same behind a byte that is there. */
		stream_pattern_fill(&first, 1, 7, position);
		stream_pattern_fill(memory.start, memory.there, 7, position + 1);
		position += answer(&both, writev(fd, parts, 2), "writev");
	}
	return position;
}

/* Receives into memory of one kind, with something there so that no call waits. */
static uint64_t receive_bad(int fd, enum kind kind, uint64_t position)
{
	for (size_t i = 0; i < SIZES; i++) {
		struct memory memory = make(kind, sizes[i].there, sizes[i].whole);
		char first;
		size_t got;

		check_count(recv(fd, &first, 1, MSG_PEEK), 1);
		answer(&memory, recv(fd, memory.start, memory.whole, MSG_PEEK), "peek");
		got = answer(&memory, recv(fd, memory.start, memory.whole,
					   i % 2 ? 0 : MSG_DONTWAIT), "recv");
		stream_pattern_check(memory.start, got, 9, position);
		position += got;
	}
	return position;
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(LARGE);
	uint64_t position = 0;
	ssize_t got;

	check(buffer != NULL);
	while ((got = recv(fd, buffer, LARGE, 0)) > 0) {
		stream_pattern_check(buffer, (size_t)got, 7, position);
		position += (uint64_t)got;
	}
	check_count(got, 0);
	stream_step_await('s');

	/* The other way: what the client cannot put anywhere stays for its next call. */
	for (position = 0; position < TOTAL; position += LARGE) {
		stream_pattern_fill(buffer, LARGE, 9, position);
		stream_send_all(fd, buffer, LARGE);
	}
	free(buffer);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	static const enum kind kinds[] = { GUARD, HOLE, BEYOND_FILE, READ_ONLY };
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);
	uint64_t position = 0;

	check(buffer != NULL);
	for (size_t i = 0; i < 3; i++) {
		position = send_bad(fd, kinds[i], position);
		stream_pattern_fill(buffer, LARGE, 7, position);
		stream_send_all(fd, buffer, LARGE);
		position += LARGE;
	}
	check(shutdown(fd, SHUT_WR) == 0);
	stream_step_reach('s');

	position = 0;
	for (size_t i = 0; i < 4; i++)
		position = receive_bad(fd, kinds[i], position);
	while (position < TOTAL) {
		ssize_t got = recv(fd, buffer, LARGE, 0);

		check(got > 0);
		stream_pattern_check(buffer, (size_t)got, 9, position);
		position += (uint64_t)got;
	}
	check_count(recv(fd, buffer, LARGE, 0), 0);
	free(buffer);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
