// SPDX-License-Identifier: BSD-2-Clause
/*
 * The passive side. A request becomes a socket in state REQUESTED the moment it
 * arrives, so that whatever happens to it while it waits finds its place; the
 * listener's queue holds a reference, and WSPAccept takes it out of the queue.
 *
 * The backlog is ours: the kernel's is left wide, for a refusal by the kernel
 * does not say why. The pair of an accepted socket may receive before WSPAccept
 * returns, but has no buffers then: a message that comes first is told to come
 * again (RNR), as often as it takes.
 */
#include "accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "connection.h"
#include "device.h"
#include "log.h"

/* What the kernel may keep for us between two looks of the provider's thread. */
#define KERNEL_BACKLOG	1024

int san_listen(SOCKET s, int backlog, LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);
	int error = 0;

	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	switch (socket->state) {
	case SOCKET_BOUND:
		gate_enter();
		if (rdma_listen(socket->id, KERNEL_BACKLOG))
			error = errno;
		gate_leave();
		if (error) {
			log_info("verbs: cannot listen: %s", log_errno_name(error));
			error = error == EADDRINUSE ? WSAEADDRINUSE : WSAENOBUFS;
			break;
		}
		socket_set_state(socket, SOCKET_LISTENING, "listen");
		break;
	case SOCKET_LISTENING:
		break;
	case SOCKET_NEW:
		error = WSAEINVAL;
		break;
	case SOCKET_CLOSED:
		error = WSAENOTSOCK;
		break;
	default:
		error = WSAEISCONN;
		break;
	}
	if (!error)
		socket->backlog = backlog > 0 ? backlog : 1;
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}

/* @answer: of the condition function, or NULL. */
static void id_reject(struct rdma_cm_id *id, enum refusal refusal, const WSABUF *answer)
{
	uint8_t data[REFUSAL_LENGTH + REFUSAL_ANSWER];
	uint8_t length = REFUSAL_LENGTH;

	refusal_encode(refusal, data);
	if (answer && answer->len <= REFUSAL_ANSWER) {
		memcpy(data + length, answer->buf, answer->len);
		length += (uint8_t)answer->len;
	}
	gate_enter();
	if (rdma_reject(id, data, length))
		log_debug("verbs: cannot refuse a request: %s", log_errno_name(errno));
	gate_leave();
}

static void id_refuse(struct rdma_cm_id *id, enum refusal refusal)
{
	id_reject(id, refusal, NULL);
	gate_enter();
	rdma_destroy_id(id);
	gate_leave();
}

static void request_answer(struct san_socket *request, enum refusal refusal, const WSABUF *answer)
{
	if (handle_close(&provider.sockets, request->handle)) {
		id_reject(request->id, refusal, answer);
		socket_destroy(request, WSA_OPERATION_ABORTED);
		socket_put(request);	/* the table's */
	}
	socket_put(request);	/* the queue's */
}

void request_refuse(struct san_socket *request, enum refusal refusal)
{
	request_answer(request, refusal, NULL);
}

/* A socket for the request, with the reference of the queue; NULL: out of memory. */
static struct san_socket *request_new(const struct cm_event *event, int family)
{
	struct san_socket *request = socket_new(family);

	if (!request)
		return NULL;
	request->id = event->request;
	request->id->context = (void *)request->handle;
	request->responder_resources = event->responder_resources;
	request->initiator_depth = event->initiator_depth;
	request->caller_data_length = event->data_length < sizeof(request->caller_data) ?
					      event->data_length : sizeof(request->caller_data);
	memcpy(request->caller_data, event->data, request->caller_data_length);
	socket_set_state(request, SOCKET_REQUESTED, "a request arrived");
	return request;
}

void request_arrived(const struct cm_event *event)
{
	struct san_socket *listener, *request;
	int error;

	listener = socket_get(event->handle, &error);
	if (!listener) {
		id_refuse(event->request, REFUSAL_BACKLOG);
		return;
	}
	socket_lock(listener);
	if (listener->state != SOCKET_LISTENING || listener->requests >= listener->backlog) {
		log_info("verbs: a connection was refused: %s",
			 listener->state == SOCKET_LISTENING ? "the backlog is full" :
							       "the listener is closing");
		socket_unlock(listener);
		id_refuse(event->request, REFUSAL_BACKLOG);
		goto out;
	}
	request = request_new(event, rdma_get_local_addr(event->request)->sa_family);
	if (!request) {
		socket_unlock(listener);
		id_refuse(event->request, REFUSAL_DECLINED);
		goto out;
	}
	if (listener->request_last)
		listener->request_last->request_next = request;
	else
		listener->request_first = request;
	listener->request_last = request;
	listener->requests++;
	socket_signal(listener, FD_ACCEPT);
	socket_unlock(listener);
out:
	socket_put(listener);
}

/* The first request; NULL with a WSA code. */
static struct san_socket *request_take(struct san_socket *listener, int *wsa_error)
{
	struct san_socket *request = NULL;

	socket_lock(listener);
	if (listener->state != SOCKET_LISTENING) {
		*wsa_error = listener->state == SOCKET_CLOSED ? WSAENOTSOCK : WSAEINVAL;
	} else if (!listener->request_first) {
		*wsa_error = WSAEWOULDBLOCK;
	} else {
		request = listener->request_first;
		listener->request_first = request->request_next;
		if (!request->request_next)
			listener->request_last = NULL;
		request->request_next = NULL;
		listener->requests--;
		/* Taking one is what makes FD_ACCEPT speak of the next. */
		if (listener->request_first)
			socket_signal(listener, FD_ACCEPT);
	}
	socket_unlock(listener);
	return request;
}

/* Deferred: it keeps its place. Refused when the listener is gone meanwhile. */
static void request_give_back(struct san_socket *listener, struct san_socket *request)
{
	bool listening;

	socket_lock(listener);
	listening = listener->state == SOCKET_LISTENING;
	if (listening) {
		request->request_next = listener->request_first;
		listener->request_first = request;
		if (!request->request_next)
			listener->request_last = request;
		listener->requests++;
	}
	socket_unlock(listener);
	if (!listening)
		request_refuse(request, REFUSAL_BACKLOG);
}

static unsigned address_length(const struct sockaddr *address)
{
	return address->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
					       sizeof(struct sockaddr_in6);
}

/* Asks the switch. The identifier stays while the caller has its reference. */
static int ask(struct san_socket *request, LPCONDITIONPROC condition, DWORD_PTR context,
	       WSABUF *answer)
{
	struct sockaddr *peer = rdma_get_peer_addr(request->id);
	struct sockaddr *local = rdma_get_local_addr(request->id);
	WSABUF caller_id = { address_length(peer), (char *)peer };
	WSABUF callee_id = { address_length(local), (char *)local };
	WSABUF data = { request->caller_data_length, (char *)request->caller_data };
	ULONG room = answer->len;
	GROUP group = 0;
	int result;

	if (!condition) {
		answer->len = 0;
		return CF_ACCEPT;
	}
	result = condition(&caller_id, &data, NULL, NULL, &callee_id, answer, &group, context);
	if (answer->len > room)
		answer->len = 0;
	return result;
}

static int take_connection(struct san_socket *request, const WSABUF *answer)
{
	struct rdma_conn_param parameters;
	struct ibv_context *chosen = request->id->verbs;
	int error;

	if (!chosen || !device_usable(chosen->device))
		return -ENODEV;
	request->device = device_get(chosen, &error);
	if (!request->device)
		return error;
	error = queue_create(request);
	if (!error)
		error = queue_prepare(request);
	if (!error)
		error = queue_start(request);
	if (error)
		return error;
	connection_parameters(request, &parameters);
	if (parameters.responder_resources > request->responder_resources)
		parameters.responder_resources = request->responder_resources;
	if (parameters.initiator_depth > request->initiator_depth)
		parameters.initiator_depth = request->initiator_depth;
	parameters.private_data = answer->buf;
	parameters.private_data_len = (uint8_t)answer->len;
	gate_enter();
	error = rdma_accept(request->id, &parameters) ? -errno : 0;
	gate_leave();
	if (!error)
		socket_set_state(request, SOCKET_CONNECTED, "accepted");
	return error;
}

/* A connected socket, or a WSA code. Takes over the queue's reference. */
static SOCKET request_accept(struct san_socket *request, const WSABUF *answer, int *wsa_error)
{
	SOCKET handle = request->handle;
	int error = 0;

	request->switch_handle = provider.upcalls.lpWPUCreateSocketHandle(provider.catalog_entry,
									  handle, wsa_error);
	if (request->switch_handle == INVALID_SOCKET) {
		request->switch_handle = 0;
		request_refuse(request, REFUSAL_DECLINED);
		return INVALID_SOCKET;
	}
	socket_lock(request);
	error = request->state == SOCKET_REQUESTED ? take_connection(request, answer) : -ECONNRESET;
	socket_unlock(request);
	if (!error) {
		socket_put(request);
		return handle;
	}
	log_info("verbs: cannot accept: %s", log_errno_name(error));
	*wsa_error = error == -ECONNRESET || error == -EINVAL ? WSAECONNRESET : WSAENOBUFS;
	provider.upcalls.lpWPUCloseSocketHandle(request->switch_handle, &error);
	request->switch_handle = 0;
	request_refuse(request, REFUSAL_DECLINED);
	return INVALID_SOCKET;
}

SOCKET san_accept(SOCKET s, struct sockaddr *addr, LPINT addrlen, LPCONDITIONPROC lpfnCondition,
		  DWORD_PTR dwCallbackData, LPINT lpErrno)
{
	struct san_socket *listener = socket_get(s, lpErrno);
	struct san_socket *request;
	char room[ANSWER_DATA];
	WSABUF answer = { sizeof(room), room };
	SOCKET accepted = INVALID_SOCKET;
	const struct sockaddr *peer;

	if (!listener)
		return INVALID_SOCKET;
	request = request_take(listener, lpErrno);
	if (!request)
		goto out;
	peer = rdma_get_peer_addr(request->id);
	if (addr && (!addrlen || *addrlen < (int)address_length(peer))) {
		*lpErrno = WSAEFAULT;
		request_give_back(listener, request);
		goto out;
	}
	switch (ask(request, lpfnCondition, dwCallbackData, &answer)) {
	case CF_ACCEPT:
		if (addr) {
			*addrlen = (int)address_length(peer);
			memcpy(addr, peer, (size_t)*addrlen);
		}
		accepted = request_accept(request, &answer, lpErrno);
		break;
	case CF_DEFER:
		*lpErrno = WSATRY_AGAIN;
		request_give_back(listener, request);
		break;
	case CF_WSDIRECT_DECLINE:
		*lpErrno = WSAECONNREFUSED;
		request_answer(request, REFUSAL_DECLINED, &answer);
		break;
	default:
		*lpErrno = WSAECONNREFUSED;
		request_answer(request, REFUSAL_REJECTED, &answer);
		break;
	}
out:
	socket_put(listener);
	return accepted;
}
