// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrappers: waiting for readiness. Times become nanoseconds here; the checks on
 * them are the kernel's.
 */
#include <limits.h>

#include "epoll.h"
#include "preload.h"
#include "readiness.h"
#include "waiter.h"

extern void __chk_fail(void) __attribute__((noreturn));

#define SECOND 1000000000

static int64_t from_milliseconds(int milliseconds)
{
	return milliseconds < 0 ? -1 : (int64_t)milliseconds * 1000000;
}

/* NULL is -1; -EINVAL in *error if it is no time at all. Beyond 146 years is for ever. */
static int64_t from_timespec(const struct timespec *time, int *error)
{
	if (!time)
		return -1;
	if (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= SECOND)
		*error = -EINVAL;
	else if (time->tv_sec < INT64_MAX / SECOND / 2)
		return (int64_t)time->tv_sec * SECOND + time->tv_nsec;
	return -1;
}

int preload_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int saved = errno;

	if (!switch_poll_concerns(fds, count))
		return libc_call.poll(fds, count, timeout);
	return (int)outcome(switch_poll(fds, count, from_milliseconds(timeout), NULL), saved);
}
PRELOAD_ALIAS(__poll, poll)

int preload_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		  const sigset_t *mask)
{
	int saved = errno, error = 0;
	int64_t time;

	if (!switch_poll_concerns(fds, count))
		return libc_call.ppoll(fds, count, timeout, mask);
	time = from_timespec(timeout, &error);
	return (int)outcome(error ? error : switch_poll(fds, count, time, mask), saved);
}

int preload_select(int limit, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	int saved = errno, result;
	int64_t time = -1, end;

	limit = switch_select_limit(limit);
	if (!switch_select_concerns(limit, in, out, except))
		return libc_call.select(limit, in, out, except, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return (int)outcome(-EINVAL, saved);
		if (timeout->tv_sec < INT64_MAX / SECOND / 2)
			time = (int64_t)timeout->tv_sec * SECOND + (int64_t)timeout->tv_usec * 1000;
	}
	end = time > 0 ? clock_now() + time : 0;
	result = switch_select(limit, in, out, except, time, NULL);
	/* Linux tells how much of the time is left, whatever the result. */
	if (timeout && time >= 0) {
		int64_t left = time > 0 ? end - clock_now() : 0;

		left = left > 0 ? left : 0;
		timeout->tv_sec = left / SECOND;
		timeout->tv_usec = left % SECOND / 1000;
	}
	return (int)outcome(result, saved);
}
PRELOAD_ALIAS(__select, select)

int preload_pselect(int limit, fd_set *in, fd_set *out, fd_set *except,
		    const struct timespec *timeout, const sigset_t *mask)
{
	int saved = errno, error = 0;
	int64_t time;

	limit = switch_select_limit(limit);
	if (!switch_select_concerns(limit, in, out, except))
		return libc_call.pselect(limit, in, out, except, timeout, mask);
	time = from_timespec(timeout, &error);
	return (int)outcome(error ? error : switch_select(limit, in, out, except, time, mask),
			    saved);
}

/* ---- epoll ---- */

static int epoll_created(int fd)
{
	int saved = errno;

	if (fd >= 0)
		switch_epoll_created(fd);
	errno = saved;
	return fd;
}

int preload_epoll_create(int size)
{
	return epoll_created(libc_call.epoll_create(size));
}

int preload_epoll_create1(int flags)
{
	return epoll_created(libc_call.epoll_create1(flags));
}

int preload_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	int saved = errno;

	return (int)outcome(switch_epoll_ctl(epoll_fd, operation, fd, event), saved);
}

int preload_epoll_wait(int epoll_fd, struct epoll_event *events, int count, int timeout)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);
	int saved = errno;

	if (!epoll)
		return libc_call.epoll_wait(epoll_fd, events, count, timeout);
	return (int)outcome(switch_epoll_wait(epoll, epoll_fd, events, count,
					      from_milliseconds(timeout), NULL), saved);
}

int preload_epoll_pwait(int epoll_fd, struct epoll_event *events, int count, int timeout,
			const sigset_t *mask)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);
	int saved = errno;

	if (!epoll)
		return libc_call.epoll_pwait(epoll_fd, events, count, timeout, mask);
	return (int)outcome(switch_epoll_wait(epoll, epoll_fd, events, count,
					      from_milliseconds(timeout), mask), saved);
}

int preload_epoll_pwait2(int epoll_fd, struct epoll_event *events, int count,
			 const struct timespec *timeout, const sigset_t *mask)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);
	int saved = errno, error = 0;
	int64_t time;

	if (!epoll)
		return libc_call.epoll_pwait2(epoll_fd, events, count, timeout, mask);
	time = from_timespec(timeout, &error);
	if (error) {
		epoll_put(epoll);
		return (int)outcome(error, saved);
	}
	return (int)outcome(switch_epoll_wait(epoll, epoll_fd, events, count, time, mask), saved);
}

/* ---- fortified variants: `room` is what the compiler knows of the array ---- */

int preload___poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
	if (room / sizeof(*fds) < count)
		__chk_fail();
	return preload_poll(fds, count, timeout);
}

int preload___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			const sigset_t *mask, size_t room)
{
	if (room / sizeof(*fds) < count)
		__chk_fail();
	return preload_ppoll(fds, count, timeout, mask);
}
