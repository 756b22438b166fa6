/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory registered for requests of this process: what WSPRegisterMemory
 * returns. A registration is a handle with a reference on a region of the
 * registration cache; requests hold references while they are pending, so the
 * memory stays pinned until the device is done with it, whatever the
 * application does meanwhile.
 */
#ifndef WSD_SAN_VERBS_REGISTRATION_H
#define WSD_SAN_VERBS_REGISTRATION_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <wsdirect/ws2san.h>

#include "provider.h"

struct cache_region;
struct device;
struct san_socket;

struct registration {
	uintptr_t handle;
	struct san_socket *socket;	/* that it was made through */
	struct registration *next, **link;	/* in the socket's list, under its lock */

	/* Fixed. */
	struct device *device;
	struct cache_region *region;	/* or NULL and: */
	struct pinned *kept;		/* of MEM_WSDIRECT_KEPT: its own */
	uint32_t local_key;
	uintptr_t address;
	uint32_t length;
	uint32_t rights;		/* MEM_* */
};

/*
 * The registration of a buffer in a request of @socket, with a reference, checked
 * for rights (MEM_*) and range; NULL with *wsa_error.
 */
struct registration *registration_get(const struct san_socket *socket, const WSABUFEX *buffer,
				      DWORD rights, int *wsa_error);
static inline void registration_put(struct registration *registration)
{
	handle_put(&provider.registrations, registration->handle);
}

/* Frees a registration that nobody holds; the handle table's release function. */
void registration_release(void *registration);

/* Lets go of what was registered through the socket. With its lock held. */
void registration_close_all(struct san_socket *socket);

/* ---- the cache behind it ---- */

/* A region as registered with one device. */
struct pinned {
	struct ibv_mr *mr;
	bool bindable;			/* memory windows may be bound to it */
};

/* The device's share of a cached region of at least [@address, @address + @length). */
struct pinned *memory_pin(struct device *device, const void *address, size_t length, DWORD rights,
			  struct cache_region **region, int *wsa_error);
void memory_unpin(struct cache_region *region);
/* The same outside the cache, for memory that the caller keeps mapped. */
struct pinned *memory_pin_kept(struct device *device, const void *address, size_t length,
			       DWORD rights, int *wsa_error);
void memory_unpin_kept(struct device *device, struct pinned *pinned);
/* Lets memory go that is only kept for later use; false: there is none. */
bool memory_shrink(size_t bytes);
/* The registration's pinned region, however it was made. */
struct pinned *registration_pinned(const struct registration *registration);

/* At WSPStartupEx and the last WSPCleanup. 0 or -errno. */
int memory_open(void);
void memory_close(void);
/* In a forked child, in its fork handler. */
void memory_forked(void);
/* Descriptor of the monitor, or -1. */
int memory_event_descriptor(void);

int memory_device_add(struct device *device);
void memory_device_remove(struct device *device);

/* SPI functions. */
HANDLE san_register_memory(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength, DWORD dwFlags,
			   LPINT lpErrno);
int san_deregister_memory(SOCKET s, HANDLE Handle, LPINT lpErrno);
int san_memory_registration_cache_callback(LPVOID lpvAddress, SIZE_T Size, LPINT lpErrno);

#endif
