// SPDX-License-Identifier: BSD-2-Clause
/*
 * Registering with one device, and the handles a device would not let go.
 *
 * A device may refuse to deregister (say, while a memory window is bound). The
 * region is gone for look-ups all the same and its room is used again; the
 * handle is kept and the device asked again when it is flushed, so that nothing
 * is lost that could still be given back.
 */
#include <errno.h>
#include <stdlib.h>

#include "cache_private.h"
#include "log.h"
#include "statistics.h"

void cache_device_init(struct cache_device *device)
{
	lock_init(&device->lock);
}

void cache_device_forget(struct cache_device *device)
{
	while (device->orphans) {
		struct orphan *next = device->orphans->next;

		free(device->orphans);
		device->orphans = next;
	}
}

int cache_device_register(struct cache_device *device, uintptr_t start, uintptr_t end,
			  unsigned access, void **handle)
{
	void *made = NULL;
	int error = device->ops->reg(device->device, (void *)start, end - start, access, &made);

	if (error)
		return error;
	if (!made)
		return -EIO;
	atomic_fetch_add_explicit(&device->registrations, 1, memory_order_relaxed);
	statistic_add(STATISTIC_registrations, 1);
	*handle = made;
	return 0;
}

static int handle_release(struct cache_device *device, void *handle)
{
	int error = device->ops->dereg(device->device, handle);

	if (error)
		return error;
	statistic_add(STATISTIC_deregistrations, 1);
	atomic_fetch_sub_explicit(&device->registrations, 1, memory_order_relaxed);
	return 0;
}

int cache_device_deregister(struct cache_device *device, void *handle)
{
	int error = handle_release(device, handle);
	struct orphan *orphan;

	if (error == 0)
		return 0;
	orphan = malloc(sizeof(*orphan));
	log_warn("deregistering memory: %s%s", log_errno_name(error),
		 orphan ? "" : ", and no memory to remember it");
	if (orphan) {
		orphan->handle = handle;
		lock_acquire(&device->lock);
		orphan->next = device->orphans;
		device->orphans = orphan;
		lock_release(&device->lock);
	}
	return error;
}

int cache_device_retry(struct cache_device *device)
{
	struct orphan *orphan;
	struct orphan *kept = NULL;
	struct orphan **end = &kept;
	int result = 0;

	lock_acquire(&device->lock);
	orphan = device->orphans;
	device->orphans = NULL;
	lock_release(&device->lock);

	while (orphan) {
		struct orphan *next = orphan->next;
		int error = handle_release(device, orphan->handle);

		if (error) {
			result = error;
			*end = orphan;
			end = &orphan->next;
		} else {
			free(orphan);
		}
		orphan = next;
	}
	lock_acquire(&device->lock);
	*end = device->orphans;
	device->orphans = kept;
	lock_release(&device->lock);
	return result;
}
