// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPIoctl. Everything completes at once.
 */
#include "control.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "exposure.h"
#include "registration.h"
#include "socket.h"
#include "transfer.h"

/* Arguments of one call, and what it answers. */
struct control {
	const void *in;
	DWORD in_size;
	void *out;
	DWORD out_size;
	DWORD returned;
};

/* 0 or a WSA code. */
static int answer(struct control *control, const void *bytes, DWORD size)
{
	control->returned = size;
	if (!control->out || control->out_size < size)
		return WSAEFAULT;
	memcpy(control->out, bytes, size);
	return 0;
}

typedef void (*any_function)(void);

static int extension_function(struct control *control)
{
	static const struct {
		GUID guid;
		any_function function;
	} table[] = {
		{ WSAID_REGISTERMEMORY, (any_function)san_register_memory },
		{ WSAID_DEREGISTERMEMORY, (any_function)san_deregister_memory },
		{ WSAID_REGISTERRDMAMEMORY, (any_function)san_register_rdma_memory },
		{ WSAID_DEREGISTERRDMAMEMORY, (any_function)san_deregister_rdma_memory },
		{ WSAID_RDMAWRITE, (any_function)san_rdma_write },
		{ WSAID_RDMAREAD, (any_function)san_rdma_read },
		{ WSAID_MEMORYREGISTRATIONCACHECALLBACK,
		  (any_function)san_memory_registration_cache_callback },
		{ WSAID_WSDIRECT_POLL, (any_function)san_poll },
		{ WSAID_WSDIRECT_SEND, (any_function)san_direct_send },
		{ WSAID_WSDIRECT_RECEIVE, (any_function)san_direct_receive },
	};

	if (!control->in || control->in_size < sizeof(GUID))
		return WSAEFAULT;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!memcmp(control->in, &table[i].guid, sizeof(GUID)))
			return answer(control, &table[i].function, sizeof(any_function));
	return WSAEOPNOTSUPP;
}

/* Codes that need no socket. -1: not one of them. */
static int control_provider(DWORD code, struct control *control)
{
	int descriptor;

	switch (code) {
	case SIO_GET_EXTENSION_FUNCTION_POINTER:
		return extension_function(control);
	case SIO_ADDRESS_LIST_QUERY:
		return address_list_query(control->out, control->out ? control->out_size : 0,
					  &control->returned);
	case SIO_WSDIRECT_MEMORY_DESCRIPTOR:
		descriptor = memory_event_descriptor();
		return descriptor < 0 ? WSAEOPNOTSUPP :
					answer(control, &descriptor, sizeof(descriptor));
	default:
		return -1;
	}
}

static int arm(struct san_socket *socket, const struct control *control)
{
	DWORD what;

	if (!control->in || control->in_size < sizeof(what))
		return WSAEFAULT;
	memcpy(&what, control->in, sizeof(what));
	if (what != WSDIRECT_ARM_ANY && what != WSDIRECT_ARM_SOLICITED)
		return WSAEINVAL;
	switch (queue_arm(&socket->queue, what == WSDIRECT_ARM_SOLICITED)) {
	case 0:
		return 0;
	case -ENOTCONN:
		return WSAENOTCONN;
	default:
		return WSAENETDOWN;
	}
}

static int address(struct san_socket *socket, struct control *control, bool peer)
{
	const struct sockaddr *name;

	if (!socket->id || (peer && !socket->device))
		return WSAENOTCONN;
	name = peer ? rdma_get_peer_addr(socket->id) : rdma_get_local_addr(socket->id);
	switch (name->sa_family) {
	case AF_INET:
		return answer(control, name, sizeof(struct sockaddr_in));
	case AF_INET6:
		return answer(control, name, sizeof(struct sockaddr_in6));
	default:
		return WSAENOTCONN;
	}
}

/* With the lock held. 0 or a WSA code. */
static int control_socket(struct san_socket *socket, DWORD code, struct control *control)
{
	switch (code) {
	case SIO_WSDIRECT_COMPLETION_DESCRIPTOR:
		if (!socket->queue.channel)
			return WSAENOTCONN;
		return answer(control, &socket->queue.channel->fd, sizeof(int));
	case SIO_WSDIRECT_ARM:
		return arm(socket, control);
	case SIO_WSDIRECT_LOCAL_ADDRESS:
		return address(socket, control, false);
	case SIO_WSDIRECT_PEER_ADDRESS:
		return address(socket, control, true);
	default:
		return WSAEOPNOTSUPP;
	}
}

int san_ioctl(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
	      LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
	      LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
	      LPWSATHREADID lpThreadId, LPINT lpErrno)
{
	struct control control = {
		.in = lpvInBuffer,
		.in_size = cbInBuffer,
		.out = lpvOutBuffer,
		.out_size = cbOutBuffer,
	};
	struct san_socket *socket;
	int error;

	(void)lpThreadId;
	if (lpOverlapped || lpCompletionRoutine)
		return fail(lpErrno, WSAEOPNOTSUPP);
	if (!lpcbBytesReturned)
		return fail(lpErrno, WSAEFAULT);
	*lpcbBytesReturned = 0;
	if (!atomic_load_explicit(&provider.running, memory_order_acquire))
		return fail(lpErrno, provider.forked ? WSAENOTSOCK : WSANOTINITIALISED);
	error = control_provider(dwIoControlCode, &control);
	if (error < 0) {
		socket = socket_get(s, lpErrno);
		if (!socket)
			return SOCKET_ERROR;
		socket_lock(socket);
		error = control_socket(socket, dwIoControlCode, &control);
		socket_unlock(socket);
		socket_put(socket);
	}
	*lpcbBytesReturned = control.returned;
	return error ? fail(lpErrno, error) : 0;
}
