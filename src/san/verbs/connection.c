// SPDX-License-Identifier: BSD-2-Clause
/*
 * Connecting, and the end of connections.
 *
 *	WSPConnect		RESOLVING	rdma_resolve_addr
 *	  ADDR_RESOLVED				the device is known; rdma_resolve_route
 *	  ROUTE_RESOLVED	CONNECTING	pair in INIT, receives posted; rdma_connect
 *	  CONNECT_RESPONSE	CONNECTED	pair in RTS; rdma_establish; FD_CONNECT
 *	  anything else		BROKEN		FD_CONNECT with the error
 *
 * The pair is made here rather than by librdmacm, on a context of our own (see
 * device.h), so its states are ours to change.
 *
 * Which error: the model lets a provider say WSAECONNREFUSED, WSAECONNRESET or
 * WSAEHOSTUNREACH only when TCP would fail too. A missing listener on the SAN says
 * nothing of that kind, since a plain TCP server may listen there.
 */
#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "log.h"
#include "refusal.h"

/* Milliseconds for finding the peer's link address and the route. */
#define RESOLVE_TIME	2000

/* "For ever": a peer without posted receives is told to us again and again. */
#define RNR_RETRIES	7
#define RETRIES		7

/* InfiniBand: nobody listens at this service. */
#define REJECT_NO_LISTENER	8
/* The consumer refused: private data says why. */
#define REJECT_CONSUMER		28

static uint8_t least(int one, int other)
{
	return (uint8_t)(one < other ? one : other);
}

void connection_parameters(const struct san_socket *socket, struct rdma_conn_param *parameters)
{
	*parameters = (struct rdma_conn_param){
		.responder_resources = socket->device->reads_answered,
		.initiator_depth = socket->device->reads_asked,
		.retry_count = RETRIES,
		.rnr_retry_count = RNR_RETRIES,
		.qp_num = socket->queue.qp->qp_num,
	};
}

/* ---- the steps, each with the lock held; 0 or a WSA code ---- */

static int resolve_route(struct san_socket *socket)
{
	struct ibv_context *chosen = socket->id->verbs;
	int error = 0;

	if (!chosen || !device_usable(chosen->device))
		return WSAENETUNREACH;
	if (!socket->device)
		socket->device = device_get(chosen, &error);
	if (!socket->device)
		return WSAENOBUFS;
	gate_enter();
	if (rdma_resolve_route(socket->id, RESOLVE_TIME))
		error = errno;
	gate_leave();
	if (!error)
		return 0;
	log_info("verbs: cannot look for a route: %s", log_errno_name(error));
	return WSAENETUNREACH;
}

static int send_request(struct san_socket *socket)
{
	struct rdma_conn_param parameters;
	int error = 0;

	if (!socket->queue.qp)
		error = queue_create(socket);
	if (!error)
		error = queue_prepare(socket);
	if (error)
		return error == -ENETDOWN || error == -EIO ? WSAENETDOWN : WSAENOBUFS;
	connection_parameters(socket, &parameters);
	parameters.private_data = socket->caller_data;
	parameters.private_data_len = socket->caller_data_length;
	gate_enter();
	if (rdma_connect(socket->id, &parameters))
		error = errno;
	gate_leave();
	if (!error) {
		socket_set_state(socket, SOCKET_CONNECTING, "the route is known");
		return 0;
	}
	log_info("verbs: cannot send a connection request: %s", log_errno_name(error));
	return WSAENETUNREACH;
}

/* Keeps the peer's answer, all behind the first @skip bytes, for who wants it. 0 or -ENOMEM. */
static int keep_answer(struct san_socket *socket, const struct cm_event *event, uint8_t skip)
{
	if (!socket->callee_data || event->data_length < skip)
		return 0;
	socket->answer = calloc(1, ANSWER_DATA);
	if (!socket->answer)
		return -ENOMEM;
	memcpy(socket->answer, event->data + skip, least(event->data_length - skip, ANSWER_DATA));
	return 0;
}

static int finish_connecting(struct san_socket *socket, const struct cm_event *event)
{
	int error = queue_start(socket);

	if (error)
		return WSAENETDOWN;
	if (keep_answer(socket, event, 0))
		return WSAENOBUFS;
	gate_enter();
	if (rdma_establish(socket->id))
		error = errno;
	gate_leave();
	if (error) {
		log_info("verbs: cannot establish a connection: %s", log_errno_name(error));
		return WSAETIMEDOUT;
	}
	socket_set_state(socket, SOCKET_CONNECTED, "the peer accepted");
	socket->connect_error = 0;
	socket_signal(socket, FD_CONNECT);
	return 0;
}

static int rejection(struct san_socket *socket, const struct cm_event *event)
{
	switch (event->status) {
	case REJECT_NO_LISTENER:
		log_info("verbs: nobody listens there on the SAN");
		return WSAETIMEDOUT;
	case REJECT_CONSUMER:
		/* Without memory for it there is none. */
		if (refusal_is_ours(event->data, event->data_length))
			keep_answer(socket, event, REFUSAL_LENGTH);
		return refusal_wsa_error(event->data, event->data_length);
	default:
		log_info("verbs: the connection was refused, reason %d", event->status);
		return WSAETIMEDOUT;
	}
}

/* The state in which each step's event is awaited; in any other it comes too late. */
static void step(struct san_socket *socket, const struct cm_event *event)
{
	int error = 0;

	switch (event->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		if (socket->state == SOCKET_RESOLVING)
			error = resolve_route(socket);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		if (socket->state == SOCKET_RESOLVING)
			error = send_request(socket);
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		if (socket->state == SOCKET_CONNECTING)
			error = finish_connecting(socket, event);
		break;
	default:
		break;
	}
	if (error)
		socket_break(socket, error, rdma_event_str(event->type));
}

void connection_event(const struct cm_event *event)
{
	struct san_socket *socket;
	int error;

	socket = socket_get(event->handle, &error);
	if (!socket)
		return;
	socket_lock(socket);
	switch (event->type) {
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		log_info("verbs: %s: %s", rdma_event_str(event->type),
			 log_errno_name(event->status));
		socket_break(socket, WSAENETUNREACH, rdma_event_str(event->type));
		break;
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		/* A socket that was connected before has lost its peer on the way. */
		error = socket->state == SOCKET_CONNECTED ? WSAECONNRESET : WSAETIMEDOUT;
		socket_break(socket, error, rdma_event_str(event->type));
		break;
	case RDMA_CM_EVENT_REJECTED:
		error = socket->state == SOCKET_CONNECTING ? rejection(socket, event) :
							     WSAECONNRESET;
		socket_break(socket, error, rdma_event_str(event->type));
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		socket_break(socket, WSAECONNRESET, rdma_event_str(event->type));
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		log_warn("verbs: a device is going away");
		socket_break(socket, WSAENETDOWN, rdma_event_str(event->type));
		/* It may take commands, that of a break among them, and do nothing any more. */
		socket->queue.lost = true;
		break;
	default:
		step(socket, event);
		break;
	}
	socket_unlock(socket);
	socket_put(socket);
}

/* ---- WSPConnect ---- */

static int connect_state_error(const struct san_socket *socket)
{
	switch (socket->state) {
	case SOCKET_NEW:
	case SOCKET_BOUND:
		return 0;
	case SOCKET_RESOLVING:
	case SOCKET_CONNECTING:
		return WSAEALREADY;
	case SOCKET_CONNECTED:
		return WSAEISCONN;
	case SOCKET_CLOSED:
		return WSAENOTSOCK;
	default:
		return WSAEINVAL;
	}
}

/* With the lock held. 0 or a WSA code. */
static int start_connecting(struct san_socket *socket, const struct sockaddr *name)
{
	struct sockaddr_storage address = { 0 };
	int error = 0;

	memcpy(&address, name, name->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
							    sizeof(struct sockaddr_in6));
	/* Where the device is known already, so is the completion descriptor from here on. */
	if (socket->device && queue_create(socket))
		return WSAENOBUFS;
	gate_enter();
	if (rdma_resolve_addr(socket->id, NULL, (struct sockaddr *)&address, RESOLVE_TIME))
		error = errno;
	gate_leave();
	if (error) {
		log_info("verbs: cannot look for the peer: %s", log_errno_name(error));
		queue_destroy(socket);
		return error == ENODEV || error == ENETUNREACH || error == EHOSTUNREACH ||
		       error == EADDRNOTAVAIL || error == EINVAL ? WSAENETUNREACH : WSAENOBUFS;
	}
	socket_set_state(socket, SOCKET_RESOLVING, "connect");
	return 0;
}

int san_connect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
		LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno)
{
	struct san_socket *socket;
	int error;

	if (!name || namelen < (int)sizeof(sa_family_t))
		return fail(lpErrno, WSAEFAULT);
	if (lpSQOS || lpGQOS)
		return fail(lpErrno, WSAEOPNOTSUPP);
	if (lpCallerData && (lpCallerData->len > WSDIRECT_CONNECT_DATA || !lpCallerData->buf))
		return fail(lpErrno, WSAEINVAL);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	error = connect_state_error(socket);
	if (!error && namelen < (int)(socket->family == AF_INET ? sizeof(struct sockaddr_in) :
								  sizeof(struct sockaddr_in6)))
		error = WSAEFAULT;
	if (!error && name->sa_family != socket->family)
		error = WSAEAFNOSUPPORT;
	if (!error) {
		socket->caller_data_length = lpCallerData ? (uint8_t)lpCallerData->len : 0;
		if (lpCallerData)
			memcpy(socket->caller_data, lpCallerData->buf, lpCallerData->len);
		socket->callee_data = lpCalleeData;
		error = start_connecting(socket, name);
	}
	socket_unlock(socket);
	socket_put(socket);
	return fail(lpErrno, error ? error : WSAEWOULDBLOCK);
}
