/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A socket of the provider, from WSPSocket, WSPAccept or a connection request.
 *
 * Who holds references: the handle table until WSPCloseSocket; each call in
 * progress; the queue of a listener for the requests in it. Events of librdmacm
 * carry the handle, not a pointer, and are acknowledged before they are acted
 * on, so one that comes too late finds nobody.
 */
#ifndef WSD_SAN_VERBS_SOCKET_H
#define WSD_SAN_VERBS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "device.h"
#include "light_lock.h"
#include "provider.h"
#include "queue.h"

enum socket_state {
	SOCKET_NEW,		/* WSPSocket */
	SOCKET_BOUND,		/* WSPBind */
	SOCKET_LISTENING,	/* WSPListen */
	SOCKET_RESOLVING,	/* WSPConnect: looking for the address, then the route */
	SOCKET_CONNECTING,	/* the request is on its way */
	SOCKET_REQUESTED,	/* a peer's request, not yet answered */
	SOCKET_CONNECTED,
	SOCKET_BROKEN,		/* connected no more, or never was; `failure` says why */
	SOCKET_CLOSED,
};

/* Size of what the connection manager can carry in an answer (InfiniBand REP). */
#define ANSWER_DATA 196

struct exposure;
struct registration;

struct san_socket {
	SOCKET handle;			/* ours */
	SOCKET switch_handle;		/* the switch's; 0: none yet */
	int family;

	struct light_lock lock;		/* protects everything below */
	unsigned upcalls;		/* threads that announce completions; see announced_all() */
	/* Complete, to be announced at unlocking; linked through the Offset members. */
	LPWSAOVERLAPPED announce_first, announce_last;
	enum socket_state state;	/* written by socket_set_state() only */
	int failure;			/* WSA code that requests end with, once it is over */

	struct rdma_cm_id *id;
	struct device *device;		/* known once bound to an address or resolved */

	/* Options. */
	DWORD rdma_threshold;
	bool only_v6;

	/* Events. */
	int event;			/* eventfd of WSPEventSelect, or -1 */
	LONG events_wanted;
	LONG events;			/* happened, not enumerated */
	int connect_error;		/* of FD_CONNECT */

	/* Connecting. */
	uint8_t caller_data[WSDIRECT_CONNECT_DATA];
	uint8_t caller_data_length;
	uint8_t responder_resources, initiator_depth;	/* of a REQUESTED one: what its peer asks */
	LPWSABUF callee_data;		/* the switch's; filled when FD_CONNECT is enumerated */
	uint8_t *answer;		/* ANSWER_DATA bytes from the peer, or NULL */

	/* Listening. */
	int backlog;
	int requests;			/* length of the queue */
	struct san_socket *request_first, *request_last;
	struct san_socket *request_next;	/* of a REQUESTED one; under the listener's lock */

	struct queue queue;

	struct registration *registrations;	/* made through this socket */
	struct exposure *exposures;
	struct exposure *spare_exposures;
};

/* ---- references, the lock, completion; inline since every request comes by ---- */

/* A reference to the socket, or NULL with *lpErrno set; socket_put() gives it back. */
static inline struct san_socket *socket_get(SOCKET s, LPINT lpErrno)
{
	struct san_socket *socket;

	if (!atomic_load_explicit(&provider.running, memory_order_acquire)) {
		/* In a child, of a parent's socket too: it is none of ours. */
		*lpErrno = provider.forked ? WSAENOTSOCK : WSANOTINITIALISED;
		return NULL;
	}
	socket = (struct san_socket *)handle_get(&provider.sockets, s);
	if (!socket)
		*lpErrno = WSAENOTSOCK;
	return socket;
}

static inline void socket_put(struct san_socket *socket)
{
	handle_put(&provider.sockets, socket->handle);
}

/* For socket_unlock() and socket_complete(): up-calls, which are made without the lock. */
void socket_announce(struct san_socket *socket);
void socket_announce_later(struct san_socket *socket, LPWSAOVERLAPPED overlapped, int wsa_error,
			   uint32_t bytes);

static inline void socket_lock(struct san_socket *socket)
{
	light_lock_acquire(&socket->lock);
}

/* Announces what was completed meanwhile to the switch. */
static inline void socket_unlock(struct san_socket *socket)
{
	if (socket->announce_first)
		socket_announce(socket);
	light_lock_release(&socket->lock);
}

/*
 * The request is complete: tells its owner, at once (from here on its memory
 * may be gone) or with the up-call at unlocking. With the lock held.
 */
static inline void socket_complete(struct san_socket *socket, LPWSAOVERLAPPED overlapped,
				   int wsa_error, uint32_t bytes)
{
	if (!((uintptr_t)overlapped->hEvent & 1)) {
		socket_announce_later(socket, overlapped, wsa_error, bytes);
		return;
	}
	overlapped->InternalHigh = bytes;
	/* Release: pairs with WSA_OVERLAPPED_PENDING. */
	__atomic_store_n(&overlapped->Internal, wsa_error, __ATOMIC_RELEASE);
}

/* A new socket with the table's reference and one for the caller; NULL: out of memory. */
struct san_socket *socket_new(int family);

/* Gives the socket a connection identifier of its own. 0 or -errno. */
int socket_make_id(struct san_socket *socket);

/* For the table of sockets: frees a socket; in a forked child, closes what it inherited of it. */
void socket_release(void *object);
void socket_forked(void *object);

/* The one place that changes state. Logs the change and why. With the lock held. */
void socket_set_state(struct san_socket *socket, enum socket_state state, const char *cause);

/* FD_* happened: remembers and signals it. With the lock held. */
void socket_signal(struct san_socket *socket, LONG event);

/*
 * The connection, or the attempt, is over: requests end with the WSA code
 * @failure, FD_CONNECT is signalled if somebody waits for it. With the lock held.
 */
void socket_break(struct san_socket *socket, int failure, const char *cause);

/*
 * Ends a socket whose handle the caller has closed: device objects, memory, all
 * requests, with @failure. Takes the lock.
 */
void socket_destroy(struct san_socket *socket, int failure);

/* SPI functions. */
SOCKET san_socket(int af, int type, int protocol, LPWSAPROTOCOL_INFOW lpProtocolInfo, GROUP g,
		  DWORD dwFlags, LPINT lpErrno);
int san_bind(SOCKET s, const struct sockaddr *name, int namelen, LPINT lpErrno);
int san_close_socket(SOCKET s, LPINT lpErrno);
int san_event_select(SOCKET s, WSAEVENT hEventObject, LONG lNetworkEvents, LPINT lpErrno);
int san_enum_network_events(SOCKET s, WSAEVENT hEventObject, LPWSANETWORKEVENTS lpNetworkEvents,
			    LPINT lpErrno);
int san_get_sock_opt(SOCKET s, int level, int optname, char *optval, LPINT optlen, LPINT lpErrno);
int san_set_sock_opt(SOCKET s, int level, int optname, const char *optval, int optlen,
		     LPINT lpErrno);

#endif
