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

/* The same for the end of a call on a socket, whose reference goes. */
static inline long finish(struct socket *socket, long result, int saved)
{
	socket_put(socket);
	return outcome(result, saved);
}

/*
 * The end of a call that plain TCP can take over. False: the socket turned out to
 * be plain TCP meanwhile (-ERESTART), and libc is to make the call.
 */
static inline bool settled(struct socket *socket, ssize_t *result, int saved)
{
	socket_put(socket);
	if (*result == -ERESTART) {
		errno = saved;
		return false;
	}
	*result = outcome(*result, saved);
	return true;
}

/* ---- transfer.c ---- */

/*
 * socket_send() and socket_receive() with the checks that the kernel makes
 * first; sending raises SIGPIPE where the kernel would. They give the reference
 * back if the thread is cancelled, and only then. Results are counts or -errno.
 */
ssize_t transfer_send(struct socket *socket, const struct iovec *vector, size_t count, int flags);
ssize_t transfer_receive(struct socket *socket, const struct iovec *vector, size_t count,
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
