/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that leave the connections they accept to other processes: servers that fork for
 * each, those that start another program for it, as inetd does, and those that pass them on in
 * messages.
 */
#ifndef WSD_SWITCH_HANDOVER_H
#define WSD_SWITCH_HANDOVER_H

#include <stdbool.h>
#include <sys/socket.h>

struct socket;

/* Before a fork, in the parent. Any thread. */
void handover_forking(void);
/* After it, in the child. */
void handover_forked(void);
/* Before exec, unless in a child of vfork(): what is to be its standard input? Async-signal-safe. */
void handover_exec(void);

/* A call of the program's on this socket. If it is one that a parent accepted, that is told. */
void handover_noticed(const struct socket *socket);

/* This was sent, perhaps with an accepted connection for another process. */
void handover_sent(const struct msghdr *message);

/* Has a child of this process tried, or has this process passed one on? */
bool handover_seen(void);

#endif
