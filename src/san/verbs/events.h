/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The provider's one thread: events of the connection manager, news of the
 * devices, completions that want an up-call.
 */
#ifndef WSD_SAN_VERBS_EVENTS_H
#define WSD_SAN_VERBS_EVENTS_H

#include <stdbool.h>

/* With provider.lock held and provider.channel open. 0 or -errno. */
int events_start(void);
/* Ends the thread and waits for it. */
void events_stop(void);

/*
 * Has the kernel taken the event channel from this process? It takes commands on it only with
 * the credentials that it was opened with, so a program that changes its user has lost it.
 * @error is what a command ended with; the first that says so is told.
 */
bool channel_is_lost(int error);
/*
 * Closes a channel that is lost unless there are connections, which would end with it. The kernel
 * refuses peers then, who come over TCP at once instead of waiting for an answer, and tells those
 * of connections that could not be closed. The channel's number stays taken, by something that
 * takes no commands either. With no lock held.
 */
void channel_abandon(void);

#endif
