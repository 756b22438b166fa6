// SPDX-License-Identifier: BSD-2-Clause
/* The pretended address space, its monitor, and the pretended devices. */
#include "test_memory_double.h"

#include <errno.h>
#include <stdlib.h>

#include "fork_mark.h"

static unsigned page_of(uintptr_t address)
{
	return (unsigned)((address - SPACE_START) / SPACE_PAGE);
}

/* -errno if this is the call that is to fail. */
static int injected_failure(struct space *space)
{
	if (atomic_load(&space->calls_to_failure) > 0 &&
	    atomic_fetch_sub(&space->calls_to_failure, 1) == 1)
		return atomic_load(&space->failure);
	return 0;
}

static int double_secure(struct monitor *monitor, uintptr_t address, size_t length,
			 unsigned access, struct monitor_watch *watch)
{
	struct space *space = (struct space *)monitor;
	unsigned first = page_of(address);
	unsigned pages = (unsigned)(length / SPACE_PAGE);
	int error = injected_failure(space);

	if (error)
		return error;
	pthread_mutex_lock(&space->lock);
	error = -ENOSPC;
	if (first < space->readable_from || first + pages > space->readable_to ||
	    ((access & MEMORY_WRITE) &&
	     (first < space->writable_from || first + pages > space->writable_to)))
		error = -EFAULT;
	for (unsigned i = 0; i < space->most_slots && error == -ENOSPC; i++) {
		if (space->slots[i].taken)
			continue;
		space->slots[i].taken = true;
		space->slots[i].queued = false;
		space->slots[i].first = first;
		space->slots[i].pages = pages;
		space->slots[i].sequence = ++space->next_sequence;
		atomic_store_explicit(&space->words[i], space->next_sequence,
				      memory_order_release);
		*watch = (struct monitor_watch){ .word = &space->words[i], .slot = i,
						 .sequence = space->next_sequence };
		error = 0;
	}
	pthread_mutex_unlock(&space->lock);
	if (error == 0)
		atomic_fetch_add(&space->secures, 1);
	return error;
}

static int double_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	struct space *space = (struct space *)monitor;
	int error = -ENOENT;

	pthread_mutex_lock(&space->lock);
	if (space->slots[watch->slot].taken && !space->slots[watch->slot].queued &&
	    space->slots[watch->slot].sequence == watch->sequence) {
		space->slots[watch->slot].taken = false;
		atomic_store_explicit(&space->words[watch->slot], 0, memory_order_release);
		error = 0;
	}
	pthread_mutex_unlock(&space->lock);
	if (error == 0)
		atomic_fetch_add(&space->unsecures, 1);
	return error;
}

static int double_read(struct monitor *monitor, struct monitor_event *events, int count)
{
	struct space *space = (struct space *)monitor;
	int found = 0;

	pthread_mutex_lock(&space->lock);
	for (unsigned i = 0; i < SPACE_SLOTS && found < count; i++) {
		if (!space->slots[i].queued)
			continue;
		events[found++] = (struct monitor_event){
			.address = PAGE_NUMBER(space->slots[i].first),
			.length = space->slots[i].pages * SPACE_PAGE,
			.sequence = space->slots[i].sequence,
			.slot = i,
		};
		space->slots[i].queued = false;
		space->slots[i].taken = false;
	}
	pthread_mutex_unlock(&space->lock);
	return found;
}

static void double_close(struct monitor *monitor)
{
	(void)monitor;
}

static const struct monitor_operations double_operations = {
	.secure = double_secure,
	.unsecure = double_unsecure,
	.read = double_read,
	.close = double_close,
};

struct space *space_create(void)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space || fork_mark_alloc(&space->monitor.fork_mark))
		abort();
	space->monitor.operations = &double_operations;
	space->monitor.name = "double";
	space->monitor.event_descriptor = -1;
	space->monitor.most_ranges = SPACE_SLOTS;
	space->most_slots = SPACE_SLOTS;
	space->readable_to = SPACE_PAGES;
	space->writable_to = SPACE_PAGES;
	pthread_mutex_init(&space->lock, NULL);
	return space;
}

void space_destroy(struct space *space)
{
	fork_mark_free(space->monitor.fork_mark);
	pthread_mutex_destroy(&space->lock);
	free(space);
}

void space_change(struct space *space, unsigned first, unsigned pages)
{
	pthread_mutex_lock(&space->lock);
	for (unsigned i = 0; i < SPACE_SLOTS; i++) {
		if (!space->slots[i].taken || space->slots[i].queued ||
		    space->slots[i].first >= first + pages ||
		    space->slots[i].first + space->slots[i].pages <= first)
			continue;
		space->slots[i].queued = true;
		atomic_store_explicit(&space->words[i], 0, memory_order_release);
	}
	for (unsigned page = first; page < first + pages; page++)
		atomic_fetch_add_explicit(&space->generations[page], 1, memory_order_release);
	pthread_mutex_unlock(&space->lock);
}

unsigned space_watched(struct space *space)
{
	unsigned count = 0;

	pthread_mutex_lock(&space->lock);
	for (unsigned i = 0; i < SPACE_SLOTS; i++)
		count += space->slots[i].taken && !space->slots[i].queued;
	pthread_mutex_unlock(&space->lock);
	return count;
}

static int double_register(void *argument, void *address, size_t length, unsigned access,
			   void **handle)
{
	struct device_double *device = argument;
	unsigned pages = (unsigned)(length / SPACE_PAGE);
	struct registration_double *made;
	int error = injected_failure(device->space);

	if (error)
		return error;
	if (device->most_live > 0 && atomic_load(&device->live) >= device->most_live)
		return -ENOMEM;
	made = malloc(sizeof(*made) + pages * sizeof(made->generations[0]));
	if (!made)
		abort();
	made->device = device;
	made->first = page_of((uintptr_t)address);
	made->pages = pages;
	made->access = access;
	for (unsigned i = 0; i < pages; i++)
		made->generations[i] = atomic_load_explicit(
			&device->space->generations[made->first + i], memory_order_acquire);
	if (device->during && atomic_load(&device->during_times) > 0) {
		atomic_fetch_sub(&device->during_times, 1);
		device->during(device, made->first, pages);
	}
	atomic_fetch_add(&device->live, 1);
	atomic_fetch_add(&device->made, 1);
	*handle = made;
	return 0;
}

static int double_deregister(void *argument, void *handle)
{
	struct device_double *device = argument;
	struct registration_double *made = handle;
	int error = atomic_load(&device->dereg_error);

	if (!error)
		error = injected_failure(device->space);
	if (error)
		return error;
	if (made->device != device)
		abort();
	free(made);
	atomic_fetch_sub(&device->live, 1);
	return 0;
}

const struct cache_device_ops device_double_ops = {
	.reg = double_register,
	.dereg = double_deregister,
};
