// SPDX-License-Identifier: BSD-2-Clause
/*
 * A full table whose every function fails cleanly. WSPStartupEx starts from it,
 * so that no member is ever NULL. The table is initialised by position on purpose:
 * should the structure grow, the compiler says so.
 */
#include "provider.h"

#define UNUSED __attribute__((unused))

static SOCKET no_accept(SOCKET s UNUSED, struct sockaddr *addr UNUSED, LPINT addrlen UNUSED,
			LPCONDITIONPROC lpfnCondition UNUSED, DWORD_PTR dwCallbackData UNUSED,
			LPINT lpErrno)
{
	fail(lpErrno, WSAEOPNOTSUPP);
	return INVALID_SOCKET;
}

static int no_address_to_string(LPSOCKADDR lpsaAddress UNUSED, DWORD dwAddressLength UNUSED,
				LPWSAPROTOCOL_INFOW lpProtocolInfo UNUSED,
				LPWSTR lpszAddressString UNUSED,
				LPDWORD lpdwAddressStringLength UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_async_select(SOCKET s UNUSED, HWND hWnd UNUSED, unsigned int wMsg UNUSED,
			   LONG lEvent UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_bind(SOCKET s UNUSED, const struct sockaddr *name UNUSED, int namelen UNUSED,
		   LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

/* Also WSPCleanup's shape. */
static int no_call(LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_close_socket(SOCKET s UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_connect(SOCKET s UNUSED, const struct sockaddr *name UNUSED, int namelen UNUSED,
		      LPWSABUF lpCallerData UNUSED, LPWSABUF lpCalleeData UNUSED,
		      LPQOS lpSQOS UNUSED, LPQOS lpGQOS UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_duplicate_socket(SOCKET s UNUSED, DWORD dwProcessId UNUSED,
			       LPWSAPROTOCOL_INFOW lpProtocolInfo UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_enum_network_events(SOCKET s UNUSED, WSAEVENT hEventObject UNUSED,
				  LPWSANETWORKEVENTS lpNetworkEvents UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_event_select(SOCKET s UNUSED, WSAEVENT hEventObject UNUSED,
			   LONG lNetworkEvents UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static BOOL no_get_overlapped_result(SOCKET s UNUSED, LPWSAOVERLAPPED lpOverlapped UNUSED,
				     LPDWORD lpcbTransfer UNUSED, BOOL fWait UNUSED,
				     LPDWORD lpdwFlags UNUSED, LPINT lpErrno)
{
	fail(lpErrno, WSAEOPNOTSUPP);
	return FALSE;
}

/* The shape of WSPGetPeerName and WSPGetSockName. */
static int no_get_name(SOCKET s UNUSED, struct sockaddr *name UNUSED, LPINT namelen UNUSED,
		       LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_get_sock_opt(SOCKET s UNUSED, int level UNUSED, int optname UNUSED,
			   char *optval UNUSED, LPINT optlen UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static BOOL no_get_qos_by_name(SOCKET s UNUSED, LPWSABUF lpQOSName UNUSED, LPQOS lpQOS UNUSED,
			       LPINT lpErrno)
{
	fail(lpErrno, WSAEOPNOTSUPP);
	return FALSE;
}

static int no_ioctl(SOCKET s UNUSED, DWORD dwIoControlCode UNUSED, LPVOID lpvInBuffer UNUSED,
		    DWORD cbInBuffer UNUSED, LPVOID lpvOutBuffer UNUSED, DWORD cbOutBuffer UNUSED,
		    LPDWORD lpcbBytesReturned UNUSED, LPWSAOVERLAPPED lpOverlapped UNUSED,
		    LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine UNUSED,
		    LPWSATHREADID lpThreadId UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static SOCKET no_join_leaf(SOCKET s UNUSED, const struct sockaddr *name UNUSED, int namelen UNUSED,
			   LPWSABUF lpCallerData UNUSED, LPWSABUF lpCalleeData UNUSED,
			   LPQOS lpSQOS UNUSED, LPQOS lpGQOS UNUSED, DWORD dwFlags UNUSED,
			   LPINT lpErrno)
{
	fail(lpErrno, WSAEOPNOTSUPP);
	return INVALID_SOCKET;
}

/* The shape of WSPListen and WSPShutdown. */
static int no_number(SOCKET s UNUSED, int number UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_recv(SOCKET s UNUSED, LPWSABUFEX lpBuffers UNUSED, DWORD dwBufferCount UNUSED,
		   LPDWORD lpNumberOfBytesRecvd UNUSED, LPDWORD lpFlags UNUSED,
		   LPWSAOVERLAPPED lpOverlapped UNUSED,
		   LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine UNUSED,
		   LPWSATHREADID lpThreadId UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

/* The shape of WSPRecvDisconnect and WSPSendDisconnect. */
static int no_disconnect(SOCKET s UNUSED, LPWSABUF lpDisconnectData UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_recv_from(SOCKET s UNUSED, LPWSABUF lpBuffers UNUSED, DWORD dwBufferCount UNUSED,
			LPDWORD lpNumberOfBytesRecvd UNUSED, LPDWORD lpFlags UNUSED,
			struct sockaddr *lpFrom UNUSED, LPINT lpFromlen UNUSED,
			LPWSAOVERLAPPED lpOverlapped UNUSED,
			LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine UNUSED,
			LPWSATHREADID lpThreadId UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_select(int nfds UNUSED, fd_set *readfds UNUSED, fd_set *writefds UNUSED,
		     fd_set *exceptfds UNUSED, const struct timeval *timeout UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_send(SOCKET s UNUSED, LPWSABUFEX lpBuffers UNUSED, DWORD dwBufferCount UNUSED,
		   LPDWORD lpNumberOfBytesSent UNUSED, DWORD dwFlags UNUSED,
		   LPWSAOVERLAPPED lpOverlapped UNUSED,
		   LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine UNUSED,
		   LPWSATHREADID lpThreadId UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_send_to(SOCKET s UNUSED, LPWSABUF lpBuffers UNUSED, DWORD dwBufferCount UNUSED,
		      LPDWORD lpNumberOfBytesSent UNUSED, DWORD dwFlags UNUSED,
		      const struct sockaddr *lpTo UNUSED, int iTolen UNUSED,
		      LPWSAOVERLAPPED lpOverlapped UNUSED,
		      LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine UNUSED,
		      LPWSATHREADID lpThreadId UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static int no_set_sock_opt(SOCKET s UNUSED, int level UNUSED, int optname UNUSED,
			   const char *optval UNUSED, int optlen UNUSED, LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

static SOCKET no_socket(int af UNUSED, int type UNUSED, int protocol UNUSED,
			LPWSAPROTOCOL_INFOW lpProtocolInfo UNUSED, GROUP g UNUSED,
			DWORD dwFlags UNUSED, LPINT lpErrno)
{
	fail(lpErrno, WSAEOPNOTSUPP);
	return INVALID_SOCKET;
}

static int no_string_to_address(LPWSTR AddressString UNUSED, INT AddressFamily UNUSED,
				LPWSAPROTOCOL_INFOW lpProtocolInfo UNUSED,
				LPSOCKADDR lpAddress UNUSED, LPINT lpAddressLength UNUSED,
				LPINT lpErrno)
{
	return fail(lpErrno, WSAEOPNOTSUPP);
}

const WSPPROC_TABLE unsupported_table = {
	no_accept,
	no_address_to_string,
	no_async_select,
	no_bind,
	no_call,
	no_call,
	no_close_socket,
	no_connect,
	no_duplicate_socket,
	no_enum_network_events,
	no_event_select,
	no_get_overlapped_result,
	no_get_name,
	no_get_name,
	no_get_sock_opt,
	no_get_qos_by_name,
	no_ioctl,
	no_join_leaf,
	no_number,
	no_recv,
	no_disconnect,
	no_recv_from,
	no_select,
	no_send,
	no_disconnect,
	no_send_to,
	no_set_sock_opt,
	no_number,
	no_socket,
	no_string_to_address,
};
