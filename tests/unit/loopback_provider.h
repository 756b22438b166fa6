/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A service provider inside one process, for tests of the session without a
 * device: two ends, messages and RDMA by memcpy. It stands in for provider.c.
 */
#ifndef WSD_TEST_LOOPBACK_PROVIDER_H
#define WSD_TEST_LOOPBACK_PROVIDER_H

#include <stdbool.h>

#include "provider.h"

/* Two connected ends. */
void loopback_pair(SOCKET *one, SOCKET *other);
/* Exposed memory that was not hidden again, over all ends: must be 0 after a test. */
unsigned int loopback_exposed(void);
/* From now on no more than this many bytes are registered or exposed at once: WSAENOBUFS. */
void loopback_limit_registrations(DWORD most);
/* One end registers nothing from now on, or does again. */
void loopback_refuse_registrations(SOCKET s, bool refuse);
/*
 * It has every address and so connects; what connects gets no answer; others listen on every
 * port; small messages find no room to be copied to. All are off at first.
 */
extern bool loopback_connects, loopback_silent, loopback_port_taken, loopback_full;
/* So many times others are bound to a port when it is to be listened on. */
extern int loopback_port_contended;
/* Called by the thread that sends or posts, as a driver writes to its device; or NULL. */
extern void (*loopback_doorbell)(void);
extern struct provider loopback_provider;

#endif
