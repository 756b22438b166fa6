// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPRegisterMemory and WSPDeregisterMemory. See registration.h.
 */
#include "registration.h"

#include <errno.h>
#include <stdlib.h>

#include "provider.h"
#include "device.h"
#include "registration_cache.h"
#include "socket.h"

struct registration *registration_get(const struct san_socket *socket, const WSABUFEX *buffer,
				      DWORD rights, int *wsa_error)
{
	struct registration *registration =
		handle_get(&provider.registrations, (uintptr_t)buffer->handle);
	uintptr_t offset;

	if (!registration) {
		*wsa_error = WSAEINVAL;
		return NULL;
	}
	offset = (uintptr_t)buffer->buf - registration->address;
	if (registration->device != socket->device)
		*wsa_error = WSAEINVAL;
	else if ((registration->rights & rights) != rights)
		*wsa_error = WSAEACCES;
	else if (offset > registration->length || buffer->len > registration->length - offset)
		*wsa_error = WSAEFAULT;
	else
		return registration;
	registration_put(registration);
	return NULL;
}

void registration_release(void *object)
{
	struct registration *registration = object;

	if (registration->kept)
		memory_unpin_kept(registration->device, registration->kept);
	else
		memory_unpin(registration->region);
	free(registration);
}

struct pinned *registration_pinned(const struct registration *registration)
{
	return registration->kept ? registration->kept :
		cache_region_handle(registration->region, registration->device->cached);
}

/* With the owner's lock held. */
static void unlink_registration(struct registration *registration)
{
	*registration->link = registration->next;
	if (registration->next)
		registration->next->link = registration->link;
}

void registration_close_all(struct san_socket *socket)
{
	while (socket->registrations) {
		struct registration *registration = socket->registrations;

		unlink_registration(registration);
		/* A request of another socket may still hold it, and lets it go then. */
		if (handle_close(&provider.registrations, registration->handle))
			registration_put(registration);
	}
}

HANDLE san_register_memory(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength, DWORD dwFlags,
			   LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);
	struct registration *registration;
	struct cache_region *region = NULL;
	DWORD rights = dwFlags & ~(DWORD)MEM_WSDIRECT_KEPT;
	bool kept = dwFlags & MEM_WSDIRECT_KEPT;
	struct pinned *pinned;
	struct device *device;
	uintptr_t handle;

	if (!socket)
		return NULL;
	socket_lock(socket);
	device = socket->state == SOCKET_CLOSED ? NULL : socket->device;
	socket_unlock(socket);
	if (!device) {
		*lpErrno = WSAENOTCONN;
		goto err_socket;
	}
	/* Without the lock: registering takes its time, and others need the socket. */
	pinned = kept ? memory_pin_kept(device, lpBuffer, dwBufferLength, rights, lpErrno) :
			memory_pin(device, lpBuffer, dwBufferLength, rights, &region, lpErrno);
	if (!pinned)
		goto err_socket;
	registration = malloc(sizeof(*registration));
	if (!registration)
		goto err_memory;
	*registration = (struct registration){
		.socket = socket,
		.device = device,
		.region = region,
		.kept = kept ? pinned : NULL,
		.local_key = pinned->mr->lkey,
		.address = (uintptr_t)lpBuffer,
		.length = dwBufferLength,
		.rights = rights,
	};
	socket_lock(socket);
	handle = 0;
	if (socket->state != SOCKET_CLOSED)
		handle = handle_open(&provider.registrations, registration);
	if (handle) {
		registration->handle = handle;
		registration->link = &socket->registrations;
		registration->next = socket->registrations;
		if (registration->next)
			registration->next->link = &registration->next;
		socket->registrations = registration;
		registration_put(registration);	/* ours; the table keeps its own */
	}
	socket_unlock(socket);
	if (!handle)
		goto err_registration;
	socket_put(socket);
	return (HANDLE)handle;

err_registration:
	free(registration);
err_memory:
	*lpErrno = WSAENOBUFS;
	if (kept)
		memory_unpin_kept(device, pinned);
	else
		memory_unpin(region);
err_socket:
	socket_put(socket);
	return NULL;
}

int san_deregister_memory(SOCKET s, HANDLE Handle, LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);
	struct registration *registration;
	int error = -ENOENT;

	if (!socket)
		return SOCKET_ERROR;
	registration = handle_get(&provider.registrations, (uintptr_t)Handle);
	if (registration) {
		socket_lock(socket);
		if (registration->socket == socket)
			error = handle_close_unused(&provider.registrations, (uintptr_t)Handle, 1);
		if (!error) {
			unlink_registration(registration);
			registration_put(registration);	/* the table's */
		}
		socket_unlock(socket);
		registration_put(registration);
	}
	socket_put(socket);
	return error ? fail(lpErrno, WSAEINVAL) : 0;
}
