/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The provider's one thread: events of the connection manager, news of the
 * devices, completions that want an up-call.
 */
#ifndef WSD_SAN_VERBS_EVENTS_H
#define WSD_SAN_VERBS_EVENTS_H

/* With provider.lock held and provider.channel open. 0 or -errno. */
int events_start(void);
/* Ends the thread and waits for it. */
void events_stop(void);

#endif
