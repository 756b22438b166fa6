/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A socket that is all readiness and no bytes: what socket.h promises to poll,
 * select and epoll, moved by the test instead of by a SAN.
 *
 * It behaves as one with a completion queue does. What arrives is pending until
 * somebody calls socket_poll(). The companion descriptor (an eventfd) becomes
 * readable for an arrival only if socket_arm() asked since the last one, and what
 * had arrived before arming makes no event. Whoever takes an arrival in
 * socket_poll() wakes the waiters.
 */
#ifndef FAKE_SOCKET_H
#define FAKE_SOCKET_H

#include "socket.h"

/* A kernel TCP socket, unconnected, with a fake socket entered in the table for it. */
int fake_open(struct socket **made);
/* Gives a descriptor that exists a fake socket. */
struct socket *fake_enter(int fd);

/* Closes every descriptor that has a fake socket. */
void fake_close_all(void);

/* The bits become these: through the completion queue, as the peer does it... */
void fake_arrive(struct socket *socket, unsigned int bits);
/* ... or at once, as the program's own calls do (reading, say). */
void fake_set(struct socket *socket, unsigned int bits);
/* How it is to be waited for; wakes waiters. */
void fake_wait(struct socket *socket, enum socket_wait wait);

/* Calls of socket_poll() and socket_arm() on it, of socket_close(), and its references. */
unsigned int fake_polls(struct socket *socket);
unsigned int fake_arms(struct socket *socket);
extern atomic_uint fake_closed;
extern atomic_int fake_alive;

/* What switch_listener_get() gives to descriptors marked listening: fake_enter() if true. */
extern bool fake_listeners;

#endif
