// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrong calls on a connection fail as on any TCP socket, and do it no harm.
 */
#include "stream.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* Memory that no call may touch. */
static char *unreadable(void)
{
	char *page = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(page != MAP_FAILED);
	return page;
}

/* A wrong argument that the compiler must not see through. */
static int wrong(int value)
{
	static volatile int hidden;

	hidden = value;
	return hidden;
}

static void check_usable(int fd, bool client)
{
	char byte = 0;

	if (client) {
		check_count(send(fd, "u", 1, 0), 1);
	} else {
		check_count(recv(fd, &byte, 1, 0), 1);
		check_count(byte, 'u');
	}
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *bad = unreadable(), *file;
	struct iovec part = { NULL, 1 };

	check_usable(fd, false);
	stream_step_await('a');
	part.iov_base = bad;
	check_error(readv(fd, &part, wrong(-1)), EINVAL);
	check_error(readv(fd, &part, wrong(IOV_MAX + 1)), EINVAL);
	check_error(recv(-1, bad, 1, 0), EBADF);
	check_error(accept(fd, NULL, NULL), EINVAL);
	check_error(shutdown(fd, 42), EINVAL);
	check_error(shutdown(listener, 42), EINVAL);
	check_error(recv(listener, &part, 1, 0), ENOTCONN);
	check_error(pread(fd, &part, 1, 0), ESPIPE);

	/* A read-only mapping is fine to send from. */
	file = mmap(NULL, 1 << 18, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(file != MAP_FAILED);
	stream_send_all(fd, file, 1 << 18);
	stream_step_await('b');
	stream_step_reach('c');
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *bad = unreadable(), *buffer = calloc(1, 1 << 18);
	struct iovec part = { bad, 1 << 20 };
	int pipes[2];

	check(buffer != NULL);
	check_usable(fd, true);
	check_error(writev(fd, &part, wrong(IOV_MAX + 1)), EINVAL);
	check_error(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)), EISCONN);
	check_error(listen(fd, 1), EINVAL);
	check_error(connect(fd, (const struct sockaddr *)bad, sizeof(*peer)), EFAULT);
	check_error(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, bad, sizeof(struct timeval)), EFAULT);
	check_error(getsockopt(fd, SOL_SOCKET, 12345, buffer, &(socklen_t){ 4 }), ENOPROTOOPT);
	check(pipe(pipes) == 0);
	check_error(send(pipes[1], "x", 1, 0), ENOTSOCK);
	check_usable(fd, true);
	stream_step_reach('a');

	stream_receive_all(fd, buffer, 1 << 18);
	for (int i = 0; i < 1 << 18; i++)
		check(buffer[i] == 0);
	stream_send_all(fd, "zz", 2);
	stream_step_reach('b');
	stream_step_await('c');
	close(fd);
	check_error(send(fd, "x", 1, 0), EBADF);
	check_error(close(fd), EBADF);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
