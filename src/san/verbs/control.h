/* SPDX-License-Identifier: BSD-2-Clause */
/* WSPIoctl: control codes, extension functions, the list of addresses. */
#ifndef WSD_SAN_VERBS_CONTROL_H
#define WSD_SAN_VERBS_CONTROL_H

#include <wsdirect/ws2san.h>

int san_ioctl(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
	      LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
	      LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
	      LPWSATHREADID lpThreadId, LPINT lpErrno);

/*
 * Fills @list (of @size bytes) with the local addresses that RDMA devices serve.
 * 0 or a WSA code; *bytes: written, or needed with WSAEFAULT.
 */
int address_list_query(SOCKET_ADDRESS_LIST *list, DWORD size, DWORD *bytes);

#endif
