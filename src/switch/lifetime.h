/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch's start, end, and what fork does to it. */
#ifndef WSD_SWITCH_LIFETIME_H
#define WSD_SWITCH_LIFETIME_H

/* From the preload library's constructor: settings, log, statistics. Idempotent. */
void switch_open(void);

/*
 * The process ends by exit(): closes what is open as the kernel would and gives
 * closed sockets the time to deliver what they hold, as long as their peers take
 * it. From the preload library's destructor; may be called more than once. A
 * process that ends by a signal loses what only it held.
 */
void switch_exit(void);

/*
 * The process ends by _exit(): waits likewise, but only for what was closed before, since it
 * may be a signal handler that calls. Async-signal-safe, and nothing in a child of vfork().
 */
void switch_leaving(void);
/* The same when another program takes the process over, which may inherit connections. */
void switch_executing(void);

/*
 * Before a fork, in the parent: listeners that nobody accepted from are given up (listen.c).
 * Runs by itself in fork(), before the provider's own handler (provider.c).
 */
void switch_forking(void);

/*
 * In the child of a fork, single-threaded. SAN connections belong to the
 * parent: here their descriptors answer EOPNOTSUPP. Listeners start anew at the
 * first accept or wait. The parent notices nothing.
 */
void switch_forked_child(void);

#endif
