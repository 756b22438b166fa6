/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The four data calls and what tells about their end: checks of everything the
 * switch passes, then one queue_submit().
 */
#ifndef WSD_SAN_VERBS_TRANSFER_H
#define WSD_SAN_VERBS_TRANSFER_H

#include <wsdirect/ws2san.h>

/*
 * SO_MAX_RDMA_SIZE. Soft devices repeat a whole request when one packet is
 * lost, so larger ones lose more than they save; for others the per-request cost is
 * long since negligible at this size.
 */
#define RDMA_MOST	(256u * 1024)
/* SO_MAX_MSG_SIZE: likewise; the adapter itself takes 2^31. */
#define MESSAGE_MOST	(1024u * 1024)
/* The provider's wish for SO_RDMA_THRESHOLD_SIZE. */
#define THRESHOLD_WISH	(32u * 1024)

int san_send(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
	     DWORD dwFlags, LPWSAOVERLAPPED lpOverlapped,
	     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
	     LPINT lpErrno);
int san_recv(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
	     LPDWORD lpFlags, LPWSAOVERLAPPED lpOverlapped,
	     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
	     LPINT lpErrno);
int san_rdma_read(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
		  LPVOID lpTargetBufferDescriptor, DWORD dwTargetDescriptorLength,
		  DWORD dwTargetBufferOffset, LPDWORD lpdwNumberOfBytesRead, DWORD dwFlags,
		  LPWSAOVERLAPPED lpOverlapped,
		  LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
		  LPWSATHREADID lpThreadId, LPINT lpErrno);
int san_rdma_write(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
		   LPVOID lpTargetBufferDescriptor, DWORD dwTargetDescriptorLength,
		   DWORD dwTargetBufferOffset, LPDWORD lpdwNumberOfBytesWritten, DWORD dwFlags,
		   LPWSAOVERLAPPED lpOverlapped,
		   LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
		   LPWSATHREADID lpThreadId, LPINT lpErrno);
int san_poll(SOCKET s, DWORD dwLooks, LPINT lpErrno);
int san_direct_send(SOCKET s, const WSABUF *lpBuffers, DWORD dwBufferCount, DWORD dwFlags,
		    LPINT lpErrno);
int san_direct_receive(SOCKET s, const WSABUFEX *lpBuffers, const LPWSAOVERLAPPED *lpOverlapped,
		       DWORD dwCount, LPINT lpErrno);
BOOL san_get_overlapped_result(SOCKET s, LPWSAOVERLAPPED lpOverlapped, LPDWORD lpcbTransfer,
			       BOOL fWait, LPDWORD lpdwFlags, LPINT lpErrno);

#endif
