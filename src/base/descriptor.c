// SPDX-License-Identifier: BSD-2-Clause
/* Moves descriptors of our own out of the application's way. */
#include "descriptor.h"

#include <sys/resource.h>

#include "system.h"

/*
 * The kernel's descriptor table grows to the highest number in use and is
 * copied by every fork: 8 bytes a number. A limit of a million is taken for
 * this many, which costs 128 KiB instead of 8 MiB.
 */
#define DESCRIPTOR_CEILING 16384

int descriptor_hidden_end(void)
{
	struct rlimit limit;
	rlim_t ceiling = DESCRIPTOR_CEILING;
	int saved = errno;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < ceiling)
		ceiling = limit.rlim_cur;
	errno = saved;
	return (int)ceiling;
}

int descriptor_hidden_first(void)
{
	int end = descriptor_hidden_end();

	return end - end / 4;
}

int descriptor_hide(int fd)
{
	int moved;
	long least;

	if (fd < 0)
		return fd;
	least = descriptor_hidden_first();
	moved = fd < least ? system_fcntl(fd, F_DUPFD_CLOEXEC, least) : -EEXIST;
	if (moved < 0) {
		system_fcntl(fd, F_SETFD, FD_CLOEXEC);
		return fd;
	}
	system_close(fd);
	return moved;
}
