/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the wrappers share: their declarations, made from the one list of
 * intercepted calls, and the one way from the switch's results to libc's.
 *
 * A wrapper is called preload_NAME here and carries libc's name only as a
 * symbol, so that libc's headers (with their macros, redirections and inline
 * functions for NAME) have no say in it.
 *
 * Each wrapper asks the descriptor table first: a descriptor that is not ours
 * goes to libc with the same arguments, and errno is libc's affair.
 */
#ifndef WSD_PRELOAD_PRELOAD_H
#define WSD_PRELOAD_PRELOAD_H

#include <errno.h>
#include <stdint.h>

#include "descriptors.h"
#include "libc_calls.h"

#define PRELOAD_EXPORT __attribute__((visibility("default")))

#define PRELOAD_CALL(type, failure, name, parameters, arguments) \
	PRELOAD_EXPORT type preload_##name parameters __asm__(#name);
#define PRELOAD_VARIADIC(name, parameters, first, second) \
	PRELOAD_EXPORT int preload_##name parameters __asm__(#name);
#define PRELOAD_EXTRA(type, name, parameters) \
	PRELOAD_EXPORT type preload_##name parameters __asm__(#name);
#define PRELOAD_NOTHING(...)
LIBC_CALLS(PRELOAD_CALL, PRELOAD_VARIADIC, PRELOAD_EXTRA, PRELOAD_NOTHING)

/* Beside the wrapper of `target`: the same function under another name of the list. */
#define PRELOAD_ALIAS(name, target) \
	PRELOAD_EXPORT extern __typeof__(preload_##target) preload_##name \
		__asm__(#name) __attribute__((alias(#target)));

/* The most bytes that the kernel moves in one call. */
#define TRANSFER_MOST	((size_t)0x7ffff000)

/* The lowest page is never mapped: catches NULL, with a small offset added or not. */
static inline bool address_is_bad(const void *address)
{
	return (uintptr_t)address < 4096;
}

/*
 * The only place where -errno becomes -1 and errno. A call that succeeds leaves
 * errno as the caller had it: `saved`.
 */
static inline long outcome(long result, int saved)
{
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	errno = saved;
	return result;
}

/* A call of the program on a descriptor. */
struct call {
	struct socket *socket;		/* held for the call; NULL: the descriptor is libc's alone */
	int fd;
	int saved;			/* errno as the program had it */
};

static inline struct call call_begin(int fd)
{
	struct socket *socket = descriptor_hold(fd);

	return (struct call){ socket, fd, errno };
}

static inline void call_release(const struct call *call)
{
	descriptor_release(call->fd, call->socket);
}

/* The end of a call on a socket: for the program. */
static inline long call_end(const struct call *call, long result)
{
	call_release(call);
	return outcome(result, call->saved);
}

/*
 * The end of a call that plain TCP can take over. False: the socket turned out to
 * be plain TCP meanwhile (-ERESTART), and libc is to make the call.
 */
static inline bool call_settled(const struct call *call, ssize_t *result)
{
	bool restart = *result == -ERESTART;

	*result = call_end(call, restart ? 0 : *result);
	return !restart;
}

/* ---- transfer.c ---- */

/*
 * socket_send() and socket_receive() with the checks that the kernel makes
 * first; sending raises SIGPIPE where the kernel would. They release the socket
 * if the thread is cancelled, and only then. Results are counts or -errno.
 */
ssize_t transfer_send(const struct call *call, const struct iovec *vector, size_t count, int flags);
ssize_t transfer_receive(const struct call *call, const struct iovec *vector, size_t count,
			 int flags);

/* ---- preload.c ---- */

/* In the child of a fork: what other threads held is void, and connections are the parent's. */
void preload_forked_child(void);

/* ---- stream.c ---- */

/* In the child of a fork: other threads' hold on the list of streams is void. */
void stream_forked_child(void);
/* At exit, before sockets are closed. */
void stream_flush_all(void);

#endif
