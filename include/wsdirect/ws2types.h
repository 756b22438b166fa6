/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Winsock types, constants and error codes that the SAN service provider
 * interface (ws2san.h) is written in, for 64-bit Linux.
 *
 * What differs from Windows, and why:
 *  - Windows' long is 32 bits wide, Linux' is not. Everything that is a long
 *    there is LONG or ULONG here; u_long, which libc defines as 64 bits, is not
 *    used.
 *  - WCHAR is 16 bits as there (UTF-16), so it is not wchar_t.
 *  - struct sockaddr and its kin, AF_*, SOCK_*, IPPROTO_*, SOL_SOCKET and the
 *    SO_* options of ordinary sockets are libc's, with Linux' numbers. Whatever
 *    only Windows has (options, control codes, events, error codes) keeps its
 *    Windows number.
 *  - Calls use the platform's calling convention; WSPAPI and CALLBACK, kept so
 *    that prototypes read as they do there, expand to nothing.
 *  - An event object (a HANDLE in WSPEventSelect) is the number of an eventfd;
 *    see WSDIRECT_EVENT_HANDLE in ws2san.h.
 *
 * Needs nothing but libc. Usable from C and C++.
 */
#ifndef WSDIRECT_WS2TYPES_H
#define WSDIRECT_WS2TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WSPAPI
#define CALLBACK

/* Scalars. */

typedef uint8_t BYTE;
typedef uint16_t WORD;
typedef uint32_t DWORD;
typedef int32_t INT;
typedef uint32_t UINT;
typedef int32_t LONG;
typedef uint32_t ULONG;
typedef int BOOL;
typedef uint16_t WCHAR;
typedef uintptr_t ULONG_PTR;
typedef uintptr_t DWORD_PTR;
typedef size_t SIZE_T;
typedef void *PVOID;
typedef void *LPVOID;
typedef void *HANDLE;
typedef int *LPINT;
typedef DWORD *LPDWORD;
typedef DWORD_PTR *PDWORD_PTR;
typedef WORD *LPWORD;
typedef WCHAR *LPWSTR;
typedef HANDLE *LPHANDLE;
typedef HANDLE WSAEVENT;
typedef UINT GROUP;

#ifndef FALSE
#define FALSE 0
#endif
#ifndef TRUE
#define TRUE 1
#endif

/* A socket as the party that made it names it: any pointer-like value. */
typedef uintptr_t SOCKET;

#define INVALID_SOCKET	((SOCKET)~(uintptr_t)0)
#define SOCKET_ERROR	(-1)

typedef struct sockaddr SOCKADDR;
typedef struct sockaddr *LPSOCKADDR;

/* Low byte major, high byte minor version, as everywhere in Winsock. */
#define MAKEWORD(low, high)	((WORD)(((low) & 0xff) | (((high) & 0xff) << 8)))
#define LOBYTE(word)		((BYTE)((word) & 0xff))
#define HIBYTE(word)		((BYTE)(((word) >> 8) & 0xff))

typedef struct _GUID {
	DWORD Data1;
	WORD Data2;
	WORD Data3;
	BYTE Data4[8];
} GUID, *LPGUID;

/*
 * A buffer of len bytes. The memory is the caller's, who leaves it alone until
 * the request that names it is complete; an array of these is read only during
 * the call.
 */
typedef struct _WSABUF {
	ULONG len;
	char *buf;
} WSABUF, *LPWSABUF;

/* A buffer inside memory registered with WSPRegisterMemory; handle is its result. */
typedef struct _WSABUFEX {
	ULONG len;
	char *buf;
	HANDLE handle;
} WSABUFEX, *LPWSABUFEX;

/*
 * State of an overlapped request. The caller owns the memory and keeps it
 * until the request is complete; between, only the provider writes to it.
 *
 * Internal: STATUS_PENDING from before the request is started until it is
 *	complete; then the WSA error, 0 for success.
 * InternalHigh: valid once complete: bytes moved.
 * Offset, OffsetHigh: the provider's while the request is pending; without meaning else.
 * hEvent: set by the caller. Low bit 1: the caller polls, no notification.
 *	Low bit 0: the provider calls WPUCompleteOverlappedRequest.
 */
typedef struct _WSAOVERLAPPED {
	ULONG_PTR Internal;
	ULONG_PTR InternalHigh;
	DWORD Offset;
	DWORD OffsetHigh;
	HANDLE hEvent;
} WSAOVERLAPPED, *LPWSAOVERLAPPED;

#define STATUS_PENDING	0x103

/*
 * True while the request is not complete. Needs no call and no lock; pairs with
 * the provider's releasing store of Internal, so that once it is false the
 * received bytes and InternalHigh are there to read.
 */
#define WSA_OVERLAPPED_PENDING(overlapped) \
	(__atomic_load_n(&(overlapped)->Internal, __ATOMIC_ACQUIRE) == STATUS_PENDING)

/* Completion routines and the thread they would run on: never used on a SAN (pass NULL). */
typedef struct _WSATHREADID {
	HANDLE ThreadHandle;
	DWORD_PTR Reserved;
} WSATHREADID, *LPWSATHREADID;

typedef void (CALLBACK *LPWSAOVERLAPPED_COMPLETION_ROUTINE)(DWORD dwError, DWORD cbTransferred,
							    LPWSAOVERLAPPED lpOverlapped,
							    DWORD dwFlags);

/* Quality of service: no provider here has any; the pointers are always NULL. */
typedef struct _QualityOfService QOS, *LPQOS;

typedef void (CALLBACK *LPBLOCKINGCALLBACK)(DWORD_PTR dwContext);
typedef void (CALLBACK *LPWSAUSERAPC)(DWORD_PTR dwContext);

/* Network events. */

#define FD_READ_BIT			0
#define FD_READ				(1 << FD_READ_BIT)
#define FD_WRITE_BIT			1
#define FD_WRITE			(1 << FD_WRITE_BIT)
#define FD_OOB_BIT			2
#define FD_OOB				(1 << FD_OOB_BIT)
#define FD_ACCEPT_BIT			3
#define FD_ACCEPT			(1 << FD_ACCEPT_BIT)
#define FD_CONNECT_BIT			4
#define FD_CONNECT			(1 << FD_CONNECT_BIT)
#define FD_CLOSE_BIT			5
#define FD_CLOSE			(1 << FD_CLOSE_BIT)
#define FD_QOS_BIT			6
#define FD_QOS				(1 << FD_QOS_BIT)
#define FD_GROUP_QOS_BIT		7
#define FD_GROUP_QOS			(1 << FD_GROUP_QOS_BIT)
#define FD_ROUTING_INTERFACE_CHANGE_BIT	8
#define FD_ROUTING_INTERFACE_CHANGE	(1 << FD_ROUTING_INTERFACE_CHANGE_BIT)
#define FD_ADDRESS_LIST_CHANGE_BIT	9
#define FD_ADDRESS_LIST_CHANGE		(1 << FD_ADDRESS_LIST_CHANGE_BIT)
#define FD_MAX_EVENTS			10

/*
 * What WSPEnumNetworkEvents reports. lNetworkEvents: FD_* that happened since
 * the last call. iErrorCode[FD_x_BIT]: WSA error of each, 0 for success.
 */
typedef struct _WSANETWORKEVENTS {
	LONG lNetworkEvents;
	int iErrorCode[FD_MAX_EVENTS];
} WSANETWORKEVENTS, *LPWSANETWORKEVENTS;

/* What a condition function answers (WSPAccept). */
#define CF_ACCEPT	0x0000
#define CF_REJECT	0x0001
#define CF_DEFER	0x0002

typedef int (CALLBACK *LPCONDITIONPROC)(LPWSABUF lpCallerId, LPWSABUF lpCallerData,
					LPQOS lpSQOS, LPQOS lpGQOS, LPWSABUF lpCalleeId,
					LPWSABUF lpCalleeData, GROUP *g,
					DWORD_PTR dwCallbackData);

/* Address list, as SIO_ADDRESS_LIST_QUERY answers it. */

typedef struct _SOCKET_ADDRESS {
	LPSOCKADDR lpSockaddr;
	INT iSockaddrLength;
} SOCKET_ADDRESS, *LPSOCKET_ADDRESS;

/* The lpSockaddr point into the same buffer, behind the array (of one member on Windows). */
typedef struct _SOCKET_ADDRESS_LIST {
	INT iAddressCount;
	SOCKET_ADDRESS Address[];
} SOCKET_ADDRESS_LIST, *LPSOCKET_ADDRESS_LIST;

/* Description of a transport protocol, as a provider catalogue holds it. */

#define MAX_PROTOCOL_CHAIN	7
#define WSAPROTOCOL_LEN		255

typedef struct _WSAPROTOCOLCHAIN {
	int ChainLen;
	DWORD ChainEntries[MAX_PROTOCOL_CHAIN];
} WSAPROTOCOLCHAIN, *LPWSAPROTOCOLCHAIN;

typedef struct _WSAPROTOCOL_INFOW {
	DWORD dwServiceFlags1;
	DWORD dwServiceFlags2;
	DWORD dwServiceFlags3;
	DWORD dwServiceFlags4;
	DWORD dwProviderFlags;
	GUID ProviderId;
	DWORD dwCatalogEntryId;
	WSAPROTOCOLCHAIN ProtocolChain;
	int iVersion;
	int iAddressFamily;
	int iMaxSockAddr;
	int iMinSockAddr;
	int iSocketType;
	int iProtocol;
	int iProtocolMaxOffset;
	int iNetworkByteOrder;
	int iSecurityScheme;
	DWORD dwMessageSize;
	DWORD dwProviderReserved;
	WCHAR szProtocol[WSAPROTOCOL_LEN + 1];
} WSAPROTOCOL_INFOW, *LPWSAPROTOCOL_INFOW;

#define WSPDESCRIPTION_LEN	255

/* What WSPStartupEx tells about the provider: lowest and highest version, a UTF-16 name. */
typedef struct WSPData {
	WORD wVersion;
	WORD wHighVersion;
	WCHAR szDescription[WSPDESCRIPTION_LEN + 1];
} WSPDATA, *LPWSPDATA;

#define WSA_FLAG_OVERLAPPED	0x01

/* Socket options that only Winsock has (level SOL_SOCKET). */

#define SO_GROUP_ID		0x2001	/* only with quality of service: never here */
#define SO_GROUP_PRIORITY	0x2002	/* likewise */
#define SO_MAX_MSG_SIZE		0x2003	/* DWORD, get: bytes one WSPSend may carry */
#define SO_MAX_RDMA_SIZE	0x700D	/* DWORD, get: bytes one RDMA request may move */
#define SO_RDMA_THRESHOLD_SIZE	0x700E	/* DWORD, get and set: from here on RDMA pays */
#define SO_WSDIRECT_MAX_COPY_SIZE 0x7F01	/* ours; DWORD, get: bytes one WSDirectSend may carry */

/* Control codes (WSPIoctl): direction, family, number. */

#define WSA_IOC_VOID	0x20000000u
#define WSA_IOC_OUT		0x40000000u
#define WSA_IOC_IN		0x80000000u
#define WSA_IOC_INOUT	(WSA_IOC_IN | WSA_IOC_OUT)
#define IOC_WS2		0x08000000u
#define IOC_VENDOR	0x18000000u

#define _WSAIO(family, number)		((DWORD)(WSA_IOC_VOID | (family) | (number)))
#define _WSAIOR(family, number)		((DWORD)(WSA_IOC_OUT | (family) | (number)))
#define _WSAIOW(family, number)		((DWORD)(WSA_IOC_IN | (family) | (number)))
#define _WSAIORW(family, number)	((DWORD)(WSA_IOC_INOUT | (family) | (number)))

#define SIO_GET_EXTENSION_FUNCTION_POINTER	_WSAIORW(IOC_WS2, 6)	/* 0xC8000006 */
#define SIO_GET_QOS				_WSAIORW(IOC_WS2, 7)
#define SIO_GET_GROUP_QOS			_WSAIORW(IOC_WS2, 8)
#define SIO_SET_QOS				_WSAIOW(IOC_WS2, 11)
#define SIO_SET_GROUP_QOS			_WSAIOW(IOC_WS2, 12)
#define SIO_ADDRESS_LIST_QUERY			_WSAIOR(IOC_WS2, 22)	/* 0x48000016 */

/*
 * Error codes, WSA_ERROR(name, number, errno): every code of Winsock with its
 * Windows number, and the errno that a Linux program sees in its place. Where
 * several codes share an errno, the first listed is the one that errno turns
 * into on the way back. EIO stands for what no Linux call would report.
 */
#define WSA_ERROR_LIST(WSA_ERROR) \
	WSA_ERROR(WSASYSCALLFAILURE,		10107,	EIO) \
	WSA_ERROR(WSAEINTR,			10004,	EINTR) \
	WSA_ERROR(WSAEBADF,			10009,	EBADF) \
	WSA_ERROR(WSAEACCES,			10013,	EACCES) \
	WSA_ERROR(WSAEFAULT,			10014,	EFAULT) \
	WSA_ERROR(WSAEINVAL,			10022,	EINVAL) \
	WSA_ERROR(WSAEMFILE,			10024,	EMFILE) \
	WSA_ERROR(WSAEWOULDBLOCK,		10035,	EAGAIN) \
	WSA_ERROR(WSAEINPROGRESS,		10036,	EINPROGRESS) \
	WSA_ERROR(WSAEALREADY,			10037,	EALREADY) \
	WSA_ERROR(WSAENOTSOCK,			10038,	ENOTSOCK) \
	WSA_ERROR(WSAEDESTADDRREQ,		10039,	EDESTADDRREQ) \
	WSA_ERROR(WSAEMSGSIZE,			10040,	EMSGSIZE) \
	WSA_ERROR(WSAEPROTOTYPE,		10041,	EPROTOTYPE) \
	WSA_ERROR(WSAENOPROTOOPT,		10042,	ENOPROTOOPT) \
	WSA_ERROR(WSAEPROTONOSUPPORT,		10043,	EPROTONOSUPPORT) \
	WSA_ERROR(WSAESOCKTNOSUPPORT,		10044,	ESOCKTNOSUPPORT) \
	WSA_ERROR(WSAEOPNOTSUPP,		10045,	EOPNOTSUPP) \
	WSA_ERROR(WSAEPFNOSUPPORT,		10046,	EPFNOSUPPORT) \
	WSA_ERROR(WSAEAFNOSUPPORT,		10047,	EAFNOSUPPORT) \
	WSA_ERROR(WSAEADDRINUSE,		10048,	EADDRINUSE) \
	WSA_ERROR(WSAEADDRNOTAVAIL,		10049,	EADDRNOTAVAIL) \
	WSA_ERROR(WSAENETDOWN,			10050,	ENETDOWN) \
	WSA_ERROR(WSAENETUNREACH,		10051,	ENETUNREACH) \
	WSA_ERROR(WSAENETRESET,			10052,	ENETRESET) \
	WSA_ERROR(WSAECONNABORTED,		10053,	ECONNABORTED) \
	WSA_ERROR(WSAECONNRESET,		10054,	ECONNRESET) \
	WSA_ERROR(WSAENOBUFS,			10055,	ENOBUFS) \
	WSA_ERROR(WSAEISCONN,			10056,	EISCONN) \
	WSA_ERROR(WSAENOTCONN,			10057,	ENOTCONN) \
	WSA_ERROR(WSAESHUTDOWN,			10058,	ESHUTDOWN) \
	WSA_ERROR(WSAETOOMANYREFS,		10059,	ETOOMANYREFS) \
	WSA_ERROR(WSAETIMEDOUT,			10060,	ETIMEDOUT) \
	WSA_ERROR(WSAECONNREFUSED,		10061,	ECONNREFUSED) \
	WSA_ERROR(WSAELOOP,			10062,	ELOOP) \
	WSA_ERROR(WSAENAMETOOLONG,		10063,	ENAMETOOLONG) \
	WSA_ERROR(WSAEHOSTDOWN,			10064,	EHOSTDOWN) \
	WSA_ERROR(WSAEHOSTUNREACH,		10065,	EHOSTUNREACH) \
	WSA_ERROR(WSAENOTEMPTY,			10066,	ENOTEMPTY) \
	WSA_ERROR(WSAEPROCLIM,			10067,	EAGAIN) \
	WSA_ERROR(WSAEUSERS,			10068,	EUSERS) \
	WSA_ERROR(WSAEDQUOT,			10069,	EDQUOT) \
	WSA_ERROR(WSAESTALE,			10070,	ESTALE) \
	WSA_ERROR(WSAEREMOTE,			10071,	EREMOTE) \
	WSA_ERROR(WSASYSNOTREADY,		10091,	ENETDOWN) \
	WSA_ERROR(WSAVERNOTSUPPORTED,		10092,	EPROTONOSUPPORT) \
	WSA_ERROR(WSANOTINITIALISED,		10093,	ENETDOWN) \
	WSA_ERROR(WSAEDISCON,			10101,	ESHUTDOWN) \
	WSA_ERROR(WSAENOMORE,			10102,	EIO) \
	WSA_ERROR(WSAECANCELLED,		10103,	ECANCELED) \
	WSA_ERROR(WSAEINVALIDPROCTABLE,		10104,	EIO) \
	WSA_ERROR(WSAEINVALIDPROVIDER,		10105,	EIO) \
	WSA_ERROR(WSAEPROVIDERFAILEDINIT,	10106,	EIO) \
	WSA_ERROR(WSASERVICE_NOT_FOUND,		10108,	EIO) \
	WSA_ERROR(WSATYPE_NOT_FOUND,		10109,	EIO) \
	WSA_ERROR(WSA_E_NO_MORE,		10110,	EIO) \
	WSA_ERROR(WSA_E_CANCELLED,		10111,	ECANCELED) \
	WSA_ERROR(WSAEREFUSED,			10112,	ECONNREFUSED) \
	WSA_ERROR(WSAHOST_NOT_FOUND,		11001,	EHOSTUNREACH) \
	WSA_ERROR(WSATRY_AGAIN,			11002,	EAGAIN) \
	WSA_ERROR(WSANO_RECOVERY,		11003,	EIO) \
	WSA_ERROR(WSANO_DATA,			11004,	EIO) \
	WSA_ERROR(WSA_INVALID_HANDLE,		6,	EBADF) \
	WSA_ERROR(WSA_NOT_ENOUGH_MEMORY,	8,	ENOMEM) \
	WSA_ERROR(WSA_INVALID_PARAMETER,	87,	EINVAL) \
	WSA_ERROR(WSA_OPERATION_ABORTED,	995,	ECANCELED) \
	WSA_ERROR(WSA_IO_INCOMPLETE,		996,	EAGAIN) \
	WSA_ERROR(WSA_IO_PENDING,		997,	EINPROGRESS)

enum wsa_error {
#define WSA_ERROR_ENUM(name, number, error) name = (number),
	WSA_ERROR_LIST(WSA_ERROR_ENUM)
#undef WSA_ERROR_ENUM
	WSABASEERR = 10000
};

#ifdef __cplusplus
}
#endif

#endif /* WSDIRECT_WS2TYPES_H */
