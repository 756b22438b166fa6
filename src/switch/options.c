/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and options. The kernel's socket keeps every option, so getsockopt,
 * fork and exec see what they expect; those that change how a call behaves are
 * remembered here too, since over a SAN it is we who behave.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "attention.h"
#include "libc_calls.h"
#include "log.h"
#include "socket_state.h"

static int64_t to_nanoseconds(const struct timeval *time)
{
	if (!time->tv_sec && !time->tv_usec)
		return -1;
	return (int64_t)time->tv_sec * 1000000000 + (int64_t)time->tv_usec * 1000;
}

/* Takes over the options that the kernel's socket has now. */
static void adopt(struct socket *socket, int fd, int level, int name)
{
	struct timeval time;
	struct linger linger;
	socklen_t length;
	int value;

	if (level == IPPROTO_TCP && name == TCP_NODELAY) {
		length = sizeof(value);
		if (!libc_call.getsockopt(fd, level, name, &value, &length))
			socket->session.collect = !value;
	}
	if (level != SOL_SOCKET)
		return;
	switch (name) {
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
		length = sizeof(time);
		if (!libc_call.getsockopt(fd, SOL_SOCKET, name, &time, &length))
			*(name == SO_RCVTIMEO ? &socket->receive_timeout : &socket->send_timeout) =
				to_nanoseconds(&time);
		break;
	case SO_LINGER:
		length = sizeof(linger);
		if (!libc_call.getsockopt(fd, SOL_SOCKET, name, &linger, &length))
			socket->linger = linger.l_onoff ? linger.l_linger : -1;
		break;
	case SO_RCVLOWAT:
		length = sizeof(value);
		if (!libc_call.getsockopt(fd, SOL_SOCKET, name, &value, &length))
			socket->low_water = value > 0 ? value : 1;
		break;
	case SO_ZEROCOPY:
		length = sizeof(value);
		if (!libc_call.getsockopt(fd, SOL_SOCKET, name, &value, &length))
			socket->zerocopy.enabled = value;
		break;
	}
}

void socket_adopt_options(struct socket *socket, int fd)
{
	int flags = libc_call.fcntl(fd, F_GETFL);

	socket->nonblocking = flags >= 0 && flags & O_NONBLOCK;
	adopt(socket, fd, SOL_SOCKET, SO_RCVTIMEO);
	adopt(socket, fd, SOL_SOCKET, SO_SNDTIMEO);
	adopt(socket, fd, SOL_SOCKET, SO_LINGER);
	adopt(socket, fd, SOL_SOCKET, SO_RCVLOWAT);
	adopt(socket, fd, SOL_SOCKET, SO_ZEROCOPY);
	adopt(socket, fd, IPPROTO_TCP, TCP_NODELAY);
}

void socket_set_nonblocking(struct socket *socket, bool nonblocking)
{
	socket_lock(socket);
	socket->nonblocking = nonblocking;
	socket_unlock(socket);
}

/* ---- names ---- */

static int copy_name(const union address *name, socklen_t size, struct sockaddr *address,
		     socklen_t *length)
{
	if (!address || !length)
		return -EFAULT;
	memcpy(address, name, *length < size ? *length : size);
	*length = size;
	return 0;
}

int socket_name(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length)
{
	int result;

	socket_lock(socket);
	if (socket->state == SOCKET_CONNECTED && socket->local_length)
		result = copy_name(&socket->local, socket->local_length, address, length);
	else
		result = libc_call.getsockname(fd, address, length) ? -errno : 0;
	socket_unlock(socket);
	return result;
}

/* In a child, too, where all else fails: servers ask before they serve. */
int socket_peer_name(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length)
{
	int result;

	socket_lock(socket);
	if (socket->state == SOCKET_CONNECTED)
		result = (socket->session.broken && !session_deserted(&socket->session) &&
			  !socket->of_parent) || !socket->peer_length ? -ENOTCONN :
			 copy_name(&socket->peer, socket->peer_length, address, length);
	else
		result = libc_call.getpeername(fd, address, length) ? -errno : 0;
	socket_unlock(socket);
	return result;
}

/* ---- options ---- */

/* Takes the pending error, as SO_ERROR does. Lock held. */
static int take_error(struct socket *socket)
{
	int error = 0;

	if (socket->state == SOCKET_CONNECTED) {
		socket_progress(socket);
		error = socket->session.error;
		socket->session.error = 0;
	}
	return error;
}

int socket_get_option(struct socket *socket, int fd, int level, int name, void *value,
		      socklen_t *length)
{
	int result = 0;

	if (level == SOL_SOCKET && name == SO_ERROR) {
		int error;

		if (!value || !length)
			return -EFAULT;
		socket_lock(socket);
		if (socket->state == SOCKET_PLAIN) {
			result = libc_call.getsockopt(fd, level, name, value, length) ? -errno : 0;
		} else {
			error = take_error(socket);
			if (*length > sizeof(error))
				*length = sizeof(error);
			memcpy(value, &error, *length);
		}
		socket_unlock(socket);
		return result;
	}
	if (libc_call.getsockopt(fd, level, name, value, length))
		return -errno;
	if (level == IPPROTO_TCP && name == TCP_INFO && *length >= sizeof(uint8_t)) {
		socket_lock(socket);
		if (socket->state == SOCKET_CONNECTED && !socket->session.broken)
			((struct tcp_info *)value)->tcpi_state = TCP_ESTABLISHED;
		socket_unlock(socket);
	}
	return 0;
}

int socket_set_option(struct socket *socket, int fd, int level, int name, const void *value,
		      socklen_t length)
{
	if (libc_call.setsockopt(fd, level, name, value, length))
		return -errno;
	socket_lock(socket);
	adopt(socket, fd, level, name);
	socket_unlock(socket);
	return 0;
}

int socket_ioctl(struct socket *socket, int fd, unsigned long request, void *argument)
{
	struct session *session = &socket->session;
	int value = -1;

	socket_lock(socket);
	if (socket->state == SOCKET_CONNECTED) {
		socket_progress(socket);
		if (request == FIONREAD)	/* SIOCINQ is the same number */
			value = session->readable > INT32_MAX ? INT32_MAX : (int)session->readable;
		else if (request == SIOCATMARK)
			value = 0;
		else if (request == SIOCOUTQ)
			value = (int)(session->staged + (session->open ? session->open->end : 0) +
				      session->sending * session->peer_message_size);
	}
	socket_unlock(socket);
	if (value >= 0) {
		if (!argument)
			return -EFAULT;
		*(int *)argument = value;
		return 0;
	}
	value = libc_call.ioctl(fd, request, argument);
	if (value < 0)
		return -errno;
	if (request == FIONBIO)
		socket_set_nonblocking(socket, *(int *)argument);
	return value;
}
