// SPDX-License-Identifier: BSD-2-Clause
/*
 * The life of a region: room is made for it, it is secured and registered, looked
 * at again, and, when its last reference is put, deregistered and released. Why in
 * this order, and who holds references: registration_cache.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "cache_private.h"
#include "log.h"
#include "statistics.h"

/* Rounds of letting others go for a device that is out of memory. */
#define ROOM_ROUNDS 8

/* Lock rules, checked by clang. */
static unsigned cache_evict(struct cache *cache, uint64_t bytes, struct cache_region **leaving)
	NEEDS_LOCK(cache->lock);
static bool cache_make_room(struct cache *cache, uint64_t bytes) LEAVES_LOCK(cache->lock);
static struct cache_region *region_take(struct cache *cache, uint64_t bytes)
	LEAVES_LOCK(cache->lock);

/* The look after registering. */
static bool region_still_unchanged(const struct cache_region *region)
{
#ifdef WSD_MUTATION_NO_LOOK_AGAIN
	(void)region;
	return true;
#else
	return monitor_watch_valid(&region->watch);
#endif
}

/* ---- leaving ---- */

static void region_free(struct cache *cache, struct cache_region *region)
{
	if (!region->pooled) {
		free(region);
		return;
	}
	lock_acquire(&cache->lock);
	cache->bytes -= region->end - region->start;
	cache->pool_taken--;
	region->next = cache->free;
	cache->free = region;
	lock_release(&cache->lock);
}

int cache_region_finish(struct cache *cache, struct cache_region *region)
{
	int result = 0;

	for (unsigned i = 0; i < CACHE_DEVICES; i++) {
		void *handle = region_handle(region, i);
		int error = handle ? cache_device_deregister(&cache->devices[i], handle) : 0;

		if (error)
			result = error;
		atomic_store_explicit(&region->handles[i], NULL, memory_order_relaxed);
	}
	/* A range that fired is released already; its slot waits for the reader of its event. */
	if (region->watch.word && monitor_watch_valid(&region->watch))
		monitor_unsecure(cache->monitor, &region->watch);
	region_free(cache, region);
	return result;
}

void cache_region_leave(struct cache *cache, struct cache_region *region,
			struct cache_region **leaving)
{
	region_index_remove(&cache->indexes[cache_region_class(region)], region);
	/*
	 * Relaxed: a look-up that must not find the region any more comes after this in
	 * happens-before, and then cannot read an older value.
	 */
	atomic_store_explicit(&region->gone, true, memory_order_relaxed);
	cache->listed--;
	if (region->watch.word && !monitor_watch_valid(&region->watch)) {
		cache->late[cache->late_next].start = region->start;
		cache->late[cache->late_next].end = region->end;
		cache->late_next = (cache->late_next + 1) % CACHE_LATE_EVENTS;
	}
	region->next = *leaving;
	*leaving = region;
}

int cache_leaving_put(struct cache *cache, struct cache_region *leaving)
{
	int result = 0;

	while (leaving) {
		struct cache_region *next = leaving->next;
		int error = cache_region_put(cache, leaving);

		if (error)
			result = error;
		leaving = next;
	}
	return result;
}

/*
 * Lets idle regions go, those first that were not used of late, until they make
 * up @bytes, one at least. Returns how many.
 */
static unsigned cache_evict(struct cache *cache, uint64_t bytes, struct cache_region **leaving)
{
	uint64_t found = 0;
	unsigned count = 0;

	/* Twice around: the first time may only take away marks. */
	for (uint64_t left = 2 * (uint64_t)cache->pool_used; left > 0; left--) {
		struct cache_region *region = &cache->pool[cache->hand];

		cache->hand = cache->hand + 1 < cache->pool_used ? cache->hand + 1 : 0;
		if (atomic_load_explicit(&region->references, memory_order_relaxed) != 1 ||
		    atomic_load_explicit(&region->gone, memory_order_relaxed))
			continue;
		if (atomic_load_explicit(&region->recent, memory_order_relaxed) &&
		    cache_region_unchanged(region)) {
			atomic_store_explicit(&region->recent, false, memory_order_relaxed);
			continue;
		}
		found += region->end - region->start;
		count++;
		cache_region_leave(cache, region, leaving);
		if (found >= bytes)
			break;
	}
	statistic_add(STATISTIC_cache_evictions, count);
	return count;
}

/* Makes room outside the cache: lets go of @bytes. False: nothing was idle. */
static bool cache_make_room(struct cache *cache, uint64_t bytes)
{
	struct cache_region *leaving = NULL;
	unsigned count;

	lock_acquire(&cache->lock);
	count = cache_evict(cache, bytes, &leaving);
	lock_release(&cache->lock);
	cache_leaving_put(cache, leaving);
	return count > 0;
}

bool cache_shrink(struct cache *cache, uint64_t bytes)
{
	return monitor_is_ours(cache->monitor) && cache_make_room(cache, bytes);
}

/* ---- making ---- */

/* A region of the pool, referenced by nobody, in no index; NULL: no room can be made. */
static struct cache_region *region_take(struct cache *cache, uint64_t bytes)
{
	struct cache_region *leaving;
	struct cache_region *region;
	unsigned evicted;

	if (bytes > cache->most_bytes)
		return NULL;
	/* Ends: each round but the last lets regions go. */
	do {
		uint64_t excess = 0;

		leaving = NULL;
		region = NULL;
		evicted = 0;
		lock_acquire(&cache->lock);
		if (cache->bytes + bytes > cache->most_bytes)
			excess = cache->bytes + bytes - cache->most_bytes;
		if (excess > 0 || cache->pool_taken == cache->pool_size) {
			evicted = cache_evict(cache, excess, &leaving);
		} else {
			region = cache->free;
			if (region)
				cache->free = region->next;
			else
				region = &cache->pool[cache->pool_used++];
			atomic_store_explicit(&region->gone, true, memory_order_relaxed);
			cache->pool_taken++;
			cache->bytes += bytes;
		}
		lock_release(&cache->lock);
		cache_leaving_put(cache, leaving);
	} while (evicted > 0);
	return region;
}

static void region_fill(struct cache_region *region, uintptr_t start, uintptr_t end,
			unsigned access, bool pooled)
{
	region->access = (uint8_t)access;
	region->pooled = pooled;
	region->start = start;
	region->end = end;
	region->watch = (struct monitor_watch){ .word = NULL };
	atomic_store_explicit(&region->gone, true, memory_order_relaxed);
	atomic_store_explicit(&region->recent, false, memory_order_relaxed);
}

/*
 * Reads events that nobody has read yet, for the slots they hold. True: there were some.
 * Usually another thread reads them; it may be slow, and a provider may be without one.
 */
static bool cache_read_events(struct cache *cache)
{
	struct monitor_event events[16];
	int count = monitor_read(cache->monitor, events, sizeof(events) / sizeof(events[0]));

	for (int i = 0; i < count; i++)
		cache_release_range(cache, (uintptr_t)events[i].address, (size_t)events[i].length);
	return count > 0;
}

/* Watches the region's range, letting others go if that is what it takes. */
static int region_secure(struct cache *cache, struct cache_region *region)
{
	int error;

	for (int round = 0;; round++) {
		error = monitor_secure(cache->monitor, region->start, region->end - region->start,
				       region->access, &region->watch);
		if (error != -ENOSPC && error != -EDQUOT && error != -ENOMEM)
			return error;
		if (round == ROOM_ROUNDS)
			return error;
		if (!cache_read_events(cache) &&
		    !cache_make_room(cache, (region->end - region->start) << round))
			return error;
	}
}

/* Registers the region's range, letting others go if the device is out of memory. */
static int region_register(struct cache *cache, struct cache_device *device,
			   const struct cache_region *region, void **handle)
{
	int error;

	for (int round = 0;; round++) {
		error = cache_device_register(device, region->start, region->end, region->access,
					      handle);
		if (error != -ENOMEM)
			return error;
		if (round == ROOM_ROUNDS ||
		    !cache_make_room(cache, (region->end - region->start) << round))
			return error;
	}
}

int cache_region_make_uncached(struct cache *cache, struct cache_device *device, uintptr_t start,
				uintptr_t end, unsigned access, struct cache_region **made)
{
	struct cache_region *region = aligned_alloc(_Alignof(struct cache_region), sizeof(*region));
	void *handle;
	int error;

	if (!region)
		return -ENOMEM;
	region_fill(region, start, end, access, false);
	for (unsigned i = 0; i < CACHE_DEVICES; i++)
		atomic_init(&region->handles[i], NULL);
	error = region_register(cache, device, region, &handle);
	if (error) {
		free(region);
		return error;
	}
	atomic_store_explicit(&region->handles[device->index], handle, memory_order_relaxed);
	atomic_init(&region->references, 1);
	*made = region;
	return 0;
}

int cache_region_make(struct cache *cache, struct cache_device *device, uintptr_t start,
		       uintptr_t end, unsigned access, struct cache_region **made)
{
	struct cache_region *region = region_take(cache, end - start);
	void *handle;
	int error;

	if (!region)
		return -EOPNOTSUPP;
	region_fill(region, start, end, access, true);
	error = region_secure(cache, region);
	if (error) {
		region->watch.word = NULL;
		/* What cannot be watched may well be registered, but only for one transfer. */
		if (error != -EFAULT && error != -EPERM) {
			log_debug("securing %zu bytes: %s", (size_t)(end - start),
				  log_errno_name(error));
			error = -EOPNOTSUPP;
		}
		goto err_finish;
	}
	error = region_register(cache, device, region, &handle);
	if (error)
		goto err_finish;
	atomic_store_explicit(&region->handles[device->index], handle, memory_order_relaxed);
	if (!region_still_unchanged(region)) {
		error = -ESTALE;
		goto err_finish;
	}
	*made = region;
	return 0;

err_finish:
	cache_region_finish(cache, region);
	return error;
}

int cache_region_extend(struct cache *cache, struct cache_device *device,
			 struct cache_region *region)
{
	void *handle;
	int error = region_register(cache, device, region, &handle);

	if (error)
		return error;
	error = region_still_unchanged(region) ? 0 : -ESTALE;
	lock_acquire(&cache->lock);
	if (error == 0 && atomic_load_explicit(&region->gone, memory_order_relaxed))
		error = -ESTALE;
	/* Another thread may have done the same meanwhile: then its handle serves. */
	if (error == 0 && !region_handle(region, device->index)) {
		/* Pairs with the acquire load in region_handle(). */
		atomic_store_explicit(&region->handles[device->index], handle,
				      memory_order_release);
		handle = NULL;
	}
	lock_release(&cache->lock);
	if (handle)
		cache_device_deregister(device, handle);
	return error;
}

