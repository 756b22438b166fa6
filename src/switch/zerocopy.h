/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completions of sends with MSG_ZEROCOPY, which a program fetches with MSG_ERRQUEUE. It may
 * not touch what it sent before, and may wait for them.
 */
#ifndef WSD_SWITCH_ZEROCOPY_H
#define WSD_SWITCH_ZEROCOPY_H

#include <stdbool.h>
#include <sys/types.h>

struct socket;

/* A send with @flags returns @done bytes, some of them @copied. Lock held. */
void zerocopy_sent(struct socket *socket, int flags, ssize_t done, bool copied);
/* Is there one that the program has not fetched? That is POLLERR. Lock held. */
bool zerocopy_waits(const struct socket *socket);

#endif
