/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that leave the connections they accept to their children: servers that fork for
 * each, and those that start another program for it, as inetd does.
 */
#ifndef WSD_SWITCH_HANDOVER_H
#define WSD_SWITCH_HANDOVER_H

#include <stdbool.h>
#include <sys/socket.h>

struct socket;

/* Before a fork, in the parent; in the child, and in an owner's child that becomes a program. */
void handover_forking(void);
void handover_forked(void);
void handover_exec(void);

/* A call of the program's on this socket. If it is one that a parent accepted, that is told. */
void handover_noticed(const struct socket *socket);

/* This was sent, perhaps with an accepted connection for another process. */
void handover_sent(const struct msghdr *message);

/* Has a child of this process tried, or has this process passed one on? */
bool handover_seen(void);

#endif
