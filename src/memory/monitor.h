/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What watches registered memory: one interface, several watchers.
 *
 * A monitor watches ranges of this process's memory. A watched range has a
 * state word that holds the range's sequence number while its mapping is
 * unchanged; from the moment the mapping starts to change it holds something
 * else, for good. So whether a range is still what it was is one load and one
 * comparison: monitor_watch_valid().
 *
 * module		the kernel module: sees every change, before it happens
 * none			watches nothing: secure() answers -EOPNOTSUPP
 * userfaultfd		needs no module but sees less and later: userfaultfd_monitor.c
 *
 * Fork: a monitor belongs to the address space it was opened in. In a child
 * every operation answers -EPERM and monitor_is_ours() is false, however the
 * child was made: the mark is a page that the kernel empties in a child.
 * (A child of vfork shares the address space, so there the monitor is ours.)
 *
 * Threads: all operations may be called from any thread at the same time,
 * except monitor_close(), which is called when nobody uses the monitor.
 */
#ifndef WSD_MEMORY_MONITOR_H
#define WSD_MEMORY_MONITOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rights a watched range must keep. The values are those of WSDIRECT_ACCESS_*. */
#define MEMORY_READ	0x1u
#define MEMORY_WRITE	0x2u

/* Remembers one watched range. */
struct monitor_watch {
	const _Atomic uint64_t *word;	/* NULL: nothing watches */
	uint64_t sequence;
	uint32_t slot;
};

/* A watched range fired. The layout of struct wsdirect_event. */
struct monitor_event {
	uint64_t address;	/* of the watched range, all of it; 0 with a length of */
	uint64_t length;	/* UINT64_MAX: of all ranges */
	uint64_t sequence;
	uint32_t slot;
	uint32_t cause;
};

struct monitor;

struct monitor_operations {
	/* See struct wsdirect_secure for the errors of the module. -EOPNOTSUPP: cannot watch. */
	int (*secure)(struct monitor *monitor, uintptr_t address, size_t length, unsigned access,
		      struct monitor_watch *watch);
	/* -ENOENT: fired before; its event is, or was, in the queue. */
	int (*unsecure)(struct monitor *monitor, const struct monitor_watch *watch);
	/* Events taken from the queue, at most @count; 0: none there. Never waits. */
	int (*read)(struct monitor *monitor, struct monitor_event *events, int count);
	void (*close)(struct monitor *monitor);
};

struct monitor {
	const struct monitor_operations *operations;
	const char *name;
	/*
	 * Readable while events wait; read() of it yields whole records of struct
	 * monitor_event. -1: there will never be one. The monitor's own.
	 */
	int event_descriptor;
	size_t most_ranges;	/* that can be watched at once; 0: none */
	/* 1 in the process that opened the monitor, 0 in its children. */
	const _Atomic uint32_t *fork_mark;
};

/*
 * Opens the monitor called @name (a word of the setting memory_monitor) for the
 * caller's address space; released by monitor_close(). `auto` is the module, or,
 * where that cannot be had, none, with one log line that says why. 0; -errno of
 * the monitor asked for; -EINVAL: no such name.
 */
int monitor_open(const char *name, struct monitor **monitor);

static inline int monitor_secure(struct monitor *monitor, uintptr_t address, size_t length,
				 unsigned access, struct monitor_watch *watch)
{
	return monitor->operations->secure(monitor, address, length, access, watch);
}

static inline int monitor_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	return monitor->operations->unsecure(monitor, watch);
}

static inline int monitor_read(struct monitor *monitor, struct monitor_event *events, int count)
{
	return monitor->operations->read(monitor, events, count);
}

/* In a child too: it gives back what the child inherited, and touches nothing of the parent's. */
static inline void monitor_close(struct monitor *monitor)
{
	monitor->operations->close(monitor);
}

static inline bool monitor_is_ours(const struct monitor *monitor)
{
	/* Relaxed: the word changes at fork only, before the child's first instruction. */
	return atomic_load_explicit(monitor->fork_mark, memory_order_relaxed) == 1;
}

/*
 * Whether the range is unchanged. Acquire: pairs with the store by which the
 * monitor marks the range (in the module under a spinlock that it gives back
 * before the page tables change), so that nothing the caller does on the strength of the answer
 * is done before the look.
 */
static inline bool monitor_watch_valid(const struct monitor_watch *watch)
{
	return atomic_load_explicit(watch->word, memory_order_acquire) == watch->sequence;
}

#endif
