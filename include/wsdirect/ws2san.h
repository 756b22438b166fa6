/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SAN service provider interface of Windows Sockets Direct, for Linux.
 *
 * Between the switch, which gives applications the semantics of TCP sockets,
 * and a service provider, which drives one kind of system area network. The
 * provider is a shared library that exports WSPStartupEx and nothing else.
 *
 * Rules for every function:
 *  - Result and error. int functions return 0 or SOCKET_ERROR, others say what
 *    they return. On failure *lpErrno holds a WSA error code; otherwise it is
 *    left alone. No function sets errno on purpose.
 *  - Handles. The SOCKET of a call into the provider is the provider's own; the
 *    SOCKET of an up-call is the switch's, from WPUCreateSocketHandle.
 *  - Threads. Any function may be called from any thread at any time, except
 *    from a signal handler. WSPCloseSocket may overlap other calls on the same
 *    socket: those answer WSAENOTSOCK or WSAENOTCONN, or complete with
 *    WSA_OPERATION_ABORTED.
 *  - Blocking. None waits for the peer, except WSPGetOverlappedResult with
 *    fWait, and WSPDeregisterRdmaMemory, for some seconds at most.
 *  - fork. In the child, calls on sockets of the parent, and WSPIoctl on none,
 *    answer WSAENOTSOCK and touch no device; the provider's descriptors are
 *    closed there. The child may call WSPStartupEx anew. The parent notices
 *    nothing.
 *  - Any function that is given a socket: WSAENOTSOCK (no such socket),
 *    WSANOTINITIALISED (no WSPStartupEx). The errors that a function names are
 *    all others that it answers.
 *
 * Names, order and numbers are those of the Windows driver kit's ws2san.h and
 * ws2spi.h; the page of the Winsock SPI reference with a function's name
 * describes its general form, and here stands what holds on a SAN. What this
 * project added has WSDirect or WSDIRECT in its name, and is in the last section
 * unless it belongs to a list further up, where it is called ours. One
 * difference in a signature: WSPSend and WSPRecv take LPWSABUFEX, for their
 * buffers must be registered; on Windows the provider casts.
 */
#ifndef WSDIRECT_WS2SAN_H
#define WSDIRECT_WS2SAN_H

#include <wsdirect/ws2types.h>

#include <sys/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Windows types of functions that the switch never calls. */
typedef HANDLE HWND;
typedef struct timeval *LPTIMEVAL;

/* dwFlags of WSPRegisterMemory and WSPRegisterRdmaMemory. */
#define MEM_READ	1	/* data leaves: sends, RDMA writes from it; exposed: peer reads */
#define MEM_WRITE	2	/* data enters: receives, RDMA reads into it; exposed: peer writes */
#define MEM_READWRITE	3

/*
 * Ours, for WSPRegisterMemory: the caller keeps the memory mapped as it is while it
 * is registered, as a switch does with its message buffers. Nobody needs to watch
 * it then, and it stays out of the registration cache.
 */
#define MEM_WSDIRECT_KEPT	0x0100
/*
 * Ours, for WSPRegisterRdmaMemory: lpBuffer points to a WSABUFEX inside memory that
 * is registered already with the rights wanted, and dwBufferLength is 0. Exposes it
 * without registering it a second time; the registration must outlive the exposure
 * (WSPDeregisterMemory answers WSAEINVAL before).
 */
#define MEM_WSDIRECT_REGISTERED	0x0200

/* Extension functions: WSPIoctl(SIO_GET_EXTENSION_FUNCTION_POINTER), in: GUID, out: pointer. */
#define WSAID_REGISTERMEMORY \
	{ 0xC0B422F5, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_DEREGISTERMEMORY \
	{ 0xC0B422F6, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_REGISTERRDMAMEMORY \
	{ 0xC0B422F7, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_DEREGISTERRDMAMEMORY \
	{ 0xC0B422F8, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_RDMAWRITE \
	{ 0xC0B422F9, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_RDMAREAD \
	{ 0xC0B422FA, 0xF58C, 0x11D1, { 0xAD, 0x6C, 0x00, 0xC0, 0x4F, 0xA3, 0x4A, 0x2D } }
#define WSAID_MEMORYREGISTRATIONCACHECALLBACK \
	{ 0xE5DA4AF8, 0xD824, 0x48CD, { 0xA7, 0x99, 0x63, 0x37, 0xA9, 0x8E, 0xD2, 0xAF } }
/* Ours. */
#define WSAID_WSDIRECT_POLL \
	{ 0x6D1E5F2B, 0x0C47, 0x4B6A, { 0x9B, 0x1D, 0x5A, 0x83, 0xE4, 0x27, 0xC6, 0x90 } }
#define WSAID_WSDIRECT_SEND \
	{ 0x7B1FC32A, 0xDA45, 0x40C4, { 0x8D, 0x23, 0xB2, 0xE1, 0xAA, 0xD5, 0xA0, 0x99 } }
#define WSAID_WSDIRECT_RECEIVE \
	{ 0x3E85B0D4, 0x91F2, 0x4C1B, { 0xA6, 0x0F, 0x27, 0x5C, 0xD8, 0x94, 0x1E, 0x73 } }

/* ------------------------------------------------------------------------ *
 * Functions of the provider that the switch calls.
 * ------------------------------------------------------------------------ */

/**
 * WSPSocket - make a socket
 * @af: AF_INET or AF_INET6 (WSAEAFNOSUPPORT)
 * @type: SOCK_STREAM (WSAESOCKTNOSUPPORT)
 * @protocol: IPPROTO_TCP or 0 (WSAEPROTONOSUPPORT)
 * @lpProtocolInfo: NULL, or from WSPDuplicateSocket with its dwProviderReserved
 *	(WSAEOPNOTSUPP where sockets cannot be duplicated)
 * @g: 0 (WSAEINVAL)
 * @dwFlags: WSA_FLAG_OVERLAPPED or 0 (WSAEINVAL)
 * Returns the provider's handle, or INVALID_SOCKET. Asks for the switch's handle
 * with WPUCreateSocketHandle(dwCatalogEntryId, the provider's handle).
 * Errors: those above, WSANOTINITIALISED, WSAENOBUFS, whatever WPUCreateSocketHandle
 * said.
 */
typedef SOCKET (WSPAPI *LPWSPSOCKET)(int af, int type, int protocol,
				     LPWSAPROTOCOL_INFOW lpProtocolInfo, GROUP g, DWORD dwFlags,
				     LPINT lpErrno);

/**
 * WSPBind - give the socket its local address
 * @name: full address and port; the wildcard address for listening. A port that
 *	sockets of such providers are bound to is no error; WSPListen fails then.
 * Errors: WSAEADDRINUSE (by another program of the SAN), WSAEADDRNOTAVAIL (not an
 * address of this SAN), WSAEACCES (a port for the privileged), WSAEAFNOSUPPORT (not the
 * socket's family), WSAEINVAL (bound already, or connecting), WSAEFAULT (NULL, or namelen
 * too small), WSAENOBUFS.
 */
typedef int (WSPAPI *LPWSPBIND)(SOCKET s, const struct sockaddr *name, int namelen, LPINT lpErrno);

/**
 * WSPListen - take connection requests
 * @backlog: requests kept until WSPAccept; further ones are refused at once and
 *	WSPConnect there ends with WSAECONNREFUSED. 0 counts as 1.
 * May be called again to change the backlog.
 * Errors: WSAEINVAL (not bound), WSAEADDRINUSE, WSAEISCONN (connecting, connected, or
 * that is over), WSAENOBUFS.
 */
typedef int (WSPAPI *LPWSPLISTEN)(SOCKET s, int backlog, LPINT lpErrno);

/**
 * WSPConnect - start to connect
 * @lpCallerData: NULL, or private data of at most WSDIRECT_CONNECT_DATA bytes
 *	(WSAEINVAL); copied. The peer's condition function sees it.
 * @lpCalleeData: NULL, or room for the peer's answer (lpCalleeData of its
 *	condition function). Filled, and len set, by the WSPEnumNetworkEvents
 *	call that reports FD_CONNECT; must stay valid until then. Behind a shorter
 *	answer come zeros. len is 0 where there is none: the attempt ended, but not by
 *	the condition function.
 * @lpSQOS, @lpGQOS: NULL (WSAEOPNOTSUPP)
 * Always answers SOCKET_ERROR; WSAEWOULDBLOCK means started. The result comes as
 * FD_CONNECT:
 *	0		connected
 *	WSAECONNREFUSED	the peer's backlog is full, or its condition function
 *			answered CF_REJECT. TCP would fail too.
 *	WSAETIMEDOUT	no answer, nobody listens on this SAN, or the request was
 *			declined (CF_WSDIRECT_DECLINE, or by another program):
 *			try TCP.
 *	WSAENETUNREACH	no path to the address over this SAN: try TCP.
 *	WSAENOBUFS, WSAENETDOWN: the own side failed: try TCP.
 * WSPRecv is allowed from here on: see there. WSPCloseSocket cancels promptly.
 * Other errors, which start nothing: WSAENETUNREACH and WSAENOBUFS as above, WSAEALREADY,
 * WSAEISCONN, WSAEINVAL (listening, or it is over), WSAEAFNOSUPPORT (not the socket's
 * family), WSAEFAULT (name NULL, or namelen too small).
 */
typedef int (WSPAPI *LPWSPCONNECT)(SOCKET s, const struct sockaddr *name, int namelen,
				   LPWSABUF lpCallerData, LPWSABUF lpCalleeData, LPQOS lpSQOS,
				   LPQOS lpGQOS, LPINT lpErrno);

/**
 * WSPAccept - take the first waiting connection request
 * @addr, @addrlen: NULL, or room for the peer's address (WSAEFAULT when too small: the
 *	request stays first in the queue)
 * @lpfnCondition: called in the calling thread, without locks held; NULL accepts
 *	all. lpCallerId and lpCalleeId hold the sockaddr of the peer and of this
 *	end, lpCallerData the peer's private data: exactly the bytes given to its
 *	WSPConnect when it is a provider of this kind, perhaps with zeros
 *	appended, or anything at all from a stranger. lpCalleeData comes with room of len bytes
 *	(at least WSDIRECT_CONNECT_DATA); the function may fill it and must set
 *	len (0: nothing). With a refusal go at most WSDIRECT_CONNECT_DATA bytes of it. All
 *	are valid during the call only.
 *	CF_ACCEPT takes the connection, CF_REJECT refuses it (WSAECONNREFUSED at
 *	the peer), CF_WSDIRECT_DECLINE refuses it so that the peer tries TCP,
 *	CF_DEFER leaves it first in the queue.
 * Returns a new connected socket: WSPRecv and WSPSend may be called at once. It
 * reports no FD_CONNECT. Its switch handle has been asked for as in WSPSocket.
 * INVALID_SOCKET with WSAEWOULDBLOCK (none waiting), WSAECONNREFUSED (rejected or
 * declined), WSATRY_AGAIN (deferred), WSAECONNRESET (the peer gave up meanwhile),
 * WSAEINVAL (not listening), WSAENOBUFS (this end failed) or whatever
 * WPUCreateSocketHandle said; after these two the peer tries TCP.
 */
typedef SOCKET (WSPAPI *LPWSPACCEPT)(SOCKET s, struct sockaddr *addr, LPINT addrlen,
				     LPCONDITIONPROC lpfnCondition, DWORD_PTR dwCallbackData,
				     LPINT lpErrno);

/**
 * WSPEventSelect - say which event object is signalled for which events
 * @hEventObject: WSDIRECT_EVENT_HANDLE(an eventfd); stays the caller's, who keeps it
 *	open until it is replaced or the socket closed
 * @lNetworkEvents: of FD_CONNECT | FD_ACCEPT (others are never signalled); 0 stops.
 *	With 0 hEventObject is ignored.
 * Replaces the previous call. Signalled (1 is added to the eventfd) at once when a
 * wanted event has happened already and was not yet enumerated. FD_ACCEPT is
 * signalled again by a WSPAccept that leaves further requests waiting.
 */
typedef int (WSPAPI *LPWSPEVENTSELECT)(SOCKET s, WSAEVENT hEventObject, LONG lNetworkEvents,
				       LPINT lpErrno);

/**
 * WSPEnumNetworkEvents - what happened since the last call
 * @hEventObject: NULL, or the event object, which is reset (read) too
 * Returns and forgets the events selected by WSPEventSelect. WSAEFAULT:
 * lpNetworkEvents is NULL.
 */
typedef int (WSPAPI *LPWSPENUMNETWORKEVENTS)(SOCKET s, WSAEVENT hEventObject,
					     LPWSANETWORKEVENTS lpNetworkEvents, LPINT lpErrno);

/**
 * WSPSend - send one message
 * @lpBuffers: at most WSDIRECT_MAX_BUFFERS (WSAEINVAL), registered with MEM_READ, together
 *	at most SO_MAX_MSG_SIZE bytes (WSAEMSGSIZE)
 * @lpNumberOfBytesSent: ignored
 * @dwFlags: MSG_WSDIRECT_SOLICITED or 0 (WSAEOPNOTSUPP)
 * @lpOverlapped: required (WSAEINVAL); see WSAOVERLAPPED. Internal is set to
 *	STATUS_PENDING before the request starts.
 * @lpCompletionRoutine: NULL (WSAEOPNOTSUPP)
 * Answers SOCKET_ERROR; WSA_IO_PENDING means started, and only then will the request complete.
 * It takes one receive of the peer, whose buffers must hold it all: otherwise the connection
 * breaks. Requests of one socket run in order, RDMA included; never refused for want of queue
 * room. Complete when the peer's adapter has the data:
 *	0			InternalHigh bytes went
 *	WSA_OPERATION_ABORTED	WSPCloseSocket
 *	WSAECONNRESET		the connection is over, whoever or whatever ended it
 *	WSAENETDOWN		the device failed
 *	WSAEFAULT		the adapter could not reach a buffer; so the connection is over
 * Errors: those above; WSAENOTCONN; WSAEINVAL also for a handle that is none or of another
 * adapter; WSAEFAULT (a buffer outside its registration, or lpBuffers NULL), WSAEACCES
 * (registered without the right), WSAENOBUFS, WSAENETDOWN (the device takes no requests: the
 * connection is over); afterwards what the requests ended with: WSAECONNRESET, WSAENETDOWN, or
 * the result of a WSPConnect that failed.
 */
typedef int (WSPAPI *LPWSPSEND)(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
				LPDWORD lpNumberOfBytesSent, DWORD dwFlags,
				LPWSAOVERLAPPED lpOverlapped,
				LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				LPWSATHREADID lpThreadId, LPINT lpErrno);

/**
 * WSPRecv - post buffers for one message
 * @lpBuffers: as WSPSend, registered with MEM_WRITE
 * @lpNumberOfBytesRecvd: ignored
 * @lpFlags: may be NULL; *lpFlags must be 0 (WSAEOPNOTSUPP)
 * As WSPSend, errors too. Messages take receives in the order posted. Allowed on a connecting
 * socket too, before FD_CONNECT: those receives are posted before the peer can
 * send, and complete with the connect's error should it fail. InternalHigh: bytes
 * received.
 */
typedef int (WSPAPI *LPWSPRECV)(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
				LPDWORD lpNumberOfBytesRecvd, LPDWORD lpFlags,
				LPWSAOVERLAPPED lpOverlapped,
				LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				LPWSATHREADID lpThreadId, LPINT lpErrno);

/**
 * WSPGetOverlappedResult - is the request complete, and how did it end
 * @lpcbTransfer: bytes moved
 * @fWait: wait for it
 * @lpdwFlags: set to 0; may be NULL
 * Polls the device when the request is pending. Returns TRUE when it completed
 * without error; FALSE with WSA_IO_INCOMPLETE (pending), the request's error, or WSAEFAULT
 * (lpOverlapped or lpcbTransfer NULL).
 */
typedef BOOL (WSPAPI *LPWSPGETOVERLAPPEDRESULT)(SOCKET s, LPWSAOVERLAPPED lpOverlapped,
						LPDWORD lpcbTransfer, BOOL fWait,
						LPDWORD lpdwFlags, LPINT lpErrno);

/**
 * WSPGetSockOpt, WSPSetSockOpt - options of level SOL_SOCKET
 * SO_MAX_MSG_SIZE, SO_MAX_RDMA_SIZE: DWORD, get. SO_WSDIRECT_MAX_COPY_SIZE: DWORD, get; 0 before
 * the adapter is known. SO_RDMA_THRESHOLD_SIZE: DWORD, get and set. IPV6_V6ONLY of level
 * IPPROTO_IPV6 (int, set, before WSPBind). Set also takes, without effect, the options of ordinary
 * TCP sockets that mean nothing to a SAN, so that the switch can pass on what the application set:
 * any of level SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP or IPPROTO_IPV6.
 * Errors: WSAENOPROTOOPT (get: any other; set: another level, the sizes that can only be had,
 * groups), WSAEFAULT (optval or optlen NULL, the room or the value too short).
 */
typedef int (WSPAPI *LPWSPGETSOCKOPT)(SOCKET s, int level, int optname, char *optval, LPINT optlen,
				      LPINT lpErrno);
typedef int (WSPAPI *LPWSPSETSOCKOPT)(SOCKET s, int level, int optname, const char *optval,
				      int optlen, LPINT lpErrno);

/**
 * WSPIoctl - control codes; completes at once
 * @lpcbBytesReturned: bytes written to lpvOutBuffer; the bytes needed when that is too
 *	small (WSAEFAULT)
 * @lpOverlapped, @lpCompletionRoutine: NULL (WSAEOPNOTSUPP)
 * SIO_GET_EXTENSION_FUNCTION_POINTER: WSAEOPNOTSUPP for an unknown GUID or one of
 * the two functions that a provider may lack: WSPRdmaRead and
 * WSPMemoryRegistrationCacheCallback. SIO_ADDRESS_LIST_QUERY: SOCKET_ADDRESS_LIST
 * of the local addresses this SAN can be reached at (WSAENOBUFS). Both need no socket: s
 * may be INVALID_SOCKET. SIO_WSDIRECT_*: last section. Others: WSAEOPNOTSUPP.
 * WSAEFAULT also: lpvInBuffer is too small, or a pointer that is needed is NULL.
 */
typedef int (WSPAPI *LPWSPIOCTL)(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer,
				 DWORD cbInBuffer, LPVOID lpvOutBuffer, DWORD cbOutBuffer,
				 LPDWORD lpcbBytesReturned, LPWSAOVERLAPPED lpOverlapped,
				 LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				 LPWSATHREADID lpThreadId, LPINT lpErrno);

/**
 * WSPCloseSocket - end a socket
 * Cancels a connect, refuses waiting requests of a listener, breaks a connection
 * (WSAECONNRESET at the peer's pending requests; messages completed here have
 * arrived there). Pending requests have completed with WSA_OPERATION_ABORTED, and
 * the adapter touches none of their memory any more, when it returns; registrations
 * made through the socket and not yet deregistered are released. Last of all calls
 * WPUCloseSocketHandle.
 */
typedef int (WSPAPI *LPWSPCLOSESOCKET)(SOCKET s, LPINT lpErrno);

/**
 * WSPDuplicateSocket - hand the socket to another process: WSAEOPNOTSUPP where unsupported
 */
typedef int (WSPAPI *LPWSPDUPLICATESOCKET)(SOCKET s, DWORD dwProcessId,
					   LPWSAPROTOCOL_INFOW lpProtocolInfo, LPINT lpErrno);

/** WSPGetQOSByName - WSAEOPNOTSUPP without quality of service */
typedef BOOL (WSPAPI *LPWSPGETQOSBYNAME)(SOCKET s, LPWSABUF lpQOSName, LPQOS lpQOS, LPINT lpErrno);

/**
 * WSPCleanup - undo one WSPStartupEx
 * The last one closes every socket as WSPCloseSocket does, releases all memory
 * and ends the provider's thread. WSANOTINITIALISED.
 */
typedef int (WSPAPI *LPWSPCLEANUP)(LPINT lpErrno);

/* Functions that the switch performs itself and never calls. All answer WSAEOPNOTSUPP. */
typedef int (WSPAPI *LPWSPADDRESSTOSTRING)(LPSOCKADDR lpsaAddress, DWORD dwAddressLength,
					   LPWSAPROTOCOL_INFOW lpProtocolInfo,
					   LPWSTR lpszAddressString,
					   LPDWORD lpdwAddressStringLength, LPINT lpErrno);
typedef int (WSPAPI *LPWSPASYNCSELECT)(SOCKET s, HWND hWnd, unsigned int wMsg, LONG lEvent,
				       LPINT lpErrno);
typedef int (WSPAPI *LPWSPCANCELBLOCKINGCALL)(LPINT lpErrno);
typedef int (WSPAPI *LPWSPGETPEERNAME)(SOCKET s, struct sockaddr *name, LPINT namelen,
				       LPINT lpErrno);
typedef int (WSPAPI *LPWSPGETSOCKNAME)(SOCKET s, struct sockaddr *name, LPINT namelen,
				       LPINT lpErrno);
typedef SOCKET (WSPAPI *LPWSPJOINLEAF)(SOCKET s, const struct sockaddr *name, int namelen,
				       LPWSABUF lpCallerData, LPWSABUF lpCalleeData, LPQOS lpSQOS,
				       LPQOS lpGQOS, DWORD dwFlags, LPINT lpErrno);
typedef int (WSPAPI *LPWSPRECVDISCONNECT)(SOCKET s, LPWSABUF lpInboundDisconnectData,
					  LPINT lpErrno);
typedef int (WSPAPI *LPWSPRECVFROM)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount,
				    LPDWORD lpNumberOfBytesRecvd, LPDWORD lpFlags,
				    struct sockaddr *lpFrom, LPINT lpFromlen,
				    LPWSAOVERLAPPED lpOverlapped,
				    LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				    LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int (WSPAPI *LPWSPSELECT)(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
				  const struct timeval *timeout, LPINT lpErrno);
typedef int (WSPAPI *LPWSPSENDDISCONNECT)(SOCKET s, LPWSABUF lpOutboundDisconnectData,
					  LPINT lpErrno);
typedef int (WSPAPI *LPWSPSENDTO)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount,
				  LPDWORD lpNumberOfBytesSent, DWORD dwFlags,
				  const struct sockaddr *lpTo, int iTolen,
				  LPWSAOVERLAPPED lpOverlapped,
				  LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				  LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int (WSPAPI *LPWSPSHUTDOWN)(SOCKET s, int how, LPINT lpErrno);
typedef int (WSPAPI *LPWSPSTRINGTOADDRESS)(LPWSTR AddressString, INT AddressFamily,
					   LPWSAPROTOCOL_INFOW lpProtocolInfo,
					   LPSOCKADDR lpAddress, LPINT lpAddressLength,
					   LPINT lpErrno);

/* What WSPStartupEx hands back, in the order of Windows. No member is ever NULL. */
typedef struct _WSPPROC_TABLE {
	LPWSPACCEPT lpWSPAccept;
	LPWSPADDRESSTOSTRING lpWSPAddressToString;
	LPWSPASYNCSELECT lpWSPAsyncSelect;
	LPWSPBIND lpWSPBind;
	LPWSPCANCELBLOCKINGCALL lpWSPCancelBlockingCall;
	LPWSPCLEANUP lpWSPCleanup;
	LPWSPCLOSESOCKET lpWSPCloseSocket;
	LPWSPCONNECT lpWSPConnect;
	LPWSPDUPLICATESOCKET lpWSPDuplicateSocket;
	LPWSPENUMNETWORKEVENTS lpWSPEnumNetworkEvents;
	LPWSPEVENTSELECT lpWSPEventSelect;
	LPWSPGETOVERLAPPEDRESULT lpWSPGetOverlappedResult;
	LPWSPGETPEERNAME lpWSPGetPeerName;
	LPWSPGETSOCKNAME lpWSPGetSockName;
	LPWSPGETSOCKOPT lpWSPGetSockOpt;
	LPWSPGETQOSBYNAME lpWSPGetQOSByName;
	LPWSPIOCTL lpWSPIoctl;
	LPWSPJOINLEAF lpWSPJoinLeaf;
	LPWSPLISTEN lpWSPListen;
	LPWSPRECV lpWSPRecv;
	LPWSPRECVDISCONNECT lpWSPRecvDisconnect;
	LPWSPRECVFROM lpWSPRecvFrom;
	LPWSPSELECT lpWSPSelect;
	LPWSPSEND lpWSPSend;
	LPWSPSENDDISCONNECT lpWSPSendDisconnect;
	LPWSPSENDTO lpWSPSendTo;
	LPWSPSETSOCKOPT lpWSPSetSockOpt;
	LPWSPSHUTDOWN lpWSPShutdown;
	LPWSPSOCKET lpWSPSocket;
	LPWSPSTRINGTOADDRESS lpWSPStringToAddress;
} WSPPROC_TABLE, *LPWSPPROC_TABLE;

/* ------------------------------------------------------------------------ *
 * Extension functions.
 * ------------------------------------------------------------------------ */

/**
 * WSPRegisterMemory - make memory usable in requests of this process
 * @s: any socket that is connecting or connected, or bound to an address of an adapter
 *	(WSAENOTCONN): it names the adapter
 * @dwFlags: MEM_READ, MEM_WRITE or both (WSAEINVAL), and perhaps MEM_WSDIRECT_KEPT
 * Returns a handle for WSABUFEX, or NULL: WSAENOBUFS (memory-lock limit, adapter
 * full), WSAEFAULT (not wholly a valid range with those rights), WSAEINVAL (empty).
 * The same range may yield the same handle; each call has its own deregister. The
 * handle serves every socket of the same adapter; on another one a request that
 * names it answers WSAEINVAL.
 * On a connecting socket whose adapter is not yet known the memory is registered
 * with the adapter of the bound address, else WSAENOTCONN.
 */
typedef HANDLE (WSPAPI *LPFN_WSPREGISTERMEMORY)(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength,
						DWORD dwFlags, LPINT lpErrno);

/**
 * WSPDeregisterMemory - give one registration back
 * @s: the socket that it was made through
 * WSAEINVAL: never registered through this socket, or in use by a request that is not
 * complete or by an exposure. The provider may keep it cached.
 */
typedef int (WSPAPI *LPFN_WSPDEREGISTERMEMORY)(SOCKET s, HANDLE Handle, LPINT lpErrno);

/**
 * WSPRegisterRdmaMemory - expose memory to the peer of this connection
 * @dwFlags: MEM_READ (the peer may WSPRdmaRead) or MEM_WRITE (WSPRdmaWrite) or both, and
 *	perhaps MEM_WSDIRECT_REGISTERED
 * @lpRdmaBufferDescriptor: out: what the peer needs; opaque, to be sent to it
 * @lpdwDescriptorLength: in: room; out: bytes written, or needed when WSAEFAULT
 * The peer may use the descriptor as soon as a message sent after this call has
 * reached it, and not before.
 * Errors: as WSPRegisterMemory; WSAENOTCONN also when the connection is over; WSAEFAULT also
 * when the room is too small. For registered memory: WSAEINVAL (a handle that is none or of
 * another adapter), WSAEACCES (registered without the rights), WSAEFAULT (outside of it).
 */
typedef int (WSPAPI *LPFN_WSPREGISTERRDMAMEMORY)(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength,
						 DWORD dwFlags, LPVOID lpRdmaBufferDescriptor,
						 LPDWORD lpdwDescriptorLength, LPINT lpErrno);

/**
 * WSPDeregisterRdmaMemory - hide it again
 * @lpRdmaBufferDescriptor: as WSPRegisterRdmaMemory wrote it
 * When it returns 0 the peer can no longer reach the memory, whatever it tries;
 * also when the connection has broken. A peer that takes no messages can delay that for
 * some seconds; then the connection is broken. WSAEINVAL: no such exposure.
 */
typedef int (WSPAPI *LPFN_WSPDEREGISTERRDMAMEMORY)(SOCKET s, LPVOID lpRdmaBufferDescriptor,
						   DWORD dwDescriptorLength, LPINT lpErrno);

/**
 * WSPRdmaRead, WSPRdmaWrite - move bytes from, to memory that the peer exposed
 * @lpBuffers: own memory, at least one, at most WSDIRECT_MAX_BUFFERS (WSAEINVAL) and
 *	SO_MAX_RDMA_SIZE bytes together (WSAEMSGSIZE), registered MEM_WRITE for a read,
 *	MEM_READ for a write
 * @lpTargetBufferDescriptor: from the peer; checked before use
 * @dwTargetBufferOffset: first byte, counted from the start of the exposed memory
 * @lpdwNumberOfBytesRead, @lpdwNumberOfBytesWritten: ignored
 * @dwFlags: 0 (WSAEOPNOTSUPP)
 * Otherwise as WSPSend, errors too. WSAEINVAL: a descriptor that is malformed; WSAEACCES: without
 * the right; WSAEFAULT: the bytes asked for lie outside it. A descriptor that the
 * peer invented or has hidden again ends the connection, not the process: the
 * request completes with WSAECONNRESET.
 * A message sent after a write arrives after its bytes.
 */
typedef int (WSPAPI *LPFN_WSPRDMAREAD)(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
				       LPVOID lpTargetBufferDescriptor,
				       DWORD dwTargetDescriptorLength, DWORD dwTargetBufferOffset,
				       LPDWORD lpdwNumberOfBytesRead, DWORD dwFlags,
				       LPWSAOVERLAPPED lpOverlapped,
				       LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
				       LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int (WSPAPI *LPFN_WSPRDMAWRITE)(SOCKET s, LPWSABUFEX lpBuffers, DWORD dwBufferCount,
					LPVOID lpTargetBufferDescriptor,
					DWORD dwTargetDescriptorLength,
					DWORD dwTargetBufferOffset,
					LPDWORD lpdwNumberOfBytesWritten, DWORD dwFlags,
					LPWSAOVERLAPPED lpOverlapped,
					LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
					LPWSATHREADID lpThreadId, LPINT lpErrno);

/**
 * WSPMemoryRegistrationCacheCallback - memory is going away
 * @lpvAddress, @Size: the range whose mapping changes. Every cached registration
 *	that overlaps it leaves the cache and every adapter; one that a request
 *	still uses leaves the cache now and the adapter with that request.
 * Called by the switch, from any thread but never from within a provider call.
 * SOCKET_ERROR: WSAEFAULT (cached, but cannot be released), WSAEINVAL (never cached),
 * WSANOTINITIALISED.
 */
typedef int (WSPAPI *LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK)(LPVOID lpvAddress, SIZE_T Size,
							      LPINT lpErrno);

/**
 * WSDirectPoll - complete what is done; ours
 * @dwLooks: how often to look at the device until something is done, at least once; the
 *	socket is busy meanwhile
 * After it, WSA_OVERLAPPED_PENDING tells the truth about every request of the socket.
 * Never blocks. Returns 0, or SOCKET_ERROR: WSAECONNRESET when the connection is over and
 * every request has completed, WSAENOTCONN on a socket that was not asked to connect, or
 * whose adapter is not known yet.
 */
typedef int (WSPAPI *LPFN_WSDIRECT_POLL)(SOCKET s, DWORD dwLooks, LPINT lpErrno);

/**
 * WSDirectSend - send one small message, copied into the work request; ours
 * @lpBuffers: the message's pieces, at most WSDIRECT_MAX_BUFFERS (WSAEINVAL), anywhere in
 *	memory, together at most SO_WSDIRECT_MAX_COPY_SIZE bytes (WSAEMSGSIZE)
 * @dwFlags: MSG_WSDIRECT_SOLICITED or 0 (WSAEOPNOTSUPP)
 * The cheapest way for a small one: nothing is registered, the buffers are the caller's again
 * when it returns, and there is no completion. It goes out in its order among the requests of the
 * socket; that the peer's adapter has it is known when a later one of WSPSend is complete.
 * Returns 0, or SOCKET_ERROR, and nothing was sent: WSAEWOULDBLOCK, the device's queue has no
 * room (WSDirectPoll finds what has left it), or earlier requests wait for some, so use WSPSend,
 * which waits too; or as WSPSend.
 */
typedef int (WSPAPI *LPFN_WSDIRECT_SEND)(SOCKET s, const WSABUF *lpBuffers, DWORD dwBufferCount,
					 DWORD dwFlags, LPINT lpErrno);

/**
 * WSDirectReceive - post receive buffers for several messages; ours
 * @lpBuffers: a buffer for each message, as for WSPRecv (NULL: WSAEFAULT)
 * @lpOverlapped: a pointer to an overlapped structure for each, as for WSPRecv (WSAEINVAL if one
 *	is NULL)
 * @dwCount: how many messages
 * The same as that many calls of WSPRecv with one buffer each, for less.
 * Returns 0: all are pending. Or SOCKET_ERROR, as of WSPRecv; then the first ones may be pending.
 */
typedef int (WSPAPI *LPFN_WSDIRECT_RECEIVE)(SOCKET s, const WSABUFEX *lpBuffers,
					    const LPWSAOVERLAPPED *lpOverlapped, DWORD dwCount,
					    LPINT lpErrno);

/* ------------------------------------------------------------------------ *
 * Up-calls: functions of the switch that the provider calls.
 * The provider holds no lock while it calls one.
 * ------------------------------------------------------------------------ */

/**
 * WPUCreateSocketHandle - the switch's handle for a new socket of the provider
 * @dwContext: the provider's SOCKET. Returns INVALID_SOCKET on failure.
 */
typedef SOCKET (WSPAPI *LPWPUCREATESOCKETHANDLE)(DWORD dwCatalogEntryId, DWORD_PTR dwContext,
						 LPINT lpErrno);
/** WPUCloseSocketHandle - the last up-call about a socket */
typedef int (WSPAPI *LPWPUCLOSESOCKETHANDLE)(SOCKET s, LPINT lpErrno);
/** WPUQuerySocketHandleContext - the dwContext given to WPUCreateSocketHandle */
typedef int (WSPAPI *LPWPUQUERYSOCKETHANDLECONTEXT)(SOCKET s, PDWORD_PTR lpContext,
						    LPINT lpErrno);
/**
 * WPUCompleteOverlappedRequest - a request whose hEvent has the low bit 0 is complete
 * Comes from the provider's thread or from whichever thread polled the socket, after
 * Internal and InternalHigh were set. May call back into the provider, but not close
 * the socket.
 */
typedef int (WSPAPI *LPWPUCOMPLETEOVERLAPPEDREQUEST)(SOCKET s, LPWSAOVERLAPPED lpOverlapped,
						     DWORD dwError, DWORD cbTransferred,
						     LPINT lpErrno);

/* Up-calls that no provider here makes; a switch may leave them NULL. */
typedef BOOL (WSPAPI *LPWPUCLOSEEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef WSAEVENT (WSPAPI *LPWPUCREATEEVENT)(LPINT lpErrno);
typedef int (WSPAPI *LPWPUFDISSET)(SOCKET s, fd_set *fdset);
typedef int (WSPAPI *LPWPUGETPROVIDERPATH)(LPGUID lpProviderId, WCHAR *lpszProviderDllPath,
					   LPINT lpProviderDllPathLen, LPINT lpErrno);
typedef SOCKET (WSPAPI *LPWPUMODIFYIFSHANDLE)(DWORD dwCatalogEntryId, SOCKET ProposedHandle,
					      LPINT lpErrno);
typedef BOOL (WSPAPI *LPWPUPOSTMESSAGE)(HWND hWnd, UINT Msg, DWORD_PTR wParam, DWORD_PTR lParam);
typedef int (WSPAPI *LPWPUQUERYBLOCKINGCALLBACK)(DWORD dwCatalogEntryId,
						 LPBLOCKINGCALLBACK *lplpfnCallback,
						 PDWORD_PTR lpdwContext, LPINT lpErrno);
typedef int (WSPAPI *LPWPUQUEUEAPC)(LPWSATHREADID lpThreadId, LPWSAUSERAPC lpfnUserApc,
				    DWORD_PTR dwContext, LPINT lpErrno);
typedef BOOL (WSPAPI *LPWPURESETEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef BOOL (WSPAPI *LPWPUSETEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef int (WSPAPI *LPWPUOPENCURRENTTHREAD)(LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int (WSPAPI *LPWPUCLOSETHREAD)(LPWSATHREADID lpThreadId, LPINT lpErrno);

/* In the order of Windows. */
typedef struct _WSPUPCALLTABLEEX {
	LPWPUCLOSEEVENT lpWPUCloseEvent;
	LPWPUCLOSESOCKETHANDLE lpWPUCloseSocketHandle;
	LPWPUCREATEEVENT lpWPUCreateEvent;
	LPWPUCREATESOCKETHANDLE lpWPUCreateSocketHandle;
	LPWPUFDISSET lpWPUFDIsSet;
	LPWPUGETPROVIDERPATH lpWPUGetProviderPath;
	LPWPUMODIFYIFSHANDLE lpWPUModifyIFSHandle;
	LPWPUPOSTMESSAGE lpWPUPostMessage;
	LPWPUQUERYBLOCKINGCALLBACK lpWPUQueryBlockingCallback;
	LPWPUQUERYSOCKETHANDLECONTEXT lpWPUQuerySocketHandleContext;
	LPWPUQUEUEAPC lpWPUQueueApc;
	LPWPURESETEVENT lpWPUResetEvent;
	LPWPUSETEVENT lpWPUSetEvent;
	LPWPUOPENCURRENTTHREAD lpWPUOpenCurrentThread;
	LPWPUCLOSETHREAD lpWPUCloseThread;
	LPWPUCOMPLETEOVERLAPPEDREQUEST lpWPUCompleteOverlappedRequest;
} WSPUPCALLTABLEEX, *LPWSPUPCALLTABLEEX;

/**
 * WSPStartupEx - the one export of a provider
 * @wVersionRequested: highest version the switch speaks, WSDIRECT_SPI_VERSION
 * @lpWSPData: out: the provider's version and name
 * @lpProtocolInfo: in: how the switch lists the provider; dwCatalogEntryId comes back
 *	in WPUCreateSocketHandle
 * @lpUpcallTable: copied. The three socket-handle up-calls and
 *	WPUCompleteOverlappedRequest are required.
 * @lpProcTable: out: the functions
 * Returns 0 or the error itself (it has no lpErrno): WSAVERNOTSUPPORTED, WSAEFAULT
 * (NULL pointer), WSAEINVALIDPROCTABLE (an up-call is missing), WSASYSNOTREADY
 * (no usable device: none present, no permission), WSAENOBUFS. It may be called several
 * times, and must always come with the same table; each call has its WSPCleanup.
 */
typedef int (WSPAPI *LPWSPSTARTUPEX)(WORD wVersionRequested, LPWSPDATA lpWSPData,
				     LPWSAPROTOCOL_INFOW lpProtocolInfo,
				     LPWSPUPCALLTABLEEX lpUpcallTable,
				     LPWSPPROC_TABLE lpProcTable);

int WSPAPI WSPStartupEx(WORD wVersionRequested, LPWSPDATA lpWSPData,
			LPWSAPROTOCOL_INFOW lpProtocolInfo, LPWSPUPCALLTABLEEX lpUpcallTable,
			LPWSPPROC_TABLE lpProcTable);

/* ------------------------------------------------------------------------ *
 * Additions of this project.
 * ------------------------------------------------------------------------ */

#define WSDIRECT_SPI_VERSION	MAKEWORD(2, 2)

/* An eventfd as event object, and back. */
#define WSDIRECT_EVENT_HANDLE(descriptor)	((WSAEVENT)(uintptr_t)(unsigned int)(descriptor))
#define WSDIRECT_EVENT_DESCRIPTOR(event)	((int)(uintptr_t)(event))

/* Every provider takes this many bytes of connect private data, each way. */
#define WSDIRECT_CONNECT_DATA	56

/* Buffers in one request. */
#define WSDIRECT_MAX_BUFFERS	4

/* A descriptor of exposed memory is never longer than this. */
#define WSDIRECT_DESCRIPTOR_SIZE	32

/* A condition function's answer: not for us; the peer shall try TCP. */
#define CF_WSDIRECT_DECLINE	0x0100

/* dwFlags of WSPSend and WSDirectSend: wakes a peer that is armed WSDIRECT_ARM_SOLICITED. */
#define MSG_WSDIRECT_SOLICITED	0x01000000

/*
 * out: int, a descriptor that becomes readable when an armed socket has a completion; when
 * the device is gone it has an error (POLLERR), which wakes as well.
 * It is the provider's: the caller may only wait on it (poll, epoll), not read or
 * close it. Valid until WSPCloseSocket, which closes it (so leave epoll sets first).
 * Needs a socket that is connected, or on which FD_CONNECT was reported (WSAENOTCONN).
 * A socket that waits by it should not use up-calls too: a completion seen by
 * the provider's thread need not make the descriptor readable.
 */
#define SIO_WSDIRECT_COMPLETION_DESCRIPTOR	_WSAIOR(IOC_VENDOR, 1)

/*
 * in: DWORD. Takes back readiness of the completion descriptor and asks for it at
 * the next completion: any, or WSDIRECT_ARM_SOLICITED: only a received solicited
 * message. The end of the connection counts for both. Completions from before this call
 * do not count: arm, poll once more, sleep only if that brought nothing. Never blocks; free
 * of system calls when the socket is known to be armed at least as widely.
 * Whoever arms takes other threads' wake-ups too: they must be told by other means.
 * WSAEINVAL (what to arm for), WSAENOTCONN (no completion descriptor), WSAENETDOWN (the
 * device failed).
 */
#define SIO_WSDIRECT_ARM			_WSAIOW(IOC_VENDOR, 2)
#define WSDIRECT_ARM_ANY		0
#define WSDIRECT_ARM_SOLICITED		1

/*
 * out: int, the descriptor of what watches this process's registered memory, from
 * which the switch reads struct wsdirect_event (<wsdirect.h>) and for each calls
 * WSPMemoryRegistrationCacheCallback. Needs no socket. WSAEOPNOTSUPP: nothing watches.
 * Valid until the last WSPCleanup.
 */
#define SIO_WSDIRECT_MEMORY_DESCRIPTOR		_WSAIOR(IOC_VENDOR, 3)

/* out: the sockaddr of this end, of the peer. WSAENOTCONN: it has none. */
#define SIO_WSDIRECT_LOCAL_ADDRESS		_WSAIOR(IOC_VENDOR, 5)
#define SIO_WSDIRECT_PEER_ADDRESS		_WSAIOR(IOC_VENDOR, 6)

#ifdef __cplusplus
}
#endif

#endif /* WSDIRECT_WS2SAN_H */
