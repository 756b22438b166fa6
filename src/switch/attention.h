/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The switch thread: looks after sockets while no thread of the program does.
 *
 * One per process, started at first need. It
 *   - moves nonblocking connects, new connections and their greetings,
 *   - drains what is left of closed sockets,
 *   - sends what was held back to fill a message (within a millisecond),
 *   - guards connected sockets that the program leaves alone for a while, so
 *     that a peer that needs an answer from the session gets it,
 *   - reads memory events and calls the providers' cache callbacks.
 *
 * It holds a reference to each socket it attends, and is the only one who lets
 * go of it, so the pointer in its epoll stays good.
 */
#ifndef WSD_SWITCH_ATTENTION_H
#define WSD_SWITCH_ATTENTION_H

#include <stdbool.h>

struct socket;

/* Starts the thread if it does not run. 0 or -errno. */
int attention_start(void);

/* Takes the socket into its care (takes a reference). Socket lock held or the socket yet private. */
void attention_add(struct socket *socket);

/*
 * Look at it again soon: something was left to do. Nothing if it is not in the thread's care.
 * Socket lock held. Cheap when repeated.
 */
void attention_soon(struct socket *socket);

/* The program waits on the socket itself again: stop guarding it. Socket lock held. */
void attention_unguard(struct socket *socket);

/* A closed socket is about to be added: attention_drain() waits for it. */
void attention_draining(void);

/* At exit: waits until closed sockets have drained, or nothing moved for `milliseconds`. */
void attention_drain(int milliseconds);

/* After fork, in the child: there is no thread and nothing to attend. */
void attention_forked(void);

#endif
