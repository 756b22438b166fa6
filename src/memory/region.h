/* SPDX-License-Identifier: BSD-2-Clause */
/* A registered region, shared by the index and the cache. For src/memory only. */
#ifndef WSD_MEMORY_REGION_H
#define WSD_MEMORY_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "monitor.h"
#include "registration_cache.h"

/*
 * Regions of the cache live in an array that is never unmapped while the cache
 * exists: a pointer to one may be stale, but always points to a region. While
 * `references` is 0 the region is free or being made, and its maker alone may
 * touch it. Whoever raised it from non-zero may read the members; those that
 * are not atomic do not change until it is 0 again.
 *
 * What a hit needs is in the first cache line.
 */
struct cache_region {
	_Alignas(64) _Atomic uint32_t references;	/* one is the index's */
	_Atomic bool gone;		/* left the cache: not for look-ups any more */
	_Atomic bool recent;		/* used since the clock's hand passed */
	uint8_t access;			/* MEMORY_* */
	bool pooled;			/* false: uncached, of malloc */
	uintptr_t start;
	uintptr_t end;
	struct monitor_watch watch;	/* word NULL: not watched, for one user only */
	/*
	 * Written under the cache's lock: from NULL to a handle while referenced, and to
	 * NULL by the last user. The release store pairs with the acquire load in region_handle().
	 */
	void *_Atomic handles[CACHE_DEVICES];
	struct cache_region *next;	/* in the list of free regions, or of those leaving */
};

_Static_assert(sizeof(struct cache_region) == 128, "two cache lines");
_Static_assert(offsetof(struct cache_region, handles) < 64, "a handle is in the first line");

static inline void *region_handle(const struct cache_region *region, unsigned device)
{
	return atomic_load_explicit(&region->handles[device], memory_order_acquire);
}

/*
 * Takes a reference, unless there is none. Acquire: pairs with the release store of
 * the first reference by the maker (directly or through the additions and
 * subtractions that followed it), so that the members are seen as made.
 */
static inline bool region_get_unless_free(struct cache_region *region)
{
	uint32_t seen = atomic_load_explicit(&region->references, memory_order_relaxed);

	do {
		if (seen == 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&region->references, &seen, seen + 1,
							memory_order_acquire,
							memory_order_relaxed));
	return true;
}

#endif
