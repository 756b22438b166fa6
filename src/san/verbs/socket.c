// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sockets: making, binding, state, events, closing. See socket.h.
 */
#include "socket.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "events.h"
#include "exposure.h"
#include "log.h"
#include "registration.h"
#include "system.h"
#include "transfer.h"

/* ---- references and the lock ---- */

void socket_release(void *object)
{
	struct san_socket *socket = object;

	free(socket->answer);
	free(socket);
}

void socket_forked(void *object)
{
	struct san_socket *socket = object;

	/* Whatever holds this open would keep the parent's connection from ending with it. */
	if (socket->queue.channel)
		system_close(socket->queue.channel->fd);
}

static LPWSAOVERLAPPED announcement_next(LPWSAOVERLAPPED overlapped)
{
	return (LPWSAOVERLAPPED)(((uintptr_t)overlapped->OffsetHigh << 32) | overlapped->Offset);
}

static void announcement_link(LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED next)
{
	overlapped->Offset = (DWORD)(uintptr_t)next;
	overlapped->OffsetHigh = (DWORD)((uintptr_t)next >> 32);
}

static void announce(SOCKET switch_handle, LPWSAOVERLAPPED overlapped)
{
	while (overlapped) {
		/* The structure is the switch's again once it has been told. */
		LPWSAOVERLAPPED next = announcement_next(overlapped);
		DWORD bytes = (DWORD)overlapped->InternalHigh;
		int wsa_error = (int)(overlapped->InternalHigh >> 32), error = 0;

		overlapped->InternalHigh = bytes;
		__atomic_store_n(&overlapped->Internal, wsa_error, __ATOMIC_RELEASE);
		if (provider.upcalls.lpWPUCompleteOverlappedRequest(
			    switch_handle, overlapped, (DWORD)wsa_error, bytes, &error))
			log_warn("verbs: the switch did not take a completion: error %d", error);
		overlapped = next;
	}
}

void socket_announce(struct san_socket *socket)
{
	LPWSAOVERLAPPED first = socket->announce_first;

	socket->announce_first = socket->announce_last = NULL;
	socket->upcalls++;
	light_lock_release(&socket->lock);
	announce(socket->switch_handle, first);
	light_lock_acquire(&socket->lock);
	if (!--socket->upcalls)
		system_futex_wake(&socket->upcalls, INT_MAX);
}

/* Waits for threads that announce: what they tell the switch is told before the socket goes. */
static void announced_all(struct san_socket *socket)
{
	unsigned upcalls;

	socket_lock(socket);
	while ((upcalls = socket->upcalls)) {
		socket_unlock(socket);
		system_futex_wait(&socket->upcalls, (int)upcalls);
		socket_lock(socket);
	}
	socket_unlock(socket);
}

void socket_announce_later(struct san_socket *socket, LPWSAOVERLAPPED overlapped, int wsa_error,
			   uint32_t bytes)
{
	/* Pending to whoever looks until it is announced; the error waits in the upper half. */
	overlapped->InternalHigh = (ULONG_PTR)wsa_error << 32 | bytes;
	announcement_link(overlapped, NULL);
	if (socket->announce_last)
		announcement_link(socket->announce_last, overlapped);
	else
		socket->announce_first = overlapped;
	socket->announce_last = overlapped;
}

/* ---- state ---- */

static const char *const state_names[] = {
	[SOCKET_NEW] = "new",
	[SOCKET_BOUND] = "bound",
	[SOCKET_LISTENING] = "listening",
	[SOCKET_RESOLVING] = "resolving",
	[SOCKET_CONNECTING] = "connecting",
	[SOCKET_REQUESTED] = "requested",
	[SOCKET_CONNECTED] = "connected",
	[SOCKET_BROKEN] = "broken",
	[SOCKET_CLOSED] = "closed",
};

/* Bit n: may become state n. Every state may be closed. */
static const unsigned state_next[] = {
	[SOCKET_NEW] = 1u << SOCKET_BOUND | 1u << SOCKET_RESOLVING | 1u << SOCKET_REQUESTED,
	[SOCKET_BOUND] = 1u << SOCKET_LISTENING | 1u << SOCKET_RESOLVING,
	[SOCKET_LISTENING] = 1u << SOCKET_BROKEN,
	[SOCKET_RESOLVING] = 1u << SOCKET_CONNECTING | 1u << SOCKET_BROKEN,
	[SOCKET_CONNECTING] = 1u << SOCKET_CONNECTED | 1u << SOCKET_BROKEN,
	[SOCKET_REQUESTED] = 1u << SOCKET_CONNECTED | 1u << SOCKET_BROKEN,
	[SOCKET_CONNECTED] = 1u << SOCKET_BROKEN,
	[SOCKET_BROKEN] = 0,
	[SOCKET_CLOSED] = 0,
};

void socket_set_state(struct san_socket *socket, enum socket_state state, const char *cause)
{
	if (state != SOCKET_CLOSED && !(state_next[socket->state] & 1u << state))
		log_error("verbs: socket %lx: %s to %s is not foreseen: %s",
			  (unsigned long)socket->handle, state_names[socket->state],
			  state_names[state], cause);
	log_debug("verbs: socket %lx: %s to %s: %s", (unsigned long)socket->handle,
		  state_names[socket->state], state_names[state], cause);
	socket->state = state;
}

void socket_break(struct san_socket *socket, int failure, const char *cause)
{
	bool connecting = socket->state == SOCKET_RESOLVING || socket->state == SOCKET_CONNECTING;

	if (socket->state == SOCKET_BROKEN || socket->state == SOCKET_CLOSED)
		return;
	socket->failure = failure;
	socket_set_state(socket, SOCKET_BROKEN, cause);
	queue_break(socket);
	/* At once: whoever waits for a completion to look again would wait for ever. */
	if (socket->queue.lost)
		queue_poll(socket);
	if (connecting) {
		socket->connect_error = failure;
		socket_signal(socket, FD_CONNECT);
	}
}

/* ---- making and unmaking ---- */

struct san_socket *socket_new(int family)
{
	struct san_socket *socket = calloc(1, sizeof(*socket));

	if (!socket)
		return NULL;
	socket->family = family;
	socket->event = -1;
	socket->rdma_threshold = THRESHOLD_WISH;
	light_lock_init(&socket->lock);
	/*
	 * The handle is in nobody's hands before this returns, but WSPCleanup finds it
	 * in the table: the socket must be whole by then.
	 */
	socket->handle = handle_open(&provider.sockets, socket);
	if (!socket->handle) {
		socket_release(socket);
		return NULL;
	}
	return socket;
}

int socket_make_id(struct san_socket *socket)
{
	int error = 0;

	gate_enter();
	if (rdma_create_id(provider.channel, &socket->id, (void *)socket->handle, RDMA_PS_TCP)) {
		error = -errno;
		socket->id = NULL;
	}
	gate_leave();
	if (error && !channel_is_lost(-error))
		log_warn("verbs: no connection identifier: %s", log_errno_name(error));
	return error;
}

SOCKET san_socket(int af, int type, int protocol, LPWSAPROTOCOL_INFOW lpProtocolInfo, GROUP g,
		  DWORD dwFlags, LPINT lpErrno)
{
	struct san_socket *socket;
	SOCKET handle;
	int error;

	if (!atomic_load_explicit(&provider.running, memory_order_acquire))
		error = WSANOTINITIALISED;
	else if (af != AF_INET && af != AF_INET6)
		error = WSAEAFNOSUPPORT;
	else if (type != SOCK_STREAM)
		error = WSAESOCKTNOSUPPORT;
	else if (protocol && protocol != IPPROTO_TCP)
		error = WSAEPROTONOSUPPORT;
	else if (lpProtocolInfo && lpProtocolInfo->dwProviderReserved)
		error = WSAEOPNOTSUPP;
	else if (g || dwFlags & ~(DWORD)WSA_FLAG_OVERLAPPED)
		error = WSAEINVAL;
	else
		error = 0;
	if (error)
		goto err;
	socket = socket_new(af);
	if (!socket) {
		error = WSAENOBUFS;
		goto err;
	}
	if (socket_make_id(socket)) {
		error = WSAENOBUFS;
		goto err_socket;
	}
	socket->switch_handle = provider.upcalls.lpWPUCreateSocketHandle(provider.catalog_entry,
									 socket->handle, &error);
	if (socket->switch_handle == INVALID_SOCKET) {
		socket->switch_handle = 0;
		goto err_socket;
	}
	handle = socket->handle;
	socket_put(socket);
	return handle;

err_socket:
	if (handle_close(&provider.sockets, socket->handle)) {
		socket_destroy(socket, WSA_OPERATION_ABORTED);
		socket_put(socket);
	}
	socket_put(socket);
err:
	fail(lpErrno, error);
	return INVALID_SOCKET;
}

/*
 * What a listener still had waiting. Their connections are refused, not just
 * dropped, so that the peers know at once.
 */
static void refuse_requests(struct san_socket *first)
{
	while (first) {
		struct san_socket *next = first->request_next;

		request_refuse(first, REFUSAL_BACKLOG);
		first = next;
	}
}

void socket_destroy(struct san_socket *socket, int failure)
{
	struct san_socket *requests;
	struct rdma_cm_id *id;

	socket_lock(socket);
	if (socket->state == SOCKET_CONNECTED) {
		/* Tells the peer, whose requests then end; what it acknowledged has arrived. */
		gate_enter();
		rdma_disconnect(socket->id);
		gate_leave();
	}
	socket->failure = failure;
	socket_set_state(socket, SOCKET_CLOSED, "closed");
	/*
	 * The windows before the pair they are bound to: Soft-RoCE counts each as a user
	 * of the pair and waits for them for most of a minute.
	 */
	queue_break(socket);
	exposure_close_all(socket);
	queue_destroy(socket);
	registration_close_all(socket);
	requests = socket->request_first;
	socket->request_first = socket->request_last = NULL;
	id = socket->id;
	socket->id = NULL;
	socket->events_wanted = 0;
	socket_unlock(socket);

	refuse_requests(requests);
	if (id) {
		int error;

		/* Waits for events of this id to be acknowledged, which takes no lock of ours. */
		gate_enter();
		error = rdma_destroy_id(id) ? errno : 0;
		gate_leave();
		if (error && channel_is_lost(error))
			channel_abandon();
		else if (error)
			log_error("verbs: cannot destroy a connection identifier: %s",
				  log_errno_name(error));
	}

	announced_all(socket);
}

int san_close_socket(SOCKET s, LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);
	int error;

	if (!socket)
		return SOCKET_ERROR;
	if (!handle_close(&provider.sockets, s)) {
		socket_put(socket);
		return fail(lpErrno, WSAENOTSOCK);
	}
	socket_destroy(socket, WSA_OPERATION_ABORTED);
	if (socket->switch_handle)
		provider.upcalls.lpWPUCloseSocketHandle(socket->switch_handle, &error);
	socket_put(socket);	/* the table's */
	socket_put(socket);
	return 0;
}

/* ---- binding ---- */

static int bind_error(int error)
{
	switch (error) {
	case EADDRINUSE:
		return WSAEADDRINUSE;
	case EACCES:
	case EPERM:
		return WSAEACCES;
	case EINVAL:
		return WSAEINVAL;
	case EMFILE:
	case ENOMEM:
		return WSAENOBUFS;
	default:
		return WSAEADDRNOTAVAIL;
	}
}

static int set_id_flag(struct san_socket *socket, int option)
{
	int on = 1;

	return rdma_set_option(socket->id, RDMA_OPTION_ID, option, &on, sizeof(on)) ? errno : 0;
}

/* With the lock held. A WSA code. */
static int bind_id(struct san_socket *socket, const struct sockaddr *name)
{
	struct sockaddr_storage address = { 0 };
	struct ibv_context *chosen;
	int error = 0;

	memcpy(&address, name, name->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
							    sizeof(struct sockaddr_in6));
	gate_enter();
	/*
	 * The port is the TCP socket's, given by a kernel that knows nothing of the ports
	 * of the connection manager: others may have it there already. That does no
	 * harm to a connection, and listening checks for itself.
	 */
	error = set_id_flag(socket, RDMA_OPTION_ID_REUSEADDR);
	if (!error && socket->only_v6)
		error = set_id_flag(socket, RDMA_OPTION_ID_AFONLY);
	if (!error && rdma_bind_addr(socket->id, (struct sockaddr *)&address))
		error = errno;
	chosen = socket->id->verbs;
	gate_leave();
	if (error) {
		log_info("verbs: cannot bind: %s", log_errno_name(error));
		return bind_error(error);
	}
	/* Bound to an address of a device: requests need not wait to know it. */
	if (chosen && device_usable(chosen->device))
		socket->device = device_get(chosen, &error);
	if (chosen && !socket->device)
		return error == -ENOMEM ? WSAENOBUFS : WSAEADDRNOTAVAIL;
	socket_set_state(socket, SOCKET_BOUND, "bound");
	return 0;
}

int san_bind(SOCKET s, const struct sockaddr *name, int namelen, LPINT lpErrno)
{
	struct san_socket *socket;
	int error;

	if (!name || namelen < (int)sizeof(sa_family_t))
		return fail(lpErrno, WSAEFAULT);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	if (namelen < (int)(socket->family == AF_INET ? sizeof(struct sockaddr_in) :
							sizeof(struct sockaddr_in6)))
		error = WSAEFAULT;
	else if (name->sa_family != socket->family)
		error = WSAEAFNOSUPPORT;
	else if (socket->state != SOCKET_NEW)
		error = socket->state == SOCKET_CLOSED ? WSAENOTSOCK : WSAEINVAL;
	else
		error = bind_id(socket, name);
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}

/* ---- events ---- */

/* Resets the event object; never waits, even if the switch made it a blocking one. */
static void event_read(int event)
{
	struct pollfd descriptor = { .fd = event, .events = POLLIN };
	uint64_t count;

	if (system_raw(SYS_poll, &descriptor, 1, 0) > 0)
		system_read(event, &count, sizeof(count));
}

static void event_write(int event)
{
	uint64_t one = 1;

	/* Full means signalled; anything else is the switch's own doing. */
	system_write(event, &one, sizeof(one));
}

void socket_signal(struct san_socket *socket, LONG event)
{
	socket->events |= event;
	if (socket->events_wanted & event)
		event_write(socket->event);
}

int san_event_select(SOCKET s, WSAEVENT hEventObject, LONG lNetworkEvents, LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);

	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	socket->events_wanted = lNetworkEvents;
	socket->event = lNetworkEvents ? WSDIRECT_EVENT_DESCRIPTOR(hEventObject) : -1;
	if (socket->events & socket->events_wanted)
		event_write(socket->event);
	socket_unlock(socket);
	socket_put(socket);
	return 0;
}

/* The peer's answer goes where WSPConnect was told. With the lock held. */
static void deliver_answer(struct san_socket *socket)
{
	LPWSABUF room = socket->callee_data;

	socket->callee_data = NULL;
	if (room && !socket->answer)
		room->len = 0;
	if (!room || !socket->answer)
		return;
	if (room->len > ANSWER_DATA)
		room->len = ANSWER_DATA;
	memcpy(room->buf, socket->answer, room->len);
	free(socket->answer);
	socket->answer = NULL;
}

int san_enum_network_events(SOCKET s, WSAEVENT hEventObject, LPWSANETWORKEVENTS lpNetworkEvents,
			    LPINT lpErrno)
{
	struct san_socket *socket;

	if (!lpNetworkEvents)
		return fail(lpErrno, WSAEFAULT);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	memset(lpNetworkEvents, 0, sizeof(*lpNetworkEvents));
	socket_lock(socket);
	if (hEventObject)
		event_read(WSDIRECT_EVENT_DESCRIPTOR(hEventObject));
	lpNetworkEvents->lNetworkEvents = socket->events & socket->events_wanted;
	socket->events &= ~socket->events_wanted;
	if (lpNetworkEvents->lNetworkEvents & FD_CONNECT) {
		lpNetworkEvents->iErrorCode[FD_CONNECT_BIT] = socket->connect_error;
		deliver_answer(socket);
	}
	socket_unlock(socket);
	socket_put(socket);
	return 0;
}

/* ---- options ---- */

int san_get_sock_opt(SOCKET s, int level, int optname, char *optval, LPINT optlen, LPINT lpErrno)
{
	struct san_socket *socket;
	DWORD value;

	if (level != SOL_SOCKET)
		return fail(lpErrno, WSAENOPROTOOPT);
	if (!optval || !optlen || *optlen < (int)sizeof(value))
		return fail(lpErrno, WSAEFAULT);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	switch (optname) {
	case SO_MAX_MSG_SIZE:
		value = MESSAGE_MOST;
		break;
	case SO_MAX_RDMA_SIZE:
		value = RDMA_MOST;
		break;
	case SO_WSDIRECT_MAX_COPY_SIZE:
		value = socket->queue.inline_most;
		break;
	case SO_RDMA_THRESHOLD_SIZE:
		value = socket->rdma_threshold;
		break;
	default:
		value = 0;
		optname = 0;
		break;
	}
	socket_unlock(socket);
	socket_put(socket);
	if (!optname)
		return fail(lpErrno, WSAENOPROTOOPT);
	memcpy(optval, &value, sizeof(value));
	*optlen = sizeof(value);
	return 0;
}

int san_set_sock_opt(SOCKET s, int level, int optname, const char *optval, int optlen,
		     LPINT lpErrno)
{
	struct san_socket *socket;
	int error = 0, value = 0;

	if (level != SOL_SOCKET && level != IPPROTO_TCP && level != IPPROTO_IP &&
	    level != IPPROTO_IPV6)
		return fail(lpErrno, WSAENOPROTOOPT);
	if (!optval || optlen < 0)
		return fail(lpErrno, WSAEFAULT);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	if (optlen >= (int)sizeof(value))
		memcpy(&value, optval, sizeof(value));
	socket_lock(socket);
	if (level == SOL_SOCKET && optname == SO_RDMA_THRESHOLD_SIZE) {
		if (optlen < (int)sizeof(value))
			error = WSAEFAULT;
		else
			socket->rdma_threshold = (DWORD)value;
	} else if (level == SOL_SOCKET &&
		   (optname == SO_MAX_MSG_SIZE || optname == SO_MAX_RDMA_SIZE ||
		    optname == SO_WSDIRECT_MAX_COPY_SIZE ||
		    optname == SO_GROUP_ID || optname == SO_GROUP_PRIORITY)) {
		error = WSAENOPROTOOPT;
	} else if (level == IPPROTO_IPV6 && optname == IPV6_V6ONLY) {
		socket->only_v6 = value;
	}
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}
