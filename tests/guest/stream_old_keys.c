// SPDX-License-Identifier: BSD-2-Clause
/*
 * A large buffer is sent, then the program puts other contents there, then a second buffer
 * is sent. If one end's library goes back to the first buffer's key for the second, the
 * other end must see a reset, and nothing of the first buffer may have been read or written.
 *
 * ARGUMENTS: [WHO]: which end does so: server (reads what the client sent from), client
 * (writes to what the server received into) or nobody, the default
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE	((size_t)256 << 10)

static bool is_bad(const char *end)
{
	return stream_arguments()[0] && !strcmp(stream_arguments()[0], end);
}

static bool all_good(void)
{
	return !is_bad("server") && !is_bad("client");
}

static char *buffer(void)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory != MAP_FAILED);
	memset(memory, 0x11, SIZE);
	return memory;
}

static bool only(const char *memory, char value)
{
	for (size_t i = 0; i < SIZE; i++)
		if (memory[i] != value)
			return false;
	return true;
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *first = buffer(), *second = buffer();
	ssize_t got;
	int error;

	check_count(recv(fd, first, SIZE, MSG_WAITALL), SIZE);
	stream_pattern_check(first, SIZE, 1, 0);
	/* The program's own again. */
	memset(first, 0x22, SIZE);
	stream_step_reach('f');
	got = recv(fd, second, SIZE, MSG_WAITALL);
	error = errno;
	/* The client looks at its end first: what it sees is not to depend on our closing. */
	stream_step_await('s');
	check(only(first, 0x22));
	if (all_good()) {
		check_count(got, SIZE);
		stream_pattern_check(second, SIZE, 2, 0);
	} else {
		check(got == -1 && error == ECONNRESET);
		check(only(second, 0x11));
	}
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *first = buffer(), *second = buffer();
	ssize_t sent;
	int error;

	stream_pattern_fill(first, SIZE, 1, 0);
	check_count(send(fd, first, SIZE, 0), SIZE);
	/* What the peer has no business to see. */
	memset(first, 0x33, SIZE);
	stream_step_await('f');
	stream_pattern_fill(second, SIZE, 2, 0);
	sent = send(fd, second, SIZE, MSG_NOSIGNAL);
	error = errno;
	check(only(first, 0x33));
	if (all_good()) {
		check_count(sent, SIZE);
	} else {
		check(sent == -1 && (error == ECONNRESET || error == EPIPE));
	}
	stream_step_reach('s');
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
