/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one list of intercepted calls, and the way past our own wrappers.
 *
 * From the list come: struct libc_calls (what the switch uses to reach libc and
 * the kernel), its look-up (libc_calls.c), the declarations of the wrappers
 * (src/preload/preload.h), and the tests that compare the library's exports and
 * the switch's imports with it.
 *
 * The switch never calls one of these by name: that would enter our own wrapper.
 */
#ifndef WSD_SWITCH_LIBC_CALLS_H
#define WSD_SWITCH_LIBC_CALLS_H

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/*
 * CALL(type, failure, name, parameters, arguments): wrapped, and reachable as
 *	libc_call.name. `failure` is what it returns with errno set.
 * VARIADIC(name, parameters, first, second): like CALL, for int name(first,
 *	second, ...) with at most one more argument, of the size of a pointer.
 * EXTRA(type, name, parameters): wrapped in terms of the others.
 * ALIAS(name, target): another name of libc's for a call above.
 */
#define LIBC_CALLS(CALL, VARIADIC, EXTRA, ALIAS) \
	CALL(int, -1, connect, (int fd, const struct sockaddr *address, socklen_t length), \
	     (fd, address, length)) \
	CALL(int, -1, listen, (int fd, int backlog), (fd, backlog)) \
	CALL(int, -1, accept, (int fd, struct sockaddr *address, socklen_t *length), \
	     (fd, address, length)) \
	CALL(int, -1, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags), \
	     (fd, address, length, flags)) \
	CALL(int, -1, shutdown, (int fd, int how), (fd, how)) \
	CALL(int, -1, getsockname, (int fd, struct sockaddr *address, socklen_t *length), \
	     (fd, address, length)) \
	CALL(int, -1, getpeername, (int fd, struct sockaddr *address, socklen_t *length), \
	     (fd, address, length)) \
	CALL(int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *length), \
	     (fd, level, name, value, length)) \
	CALL(int, -1, setsockopt, (int fd, int level, int name, const void *value, \
	     socklen_t length), (fd, level, name, value, length)) \
	\
	CALL(ssize_t, -1, send, (int fd, const void *data, size_t size, int flags), \
	     (fd, data, size, flags)) \
	CALL(ssize_t, -1, sendto, (int fd, const void *data, size_t size, int flags, \
	     const struct sockaddr *address, socklen_t length), \
	     (fd, data, size, flags, address, length)) \
	CALL(ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags), \
	     (fd, message, flags)) \
	CALL(int, -1, sendmmsg, (int fd, struct mmsghdr *messages, unsigned int count, \
	     int flags), (fd, messages, count, flags)) \
	CALL(ssize_t, -1, recv, (int fd, void *buffer, size_t size, int flags), \
	     (fd, buffer, size, flags)) \
	CALL(ssize_t, -1, recvfrom, (int fd, void *buffer, size_t size, int flags, \
	     struct sockaddr *address, socklen_t *length), \
	     (fd, buffer, size, flags, address, length)) \
	CALL(ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), \
	     (fd, message, flags)) \
	CALL(int, -1, recvmmsg, (int fd, struct mmsghdr *messages, unsigned int count, int flags, \
	     struct timespec *timeout), (fd, messages, count, flags, timeout)) \
	CALL(ssize_t, -1, read, (int fd, void *buffer, size_t size), (fd, buffer, size)) \
	CALL(ssize_t, -1, readv, (int fd, const struct iovec *vector, int count), \
	     (fd, vector, count)) \
	CALL(ssize_t, -1, preadv2, (int fd, const struct iovec *vector, int count, off_t offset, \
	     int flags), (fd, vector, count, offset, flags)) \
	CALL(ssize_t, -1, write, (int fd, const void *data, size_t size), (fd, data, size)) \
	CALL(ssize_t, -1, writev, (int fd, const struct iovec *vector, int count), \
	     (fd, vector, count)) \
	CALL(ssize_t, -1, pwritev2, (int fd, const struct iovec *vector, int count, off_t offset, \
	     int flags), (fd, vector, count, offset, flags)) \
	CALL(ssize_t, -1, sendfile, (int out, int in, off_t *offset, size_t count), \
	     (out, in, offset, count)) \
	CALL(ssize_t, -1, splice, (int in, off64_t *in_offset, int out, off64_t *out_offset, \
	     size_t size, unsigned int flags), (in, in_offset, out, out_offset, size, flags)) \
	\
	CALL(int, -1, close, (int fd), (fd)) \
	CALL(int, -1, close_range, (unsigned int first, unsigned int last, int flags), \
	     (first, last, flags)) \
	CALL(void, (void)0, closefrom, (int first), (first)) \
	CALL(int, -1, dup, (int fd), (fd)) \
	CALL(int, -1, dup2, (int from, int to), (from, to)) \
	CALL(int, -1, dup3, (int from, int to, int flags), (from, to, flags)) \
	VARIADIC(fcntl, (int fd, int command, ...), fd, command) \
	VARIADIC(ioctl, (int fd, unsigned long request, ...), fd, request) \
	CALL(FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode)) \
	CALL(int, EOF, fclose, (FILE *stream), (stream)) \
	CALL(int, -1, vdprintf, (int fd, const char *format, va_list values), \
	     (fd, format, values)) \
	CALL(int, -1, __vdprintf_chk, (int fd, int flag, const char *format, va_list values), \
	     (fd, flag, format, values)) \
	CALL(pid_t, -1, _Fork, (void), ()) \
	CALL(int, ENOSYS, pthread_cancel, (pthread_t thread), (thread)) \
	CALL(int, ENOSYS, pthread_setcanceltype, (int type, int *old), (type, old)) \
	CALL(void, (void)0, _exit, (int status), (status)) \
	CALL(int, -1, execve, (const char *path, char *const *arguments, \
	     char *const *environment), (path, arguments, environment)) \
	CALL(int, -1, execv, (const char *path, char *const *arguments), (path, arguments)) \
	CALL(int, -1, execvp, (const char *name, char *const *arguments), (name, arguments)) \
	CALL(int, -1, execvpe, (const char *name, char *const *arguments, \
	     char *const *environment), (name, arguments, environment)) \
	CALL(int, -1, fexecve, (int fd, char *const *arguments, char *const *environment), \
	     (fd, arguments, environment)) \
	CALL(int, -1, execveat, (int directory, const char *path, char *const *arguments, \
	     char *const *environment, int flags), \
	     (directory, path, arguments, environment, flags)) \
	\
	CALL(int, -1, poll, (struct pollfd *fds, nfds_t count, int timeout), \
	     (fds, count, timeout)) \
	CALL(int, -1, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, \
	     const sigset_t *mask), (fds, count, timeout, mask)) \
	CALL(int, -1, select, (int limit, fd_set *in, fd_set *out, fd_set *except, \
	     struct timeval *timeout), (limit, in, out, except, timeout)) \
	CALL(int, -1, pselect, (int limit, fd_set *in, fd_set *out, fd_set *except, \
	     const struct timespec *timeout, const sigset_t *mask), \
	     (limit, in, out, except, timeout, mask)) \
	CALL(int, -1, epoll_create, (int size), (size)) \
	CALL(int, -1, epoll_create1, (int flags), (flags)) \
	CALL(int, -1, epoll_ctl, (int epoll_fd, int operation, int fd, \
	     struct epoll_event *event), (epoll_fd, operation, fd, event)) \
	CALL(int, -1, epoll_wait, (int epoll_fd, struct epoll_event *events, int count, \
	     int timeout), (epoll_fd, events, count, timeout)) \
	CALL(int, -1, epoll_pwait, (int epoll_fd, struct epoll_event *events, int count, \
	     int timeout, const sigset_t *mask), (epoll_fd, events, count, timeout, mask)) \
	CALL(int, -1, epoll_pwait2, (int epoll_fd, struct epoll_event *events, int count, \
	     const struct timespec *timeout, const sigset_t *mask), \
	     (epoll_fd, events, count, timeout, mask)) \
	\
	EXTRA(long, syscall, (long number, ...)) \
	EXTRA(ssize_t, __read_chk, (int fd, void *buffer, size_t size, size_t room)) \
	EXTRA(ssize_t, __recv_chk, (int fd, void *buffer, size_t size, size_t room, int flags)) \
	EXTRA(ssize_t, __recvfrom_chk, (int fd, void *buffer, size_t size, size_t room, \
	      int flags, struct sockaddr *address, socklen_t *length)) \
	EXTRA(int, __poll_chk, (struct pollfd *fds, nfds_t count, int timeout, size_t room)) \
	EXTRA(int, __ppoll_chk, (struct pollfd *fds, nfds_t count, \
	      const struct timespec *timeout, const sigset_t *mask, size_t room)) \
	EXTRA(int, dprintf, (int fd, const char *format, ...)) \
	EXTRA(int, __dprintf_chk, (int fd, int flag, const char *format, ...)) \
	EXTRA(int, execl, (const char *path, const char *first, ...)) \
	EXTRA(int, execlp, (const char *name, const char *first, ...)) \
	EXTRA(int, execle, (const char *path, const char *first, ...)) \
	\
	ALIAS(fcntl64, fcntl) \
	ALIAS(sendfile64, sendfile) \
	ALIAS(preadv64v2, preadv2) \
	ALIAS(pwritev64v2, pwritev2) \
	ALIAS(__connect, connect) \
	ALIAS(__send, send) \
	ALIAS(__read, read) \
	ALIAS(__write, write) \
	ALIAS(__close, close) \
	ALIAS(__dup2, dup2) \
	ALIAS(__fcntl, fcntl) \
	ALIAS(__poll, poll) \
	ALIAS(__select, select) \
	ALIAS(_Exit, _exit) \
	ALIAS(_IO_fdopen, fdopen) \
	ALIAS(_IO_fclose, fclose)

/* off_t and off64_t are one type, so that the 64-bit names can be aliases. */
_Static_assert(sizeof(off_t) == 8, "a 64-bit system");

struct libc_calls {
#define LIBC_CALL_MEMBER(type, failure, name, parameters, arguments) type (*name) parameters;
#define LIBC_CALL_VARIADIC(name, parameters, first, second) int (*name) parameters;
#define LIBC_CALL_NOTHING(...)
	LIBC_CALLS(LIBC_CALL_MEMBER, LIBC_CALL_VARIADIC, LIBC_CALL_NOTHING, LIBC_CALL_NOTHING)
#undef LIBC_CALL_MEMBER
#undef LIBC_CALL_VARIADIC
#undef LIBC_CALL_NOTHING
};

/*
 * libc's own calls. Each may be called at any time: until libc_calls_resolve()
 * has run, a member looks itself up at its first call. One that this libc does
 * not have answers ENOSYS.
 */
extern struct libc_calls libc_call;

/* Looks all of them up; called from the preload library's constructor. */
void libc_calls_resolve(void);

#endif
