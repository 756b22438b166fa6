// SPDX-License-Identifier: BSD-2-Clause
/*
 * The registration cache.
 *
 * Theory of operation
 *
 * A region is a page-aligned range that is watched by the monitor and registered
 * with one or more devices. A look-up finds it through an ordered index, takes a
 * reference, and compares its state word with the sequence it was watched under.
 *
 * Never stale. A region is made in this order: secure, register, look again. After
 * `secure` the kernel marks the state word before it changes the mapping. So if the
 * word still matches after registering, the pages that were pinned are those the
 * mapping has now; if not, the registration is given back and made anew, a few
 * times, then left uncached. Every look-up looks at the word after it has found the
 * region. A thread that starts a look-up after a change of the mapping has begun
 * (in the sense of happens-before: it made the change, or learnt of it) misses the
 * region. The window that remains is a change that begins after the look: it races
 * with the transfer itself, as a munmap() races with a write() of another thread.
 * The pins keep the pages of that moment until the last reference is put, so the
 * device never touches memory that was freed.
 *
 * Without a lock. A hit writes to the region it hits and nothing else that is shared
 * (counters are per thread), save that one for another page than before leaves a hint. It needs no protection against reclaiming, since
 * regions and index leaves stay mapped as long as the cache lives, and are only
 * reused: a reader may hold a pointer to a region that has become another one. So
 * nothing is believed that was read on the way. The reader takes a reference, which
 * fails on a region that is free or being made, and then asks the region whether it
 * covers the range, with the rights, is still in the cache, and is unchanged. While
 * it holds the reference these members do not change. A wrong turn in an index that
 * changes meanwhile ends as a miss, and a miss searches again with the lock.
 *
 * References: one is the index's, one each user's. A region that leaves the cache
 * is marked `gone`, loses the index's reference, and is deregistered by whoever puts
 * the last one, with no lock held.
 *
 * Overlap. Regions may overlap, but none lies within another of the same index: a
 * new region takes the place of those it covers, and is given up when one that
 * covers it has come meanwhile. Hence in the order of their starts the ends ascend
 * too, and if any region covers a range, the last one that starts at or before it
 * does: one candidate, never a scan. Buffers that overlap at their edges coexist,
 * so sending a large area piece by piece does not make the pieces replace each other.
 *
 * Rights. A region has exactly the rights its first user needed: memory that is only
 * sent is registered for reading, so read-only mappings can be sent from and private
 * file pages are not copied for nothing. Regions for reading and for reading and
 * writing have an index each, so that the rule above holds for each. A look-up to
 * read asks both; a region to write takes the place of covered ones to read.
 *
 * Bounds. By count and by bytes; a clock with a second chance picks among idle
 * regions (a hit sets a mark in the region's own line, and only if it is not set).
 * When a device is out of memory, idle regions are let go, more each time, and it is
 * asked again.
 */
#include "registration_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache_private.h"
#include "compiler.h"
#include "statistics.h"

/* Registrations made before a mapping that keeps changing is registered uncached. */
#define MAKE_ATTEMPTS 4

/* Lock rules, checked by clang. */
static struct cache_region *cache_find_exactly(struct cache *cache, uintptr_t start, uintptr_t end,
					       unsigned access, struct cache_region **leaving)
	NEEDS_LOCK(cache->lock);
static bool cache_insert(struct cache *cache, struct cache_region *region,
			 struct cache_region **leaving) NEEDS_LOCK(cache->lock);
static void cache_leave_range(struct cache *cache, struct region_index *index, uintptr_t from,
			      uintptr_t to, bool stale_only, struct cache_region **leaving)
	NEEDS_LOCK(cache->lock);
static bool cache_late_event(struct cache *cache, uintptr_t start, uintptr_t end)
	NEEDS_LOCK(cache->lock);

/*
 * Whether a region that the caller holds covers what is looked up, and is still in the cache.
 * Nothing, a length of 0, is never covered.
 */
static inline bool region_covers(const struct cache_region *region, uintptr_t start, size_t length,
				 unsigned access)
{
	size_t offset = start - region->start, size = region->end - region->start;

	/* In this order nothing wraps unnoticed. */
	return offset <= size && length - 1 < size - offset && !(access & ~region->access) &&
	       !atomic_load_explicit(&region->gone, memory_order_relaxed);
}

/* The same, and the memory is as it was. */
static inline bool region_serves(const struct cache_region *region, uintptr_t start, size_t length,
				 unsigned access)
{
	if (!region_covers(region, start, length, access))
		return false;
	if (cache_region_unchanged(region))
		return true;
	statistic_add(STATISTIC_cache_stale, 1);
	return false;
}

/* Whether the region the index hinted at answers; if so it is held for the caller. */
static inline bool region_answers(struct cache *cache, struct cache_region *region, uintptr_t start,
			   uintptr_t end, unsigned access)
{
	if (!region || !region_get_unless_free(region))
		return false;
	if (region_serves(region, start, end - start, access))
		return true;
	cache_region_put(cache, region);
	return false;
}

static inline bool known_access(unsigned access)
{
	return access && !(access & ~(MEMORY_READ | MEMORY_WRITE));
}

static inline unsigned first_index(unsigned access)
{
	return access & MEMORY_WRITE ? INDEX_READ_WRITE : INDEX_READ_ONLY;
}

/*
 * A region that covers [start, end), held for the caller, or NULL. Takes no lock. First those
 * that were found for the same page before, but @refused was asked already.
 */
static struct cache_region *cache_find_by_hint(struct cache *cache, uintptr_t start, uintptr_t end,
					       unsigned access, const struct cache_region *refused)
{
	for (unsigned which = first_index(access); which < INDEX_COUNT; which++) {
		struct cache_region *region = region_index_hint(&cache->indexes[which],
								start & ~cache->page_mask);

		if (region != refused && region_answers(cache, region, start, end, access))
			return region;
	}
	return NULL;
}

/* The others; what is found is remembered. */
static struct cache_region *cache_find_by_search(struct cache *cache, uintptr_t start,
						 uintptr_t end, unsigned access)
{
	uintptr_t page = start & ~cache->page_mask;

	for (unsigned which = first_index(access); which < INDEX_COUNT; which++) {
		struct region_index *index = &cache->indexes[which];
		struct cache_region *region = region_index_before(index, start);

		/* Not one that was asked before. */
		if (region == region_index_hint(index, page) ||
		    !region_answers(cache, region, start, end, access))
			continue;
		region_index_remember(index, page, region);
		return region;
	}
	return NULL;
}

/* The same, exactly; what is stale and in the way leaves the cache. */
static struct cache_region *cache_find_exactly(struct cache *cache, uintptr_t start, uintptr_t end,
					       unsigned access, struct cache_region **leaving)
{
	for (unsigned which = first_index(access); which < INDEX_COUNT; which++) {
		struct cache_region *region;

		while ((region = region_index_before(&cache->indexes[which], start)) &&
		       region->end >= end) {
			if (cache_region_unchanged(region)) {
				/* The index's own reference keeps it from 0. */
				atomic_fetch_add_explicit(&region->references, 1,
							  memory_order_relaxed);
				return region;
			}
			cache_region_leave(cache, region, leaving);
		}
	}
	return NULL;
}

/*
 * Puts a region just made into its index, with a second reference for the caller.
 * False: there is one that covers it, and nothing was done.
 */
static bool cache_insert(struct cache *cache, struct cache_region *region,
			 struct cache_region **leaving)
{
	unsigned own = cache_region_class(region);
	struct cache_region *other = cache_find_exactly(cache, region->start, region->end,
							region->access, leaving);

	if (other) {
		/* Not the last: the index holds one, and the lock is held. */
		atomic_fetch_sub_explicit(&other->references, 1, memory_order_release);
		return false;
	}
	for (unsigned which = 0; which <= own; which++) {
		struct region_index *index = &cache->indexes[which];

		other = region_index_before(index, region->start);
		if (!other || other->start < region->start)
			other = region_index_after(index, region->start);
		while (other && other->end <= region->end) {
			uintptr_t start = other->start;

			cache_region_leave(cache, other, leaving);
			other = region_index_after(index, start);
		}
	}
	atomic_store_explicit(&region->gone, false, memory_order_relaxed);
	cache->listed++;
	/* Pairs with the acquire in region_get_unless_free(). */
	atomic_store_explicit(&region->references, 2, memory_order_release);
	region_index_insert(&cache->indexes[own], region);
	return true;
}

/*
 * One attempt to have the range cached and registered with @device. -ESTALE: it
 * changed meanwhile; -EEXIST: it was cached meanwhile; -EOPNOTSUPP: not to be had
 * in the cache.
 */
static int cache_obtain(struct cache *cache, struct cache_device *device, uintptr_t start,
			uintptr_t end, unsigned access, bool *missed, struct cache_region **region)
{
	struct cache_region *leaving = NULL;
	struct cache_region *found;
	bool inserted;
	int error;

	lock_acquire(&cache->lock);
	found = cache_find_exactly(cache, start, end, access, &leaving);
	lock_release(&cache->lock);
	cache_leaving_put(cache, leaving);

	if (found && region_handle(found, device->index)) {
		*region = found;
		return 0;
	}
	*missed = true;
	if (found) {
		error = cache_region_extend(cache, device, found);
		if (error)
			cache_region_put(cache, found);
		else
			*region = found;
		return error;
	}
	error = cache_region_make(cache, device, start, end, access, &found);
	if (error)
		return error;
	leaving = NULL;
	lock_acquire(&cache->lock);
	inserted = cache_insert(cache, found, &leaving);
	lock_release(&cache->lock);
	cache_leaving_put(cache, leaving);
	if (!inserted) {
		/* Another thread registered the same meanwhile: the next attempt finds it. */
		cache_region_finish(cache, found);
		return -EEXIST;
	}
	*region = found;
	return 0;
}

/* The way of a look-up that found nothing without the lock: with whole pages. */
static NOT_INLINE int cache_get_slowly(struct cache *cache, struct cache_device *device,
				       uintptr_t start, uintptr_t end, unsigned access,
				       struct cache_region **region)
{
	bool missed = cache->pool_size == 0;
	int error = -EOPNOTSUPP;

	start &= ~cache->page_mask;
	end = (end + cache->page_mask) & ~cache->page_mask;
	if (access & MEMORY_WRITE)
		access |= MEMORY_READ;
	for (int attempt = 0; attempt < MAKE_ATTEMPTS && cache->pool_size > 0; attempt++) {
		error = cache_obtain(cache, device, start, end, access, &missed, region);
		if (error == -ESTALE)
			statistic_add(STATISTIC_cache_retries, 1);
		else if (error != -EEXIST)
			break;
	}
	statistic_add(missed ? STATISTIC_cache_misses : STATISTIC_cache_hits, 1);
	if (error == -ESTALE || error == -EEXIST || error == -EOPNOTSUPP)
		error = cache_region_make_uncached(cache, device, start, end, access, region);
	return error;
}

/* Whether a region that is held for the caller makes the look-up a hit, to be counted. */
static inline bool region_hit(struct cache_region *region, const struct cache_device *device)
{
	if (!region_handle(region, device->index))
		return false;
	if (!atomic_load_explicit(&region->recent, memory_order_relaxed))
		atomic_store_explicit(&region->recent, true, memory_order_relaxed);
	return true;
}

/*
 * A look-up that the first hint did not answer, or that could not be counted; the region it led
 * to is held, or NULL.
 */
static NOT_INLINE int cache_get_otherwise(struct cache *cache, struct cache_device *device,
					  const void *address, size_t length, unsigned access,
					  struct cache_region **region)
{
	uintptr_t start = (uintptr_t)address;
	uintptr_t end = start + length;
	struct cache_region *refused = *region;
	struct cache_region *found;

	if (refused) {
		if (region_serves(refused, start, length, access) && region_hit(refused, device)) {
			statistic_add(STATISTIC_cache_hits, 1);
			return 0;
		}
		cache_region_put(cache, refused);
		*region = NULL;
	}
	if (length == 0 || !known_access(access))
		return -EINVAL;
	if (end < start || end > UINTPTR_MAX - cache->page_mask)
		return -EFAULT;
	if (!monitor_is_ours(cache->monitor))
		return -EPERM;
	found = cache_find_by_hint(cache, start, end, access, refused);
	if (!found)
		found = cache_find_by_search(cache, start, end, access);
	if (found && region_hit(found, device)) {
		statistic_add(STATISTIC_cache_hits, 1);
		*region = found;
		return 0;
	}
	if (found)
		cache_region_put(cache, found);
	return cache_get_slowly(cache, device, start, end, access, region);
}

/* Here is the usual hit, and nothing that would need more registers. */
int cache_get(struct cache *cache, struct cache_device *device, const void *address, size_t length,
	      unsigned access, struct cache_region **region)
{
	uintptr_t start = (uintptr_t)address;
	struct cache_region *found = NULL;

	if (known_access(access) && monitor_is_ours(cache->monitor))
		found = region_index_hint(&cache->indexes[first_index(access)],
					  start & ~cache->page_mask);
	if (found && !region_get_unless_free(found))
		found = NULL;
	*region = found;
	if (found && region_covers(found, start, length, access) &&
	    cache_region_unchanged(found) && region_hit(found, device) &&
	    statistic_add_own(STATISTIC_cache_hits, 1))
		return 0;
	return cache_get_otherwise(cache, device, address, length, access, region);
}

void cache_put(struct cache *cache, struct cache_region *region)
{
	/* In a child of fork the count is a copy, and to end the region is up to the parent. */
	if (cache_region_last(region) && monitor_is_ours(cache->monitor))
		cache_region_finish(cache, region);
}

void *cache_region_handle(const struct cache_region *region, const struct cache_device *device)
{
	return region_handle(region, device->index);
}

/* ---- letting go ---- */

/* Whether a change of [from, to) concerns the region. */
static bool region_concerned(const struct cache_region *region, uintptr_t from, uintptr_t to)
{
#ifdef WSD_MUTATION_WHOLE_OVERLAP_ONLY
	return region->start >= from && region->end <= to;
#else
	return region->start < to && region->end > from;
#endif
}

/* Whether the event of the range is one that a region left before; it is awaited no more. */
static bool cache_late_event(struct cache *cache, uintptr_t start, uintptr_t end)
{
	for (unsigned i = 0; i < CACHE_LATE_EVENTS; i++)
		if (cache->late[i].end == end && cache->late[i].start == start && end) {
			cache->late[i].start = cache->late[i].end = 0;
			return true;
		}
	return false;
}

/* Ends ascend with starts, so those that overlap a range are neighbours. */
static void cache_leave_range(struct cache *cache, struct region_index *index, uintptr_t from,
			      uintptr_t to, bool stale_only, struct cache_region **leaving)
{
	struct cache_region *region = region_index_before(index, from);
	struct cache_region *next;

	/* Backwards while they reach into the range, then forwards while they start in it. */
	while (region && region->end > from) {
		next = region->start > 0 ? region_index_before(index, region->start - 1) : NULL;
		if (region_concerned(region, from, to) &&
		    !(stale_only && cache_region_unchanged(region)))
			cache_region_leave(cache, region, leaving);
		region = next;
	}
	for (region = region_index_after(index, from); region && region->start < to; region = next) {
		next = region_index_after(index, region->start);
		if (region_concerned(region, from, to) &&
		    !(stale_only && cache_region_unchanged(region)))
			cache_region_leave(cache, region, leaving);
	}
}

int cache_release_range(struct cache *cache, uintptr_t address, size_t size)
{
	uintptr_t end = address + size < address ? UINTPTR_MAX : address + size;
	struct cache_region *leaving = NULL;
	bool late;

	if (!monitor_is_ours(cache->monitor))
		return -EPERM;
	lock_acquire(&cache->lock);
	late = cache_late_event(cache, address, end);
	for (unsigned which = 0; which < INDEX_COUNT; which++)
		cache_leave_range(cache, &cache->indexes[which], address, end, late, &leaving);
	/* The region whose event this is has just left by it: the event is awaited no more. */
	if (!late)
		cache_late_event(cache, address, end);
	lock_release(&cache->lock);
	if (!leaving)
		return late ? 0 : -EINVAL;
	return cache_leaving_put(cache, leaving) ? -EFAULT : 0;
}

int cache_flush_device(struct cache *cache, struct cache_device *device)
{
	struct cache_region *leaving = NULL;
	int error;

	if (!monitor_is_ours(cache->monitor))
		return -EPERM;
	lock_acquire(&cache->lock);
	for (uint32_t i = 0; i < cache->pool_used; i++) {
		struct cache_region *region = &cache->pool[i];

		/* `gone` first: of a region that is being made nothing else may be read. */
		if (!atomic_load_explicit(&region->gone, memory_order_relaxed) &&
		    region_handle(region, device->index))
			cache_region_leave(cache, region, &leaving);
	}
	lock_release(&cache->lock);
	cache_leaving_put(cache, leaving);

	error = cache_device_retry(device);
	if (atomic_load_explicit(&device->registrations, memory_order_relaxed) == 0)
		return 0;
	return error ? -EFAULT : -EBUSY;
}

int cache_device_add(struct cache *cache, const struct cache_device_ops *ops, void *device,
		     struct cache_device **added)
{
	int result = -ENOSPC;

	if (!monitor_is_ours(cache->monitor))
		return -EPERM;
	lock_acquire(&cache->lock);
	for (unsigned i = 0; i < CACHE_DEVICES && result; i++) {
		if (cache->devices[i].ops)
			continue;
		cache->devices[i].ops = ops;
		cache->devices[i].device = device;
		*added = &cache->devices[i];
		result = 0;
	}
	lock_release(&cache->lock);
	return result;
}

int cache_device_remove(struct cache *cache, struct cache_device *device)
{
	int error = cache_flush_device(cache, device);

	if (error)
		return error;
	lock_acquire(&cache->lock);
	device->ops = NULL;
	lock_release(&cache->lock);
	return 0;
}

/* ---- beginning and end ---- */

int cache_create(struct monitor *monitor, size_t most_regions, uint64_t most_bytes,
		 struct cache **created)
{
	struct cache *cache = aligned_alloc(_Alignof(struct cache), sizeof(*cache));
	size_t size = most_regions < monitor->most_ranges ? most_regions : monitor->most_ranges;
	unsigned indexes = 0;

	if (!cache)
		return -ENOMEM;
	*cache = (struct cache){
		.monitor = monitor,
		.page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1,
		.pool_size = (uint32_t)(size < UINT32_MAX / 2 ? size : UINT32_MAX / 2),
		.most_bytes = most_bytes,
	};
	if (most_bytes == 0)
		cache->pool_size = 0;
	for (; indexes < INDEX_COUNT; indexes++)
		if (region_index_init(&cache->indexes[indexes], cache->pool_size))
			goto err_indexes;
	if (cache->pool_size > 0) {
		cache->pool = mmap(NULL, cache->pool_size * sizeof(*cache->pool),
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (cache->pool == MAP_FAILED)
			goto err_indexes;
	}
	lock_init(&cache->lock);
	for (unsigned i = 0; i < CACHE_DEVICES; i++) {
		cache->devices[i].index = i;
		cache_device_init(&cache->devices[i]);
	}
	*created = cache;
	return 0;

err_indexes:
	while (indexes-- > 0)
		region_index_free(&cache->indexes[indexes]);
	free(cache);
	return -ENOMEM;
}

int cache_destroy(struct cache *cache)
{
	if (monitor_is_ours(cache->monitor)) {
		for (unsigned i = 0; i < CACHE_DEVICES; i++)
			if (cache->devices[i].ops && cache_device_remove(cache, &cache->devices[i]))
				return -EBUSY;
	}
	for (unsigned i = 0; i < CACHE_DEVICES; i++)
		cache_device_forget(&cache->devices[i]);
	for (unsigned i = 0; i < INDEX_COUNT; i++)
		region_index_free(&cache->indexes[i]);
	if (cache->pool)
		munmap(cache->pool, cache->pool_size * sizeof(*cache->pool));
	free(cache);
	return 0;
}

void cache_account(struct cache *cache, struct cache_account *account)
{
	*account = (struct cache_account){ 0 };
	lock_acquire(&cache->lock);
	account->regions = cache->listed;
	account->leaving = cache->pool_taken - cache->listed;
	account->bytes = cache->bytes;
	for (unsigned i = 0; i < CACHE_DEVICES; i++)
		account->registrations += atomic_load_explicit(&cache->devices[i].registrations,
							       memory_order_relaxed);
	lock_release(&cache->lock);
}
