/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Put before stream_bench.c by the compiler: its socket calls become rsockets' own, without
 * librspreload, and who would block in a send or receive looks again instead, as rstream does.
 * That is rsockets at its fastest, and tells what rstream does not: the median. A receiver that
 * has looked for a while in vain blocks, so that it takes no processor from others it measures
 * in turns with.
 */
#ifndef WSD_BENCH_OVER_RSOCKETS_H
#define WSD_BENCH_OVER_RSOCKETS_H

#include <errno.h>
#include <rdma/rsocket.h>
#include <sys/socket.h>
#include <unistd.h>

/* Some milliseconds in an emulated machine, one where the adapter is hardware. */
#define LOOKS_MOST	20000

static inline ssize_t rsend_looking(int fd, const void *data, size_t size, int flags)
{
	ssize_t sent;

	do
		sent = rsend(fd, data, size, flags | MSG_DONTWAIT);
	while (sent < 0 && errno == EAGAIN);
	return sent;
}

static inline ssize_t rrecv_looking(int fd, void *data, size_t size, int flags)
{
	for (int looks = 0; looks < LOOKS_MOST; looks++) {
		ssize_t received = rrecv(fd, data, size, flags | MSG_DONTWAIT);

		if (received >= 0 || errno != EAGAIN)
			return received;
	}
	return rrecv(fd, data, size, flags);
}

#define socket		rsocket
#define setsockopt	rsetsockopt
#define bind		rbind
#define listen		rlisten
#define accept		raccept
#define connect		rconnect
#define send		rsend_looking
#define recv		rrecv_looking
#define shutdown	rshutdown
#define close		rclose

#endif
