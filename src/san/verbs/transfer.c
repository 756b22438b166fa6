// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPSend, WSPRecv, WSPRdmaRead, WSPRdmaWrite, WSDirectPoll, WSPGetOverlappedResult.
 */
#include "transfer.h"

#include <errno.h>
#include <poll.h>

#include "exposure.h"
#include "registration.h"
#include "socket.h"
#include "system.h"

static void buffers_put(struct request *request)
{
	for (unsigned i = 0; i < request->held; i++)
		registration_put(request->registrations[i]);
	request->held = 0;
}

/* Turns the caller's buffers into the device's, holding their registrations where needed. */
static inline int buffers_get(const struct san_socket *socket, struct work *work,
			      const WSABUFEX *buffers, DWORD count)
{
	struct request *request = &work->request;
	bool incoming = request->opcode == OPCODE_RECEIVE || request->opcode == IBV_WR_RDMA_READ;
	bool message = request->opcode == OPCODE_RECEIVE || request->opcode == IBV_WR_SEND;
	uint64_t bytes = 0;
	int error = 0;

	if (count > WSDIRECT_MAX_BUFFERS)
		return WSAEINVAL;
	if (count && !buffers)
		return WSAEFAULT;
	for (DWORD i = 0; i < count; i++) {
		work->buffers[i].addr = (uintptr_t)buffers[i].buf;
		work->buffers[i].length = buffers[i].len;
		bytes += buffers[i].len;
	}
	if (bytes > (message ? MESSAGE_MOST : RDMA_MOST))
		return WSAEMSGSIZE;
	work->count = count;
	request->bytes = (uint32_t)bytes;
	for (DWORD i = 0; i < count; i++) {
		struct registration *registration =
			registration_get(socket, &buffers[i], incoming ? MEM_WRITE : MEM_READ,
					 &error);

		if (!registration) {
			buffers_put(request);
			return error;
		}
		work->buffers[i].lkey = registration->local_key;
		request->registrations[request->held++] = registration;
	}
	return 0;
}

/* May the request be made in the socket's state? */
static int state_error(const struct san_socket *socket, bool receive)
{
	if (socket->state == SOCKET_CONNECTED)
		return 0;
	switch (socket->state) {
	case SOCKET_RESOLVING:
	case SOCKET_CONNECTING:
		return receive ? 0 : WSAENOTCONN;
	case SOCKET_BROKEN:
		return socket->failure;
	case SOCKET_CLOSED:
		return WSAENOTSOCK;
	default:
		return WSAENOTCONN;
	}
}

/* A request in a state that allows it; the arguments are as for submit(). 0 or a WSA code. */
static inline int submit_locked(struct san_socket *socket, struct work *work,
				const WSABUFEX *buffers, DWORD count, LPWSAOVERLAPPED overlapped)
{
	int error = buffers_get(socket, work, buffers, count);

	if (error)
		return error;
	work->request.overlapped = overlapped;
	__atomic_store_n(&overlapped->Internal, STATUS_PENDING, __ATOMIC_RELAXED);
	error = queue_submit(socket, work);
	if (!error)
		return 0;
	if (error != -ENOMEM)
		socket_break(socket, WSAENETDOWN, "the device takes no requests");
	buffers_put(&work->request);
	return error == -ENOMEM ? WSAENOBUFS : WSAENETDOWN;
}

/*
 * The tail that all share who make one request. @work names everything but the buffers and the
 * overlapped structure.
 */
static int submit(struct san_socket *socket, struct work *work, const WSABUFEX *buffers,
		  DWORD count, LPWSAOVERLAPPED overlapped, LPINT lpErrno)
{
	int error;

	socket_lock(socket);
	error = state_error(socket, work->request.opcode == OPCODE_RECEIVE);
	if (!error)
		error = submit_locked(socket, work, buffers, count, overlapped);
	socket_unlock(socket);
	socket_put(socket);
	return fail(lpErrno, error ? error : WSA_IO_PENDING);
}

/* Arguments that are wrong whatever the socket. */
static int overlapped_error(const WSAOVERLAPPED *overlapped,
			    LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
	if (routine)
		return WSAEOPNOTSUPP;
	return overlapped ? 0 : WSAEINVAL;
}

int san_send(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
	     DWORD dwFlags, LPWSAOVERLAPPED lpOverlapped,
	     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
	     LPINT lpErrno)
{
	int error = overlapped_error(lpOverlapped, lpCompletionRoutine);
	struct san_socket *socket;
	struct work work;

	(void)lpNumberOfBytesSent;
	(void)lpThreadId;
	if (!error && dwFlags & ~(DWORD)MSG_WSDIRECT_SOLICITED)
		error = WSAEOPNOTSUPP;
	if (error)
		return fail(lpErrno, error);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	work_init(&work, IBV_WR_SEND);
	work.solicited = dwFlags & MSG_WSDIRECT_SOLICITED;
	return submit(socket, &work, lpBuffers, dwBufferCount, lpOverlapped, lpErrno);
}

int san_direct_send(SOCKET s, const WSABUF *lpBuffers, DWORD dwBufferCount, DWORD dwFlags,
		    LPINT lpErrno)
{
	struct san_socket *socket;
	int error;

	if (dwFlags & ~(DWORD)MSG_WSDIRECT_SOLICITED)
		return fail(lpErrno, WSAEOPNOTSUPP);
	if (dwBufferCount > WSDIRECT_MAX_BUFFERS)
		return fail(lpErrno, WSAEINVAL);
	if (dwBufferCount && !lpBuffers)
		return fail(lpErrno, WSAEFAULT);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	error = state_error(socket, false);
	if (!error)
		error = queue_send_copied(socket, lpBuffers, dwBufferCount,
					  dwFlags & MSG_WSDIRECT_SOLICITED);
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}

int san_recv(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
	     LPDWORD lpFlags, LPWSAOVERLAPPED lpOverlapped,
	     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
	     LPINT lpErrno)
{
	int error = overlapped_error(lpOverlapped, lpCompletionRoutine);
	struct san_socket *socket;
	struct work work;

	(void)lpNumberOfBytesRecvd;
	(void)lpThreadId;
	if (!error && lpFlags && *lpFlags)
		error = WSAEOPNOTSUPP;
	if (error)
		return fail(lpErrno, error);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	work_init(&work, OPCODE_RECEIVE);
	return submit(socket, &work, lpBuffers, dwBufferCount, lpOverlapped, lpErrno);
}

int san_direct_receive(SOCKET s, const WSABUFEX *lpBuffers, const LPWSAOVERLAPPED *lpOverlapped,
		       DWORD dwCount, LPINT lpErrno)
{
	struct san_socket *socket;
	int error;

	if (dwCount && (!lpBuffers || !lpOverlapped))
		return fail(lpErrno, WSAEFAULT);
	for (DWORD i = 0; i < dwCount; i++)
		if (!lpOverlapped[i])
			return fail(lpErrno, WSAEINVAL);
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	error = state_error(socket, true);
	for (DWORD i = 0; i < dwCount && !error; i++) {
		struct work work;

		work_init(&work, OPCODE_RECEIVE);
		error = submit_locked(socket, &work, &lpBuffers[i], 1, lpOverlapped[i]);
	}
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}

static int rdma(SOCKET s, enum ibv_wr_opcode opcode, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
		LPVOID lpDescriptor, DWORD dwDescriptorLength, DWORD dwOffset, DWORD dwFlags,
		LPWSAOVERLAPPED lpOverlapped,
		LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPINT lpErrno)
{
	int error = overlapped_error(lpOverlapped, lpCompletionRoutine);
	DWORD right = opcode == IBV_WR_RDMA_READ ? MEM_READ : MEM_WRITE;
	struct descriptor descriptor;
	struct san_socket *socket;
	struct work work;
	uint64_t bytes = 0;

	if (!error && dwFlags)
		error = WSAEOPNOTSUPP;
	if (!error && dwBufferCount && !lpBuffers)
		error = WSAEFAULT;
	if (!error && (!dwBufferCount || dwBufferCount > WSDIRECT_MAX_BUFFERS ||
		       descriptor_decode(lpDescriptor, dwDescriptorLength, &descriptor)))
		error = WSAEINVAL;
	if (!error && !(descriptor.rights & right))
		error = WSAEACCES;
	if (error)
		return fail(lpErrno, error);
	for (DWORD i = 0; i < dwBufferCount; i++)
		bytes += lpBuffers[i].len;
	if (dwOffset > descriptor.length || bytes > descriptor.length - dwOffset)
		return fail(lpErrno, WSAEFAULT);
	work_init(&work, (uint8_t)opcode);
	/* descriptor_decode() saw to it that this does not wrap. */
	work.remote_address = descriptor.address + dwOffset;
	work.key = descriptor.key;
	socket = socket_get(s, lpErrno);
	if (!socket)
		return SOCKET_ERROR;
	return submit(socket, &work, lpBuffers, dwBufferCount, lpOverlapped, lpErrno);
}

int san_rdma_read(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
		  LPVOID lpTargetBufferDescriptor, DWORD dwTargetDescriptorLength,
		  DWORD dwTargetBufferOffset, LPDWORD lpdwNumberOfBytesRead, DWORD dwFlags,
		  LPWSAOVERLAPPED lpOverlapped,
		  LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
		  LPWSATHREADID lpThreadId, LPINT lpErrno)
{
	(void)lpdwNumberOfBytesRead;
	(void)lpThreadId;
	return rdma(s, IBV_WR_RDMA_READ, lpBuffers, dwBufferCount, lpTargetBufferDescriptor,
		    dwTargetDescriptorLength, dwTargetBufferOffset, dwFlags, lpOverlapped,
		    lpCompletionRoutine, lpErrno);
}

int san_rdma_write(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
		   LPVOID lpTargetBufferDescriptor, DWORD dwTargetDescriptorLength,
		   DWORD dwTargetBufferOffset, LPDWORD lpdwNumberOfBytesWritten, DWORD dwFlags,
		   LPWSAOVERLAPPED lpOverlapped,
		   LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
		   LPWSATHREADID lpThreadId, LPINT lpErrno)
{
	(void)lpdwNumberOfBytesWritten;
	(void)lpThreadId;
	return rdma(s, IBV_WR_RDMA_WRITE, lpBuffers, dwBufferCount, lpTargetBufferDescriptor,
		    dwTargetDescriptorLength, dwTargetBufferOffset, dwFlags, lpOverlapped,
		    lpCompletionRoutine, lpErrno);
}

int san_poll(SOCKET s, DWORD dwLooks, LPINT lpErrno)
{
	struct san_socket *socket = socket_get(s, lpErrno);
	int error = 0;

	if (!socket)
		return SOCKET_ERROR;
	socket_lock(socket);
	while (!queue_poll(socket) && dwLooks > 1)
		dwLooks--;
	if (socket->state == SOCKET_BROKEN)
		error = queue_idle(&socket->queue) ? WSAECONNRESET : 0;
	else if (!socket->queue.cq)
		error = WSAENOTCONN;
	socket_unlock(socket);
	socket_put(socket);
	return error ? fail(lpErrno, error) : 0;
}

/* Completes what is done. */
static void poll_once(struct san_socket *socket)
{
	socket_lock(socket);
	queue_poll(socket);
	socket_unlock(socket);
}

/* Arm, look again, sleep: returns when there is reason to look once more. */
static void wait_for_completion(struct san_socket *socket, LPWSAOVERLAPPED overlapped)
{
	/* Bounded: another thread that polls completes requests without waking this one. */
	enum { MILLISECONDS = 10 };
	struct pollfd descriptor = { .fd = -1, .events = POLLIN };

	socket_lock(socket);
	if (socket->queue.channel) {
		queue_arm(&socket->queue, false);
		descriptor.fd = socket->queue.channel->fd;
	}
	queue_poll(socket);
	socket_unlock(socket);
	if (WSA_OVERLAPPED_PENDING(overlapped))
		system_raw(SYS_poll, &descriptor, 1, MILLISECONDS);
}

BOOL san_get_overlapped_result(SOCKET s, LPWSAOVERLAPPED lpOverlapped, LPDWORD lpcbTransfer,
			       BOOL fWait, LPDWORD lpdwFlags, LPINT lpErrno)
{
	struct san_socket *socket;
	int error;

	if (!lpOverlapped || !lpcbTransfer) {
		fail(lpErrno, WSAEFAULT);
		return FALSE;
	}
	socket = socket_get(s, lpErrno);
	if (!socket)
		return FALSE;
	if (WSA_OVERLAPPED_PENDING(lpOverlapped))
		poll_once(socket);
	while (fWait && WSA_OVERLAPPED_PENDING(lpOverlapped))
		wait_for_completion(socket, lpOverlapped);
	socket_put(socket);
	if (WSA_OVERLAPPED_PENDING(lpOverlapped)) {
		fail(lpErrno, WSA_IO_INCOMPLETE);
		return FALSE;
	}
	error = (int)lpOverlapped->Internal;
	*lpcbTransfer = (DWORD)lpOverlapped->InternalHigh;
	if (lpdwFlags)
		*lpdwFlags = 0;
	if (error) {
		fail(lpErrno, error);
		return FALSE;
	}
	return TRUE;
}
