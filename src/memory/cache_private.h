/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache's own structures, shared by its source files. For src/memory only. */
#ifndef WSD_MEMORY_CACHE_PRIVATE_H
#define WSD_MEMORY_CACHE_PRIVATE_H

#include "lock.h"
#include "region.h"
#include "region_index.h"

/* A handle that its device would not let go. Kept to ask again. */
struct orphan {
	struct orphan *next;
	void *handle;
};

struct cache_device {
	const struct cache_device_ops *ops;	/* NULL: this place is free */
	void *device;
	unsigned index;				/* in cache->devices and in a region's handles */
	/* Handles held, orphans included. Relaxed: read for its value alone. */
	_Atomic size_t registrations;
	struct lock lock;			/* nothing is taken or called under it */
	struct orphan *orphans GUARDED_BY(lock);
};

/* Which index a region is in, by its rights. Look-ups for reading ask both, in this order. */
enum { INDEX_READ_ONLY, INDEX_READ_WRITE, INDEX_COUNT };

#define CACHE_LATE_EVENTS	256

struct cache {
	/* Set by cache_create(), then read by every hit. */
	struct monitor *monitor;
	uintptr_t page_mask;		/* of the offset in a page */
	struct cache_region *pool;	/* never unmapped before the cache's end */
	uint32_t pool_size;		/* 0: nothing is cached */
	uint64_t most_bytes;

	/* Changed under the lock; read without it too: see region_index.h. */
	struct region_index indexes[INDEX_COUNT];

	/*
	 * Guards what follows, the changes to the indexes, and a region's being in one
	 * (`gone`, `next`, the filling of `handles`). Never held during a call of a device
	 * or of the monitor: those wait for the kernel's memory locks.
	 */
	_Alignas(128) struct lock lock;
	struct cache_region *free GUARDED_BY(lock);
	uint32_t pool_used GUARDED_BY(lock);	/* regions that have ever been taken */
	uint32_t pool_taken GUARDED_BY(lock);	/* not free now */
	uint32_t listed GUARDED_BY(lock);	/* in an index */
	uint32_t hand GUARDED_BY(lock);		/* the clock's */
	uint64_t bytes GUARDED_BY(lock);	/* of the regions taken */
	/*
	 * Ranges that fired and whose region left before their event was heard of. Such
	 * an event is older than any valid region there, which therefore stays. The
	 * oldest is forgotten when there are too many: that costs a registration, no more.
	 */
	struct { uintptr_t start, end; } late[CACHE_LATE_EVENTS] GUARDED_BY(lock);
	uint32_t late_next GUARDED_BY(lock);

	struct cache_device devices[CACHE_DEVICES];	/* `ops` is guarded by the lock */
};

void cache_device_init(struct cache_device *device);
/* In a child of fork orphans are forgotten with the device; otherwise there are none left. */
void cache_device_forget(struct cache_device *device);

/* One attempt to register; -ENOMEM and other errors are the device's. */
int cache_device_register(struct cache_device *device, uintptr_t start, uintptr_t end,
			  unsigned access, void **handle);

/* On failure the device keeps the handle as an orphan. */
int cache_device_deregister(struct cache_device *device, void *handle);

/* Asks again for every orphan. 0 or the error of the last that stays. */
int cache_device_retry(struct cache_device *device);

/* Which index the region belongs to. */
static inline unsigned cache_region_class(const struct cache_region *region)
{
	return region->access & MEMORY_WRITE ? INDEX_READ_WRITE : INDEX_READ_ONLY;
}

/* Whether the memory of a region of the pool, held or found with the lock, is as it was. */
static inline bool cache_region_unchanged(const struct cache_region *region)
{
#ifdef WSD_MUTATION_NO_STATE_CHECK
	(void)region;
	return true;
#else
	return monitor_watch_valid(&region->watch);
#endif
}

/*
 * Secures, registers and looks again. The region made has no reference yet, so
 * that only the caller can use it.
 * -ESTALE: the mapping changed meanwhile; -EOPNOTSUPP: not to be had in the cache.
 */
int cache_region_make(struct cache *cache, struct cache_device *device, uintptr_t start,
		      uintptr_t end, unsigned access, struct cache_region **made)
	LEAVES_LOCK(cache->lock);

/* Registers for one transfer only. One reference, the caller's. */
int cache_region_make_uncached(struct cache *cache, struct cache_device *device, uintptr_t start,
			       uintptr_t end, unsigned access, struct cache_region **made)
	LEAVES_LOCK(cache->lock);

/*
 * Registers a cached region, which the caller holds, with one more device.
 * -ESTALE: it changed or left the cache meanwhile.
 */
int cache_region_extend(struct cache *cache, struct cache_device *device,
			struct cache_region *region) LEAVES_LOCK(cache->lock);

/* Takes a region out of its index; the index's reference goes to the list @leaving. */
void cache_region_leave(struct cache *cache, struct cache_region *region,
			struct cache_region **leaving) NEEDS_LOCK(cache->lock);

/* Puts the references of what left. 0 or the error of a device that kept a handle. */
int cache_leaving_put(struct cache *cache, struct cache_region *leaving)
	LEAVES_LOCK(cache->lock);

/* Ends a region that nobody refers to. */
int cache_region_finish(struct cache *cache, struct cache_region *region)
	LEAVES_LOCK(cache->lock);

/* Puts a reference. True: it was the last, and the caller is to end the region. */
static inline bool cache_region_last(struct cache_region *region)
{
	/*
	 * Release: what was done with the region comes before its end. Acquire: for the
	 * last one, who ends it; pairs with the releases of all others here.
	 */
	return atomic_fetch_sub_explicit(&region->references, 1, memory_order_acq_rel) == 1;
}

/* The same with the end. 0 or the error of a device that kept its handle. */
static inline int cache_region_put(struct cache *cache, struct cache_region *region)
{
	return cache_region_last(region) ? cache_region_finish(cache, region) : 0;
}

#endif
