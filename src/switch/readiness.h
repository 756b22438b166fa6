/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poll and select over sets that mix SAN sockets with other descriptors.
 *
 * The fast path is the caller's: switch_poll_concerns() and its like say whether
 * a set needs any of this; if not, the real call gets it untouched.
 */
#ifndef WSD_SWITCH_READINESS_H
#define WSD_SWITCH_READINESS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>

#include "system.h"

/* Is one of them a SAN socket, may become one by waiting, or a set with one? */
bool switch_poll_concerns(const struct pollfd *fds, nfds_t count);
bool switch_select_concerns(int limit, const fd_set *in, const fd_set *out, const fd_set *except);

/*
 * ppoll(2); timeout in nanoseconds, -1: none. Returns a count or -errno. A
 * cancellation point.
 */
int switch_poll(struct pollfd *fds, nfds_t count, int64_t timeout, const sigset_t *mask);

/*
 * What the kernel makes of select's limit, which it cuts down to the size of its table. Our
 * own descriptors have made that larger, and programs that say getdtablesize() often have no
 * more than an fd_set: without this, what lies behind it would be read and cleared.
 */
int switch_select_limit(int limit);

/* pselect(2), likewise. The sets are written only on success. */
int switch_select(int limit, fd_set *in, fd_set *out, fd_set *except, int64_t timeout,
		  const sigset_t *mask);

/* The kernel's answer at this moment, past libc, so never a cancellation point. Count or -errno. */
static inline int poll_now(struct pollfd *fds, nfds_t count)
{
	struct timespec none = { 0, 0 };

	return (int)system_raw(SYS_ppoll, fds, count, &none, NULL, (size_t)8);
}

#endif
