// SPDX-License-Identifier: BSD-2-Clause
/*
 * A large buffer is sent again and again, with new contents each time, into one
 * large buffer of the receiver, which checks every byte every time.
 *
 * ARGUMENTS: [HOW [COUNT [BYTES]]] (default keep, 100, 4 MiB); HOW is what happens to
 * the sender's buffer between two sends:
 *   keep  it is written anew
 *   libc  it is unmapped, and other memory with the new contents moved to its place
 *   raw   the same by system calls that no interposed function sees
 *   over  other memory is moved over it in one step
 * The new contents are written before, elsewhere, so that the next send follows
 * the change as closely as it can: whoever learns of it late will send old bytes.
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct plan {
	const char *how;
	uint64_t count;
	size_t size;
};

static struct plan read_plan(void)
{
	struct plan plan = { .how = "keep", .count = 100, .size = 4 << 20 };
	char **words = stream_arguments();

	if (words[0]) {
		plan.how = words[0];
		if (words[1]) {
			plan.count = strtoull(words[1], NULL, 0);
			if (words[2])
				plan.size = strtoull(words[2], NULL, 0);
		}
	}
	return plan;
}

static char *map(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory != MAP_FAILED);
	return memory;
}

/* Puts the contents of round @round at @buffer, in the way of the plan. */
static void renew(const struct plan *plan, char *buffer, uint64_t round)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	size_t size = plan->size;
	char *fresh;

	if (!strcmp(plan->how, "keep")) {
		stream_pattern_fill(buffer, size, round, 0);
		return;
	}
	fresh = map(size);
	stream_pattern_fill(fresh, size, round, 0);
	if (!strcmp(plan->how, "raw")) {
		check(syscall(SYS_munmap, buffer, size) == 0);
		check(syscall(SYS_mremap, fresh, size, size, flags, buffer) == (long)buffer);
		return;
	}
	if (!strcmp(plan->how, "libc"))
		check(munmap(buffer, size) == 0);
	else
		check(!strcmp(plan->how, "over"));
	check(mremap(fresh, size, size, flags, buffer) == buffer);
}

static void server(int listener)
{
	struct plan plan = read_plan();
	int fd = stream_accept(listener);
	char *buffer = map(plan.size);

	/* What the buffer holds already must not pass for what is expected. */
	for (uint64_t i = 0; i < plan.count; i++) {
		check_count(recv(fd, buffer, plan.size, MSG_WAITALL), plan.size);
		stream_pattern_check(buffer, plan.size, i, 0);
	}
	check_count(recv(fd, buffer, 1, 0), 0);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	struct plan plan = read_plan();
	int fd = stream_connect(peer);
	char *buffer = map(plan.size);
	double start = stream_now();

	for (uint64_t i = 0; i < plan.count; i++) {
		if (i)
			renew(&plan, buffer, i);
		else
			stream_pattern_fill(buffer, plan.size, i, 0);
		check_count(send(fd, buffer, plan.size, 0), plan.size);
	}
	close(fd);
	start = stream_now() - start;
	printf("%llu times %zu bytes, %s: %.1f s, %.1f MB/s\n", (unsigned long long)plan.count,
	       plan.size, plan.how, start, (double)plan.count * (double)plan.size / start / 1e6);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
