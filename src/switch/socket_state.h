/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket from inside the switch.
 *
 * Locking. `lock` protects everything but the reference count and `waiters`,
 * which has a lock of its own below it so that waking needs no session lock.
 * Order: socket lock, then attention.c's lock, then that of `waiters`. No two socket
 * locks are held at once, but a listener's while a new connection is queued.
 *
 * States and who changes them (only socket_state_set does):
 *   CONNECTING -> CONNECTED   the SAN answered
 *   CONNECTING -> PLAIN       TCP carries it; the descriptor table forgets it
 *   CONNECTING -> CLOSED      closed by the program meanwhile
 *   CONNECTED  -> CLOSED      last descriptor closed; the session drains on
 *   LISTENING  -> CLOSED
 */
#ifndef WSD_SWITCH_SOCKET_STATE_H
#define WSD_SWITCH_SOCKET_STATE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cancellation.h"
#include "light_lock.h"
#include "session.h"
#include "socket.h"

enum socket_state {
	SOCKET_CONNECTING,
	SOCKET_CONNECTED,
	SOCKET_LISTENING,
	SOCKET_PLAIN,
	SOCKET_CLOSED,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage storage;
};

/* A connect in progress (connect.c), or a connection being greeted (accept.c). */
struct connecting {
	union address peer;
	socklen_t peer_length;
	int event;			/* eventfd for FD_CONNECT */
	int kernel;			/* own duplicate of the program's socket, for TCP */
	int64_t deadline;
	SOCKET companion;		/* the session's once it is open */
	bool greeted;			/* the SAN connected, HELLO is under way */
	bool background;		/* the switch thread moves it, and starts TCP if need be */
	bool unreported;		/* its success was not seen by a second connect() yet */
	unsigned int seen;		/* accepting: listener_looks() when it arrived */
	bool elsewhere;			/* the listener has sent us on to another */
	WSABUF answer;			/* its answer: here */
	struct elsewhere answered;
};

/* A listening companion (listen.c). */
struct listening {
	SOCKET companion;
	int event;			/* eventfd for FD_ACCEPT */
	atomic_uint looks;		/* of this process, at what can be accepted */
	int64_t taking;			/* since when a thread is in the kernel's accept, 0: none */
	unsigned int waiting;		/* connections being greeted or ready */
	unsigned int open;		/* accepted ones that the program has not closed */
	bool refused;			/* said so in the log */
	struct socket *ready_first, *ready_last;
	struct shared_port *shared;	/* its port, if it has it or others do; see shared_port.h */
	struct place *place;		/* ... where it is found, if another has it */
	unsigned int back;		/* ... CLOCK_MONOTONIC seconds until which it gets none */
};

struct socket {
	atomic_uint references;
	struct light_lock lock;
	int cancel_state;			/* of the thread that holds it, before it did; or _PLAIN */
	enum socket_state state;

	bool nonblocking;
	bool shut_read;
	bool accepted, of_parent;		/* see handover.h */
	int64_t receive_timeout, send_timeout;	/* nanoseconds, -1: none */
	int linger;				/* seconds, -1: off */
	int low_water;				/* SO_RCVLOWAT */
	int error;				/* to be reported once (SO_ERROR) */

	uint32_t in_edge, out_edge;		/* see socket_edges() */
	uint64_t seen_received;			/* of the session when in_edge last grew */
	bool seen_finished, seen_broken, seen_writable;

	struct waiter_list waiters;

	struct session session;			/* what every message touches ends in it */

	union address local, peer;		/* of one that connects, local is the companion's */
	socklen_t local_length, peer_length;

	struct {				/* zerocopy.c */
		bool enabled;			/* SO_ZEROCOPY */
		bool copied;			/* of those not fetched, some bytes were */
		uint32_t sent, fetched;		/* completions: as many as calls, modulo 2^32 */
	} zerocopy;

	struct connecting connecting;
	struct listening listening;
	struct socket *next_ready;		/* in a listener's list */
	struct socket *listener;		/* of a connection being greeted; a reference */
	struct socket *acceptor;		/* of one that counts in its listener's `open`; a reference */

	struct {				/* attention.c */
		struct socket *next, *previous;	/* in the list of sockets it looks after */
		int descriptor;			/* in its epoll, -1: none */
		uint64_t activity, receives;	/* as seen at its last look */
		int64_t active, received;	/* when it last saw them grow; CLOCK_MONOTONIC ns */
		unsigned int missed;		/* looks in a row that found the lock taken */
		bool listed;
		bool attended;			/* it holds a reference */
	} attention;
};

/*
 * The socket's lock. Its holder cannot be cancelled: providers write to device files, which
 * is a cancellation point. It can be where it sleeps, with the lock let go.
 */
static inline void socket_lock(struct socket *socket)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	light_lock_acquire(&socket->lock);
	socket->cancel_state = state;
}

/* The same for socket_send() and socket_receive(): see cancellation.h. */
static inline void socket_lock_plain(struct socket *socket)
{
	if (cancellation.anywhere) {
		socket_lock(socket);
		return;
	}
	light_lock_acquire(&socket->lock);
	socket->cancel_state = CANCELLATION_PLAIN;
	cancellation.plain++;
}

/* From here to socket_unlock() the thread cannot be cancelled, whatever it calls. */
static inline void socket_forbid_cancel(struct socket *socket)
{
	if (socket->cancel_state != CANCELLATION_PLAIN)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &socket->cancel_state);
	cancellation.plain--;
}

static inline void socket_unlock(struct socket *socket)
{
	int state = socket->cancel_state;

	light_lock_release(&socket->lock);
	if (state == CANCELLATION_PLAIN)
		cancellation.plain--;
	else
		pthread_setcancelstate(state, NULL);
}

/* A new socket with one reference, or NULL. */
struct socket *socket_new(enum socket_state state);
/* The only writer of `state`; logs and wakes. Lock held. */
void socket_state_set(struct socket *socket, enum socket_state state, const char *cause);
/* Wakes every waiter but the calling thread's. */
void socket_changed(struct socket *socket);
/* Moves the session and, if anything changed, counts edges and wakes others. Lock held. */
bool socket_progress(struct socket *socket);
/* Reads nonblocking mode, timeouts and the like from the kernel socket. */
void socket_adopt_options(struct socket *socket, int fd);

/* Asks the provider for the connection's addresses, as a socket of that family sees them. */
void socket_learn_names(struct socket *socket, int family);

/* One step of a connect in progress; true when it is decided. Lock held. */
bool connect_step(struct socket *socket);
/* The program closed it: stop trying. Lock held. */
void connect_abort(struct socket *socket);
/* Takes new connections from the companion and moves those being greeted (accept.c). */
void listen_step(struct socket *socket);
/* One step of a connection being greeted; true when it is over, either way. */
bool greeting_step(struct socket *socket);
void listen_close(struct socket *socket);
/*
 * A client came over TCP, which it may have done since nobody has the listener's port on the SAN
 * any more: takes it if so. No lock held. Peers that are just being sent to where it
 * was found come over TCP, too.
 */
void listen_take_port(struct socket *socket);
/* The program has this connection, which may be an accepted one, no more. Lock held. */
void listen_connection_over(struct socket *connection);

#endif
