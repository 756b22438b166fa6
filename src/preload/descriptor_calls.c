// SPDX-License-Identifier: BSD-2-Clause
/* Wrappers: what happens to descriptors as such. */
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>

#include "cancellation.h"
#include "descriptor.h"
#include "lifetime.h"
#include "preload.h"
#include "system.h"

int preload_close(int fd)
{
	int saved = errno, result;

	if (!descriptor_closing_matters(fd)) {
		if (cancellation.plain)
			return (int)outcome(system_close(fd), saved);
		return libc_call.close(fd);
	}
	result = descriptor_closing(fd);
	errno = saved;
	if (libc_call.close(fd))
		return -1;
	/* As for the kernel: the error is of what was written, the descriptor is gone. */
	return (int)outcome(result, saved);
}
PRELOAD_ALIAS(__close, close)

/*
 * Closes all but our own descriptors, as far as they can be told: those where
 * descriptor_hide() puts them and with close-on-exec set. Who closes so much is
 * about to exec or to become a daemon; an application's descriptor that is
 * spared up there by mistake goes at the exec.
 */
static int close_visible(unsigned int first, unsigned int last)
{
	unsigned int hidden = (unsigned int)descriptor_hidden_first();
	unsigned int end = (unsigned int)descriptor_hidden_end(), fd;

	if (last < hidden || first >= end)
		return libc_call.close_range(first, last, 0);
	if (first < hidden && libc_call.close_range(first, hidden - 1, 0))
		return -1;
	for (fd = first > hidden ? first : hidden; fd < end && fd <= last; fd++) {
		int flags = system_fcntl((int)fd, F_GETFD, 0);

		if (flags >= 0 && !(flags & FD_CLOEXEC))
			libc_call.close((int)fd);
	}
	return last >= end ? libc_call.close_range(end, last, 0) : 0;
}

static void closing_range(unsigned int first, unsigned int last)
{
	int fd, highest = descriptor_highest();

	for (fd = (int)first; fd <= highest && (unsigned int)fd <= last; fd++)
		if (descriptor_closing_matters(fd))
			descriptor_closing(fd);
}

int preload_close_range(unsigned int first, unsigned int last, int flags)
{
	int saved = errno, result;

	/* Marking is harmless; with a table of its own the thread leaves ours alone. */
	if (flags || first > last || !descriptors_are_ours() || descriptor_highest() < 0)
		return libc_call.close_range(first, last, flags);
	if (first <= INT_MAX)
		closing_range(first, last);
	errno = saved;
	result = close_visible(first, last);
	return result;
}

void preload_closefrom(int first)
{
	unsigned int from = first > 0 ? (unsigned int)first : 0;
	int saved = errno;

	if (!descriptors_are_ours() || descriptor_highest() < 0) {
		libc_call.closefrom(first);
		return;
	}
	closing_range(from, UINT_MAX);
	/* An old kernel without close_range(): libc has another way, which spares nothing. */
	if (close_visible(from, UINT_MAX))
		libc_call.closefrom(first);
	errno = saved;
}

/* ---- duplicates ---- */

static int duplicated(int from, int to)
{
	int saved = errno;

	if (to >= 0)
		descriptor_duplicated(from, to);
	errno = saved;
	return to;
}

int preload_dup(int fd)
{
	return duplicated(fd, libc_call.dup(fd));
}

/* The descriptor that is about to be replaced is closed, unless the call is going to fail. */
static void replacing(int from, int to)
{
	if (descriptor_closing_matters(to) && system_fcntl(from, F_GETFD, 0) >= 0)
		descriptor_closing(to);
}

int preload_dup2(int from, int to)
{
	int saved = errno;

	if (from == to)
		return libc_call.dup2(from, to);
	replacing(from, to);
	errno = saved;
	return duplicated(from, libc_call.dup2(from, to));
}
PRELOAD_ALIAS(__dup2, dup2)

int preload_dup3(int from, int to, int flags)
{
	int saved = errno;

	if (from == to || flags & ~O_CLOEXEC)
		return libc_call.dup3(from, to, flags);
	replacing(from, to);
	errno = saved;
	return duplicated(from, libc_call.dup3(from, to, flags));
}

int preload_fcntl(int fd, int command, ...)
{
	struct socket *socket;
	va_list values;
	void *argument;
	int result;

	/* Every argument of fcntl() is passed like a pointer on 64-bit systems; libc reads it so. */
	va_start(values, command);
	argument = va_arg(values, void *);
	va_end(values);
	result = libc_call.fcntl(fd, command, argument);
	if (result < 0)
		return result;
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return duplicated(fd, result);
	case F_SETFL:
		socket = descriptor_get(fd);
		if (!socket)
			return result;
		socket_set_nonblocking(socket, (uintptr_t)argument & O_NONBLOCK);
		socket_put(socket);
		return result;
	default:
		return result;
	}
}
PRELOAD_ALIAS(fcntl64, fcntl)
PRELOAD_ALIAS(__fcntl, fcntl)

int preload_ioctl(int fd, unsigned long request, ...)
{
	struct call call = call_begin(fd);
	va_list values;
	void *argument;

	va_start(values, request);
	argument = va_arg(values, void *);
	va_end(values);
	if (!call.socket)
		return libc_call.ioctl(fd, request, argument);
	return (int)call_end(&call, socket_ioctl(call.socket, fd, request, argument));
}

/* Does it make a process with memory of its own? */
static bool forks(long number, const long arguments[6])
{
	switch (number) {
	case SYS_clone:
		return !(arguments[0] & CLONE_VM);
	case SYS_clone3:
		/* Without a size it only asks whether there is such a call. */
		return (size_t)arguments[1] >= CLONE_ARGS_SIZE_VER0 &&
		       !address_is_bad((const void *)arguments[0]) &&
		       !(((const struct clone_args *)arguments[0])->flags & CLONE_VM);
#ifdef SYS_fork
	case SYS_fork:
		return true;
#endif
	default:
		return false;
	}
}

/*
 * libuv, and with it Node.js, closes its sockets so; before libc had close_range(), others
 * closed all their descriptors so. Some versions of libuv also try to have sockets watched by
 * io_uring, past our epoll, and do without it where the kernel has none. vsftpd makes the
 * children that serve its clients so, in namespaces of their own. All else is the kernel's.
 */
long preload_syscall(long number, ...)
{
	long arguments[6], result;
	bool forking;
	va_list values;

	/* As libc does: as many as there may be, whatever the call has. */
	va_start(values, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(values, long);
	va_end(values);
	switch (number) {
	case SYS_close:
		return preload_close((int)arguments[0]);
	case SYS_close_range:
		return preload_close_range((unsigned int)arguments[0], (unsigned int)arguments[1],
					   (int)arguments[2]);
	case SYS_io_uring_setup:
		return outcome(-ENOSYS, errno);
	default:
		forking = forks(number, arguments);
		if (forking)
			switch_forking();
		result = system_call(number, arguments[0], arguments[1], arguments[2], arguments[3],
				     arguments[4], arguments[5]);
		if (forking && !result)
			preload_forked_child();
		/* Other negative results, such as offsets in memory, are no errors. */
		return result < 0 && result >= -4095 ? outcome(result, errno) : result;
	}
}
