// SPDX-License-Identifier: BSD-2-Clause
/*
 * The registration cache as this provider uses it: one cache and one monitor a
 * process, each device a member.
 *
 * Memory windows can only be bound to regions registered for it, and the kernel
 * pins such regions for writing, whatever the window then allows. Read-only
 * memory (program text, files) is therefore registered without; exposing it
 * takes a registration of its own.
 */
#include "registration.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "device.h"
#include "log.h"
#include "monitor.h"
#include "provider.h"
#include "registration_cache.h"
#include "settings.h"
#include "system.h"

/* Fixed between memory_open() and memory_close(). */
static struct monitor *monitor;
static struct cache *cache;

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/*
 * Kernels before 6.2 pin private memory that is to be read by force, guard pages too.
 * send() answers EFAULT for those, so it must not reach the device. Reads the pages in,
 * which pinning would do as well.
 */
static bool may_be_read(void *address, size_t length)
{
	size_t before = (uintptr_t)address % 4096;
	size_t whole = (before + length + 4095) / 4096 * 4096;

	return !system_raw(SYS_madvise, (uintptr_t)address - before, whole, MADV_POPULATE_READ);
}

static int pin(void *device_argument, void *address, size_t length, unsigned access, void **handle)
{
	struct device *device = device_argument;
	int flags = access & MEMORY_WRITE ? IBV_ACCESS_LOCAL_WRITE : 0;
	struct pinned *pinned = calloc(1, sizeof(*pinned));
	int error;

	if (!pinned)
		return -ENOMEM;
	if (device->windows) {
		pinned->mr = ibv_reg_mr(device->pd, address, length, flags | IBV_ACCESS_MW_BIND);
		pinned->bindable = pinned->mr;
	}
	if (!pinned->mr && (flags || may_be_read(address, length)))
		pinned->mr = ibv_reg_mr(device->pd, address, length, flags);
	else if (!pinned->mr)
		errno = EFAULT;
	if (!pinned->mr) {
		error = -errno;
		log_debug("verbs: %s: cannot register %p, %zu bytes: %s", device->name, address,
			  length, log_errno_name(error));
		free(pinned);
		return error ? error : -EIO;
	}
	*handle = pinned;
	return 0;
}

static int unpin(void *device_argument, void *handle)
{
	struct device *device = device_argument;
	struct pinned *pinned = handle;
	int error = ibv_dereg_mr(pinned->mr);

	if (error) {
		log_warn("verbs: %s: cannot deregister memory: %s", device->name,
			 log_errno_name(error));
		return -error;
	}
	free(pinned);
	return 0;
}

static const struct cache_device_ops operations = { .reg = pin, .dereg = unpin };

int memory_open(void)
{
	size_t regions = cache_setting_regions();
	int error;

	error = monitor_open(setting_text(SETTING_memory_monitor), &monitor);
	if (error)
		return error;
	/*
	 * Without copy-on-fork of pinned pages in the kernel, a fork would give the
	 * child the pages that the device knows, and the parent others.
	 */
	if (regions && ibv_is_fork_initialized() != IBV_FORK_UNNEEDED) {
		log_info("verbs: registrations are not cached: this kernel does not copy pinned "
			 "pages at fork");
		regions = 0;
	}
	error = cache_create(monitor, regions, cache_setting_bytes(), &cache);
	if (error) {
		monitor_close(monitor);
		monitor = NULL;
	}
	return error;
}

void memory_close(void)
{
	int error = cache ? cache_destroy(cache) : 0;

	if (error) {
		/* The monitor must outlive the cache; both stay. */
		log_error("verbs: registrations are left: %s", log_errno_name(error));
		cache = NULL;
		monitor = NULL;
		return;
	}
	cache = NULL;
	if (monitor)
		monitor_close(monitor);
	monitor = NULL;
}

void memory_forked(void)
{
	/*
	 * What they own is freed by nobody, for other threads of the parent may have
	 * been in the middle of it. The descriptor must go: it would keep the parent's
	 * ranges when the parent is gone.
	 */
	if (monitor && monitor->event_descriptor >= 0)
		system_close(monitor->event_descriptor);
	cache = NULL;
	monitor = NULL;
}

int memory_event_descriptor(void)
{
	return monitor ? monitor->event_descriptor : -1;
}

int memory_device_add(struct device *device)
{
	return cache_device_add(cache, &operations, device, &device->cached);
}

void memory_device_remove(struct device *device)
{
	int error = cache_device_remove(cache, device->cached);

	if (error)
		log_error("verbs: %s: registrations are left: %s", device->name,
			  log_errno_name(error));
}

struct pinned *memory_pin(struct device *device, const void *address, size_t length, DWORD rights,
			  struct cache_region **region, int *wsa_error)
{
	unsigned access = rights & MEM_WRITE ? MEMORY_READ | MEMORY_WRITE : MEMORY_READ;
	int error;

	if (!length || !rights || rights & ~(DWORD)MEM_READWRITE) {
		*wsa_error = WSAEINVAL;
		return NULL;
	}
	error = cache_get(cache, device->cached, address, length, access, region);
	switch (error) {
	case 0:
		return cache_region_handle(*region, device->cached);
	case -EFAULT:
		*wsa_error = WSAEFAULT;
		return NULL;
	case -EINVAL:
		*wsa_error = WSAEINVAL;
		return NULL;
	default:
		*wsa_error = WSAENOBUFS;
		return NULL;
	}
}

bool memory_shrink(size_t bytes)
{
	return cache_shrink(cache, bytes);
}

struct pinned *memory_pin_kept(struct device *device, const void *address, size_t length,
			       DWORD rights, int *wsa_error)
{
	unsigned access = rights & MEM_WRITE ? MEMORY_READ | MEMORY_WRITE : MEMORY_READ;
	void *pinned;
	int error;

	if (!length || !rights || rights & ~(DWORD)MEM_READWRITE) {
		*wsa_error = WSAEINVAL;
		return NULL;
	}
	/* A connection's own memory comes before what is only kept in case it is used again. */
	do {
		error = pin(device, (void *)(uintptr_t)address, length, access, &pinned);
	} while (error == -ENOMEM && memory_shrink(length));
	switch (error) {
	case 0:
		return pinned;
	case -EFAULT:
		*wsa_error = WSAEFAULT;
		return NULL;
	default:
		*wsa_error = WSAENOBUFS;
		return NULL;
	}
}

void memory_unpin_kept(struct device *device, struct pinned *pinned)
{
	unpin(device, pinned);
}

void memory_unpin(struct cache_region *region)
{
	cache_put(cache, region);
}

int san_memory_registration_cache_callback(LPVOID lpvAddress, SIZE_T Size, LPINT lpErrno)
{
	int error;

	if (!atomic_load_explicit(&provider.running, memory_order_acquire))
		return fail(lpErrno, WSANOTINITIALISED);
	error = cache_release_range(cache, (uintptr_t)lpvAddress, Size);
	if (!error)
		return 0;
	return fail(lpErrno, error == -EINVAL ? WSAEINVAL : WSAEFAULT);
}
