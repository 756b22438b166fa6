/* SPDX-License-Identifier: BSD-2-Clause */
/* Two connected sockets of the switch on the loopback provider, for the tests of the session. */
#ifndef WSD_TESTS_SESSION_FIXTURE_H
#define WSD_TESTS_SESSION_FIXTURE_H

#include "socket_state.h"

struct pair {
	struct socket *a, *b;
};

/* A pair that nobody but the test moves until pair_attend(), which comes before pair_close(). */
struct pair pair_connect(void);
/* From here on the switch thread looks after both. */
void pair_attend(struct pair pair);
/* Both in one. */
struct pair pair_open(void);
void pair_close(struct pair pair);

static inline ssize_t put(struct socket *socket, const void *data, size_t size, int flags)
{
	struct iovec vector = { (void *)(uintptr_t)data, size };

	return socket_send(socket, &vector, 1, flags);
}

static inline ssize_t get(struct socket *socket, void *data, size_t size, int flags)
{
	struct iovec vector = { data, size };

	return socket_receive(socket, &vector, 1, flags);
}

#endif
