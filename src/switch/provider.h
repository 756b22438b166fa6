/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A SAN service provider as the switch sees it: loaded on first need, spoken to
 * through WSPStartupEx and its table only.
 */
#ifndef WSD_SWITCH_PROVIDER_H
#define WSD_SWITCH_PROVIDER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "wsdirect/ws2san.h"

struct provider {
	WSPPROC_TABLE table;
	LPFN_WSPREGISTERMEMORY register_memory;
	LPFN_WSPDEREGISTERMEMORY deregister_memory;
	LPFN_WSPREGISTERRDMAMEMORY register_rdma_memory;
	LPFN_WSPDEREGISTERRDMAMEMORY deregister_rdma_memory;
	LPFN_WSPRDMAWRITE rdma_write;
	LPFN_WSPRDMAREAD rdma_read;		/* NULL: the provider has none */
	LPFN_WSDIRECT_POLL poll;
	LPFN_WSDIRECT_SEND send_copied;		/* NULL: none */
	LPFN_WSDIRECT_RECEIVE receive_several;	/* NULL: none */
	LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK memory_released;	/* NULL: none */
	int memory;				/* descriptor of its memory events, -1: none */
};

/*
 * The provider; loaded at the first call in this process. NULL, with the reason
 * logged once at level info, if there is none or it found no device.
 */
struct provider *provider_get(void);

/* Is the address that of a SAN device of the provider? The port does not matter. */
bool provider_has_address(struct provider *provider, const struct sockaddr *address);

/* Completes what can be completed; looks for that up to @looks times. */
void provider_poll(struct provider *provider, SOCKET companion, DWORD looks);
/* The companion's descriptor that an armed event makes readable, or -errno. */
int provider_completion(struct provider *provider, SOCKET companion);
/* Arms it (WSDIRECT_ARM_*); poll once more before sleeping. */
void provider_arm(struct provider *provider, SOCKET companion, DWORD what);
/* A limit of the companion: SO_MAX_RDMA_SIZE and the like; 0 if it will not say. */
DWORD provider_limit(struct provider *provider, SOCKET companion, int option);

/* The address of this end or of the peer. 0 or -errno. */
int provider_address(struct provider *provider, SOCKET companion, bool peer,
		     struct sockaddr_storage *address, socklen_t *length);

/* After fork, in the child: the parent's provider is not ours to use. */
void provider_forget(void);

#endif
