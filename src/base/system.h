/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System calls as the kernel answers them: 0 or a count, else -errno.
 *
 * This code is linked into a library that replaces write(), close(), fcntl()
 * and their like, even syscall(), for the whole process. Calling those by name
 * from here would enter our own wrappers, from under their locks or before they
 * are set up. errno is left as it was, since every caller may be running inside
 * the application's own call.
 */
#ifndef WSD_BASE_SYSTEM_H
#define WSD_BASE_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline long system_call(long number, long first, long second, long third, long fourth,
			       long fifth, long sixth)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = fourth;
	register long r8 __asm__("r8") = fifth;
	register long r9 __asm__("r9") = sixth;
	long result;

	__asm__ volatile("syscall" : "=a"(result)
			 : "a"(number), "D"(first), "S"(second), "d"(third), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "cc", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = first;
	register long x1 __asm__("x1") = second;
	register long x2 __asm__("x2") = third;
	register long x3 __asm__("x3") = fourth;
	register long x4 __asm__("x4") = fifth;
	register long x5 __asm__("x5") = sixth;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "cc", "memory");
	return x0;
#else
#error "how this processor calls the kernel is to be written down here"
#endif
}

/* system_raw(number, arguments...), of whatever types, without those that the call has not. */
#define system_raw(...) SYSTEM_RAW(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYSTEM_RAW(number, first, second, third, fourth, fifth, sixth, ...) \
	system_call(number, (long)(first), (long)(second), (long)(third), (long)(fourth), \
		    (long)(fifth), (long)(sixth))

static inline int system_open(const char *path, int flags, mode_t mode)
{
	return (int)system_raw(SYS_openat, AT_FDCWD, path, flags, mode);
}

static inline int system_close(int fd)
{
	return (int)system_raw(SYS_close, fd);
}

static inline ssize_t system_read(int fd, void *buffer, size_t size)
{
	return system_raw(SYS_read, fd, buffer, size);
}

static inline ssize_t system_write(int fd, const void *buffer, size_t size)
{
	return system_raw(SYS_write, fd, buffer, size);
}

static inline int system_fcntl(int fd, int command, long argument)
{
	return (int)system_raw(SYS_fcntl, fd, command, argument);
}

static inline int system_ioctl(int fd, unsigned long request, void *argument)
{
	return (int)system_raw(SYS_ioctl, fd, request, argument);
}

/* Sleeps while the word, of this process alone, is @value; may return sooner. */
static inline void system_futex_wait(void *word, int value)
{
	system_raw(SYS_futex, word, FUTEX_WAIT_PRIVATE, value);
}

/* Wakes @most of those. */
static inline void system_futex_wake(void *word, int most)
{
	system_raw(SYS_futex, word, FUTEX_WAKE_PRIVATE, most);
}

static inline int system_unlink(const char *path)
{
	return (int)system_raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* fstat() has a wrapper of its own in no libc we interpose; only errno needs care. */
static inline int system_fstat(int fd, struct stat *st)
{
	int saved = errno;
	int result = fstat(fd, st) ? -errno : 0;

	errno = saved;
	return result;
}

static inline pid_t system_getpid(void)
{
	return (pid_t)system_raw(SYS_getpid);
}

static inline pid_t system_gettid(void)
{
	return (pid_t)system_raw(SYS_gettid);
}

#endif
