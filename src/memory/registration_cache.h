/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registration cache: memory stays registered with the NICs after a
 * transfer, so that the next one from or to the same buffer need not register.
 *
 * Invariant: cache_get() never returns a cached registration whose memory had
 * begun to change before the call. The theory is in registration_cache.c.
 *
 * All functions may be called from any thread, except where they say so. In a
 * child of fork nothing works (-EPERM) but cache_destroy(), which then frees
 * memory and leaves the parent's registrations alone.
 */
#ifndef WSD_MEMORY_REGISTRATION_CACHE_H
#define WSD_MEMORY_REGISTRATION_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor.h"

/* Devices (protection domains) one cache serves at once. */
#define CACHE_DEVICES 8

struct cache;
struct cache_device;
struct cache_region;

/*
 * How to register with a device. @access is MEMORY_READ, or MEMORY_READ |
 * MEMORY_WRITE: what the NIC may do on this side. Called without locks, by
 * several threads at once, and by whichever thread lets a region go last.
 */
struct cache_device_ops {
	/* 0 and a handle that is not NULL; -ENOMEM makes the cache let others go and ask again. */
	int (*reg)(void *device, void *address, size_t length, unsigned access, void **handle);
	/* On failure the handle stays registered; the cache asks again later. */
	int (*dereg)(void *device, void *handle);
};

/* Figures for tests and diagnosis. */
struct cache_account {
	size_t regions;		/* look-ups can find */
	size_t leaving;		/* out of the cache, held by users */
	uint64_t bytes;		/* that both of them cover */
	size_t registrations;	/* held with devices, uncached ones included */
};

/*
 * A cache of at most @most_regions regions and @most_bytes, never more than the
 * monitor can watch; either 0: nothing is cached, every get registers. The
 * monitor must outlive the cache. Released by cache_destroy(). -ENOMEM.
 */
int cache_create(struct monitor *monitor, size_t most_regions, uint64_t most_bytes,
		 struct cache **cache);

/*
 * When no other call is under way. -EBUSY: registrations are left, in use or
 * refused by their device; then nothing was freed.
 */
int cache_destroy(struct cache *cache);

/* What the settings cache_regions and cache_bytes ask for, here and now. */
size_t cache_setting_regions(void);
uint64_t cache_setting_bytes(void);

/* @ops must outlive the device's stay. -ENOSPC: CACHE_DEVICES are there already. */
int cache_device_add(struct cache *cache, const struct cache_device_ops *ops, void *device,
		     struct cache_device **added);

/*
 * Deregisters everything of @device that no transfer uses; what is in use goes
 * with its last user. 0: nothing is left; -EBUSY: some is in use; -EFAULT: the
 * device refused some. No cache_get() for @device may run at the same time.
 */
int cache_flush_device(struct cache *cache, struct cache_device *device);

/* Flushes; on success @device is gone, else it stays. */
int cache_device_remove(struct cache *cache, struct cache_device *device);

/*
 * A registration with @device that covers [@address, @address + @length) with
 * the rights @access (MEMORY_WRITE implies MEMORY_READ), to be let go with
 * cache_put() once the transfer has ended. It holds the pages as they are now.
 *
 * -EFAULT: not wholly mapped with these rights. -ENOMEM: cannot be registered
 * even with the cache emptied: copy instead. -EINVAL: length 0 or unknown
 * rights. -EPERM: a child of fork. Other errors are the device's.
 */
int cache_get(struct cache *cache, struct cache_device *device, const void *address, size_t length,
	      unsigned access, struct cache_region **region);
void cache_put(struct cache *cache, struct cache_region *region);

/* The device's handle of a region got for it; valid until cache_put(). */
void *cache_region_handle(const struct cache_region *region, const struct cache_device *device);

/*
 * The memory of [@address, @address + @size) is about to change or has changed:
 * every cached region that overlaps it leaves the cache and all devices. One in
 * use leaves the cache now and its devices with its last user.
 * 0; -EINVAL: nothing was cached there; -EFAULT: a device refused to let go.
 */
int cache_release_range(struct cache *cache, uintptr_t address, size_t size);

/*
 * For who registers outside the cache and is told that there is no memory: lets idle
 * regions go until they make up @bytes, one at least. False: none was idle.
 */
bool cache_shrink(struct cache *cache, uint64_t bytes);

void cache_account(struct cache *cache, struct cache_account *account);

#endif
