/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitors that monitor_open() chooses from. For src/memory only. */
#ifndef WSD_MEMORY_MONITOR_KINDS_H
#define WSD_MEMORY_MONITOR_KINDS_H

#include "monitor.h"

int monitor_module_open(struct monitor **monitor);
int monitor_none_open(struct monitor **monitor);
int monitor_userfaultfd_open(struct monitor **monitor);

/* The `read` of those whose event_descriptor hands out struct monitor_event. */
int monitor_read_events(struct monitor *monitor, struct monitor_event *events, int count);

#endif
