/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stand-ins for the kernel module and for NICs, over an address space that is
 * only numbers: pages with generations. Changing a page marks the ranges that
 * watch it and then raises its generation, in the order the kernel does it. A
 * registration remembers the generations its pages had when it was made, so a
 * test can tell what memory a NIC would reach.
 */
#ifndef WSD_TEST_MEMORY_DOUBLE_H
#define WSD_TEST_MEMORY_DOUBLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor.h"
#include "registration_cache.h"

#define SPACE_START	((uintptr_t)0x10000000)
#define SPACE_PAGE	((uintptr_t)4096)
#define SPACE_PAGES	512
#define SPACE_SLOTS	1024

/* Address of a page, for cache_get() and for cache_release_range(). */
#define PAGE_AT(n)	((void *)(SPACE_START + (uintptr_t)(n) * SPACE_PAGE))
#define PAGE_NUMBER(n)	(SPACE_START + (uintptr_t)(n) * SPACE_PAGE)

struct space {
	struct monitor monitor;		/* first: operations get it */
	_Atomic uint64_t words[SPACE_SLOTS];
	_Atomic uint64_t generations[SPACE_PAGES];

	/* The kernel's: held over a change and by secure, which so waits for it. */
	pthread_mutex_t lock;
	struct { bool taken, queued; unsigned first, pages; uint64_t sequence; }
		slots[SPACE_SLOTS];
	unsigned most_slots;
	uint64_t next_sequence;
	unsigned readable_from, readable_to;	/* pages that are mapped; others are EFAULT */
	unsigned writable_from, writable_to;

	_Atomic unsigned secures, unsecures;
	_Atomic int calls_to_failure;	/* of any operation here or of a device; 0: none fails */
	_Atomic int failure;		/* -errno it fails with */
};

struct device_double {
	struct space *space;
	_Atomic unsigned live;		/* registrations held */
	_Atomic unsigned made;
	unsigned most_live;		/* more are -ENOMEM */
	_Atomic int dereg_error;	/* what deregistering answers */
	/* Called in the middle of each registration, if set. */
	void (*during)(struct device_double *device, unsigned first, unsigned pages);
	_Atomic int during_times;	/* left */
};

/* What a device's handle is. */
struct registration_double {
	struct device_double *device;
	unsigned first, pages;
	unsigned access;
	uint64_t generations[];		/* of each page when it was registered */
};

extern const struct cache_device_ops device_double_ops;

struct space *space_create(void);
void space_destroy(struct space *space);

/* The mapping of the pages changes: marks, queues events, then changes. */
void space_change(struct space *space, unsigned first, unsigned pages);

/* Watched ranges that have not fired. */
unsigned space_watched(struct space *space);

#endif
