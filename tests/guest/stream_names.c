// SPDX-License-Identifier: BSD-2-Clause
/*
 * Both ends agree on names and options: what one calls its own address and port
 * is the other's peer; a port bound before connecting is kept; SO_TYPE,
 * SO_ACCEPTCONN, TCP_NODELAY, SO_KEEPALIVE answer as set; dup shares all.
 */
#include "stream.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int get_number(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	check(getsockopt(fd, level, option, &value, &length) == 0);
	return value;
}

static struct sockaddr_in own_name(int fd)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	memset(&name, 0, sizeof(name));
	check(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
	check_count(length, sizeof(name));
	check_count(name.sin_family, AF_INET);
	return name;
}

static struct sockaddr_in peer_name(int fd)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	memset(&name, 0, sizeof(name));
	check(getpeername(fd, (struct sockaddr *)&name, &length) == 0);
	check_count(length, sizeof(name));
	return name;
}

static bool same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static void check_options(int fd)
{
	struct stat st;

	check_count(get_number(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	check_count(get_number(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	check_count(get_number(fd, SOL_SOCKET, SO_ERROR), 0);
	stream_set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	check(get_number(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
	stream_set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	check(get_number(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
	check(get_number(fd, SOL_SOCKET, SO_SNDBUF) > 0);
	check(fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
	check_error(lseek(fd, 0, SEEK_CUR), ESPIPE);
}

static void server(int listener)
{
	struct sockaddr_in from, own, theirs;
	socklen_t length = sizeof(from);
	int fd, copy;

	check_count(get_number(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
	check_error(getpeername(listener, (struct sockaddr *)&from, &length), ENOTCONN);
	fd = accept(listener, (struct sockaddr *)&from, &length);
	check(fd >= 0);
	check_count(length, sizeof(from));
	own = own_name(fd);
	theirs = peer_name(fd);
	check(same(&from, &theirs));
	check_options(fd);

	stream_send_all(fd, &own, sizeof(own));
	stream_send_all(fd, &theirs, sizeof(theirs));

	/* A copy serves on when the original is closed. */
	copy = dup(fd);
	check(copy >= 0);
	check(close(fd) == 0);
	check_error(send(fd, "x", 1, MSG_NOSIGNAL), EBADF);
	check_count(send(copy, "d", 1, 0), 1);
	fd = fcntl(copy, F_DUPFD_CLOEXEC, 100);
	check(fd >= 100);
	check(close(copy) == 0);
	check_count(send(fd, "e", 1, 0), 1);
	check(dup2(fd, copy) == copy);
	check(close(fd) == 0);
	check_count(send(copy, "f", 1, 0), 1);
	/* dup2 over the last one closes it. */
	check(dup2(0, copy) == copy);
	stream_step_await('a');
}

static void client(const struct sockaddr_in *peer)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in bound = { .sin_family = AF_INET, .sin_addr = peer->sin_addr };
	struct sockaddr_in own, got;
	socklen_t length = sizeof(own);
	char bytes[4];

	check(fd >= 0);
	check_error(getpeername(fd, (struct sockaddr *)&own, &length), ENOTCONN);
	check_error(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	check_error(recv(fd, bytes, 1, 0), ENOTCONN);
	check(bind(fd, (struct sockaddr *)&bound, sizeof(bound)) == 0);
	bound = own_name(fd);
	check(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) == 0);
	own = own_name(fd);
	check(same(&own, &bound));
	check_options(fd);

	stream_receive_all(fd, &got, sizeof(got));
	own = peer_name(fd);
	check(same(&own, &got));
	check(same(&own, peer));
	stream_receive_all(fd, &got, sizeof(got));
	check(same(&bound, &got));
	stream_receive_all(fd, bytes, 3);
	check(!memcmp(bytes, "def", 3));
	check_count(recv(fd, bytes, 1, 0), 0);
	stream_step_reach('a');
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
