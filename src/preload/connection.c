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
	struct call call = { .fd = fd, .saved = errno };
	ssize_t answer;

	if (!descriptor_is_known(fd)) {
		switch_listener_again(fd);
		errno = call.saved;
		if (!descriptor_is_known(fd))
			return false;
	}
	call.socket = descriptor_get_waitable(fd);
	errno = call.saved;
	if (!call.socket)
		return false;
	pthread_cleanup_push(socket_put_cancelled, call.socket);
	answer = socket_accept(call.socket, fd, address, length, flags);
	pthread_cleanup_pop(0);
	if (!call_settled(&call, &answer))
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
	struct call call = call_begin(fd);

	if (!call.socket)
		return libc_call.shutdown(fd, how);
	return (int)call_end(&call, socket_shutdown(call.socket, fd, how));
}

int preload_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
	struct call call = call_begin(fd);

	if (!call.socket)
		return libc_call.getsockname(fd, address, length);
	return (int)call_end(&call, socket_name(call.socket, fd, address, length));
}

int preload_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
	struct call call = call_begin(fd);

	if (!call.socket)
		return libc_call.getpeername(fd, address, length);
	return (int)call_end(&call, socket_peer_name(call.socket, fd, address, length));
}

int preload_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	struct call call = call_begin(fd);

	if (!call.socket)
		return libc_call.getsockopt(fd, level, name, value, length);
	return (int)call_end(&call, socket_get_option(call.socket, fd, level, name, value, length));
}

int preload_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	struct call call = call_begin(fd);

	if (!call.socket)
		return libc_call.setsockopt(fd, level, name, value, length);
	return (int)call_end(&call, socket_set_option(call.socket, fd, level, name, value, length));
}
