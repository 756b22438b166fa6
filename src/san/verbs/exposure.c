// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPRegisterRdmaMemory and WSPDeregisterRdmaMemory. See exposure.h.
 *
 * Why hiding waits: the promise is that when WSPDeregisterRdmaMemory returns the
 * peer can no longer reach the memory. The invalidation is a work request behind
 * whatever was sent before, and it counts once the device has completed it. A peer
 * that takes no messages can delay that; after HIDE_PATIENCE the connection is
 * broken instead, which hides everything; and if the device has not flushed the
 * request after as long again, it is lost.
 */
#include "exposure.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "provider.h"
#include "registration.h"
#include "registration_cache.h"
#include "socket.h"
#include "statistics.h"
#include "system.h"

#define HIDE_PATIENCE	INT64_C(3000000000)	/* nanoseconds */

#ifdef WSD_MUTATION_NO_HIDE
static const bool hides = false;	/* a test must notice */
#else
static const bool hides = true;
#endif

struct exposure {
	struct exposure *next;
	struct cache_region *region;	/* or NULL and: */
	struct registration *registration;	/* MEM_WSDIRECT_REGISTERED */
	struct ibv_mw *window;		/* or NULL and: */
	struct ibv_mr *own;		/* a registration with the remote right */
	struct descriptor descriptor;
};

static unsigned remote_access(DWORD rights)
{
	return (rights & MEM_READ ? IBV_ACCESS_REMOTE_READ : 0) |
	       (rights & MEM_WRITE ? IBV_ACCESS_REMOTE_WRITE : 0);
}

/* ---- by window ---- */

static int window_bind(struct san_socket *socket, struct exposure *exposure,
		       const struct pinned *pinned)
{
	struct work work = {
		.request = { .opcode = IBV_WR_BIND_MW },
		.region = pinned->mr,
		.bind_address = exposure->descriptor.address,
		.bind_length = exposure->descriptor.length,
		.bind_access = remote_access(exposure->descriptor.rights),
	};
	int error;

	if (!exposure->window) {
		exposure->window = ibv_alloc_mw(socket->device->pd, IBV_MW_TYPE_2);
		if (!exposure->window)
			return errno ? -errno : -ENOMEM;
		statistic_add(STATISTIC_windows_made, 1);
	}
	/* A key nobody has seen: the last one may still be in the peer's hands. */
	work.window = exposure->window;
	work.key = ibv_inc_rkey(exposure->window->rkey);
	exposure->descriptor.key = work.key;
	error = queue_submit(socket, &work);
	if (!error)
		statistic_add(STATISTIC_windows_bound, 1);
	return error;
}

static void window_free(struct san_socket *socket, struct exposure *exposure)
{
	int error = exposure->window ? ibv_dealloc_mw(exposure->window) : 0;

	if (error)
		log_error("verbs: %s: cannot free a memory window: %s", socket->device->name,
			  log_errno_name(error));
	exposure->window = NULL;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/*
 * Polls until *finished, which every request becomes at the latest when its
 * socket is closed. Drops the lock while it waits.
 */
static void wait_finished(struct san_socket *socket, struct exposure *exposure,
			  const bool *finished)
{
	int64_t deadline = now() + HIDE_PATIENCE;
	long pause = 0;

	for (unsigned round = 0; queue_poll(socket), !*finished; round++) {
		if (now() > deadline && socket->state == SOCKET_CONNECTED) {
			/* Should the pair have to be destroyed, it need not wait for the window. */
			window_free(socket, exposure);
			socket_break(socket, WSAECONNRESET, "exposed memory could not be hidden");
		} else if (now() > deadline + HIDE_PATIENCE) {
			/* The device does not flush the request either. */
			window_free(socket, exposure);
			socket->queue.lost = true;
		}
		socket_unlock(socket);
		if (round < 1000) {
			sched_yield();
		} else {
			pause = pause < 1000000 ? pause + 20000 : pause;
			/* Not libc's: the caller may be one whom that would let be cancelled. */
			system_raw(SYS_nanosleep, &(struct timespec){ .tv_nsec = pause }, NULL);
		}
		socket_lock(socket);
	}
}

/* True if the window may be bound again. */
static bool window_invalidate(struct san_socket *socket, struct exposure *exposure)
{
	bool finished = false;
	struct work work = {
		.request = { .opcode = IBV_WR_LOCAL_INV, .finished = &finished },
		.key = exposure->descriptor.key,
	};

	if (socket->state != SOCKET_CONNECTED)
		return false;
	if (queue_submit(socket, &work)) {
		/* Before the window is freed: its binding may be a request that waits for room. */
		socket_break(socket, WSAECONNRESET, "exposed memory could not be hidden");
		return false;
	}
	wait_finished(socket, exposure, &finished);
	/* Flushed rather than done when the connection broke meanwhile. */
	if (socket->state != SOCKET_CONNECTED)
		return false;
	statistic_add(STATISTIC_windows_invalidated, 1);
	return true;
}

/* ---- exposures ---- */

/* Lets go of the memory behind it. */
static void exposure_unpin(struct exposure *exposure)
{
	if (exposure->region)
		memory_unpin(exposure->region);
	if (exposure->registration)
		registration_put(exposure->registration);
	exposure->region = NULL;
	exposure->registration = NULL;
}

/* Ends it for good. The peer cannot use it any more, or does not have it yet. */
static void exposure_free(struct san_socket *socket, struct exposure *exposure)
{
	int error = exposure->own ? ibv_dereg_mr(exposure->own) : 0;

	if (error)
		log_error("verbs: %s: cannot deregister exposed memory: %s", socket->device->name,
			  log_errno_name(error));
	if (exposure->own)
		statistic_add(STATISTIC_deregistrations, 1);
	window_free(socket, exposure);
	exposure_unpin(exposure);
	free(exposure);
}

void exposure_free_windows(struct san_socket *socket)
{
	struct exposure *lists[] = { socket->exposures, socket->spare_exposures };

	for (unsigned i = 0; i < 2; i++)
		for (struct exposure *exposure = lists[i]; exposure; exposure = exposure->next)
			window_free(socket, exposure);
}

void exposure_close_all(struct san_socket *socket)
{
	struct exposure **lists[] = { &socket->exposures, &socket->spare_exposures };

	for (unsigned i = 0; i < 2; i++) {
		while (*lists[i]) {
			struct exposure *exposure = *lists[i];

			*lists[i] = exposure->next;
			exposure_free(socket, exposure);
		}
	}
}

/* An exposure with or without a window to reuse. */
static struct exposure *exposure_new(struct san_socket *socket, bool window)
{
	struct exposure *exposure = window ? socket->spare_exposures : NULL;

	if (exposure) {
		socket->spare_exposures = exposure->next;
		exposure->next = NULL;
		return exposure;
	}
	return calloc(1, sizeof(*exposure));
}

static int expose(struct san_socket *socket, struct exposure *exposure, const struct pinned *pinned)
{
	const struct descriptor *descriptor = &exposure->descriptor;
	int access = (int)remote_access(descriptor->rights);

	if (pinned->bindable)
		return window_bind(socket, exposure, pinned);
	if (descriptor->rights & MEM_WRITE)
		access |= IBV_ACCESS_LOCAL_WRITE;
	do {
		exposure->own = ibv_reg_mr(socket->device->pd,
					   (void *)(uintptr_t)descriptor->address,
					   descriptor->length, access);
	} while (!exposure->own && errno == ENOMEM && memory_shrink(descriptor->length));
	if (!exposure->own)
		return errno ? -errno : -ENOMEM;
	exposure->descriptor.key = exposure->own->rkey;
	statistic_add(STATISTIC_registrations, 1);
	return 0;
}

int san_register_rdma_memory(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength, DWORD dwFlags,
			     LPVOID lpRdmaBufferDescriptor, LPDWORD lpdwDescriptorLength,
			     LPINT lpErrno)
{
	struct san_socket *socket;
	struct exposure *exposure;
	struct registration *registration = NULL;
	struct cache_region *region = NULL;
	DWORD rights = dwFlags & ~(DWORD)MEM_WSDIRECT_REGISTERED;
	struct pinned *pinned;
	int error;

	if (!lpdwDescriptorLength)
		return fail(lpErrno, WSAEFAULT);
	if (!lpRdmaBufferDescriptor || *lpdwDescriptorLength < DESCRIPTOR_LENGTH) {
		*lpdwDescriptorLength = DESCRIPTOR_LENGTH;
		return fail(lpErrno, WSAEFAULT);
	}
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	/* A look without the lock: `device` never changes once a socket is connected. */
	socket_lock(socket);
	error = socket->state == SOCKET_CONNECTED ? 0 : WSAENOTCONN;
	socket_unlock(socket);
	if (error)
		goto err_socket;
	if (dwFlags & MEM_WSDIRECT_REGISTERED) {
		const WSABUFEX *buffer = lpBuffer;

		error = !rights || rights & ~(DWORD)MEM_READWRITE || !buffer->len ? WSAEINVAL : 0;
		if (error)
			goto err_socket;
		registration = registration_get(socket, buffer, rights, &error);
		if (!registration)
			goto err_socket;
		pinned = registration_pinned(registration);
		lpBuffer = buffer->buf;
		dwBufferLength = buffer->len;
	} else {
		pinned = memory_pin(socket->device, lpBuffer, dwBufferLength, rights, &region, &error);
		if (!pinned)
			goto err_socket;
	}

	socket_lock(socket);
	if (socket->state != SOCKET_CONNECTED) {
		error = WSAENOTCONN;
		goto err_locked;
	}
	exposure = exposure_new(socket, pinned->bindable);
	if (!exposure) {
		error = WSAENOBUFS;
		goto err_locked;
	}
	exposure->region = region;
	exposure->registration = registration;
	exposure->descriptor = (struct descriptor){
		.address = (uintptr_t)lpBuffer,
		.length = dwBufferLength,
		.rights = rights,
	};
	error = expose(socket, exposure, pinned);
	if (error) {
		log_warn("verbs: %s: cannot expose memory: %s", socket->device->name,
			 log_errno_name(error));
		error = WSAENOBUFS;
		/* Lets go of the region too. */
		exposure_free(socket, exposure);
		socket_unlock(socket);
		goto err_socket;
	}
	exposure->next = socket->exposures;
	socket->exposures = exposure;
	descriptor_encode(&exposure->descriptor, lpRdmaBufferDescriptor);
	*lpdwDescriptorLength = DESCRIPTOR_LENGTH;
	socket_unlock(socket);
	socket_put(socket);
	return 0;

err_locked:
	socket_unlock(socket);
	if (registration)
		registration_put(registration);
	else
		memory_unpin(region);
err_socket:
	socket_put(socket);
	return fail(lpErrno, error);
}

static struct exposure *exposure_take(struct san_socket *socket, const struct descriptor *wanted)
{
	for (struct exposure **link = &socket->exposures; *link; link = &(*link)->next) {
		struct exposure *exposure = *link;

		if (exposure->descriptor.key == wanted->key &&
		    exposure->descriptor.address == wanted->address &&
		    exposure->descriptor.length == wanted->length &&
		    exposure->descriptor.rights == wanted->rights) {
			*link = exposure->next;
			exposure->next = NULL;
			return exposure;
		}
	}
	return NULL;
}

int san_deregister_rdma_memory(SOCKET s, LPVOID lpRdmaBufferDescriptor, DWORD dwDescriptorLength,
			       LPINT lpErrno)
{
	struct descriptor descriptor;
	struct san_socket *socket;
	struct exposure *exposure;

	if (descriptor_decode(lpRdmaBufferDescriptor, dwDescriptorLength, &descriptor))
		return fail(lpErrno, WSAEINVAL);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	exposure = exposure_take(socket, &descriptor);
	if (!exposure) {
		socket_unlock(socket);
		socket_put(socket);
		return fail(lpErrno, WSAEINVAL);
	}
	if (!hides) {
		exposure->next = socket->exposures;
		socket->exposures = exposure;
	} else if (exposure->window && window_invalidate(socket, exposure)) {
		exposure_unpin(exposure);
		exposure->next = socket->spare_exposures;
		socket->spare_exposures = exposure;
	} else {
		/* A window of a broken connection, or a registration: gone when freed. */
		exposure_free(socket, exposure);
	}
	socket_unlock(socket);
	socket_put(socket);
	return 0;
}
