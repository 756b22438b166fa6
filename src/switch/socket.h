/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The switch's socket: what stands behind a descriptor whose bytes go, or may
 * go, over a SAN. One object serves every descriptor that was duplicated from
 * the same kernel socket.
 *
 * A descriptor has a socket object only while a SAN has a say in it: from
 * connect() on a SAN route until the SAN or TCP was chosen (afterwards only if
 * the SAN won), and for a listener from the first accept or wait on it. Every
 * other descriptor is the kernel's alone and costs one table look-up.
 *
 * Calls return a count or 0, or -errno; they never touch the caller's errno.
 */
#ifndef WSD_SWITCH_SOCKET_H
#define WSD_SWITCH_SOCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "waiter.h"

struct socket;

/* ---- life -------------------------------------------------------------- */

/*
 * References: the descriptor table holds one for each descriptor, a call in
 * progress one or a hold in their stead, the switch thread one while it works on the
 * socket. descriptors.h hands out both; the last put frees.
 */
struct socket *socket_get(struct socket *socket);
void socket_put(struct socket *socket);
/* socket_put() as a clean-up handler of a thread that is cancelled. */
static inline void socket_put_cancelled(void *socket)
{
	socket_put(socket);
}

/*
 * The last descriptor of the socket was closed: what is buffered is still
 * delivered in the background, then the companion is closed. Called by the
 * descriptor table, once, with the table's reference still held. Returns 0 or
 * -errno as close(2) would (SO_LINGER may make it wait).
 */
int socket_close(struct socket *socket);

/* ---- calls of the application; fd is the descriptor it used ------------- */

/*
 * connect(2) and listen(2) on any descriptor, with a socket object or without:
 * decide between the SAN and TCP and may enter a socket into the table.
 */
int switch_connect(int fd, const struct sockaddr *address, socklen_t length);
/* The same, but -ERESTART if TCP is to do it: the caller has its own way. */
int switch_connect_or_tcp(int fd, const struct sockaddr *address, socklen_t length);
int switch_listen(int fd, int backlog);

/*
 * The descriptor is about to be accepted or waited on: gives a listening TCP
 * socket its companion if the rules want one. Cheap when already decided.
 * Returns a reference or NULL (not a listener, or TCP only).
 */
struct socket *switch_listener_get(int fd);

/*
 * The program accepts from a descriptor that we do not know. After a reload of a server with
 * several processes that may be a listener whose companion could not have the port while the
 * old process had it: once in a while it is decided anew.
 */
void switch_listener_again(int fd);

/* accept4(2) on a listener with a companion: whichever kind comes first. */
int socket_accept(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length,
		  int flags);

/*
 * sendmsg(2)/recvmsg(2) without address and control data; flags are MSG_*.
 * -ERESTART: the socket has become plain TCP: the kernel's call is the right one.
 */
ssize_t socket_send(struct socket *socket, const struct iovec *vector, int count, int flags);
ssize_t socket_receive(struct socket *socket, const struct iovec *vector, int count, int flags);

/*
 * recvmsg(2) with MSG_ERRQUEUE: completions of MSG_ZEROCOPY, in control data. Never waits: 0,
 * or -EAGAIN if there is none; -ERESTART as above.
 */
ssize_t socket_receive_error(struct socket *socket, struct msghdr *message);

int socket_shutdown(struct socket *socket, int fd, int how);
int socket_name(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length);
int socket_peer_name(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length);
int socket_get_option(struct socket *socket, int fd, int level, int name, void *value,
		      socklen_t *length);
int socket_set_option(struct socket *socket, int fd, int level, int name, const void *value,
		      socklen_t length);
/* FIONREAD (SIOCINQ), SIOCOUTQ, SIOCATMARK, FIONBIO; others go to the kernel socket. */
int socket_ioctl(struct socket *socket, int fd, unsigned long request, void *argument);
/* fcntl(F_SETFL) and FIONBIO changed O_NONBLOCK of the kernel socket. */
void socket_set_nonblocking(struct socket *socket, bool nonblocking);

/* ---- readiness ----------------------------------------------------------
 *
 * "arm, look again, sleep". A thread that wants to sleep until a socket is
 * ready:
 *   1. adds a waiter to the socket (once),
 *   2. calls socket_poll(); done if the wanted bits are there,
 *   3. calls socket_arm(), which returns what to sleep on besides the
 *      waiter's own descriptor, then socket_poll() again; done if ready,
 *   4. sleeps in poll/epoll on that descriptor and on the waiter's,
 *   5. goes to 2.
 * Invariant: if a socket becomes ready after step 3's socket_poll, either the
 * returned descriptor is readable or the waiter's descriptor is written.
 */

/*
 * Moves the session forward (polls the completion queue, handles messages) and
 * returns the POLL* bits that hold now: POLLIN, POLLRDNORM, POLLOUT,
 * POLLWRNORM, POLLPRI, POLLRDHUP, POLLHUP, POLLERR. Never blocks.
 */
unsigned socket_poll(struct socket *socket);

enum socket_wait {
	SOCKET_WAIT_KERNEL,	/* sleep on the application's own descriptor, for what it wants */
	SOCKET_WAIT_COMPANION,	/* sleep on *descriptor (never the application's), for POLLIN */
	SOCKET_WAIT_BOTH,	/* a listener: the application's own, and the waiter */
	SOCKET_WAIT_WAKE,	/* nothing but the waiter's descriptor */
};

/*
 * Prepares to sleep. May change between calls (a connecting socket becomes
 * connected, or plain TCP: SOCKET_WAIT_KERNEL); every such change wakes the
 * waiters. @descriptor NULL: prepares nothing, the answer is all.
 */
enum socket_wait socket_arm(struct socket *socket, int *descriptor);

/*
 * Counts that only grow, for edge-triggered epoll: @in changes whenever more
 * became readable (data, end of file, error, a connection), @out whenever
 * writing became possible again.
 */
void socket_edges(struct socket *socket, uint32_t *in, uint32_t *out);

/*
 * A link's waiter is woken when the socket's readiness or way of waiting may have changed
 * without its companion descriptor becoming readable for this sleeper (another thread took
 * the completion). Arm the link before socket_arm().
 */
void socket_waiter_add(struct socket *socket, struct waiter_link *link, struct waiter *waiter);
void socket_waiter_remove(struct socket *socket, struct waiter_link *link);

#endif
