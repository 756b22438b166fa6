/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From descriptor to socket. A two-level array of words: the look-up for a
 * descriptor that is not ours is two loads and no lock.
 *
 * A word holds a pointer, a few marks in the pointer's lowest bits, and in its
 * highest 16 bits the number of holds: calls that use the object, and threads between
 * "found the pointer" and "took a reference". Who takes the pointer out first takes a
 * reference for each of them, so the object outlives them, and no one ever waits:
 * a look-up may run in a signal handler, and a fork at any moment leaves no
 * lock behind in the child.
 */
#ifndef WSD_SWITCH_DESCRIPTORS_H
#define WSD_SWITCH_DESCRIPTORS_H

#include "socket.h"

struct epoll;

/* A reference to the socket behind fd, or NULL. Any thread; async-signal-safe. */
struct socket *descriptor_get(int fd);

/*
 * The same for one call on fd, at half the price. descriptor_release() gives back either, a hold
 * or a reference, whatever fd is by then.
 */
struct socket *descriptor_hold(int fd);
void descriptor_release(int fd, struct socket *socket);

/*
 * Like descriptor_get(), for a call that accepts from or waits on fd: gives a
 * marked listener its companion first (switch_listener_get()).
 */
struct socket *descriptor_get_waitable(int fd);

/* Has fd a socket or a mark, or is it an epoll set that we know? The fast path's question. */
bool descriptor_is_known(int fd);
bool descriptor_is_epoll(int fd);

/* Enters a socket for fd, taking over one reference of the caller's. Replaces nothing: -EEXIST. */
int descriptor_set(int fd, struct socket *socket);

/*
 * fd is now plain TCP (or was closed): removes the entry and drops its
 * reference without closing the socket. A no-op if fd has another socket.
 */
void descriptor_clear(int fd, struct socket *socket);

/* Removes every entry of the socket: it is plain TCP from now on. */
void descriptor_clear_all(struct socket *socket);

/*
 * fd listens and the rules may want a companion for it: accept and the waiting
 * calls will ask switch_listener_get(). Closing fd, clearing its entry, and
 * `false` take the mark off; it stays on beside a socket that is entered, and
 * duplicates inherit it.
 */
void descriptor_mark_listening(int fd, bool listening);
bool descriptor_is_listening(int fd);

/* The kernel descriptor was duplicated: both share the socket (and epoll knows). */
void descriptor_duplicated(int from, int to);

/*
 * fd is about to be closed: takes it out of the table and of the epoll sets.
 * Calls socket_close() when it was the socket's last descriptor, and returns
 * its result.
 */
int descriptor_closing(int fd);

/* Is descriptor_closing(fd) needed? */
bool descriptor_closing_matters(int fd);

/* The highest descriptor that was ever entered or marked, or -1. */
int descriptor_highest(void);

/* Calls visit for each entered descriptor (fork, exec, exit, statistics). */
void descriptor_each(void (*visit)(int fd, struct socket *socket, void *context), void *context);

/*
 * Remembers the process. A child that shares our memory (vfork) or that forked
 * behind our back has another pid: what it does to its descriptors must not
 * change the table of ours. Called by the preload library's constructor, and in
 * the child by its fork handler before anything else; there it also lets go of
 * what threads of the parent were doing.
 */
void descriptors_open(void);

/* Is this the process that the table describes? */
bool descriptors_are_ours(void);

/* ---- for epoll.c ---- */

struct watch;

/* The same for epoll sets; a descriptor has a socket or an epoll set. */
struct epoll *descriptor_epoll_get(int fd);
int descriptor_epoll_set(int fd, struct epoll *epoll);
/* fd turned out not to be that epoll set any more. */
void descriptor_epoll_clear(int fd, struct epoll *epoll);
void descriptor_epoll_each(void (*visit)(int fd, struct epoll *epoll, void *context),
			   void *context);

/*
 * The registrations of fd in epoll sets; epoll.c's lock for fd protects the
 * list. NULL: no room for a table. Call descriptor_watched() after changing it.
 */
struct watch **descriptor_watches(int fd);
void descriptor_watched(int fd, bool watched);
bool descriptor_is_watched(int fd);

#endif
