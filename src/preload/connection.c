// SPDX-License-Identifier: BSD-2-Clause
/* Wrappers: making and ending connections, names and options. */
#include "preload.h"

int preload_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int saved = errno;

	return (int)outcome(switch_connect(fd, address, length), saved);
}
PRELOAD_ALIAS(__connect, connect)

int preload_listen(int fd, int backlog)
{
	int saved = errno;

	return (int)outcome(switch_listen(fd, backlog), saved);
}

/* Has the socket accepted, or failed to? False: libc is to make the call. */
static bool accepted(int fd, struct sockaddr *address, socklen_t *length, int flags, int *result)
{
	struct socket *socket;
	int saved = errno;
	ssize_t answer;

	if (!descriptor_is_known(fd)) {
		switch_listener_again(fd);
		errno = saved;
		if (!descriptor_is_known(fd))
			return false;
	}
	socket = descriptor_get_waitable(fd);
	errno = saved;
	if (!socket)
		return false;
	pthread_cleanup_push(socket_put_cancelled, socket);
	answer = socket_accept(socket, fd, address, length, flags);
	pthread_cleanup_pop(0);
	if (!settled(socket, &answer, saved))
		return false;
	*result = (int)answer;
	return true;
}

int preload_accept(int fd, struct sockaddr *address, socklen_t *length)
{
	int result;

	return accepted(fd, address, length, 0, &result) ? result :
	       libc_call.accept(fd, address, length);
}

int preload_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	int result;

	return accepted(fd, address, length, flags, &result) ? result :
	       libc_call.accept4(fd, address, length, flags);
}

int preload_shutdown(int fd, int how)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;

	if (!socket)
		return libc_call.shutdown(fd, how);
	return (int)finish(socket, socket_shutdown(socket, fd, how), saved);
}

int preload_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;

	if (!socket)
		return libc_call.getsockname(fd, address, length);
	return (int)finish(socket, socket_name(socket, fd, address, length), saved);
}

int preload_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;

	if (!socket)
		return libc_call.getpeername(fd, address, length);
	return (int)finish(socket, socket_peer_name(socket, fd, address, length), saved);
}

int preload_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;

	if (!socket)
		return libc_call.getsockopt(fd, level, name, value, length);
	return (int)finish(socket, socket_get_option(socket, fd, level, name, value, length), saved);
}

int preload_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;

	if (!socket)
		return libc_call.setsockopt(fd, level, name, value, length);
	return (int)finish(socket, socket_set_option(socket, fd, level, name, value, length), saved);
}
