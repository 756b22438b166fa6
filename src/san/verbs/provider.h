/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the whole provider shares: one event channel, one thread, the switch's
 * up-calls, and the gate that fork waits at.
 *
 * Lock order: provider.lock (starting and stopping) before a socket's lock
 * before a device's lock before the locks of handle tables. The gate comes last of
 * all: inside it no other lock of ours is taken. No lock is held in an up-call.
 */
#ifndef WSD_SAN_VERBS_PROVIDER_H
#define WSD_SAN_VERBS_PROVIDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <rdma/rdma_cma.h>
#include <wsdirect/ws2san.h>

#include "handle.h"

struct provider {
	pthread_mutex_t lock;		/* protects startups and what it starts */
	unsigned startups;		/* WSPStartupEx minus WSPCleanup */
	_Atomic bool running;
	bool forked;			/* this process is a child that has not started anew */
	pid_t owner;			/* the process that started it */
	_Atomic bool channel_lost;	/* see channel_is_lost() */

	/* Fixed while running. */
	WSPUPCALLTABLEEX upcalls;
	DWORD catalog_entry;
	struct rdma_event_channel *channel;
	int epoll;			/* of the thread: channel, devices, sockets with up-calls */
	int stop;			/* eventfd that ends the thread */
	pthread_t thread;

	struct handle_table sockets;
	struct handle_table registrations;
};

extern struct provider provider;

/*
 * librdmacm and libibverbs keep process-wide locks of their own. A fork while
 * another thread holds one would leave it locked for ever in the child. So
 * every call into librdmacm, and every opening of a device, happens inside the gate,
 * and fork waits for the gate to be empty. It is a lock for reading: calls do not
 * wait for each other, and may nest.
 */
extern pthread_rwlock_t provider_gate;

static inline void gate_enter(void)
{
	pthread_rwlock_rdlock(&provider_gate);
}

static inline void gate_leave(void)
{
	pthread_rwlock_unlock(&provider_gate);
}

/*
 * What an epoll record of the provider's thread is about: one of these, or
 * WAKE_DEVICE plus the number of a device, or the handle of a socket (never below 2^32).
 */
enum wake_source { WAKE_STOP, WAKE_CHANNEL, WAKE_DEVICE };
#define WAKE_SOCKET_LEAST (UINT64_C(1) << 32)

/* Sets *lpErrno and returns SOCKET_ERROR. */
static inline int fail(LPINT lpErrno, int wsa_error)
{
	*lpErrno = wsa_error;
	return SOCKET_ERROR;
}

/* The operations that a SAN never performs: every member of the table answers WSAEOPNOTSUPP. */
extern const WSPPROC_TABLE unsupported_table;

#endif
