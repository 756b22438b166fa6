// SPDX-License-Identifier: BSD-2-Clause
/*
 * Our cache alone: the device does nothing, and the state words lie in ordinary memory. So
 * it runs on any host, and what it costs is the cache's own.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "buffers.h"
#include "fork_mark.h"
#include "monitor.h"
#include "registrar.h"
#include "registration_cache.h"
#include "settings.h"
#include "statistics.h"

const bool registrar_caches = true;
const bool registrar_watches = false;

static _Atomic uint64_t words[BUFFERS];
static uint32_t free_slots[BUFFERS];
static unsigned free_slot_count;
static uint64_t last_sequence;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

static int ordinary_secure(struct monitor *monitor, uintptr_t address, size_t length,
			   unsigned access, struct monitor_watch *watch)
{
	(void)monitor, (void)address, (void)length, (void)access;
	pthread_mutex_lock(&slots_lock);
	watch->slot = free_slots[--free_slot_count];
	watch->sequence = ++last_sequence;
	watch->word = &words[watch->slot];
	atomic_store_explicit(&words[watch->slot], watch->sequence, memory_order_release);
	pthread_mutex_unlock(&slots_lock);
	return 0;
}

static int ordinary_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	(void)monitor;
	pthread_mutex_lock(&slots_lock);
	free_slots[free_slot_count++] = watch->slot;
	pthread_mutex_unlock(&slots_lock);
	return 0;
}

static int ordinary_read(struct monitor *monitor, struct monitor_event *events, int count)
{
	(void)monitor, (void)events, (void)count;
	return 0;
}

static void ordinary_close(struct monitor *monitor)
{
	fork_mark_free(monitor->fork_mark);
}

static const struct monitor_operations ordinary_operations = {
	.secure = ordinary_secure, .unsecure = ordinary_unsecure,
	.read = ordinary_read, .close = ordinary_close,
};

static struct monitor ordinary = {
	.operations = &ordinary_operations, .name = "ordinary memory", .event_descriptor = -1,
	.most_ranges = BUFFERS,
};

static int nothing_register(void *device, void *address, size_t length, unsigned access,
			    void **handle)
{
	(void)device, (void)length, (void)access;
	count_registered(address);
	*handle = address;
	return 0;
}

static int nothing_deregister(void *device, void *handle)
{
	(void)device;
	count_given_back(handle);
	return 0;
}

static const struct cache_device_ops nothing_operations = {
	.reg = nothing_register, .dereg = nothing_deregister,
};

static struct cache *cache;
static struct cache_device *device;

void registrar_open(const char *name)
{
	(void)name;
	settings_open();
	/* As in a program under the library: its threads count each for itself. */
	statistics_open();
	must(fork_mark_alloc(&ordinary.fork_mark), "fork mark");
	while (free_slot_count < BUFFERS) {
		free_slots[free_slot_count] = free_slot_count;
		free_slot_count++;
	}
	must(cache_create(&ordinary, BUFFERS, UINT64_MAX, &cache), "cache");
	must(cache_device_add(cache, &nothing_operations, NULL, &device), "device");
}

int registrar_get(void *address, size_t length, void **held)
{
	struct cache_region *region;
	int error = cache_get(cache, device, address, length, MEMORY_WRITE, &region);

	*held = region;
	return error;
}

void registrar_put(void *held)
{
	cache_put(cache, held);
}

/* Nothing watches, so the range is named. */
void registrar_settle(void *address, size_t length)
{
	cache_release_range(cache, (uintptr_t)address, length);
}
