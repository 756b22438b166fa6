// SPDX-License-Identifier: BSD-2-Clause
/* Our cache with /dev/wsdirect, on the same device as the others. */
#include <errno.h>
#include <infiniband/verbs.h>

#include "buffers.h"
#include "monitor.h"
#include "registrar.h"
#include "registration_cache.h"
#include "settings.h"
#include "statistics.h"
#include "verbs_device.h"

const bool registrar_caches = true;
const bool registrar_watches = true;

static struct monitor *monitor;
static struct cache *cache;
static struct cache_device *device;

static int pin(void *pd, void *address, size_t length, unsigned access, void **handle)
{
	(void)access;
	*handle = ibv_reg_mr(pd, address, length, VERBS_ALL_ACCESS);
	return *handle ? 0 : -errno;
}

static int unpin(void *pd, void *handle)
{
	(void)pd;
	return -ibv_dereg_mr(handle);
}

static const struct cache_device_ops operations = { .reg = pin, .dereg = unpin };

void registrar_open(const char *name)
{
	settings_open();
	/* As in a program under the library: its threads count each for itself. */
	statistics_open();
	must(monitor_open("module", &monitor), "/dev/wsdirect");
	must(cache_create(monitor, BUFFERS, UINT64_MAX, &cache), "cache");
	must(cache_device_add(cache, &operations, verbs_device_pd(name), &device), "device");
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

/* What the thread that waits for the monitor's events does. */
void registrar_settle(void *address, size_t length)
{
	struct monitor_event event;

	(void)address, (void)length;
	if (monitor_read(monitor, &event, 1) == 1)
		cache_release_range(cache, (uintptr_t)event.address, (size_t)event.length);
}
