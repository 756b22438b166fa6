// SPDX-License-Identifier: BSD-2-Clause
/* Choice of the monitor by name, and the monitor that watches nothing. */
#include "monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fork_mark.h"
#include "log.h"
#include "monitor_kinds.h"
#include "statistics.h"
#include "system.h"

static int none_secure(struct monitor *monitor, uintptr_t address, size_t length, unsigned access,
		       struct monitor_watch *watch)
{
	(void)address, (void)length, (void)access, (void)watch;
	return monitor_is_ours(monitor) ? -EOPNOTSUPP : -EPERM;
}

static int none_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	(void)watch;
	return monitor_is_ours(monitor) ? -ENOENT : -EPERM;
}

static int none_read(struct monitor *monitor, struct monitor_event *events, int count)
{
	(void)events, (void)count;
	return monitor_is_ours(monitor) ? 0 : -EPERM;
}

static void none_close(struct monitor *monitor)
{
	fork_mark_free(monitor->fork_mark);
	free(monitor);
}

static const struct monitor_operations none_operations = {
	.secure = none_secure,
	.unsecure = none_unsecure,
	.read = none_read,
	.close = none_close,
};

int monitor_none_open(struct monitor **opened)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	int error;

	if (!monitor)
		return -ENOMEM;
	error = fork_mark_alloc(&monitor->fork_mark);
	if (error) {
		free(monitor);
		return error;
	}
	monitor->operations = &none_operations;
	monitor->name = "none";
	monitor->event_descriptor = -1;
	*opened = monitor;
	return 0;
}

int monitor_read_events(struct monitor *monitor, struct monitor_event *events, int count)
{
	ssize_t got;

	if (!monitor_is_ours(monitor))
		return -EPERM;
	do {
		got = system_read(monitor->event_descriptor, events,
				  (size_t)count * sizeof(*events));
	} while (got == -EINTR);
	if (got == -EAGAIN)
		return 0;
	if (got < 0)
		return (int)got;
	statistic_add(STATISTIC_events_read, (uint64_t)got / sizeof(*events));
	return (int)((size_t)got / sizeof(*events));
}

static const struct {
	const char *name;
	int (*open)(struct monitor **monitor);
} kinds[] = {
	{ "module", monitor_module_open },
	{ "none", monitor_none_open },
	{ "userfaultfd", monitor_userfaultfd_open },
};

int monitor_open(const char *name, struct monitor **monitor)
{
	bool automatic = strcmp(name, "auto") == 0;
	int error = -EINVAL;

	if (automatic)
		name = "module";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(name, kinds[i].name) == 0)
			error = kinds[i].open(monitor);
	if (error && automatic) {
		log_info("memory monitor module, /dev/wsdirect: %s; application buffers are not cached",
			 log_errno_name(error));
		return monitor_none_open(monitor);
	}
	if (error)
		log_error("memory monitor %s: %s", name, log_errno_name(error));
	else
		log_debug("memory monitor: %s", (*monitor)->name);
	return error;
}
