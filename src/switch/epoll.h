/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll over sets that mix SAN sockets with other descriptors: what the preload
 * library, the descriptor table and the rest of the switch call.
 *
 * Results are 0, a count or -errno.
 */
#ifndef WSD_SWITCH_EPOLL_H
#define WSD_SWITCH_EPOLL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct epoll;
struct socket;

/* epoll_ctl(2) on any descriptors. */
int switch_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

/*
 * A new set: known from the start, so that a set into which it is put knows it
 * for one. One that we did not see being made is known from its first epoll_ctl.
 */
void switch_epoll_created(int epoll_fd);

/*
 * epoll_pwait2(2) on a set that we know; timeout in nanoseconds, -1: none. Takes
 * over the caller's reference, so that a thread cancelled in its sleep gives it
 * back. A cancellation point.
 */
int switch_epoll_wait(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int count,
		      int64_t timeout, const sigset_t *mask);

/*
 * The descriptor table has a socket for fd now: the sets that hold fd wait for
 * it the SAN's way. Call it after descriptor_set(), holding no lock of a socket.
 * On failure (no memory, no descriptor) nothing has changed, and the socket
 * cannot be used from epoll: better let TCP have it.
 *
 * There is no opposite: a socket that became plain TCP wakes its waiters and
 * answers SOCKET_WAIT_KERNEL from then on, and the sets go back by themselves.
 */
int epoll_socket_entered(int fd, struct socket *socket);

/*
 * For who waits for the set's own descriptor (poll, select, another set): makes
 * sure that the kernel's view of it is complete, so that sleeping on it is safe.
 * From then on the set keeps it so.
 */
void epoll_settle(struct epoll *epoll);
/* Does epoll_settle() matter for the set now? */
bool epoll_has_sockets(struct epoll *epoll);

/* After fork in the child: sets with sockets are made anew, for the kernel's are the parent's. */
void epoll_forked_child(void);

/* ---- for the descriptor table ---- */

void epoll_get(struct epoll *epoll);
void epoll_put(struct epoll *epoll);
/* The last descriptor of the set is being closed. */
void epoll_close(struct epoll *epoll);
/* A descriptor of the set was closed; fd is one that is left. */
void epoll_descriptor_left(struct epoll *epoll, int fd);
/* fd, which is in some set, is being closed. */
void epoll_descriptor_closing(int fd);
/* fd, which is in some set, was marked listening. */
void epoll_descriptor_listens(int fd);

#endif
