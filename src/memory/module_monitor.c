// SPDX-License-Identifier: BSD-2-Clause
/*
 * The monitor behind /dev/wsdirect: the kernel's MMU notifiers.
 *
 * The state words stay mapped, read-only, as long as the monitor is open. A child inherits mapping and descriptor, but the
 * words describe the parent's memory: monitor_is_ours() keeps the child away,
 * and the module refuses it anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <wsdirect.h>

#include "descriptor.h"
#include "fork_mark.h"
#include "log.h"
#include "monitor_kinds.h"
#include "statistics.h"
#include "system.h"

struct module_monitor {
	struct monitor monitor;
	const _Atomic uint64_t *words;
	size_t words_size;
};

_Static_assert(MEMORY_READ == WSDIRECT_ACCESS_READ, "rights are the module's");
_Static_assert(MEMORY_WRITE == WSDIRECT_ACCESS_WRITE, "rights are the module's");
_Static_assert(sizeof(struct monitor_event) == sizeof(struct wsdirect_event), "same record");

#define SAME_PLACE(member) \
	_Static_assert(offsetof(struct monitor_event, member) == \
		       offsetof(struct wsdirect_event, member), "same record")
SAME_PLACE(address);
SAME_PLACE(length);
SAME_PLACE(sequence);
SAME_PLACE(slot);
SAME_PLACE(cause);

static struct module_monitor *module_of(struct monitor *monitor)
{
	return (struct module_monitor *)monitor;
}

static int module_secure(struct monitor *monitor, uintptr_t address, size_t length,
			 unsigned access, struct monitor_watch *watch)
{
	struct module_monitor *module = module_of(monitor);
	struct wsdirect_secure request = {
		.address = address, .length = length, .access = access,
	};
	int error;

	if (!monitor_is_ours(monitor))
		return -EPERM;
	do {
		error = system_ioctl(monitor->event_descriptor, WSDIRECT_IOC_SECURE, &request);
	} while (error == -EINTR);
	if (error)
		return error;
	if (request.slot >= module->words_size / sizeof(uint64_t)) {
		struct wsdirect_unsecure undo = {
			.slot = request.slot, .sequence = request.sequence,
		};

		log_error("/dev/wsdirect: slot %u lies outside its %zu bytes of state words",
			  request.slot, module->words_size);
		system_ioctl(monitor->event_descriptor, WSDIRECT_IOC_UNSECURE, &undo);
		return -EIO;
	}
	watch->word = &module->words[request.slot];
	watch->sequence = request.sequence;
	watch->slot = request.slot;
	statistic_add(STATISTIC_ranges_secured, 1);
	return 0;
}

static int module_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	struct wsdirect_unsecure request = { .slot = watch->slot, .sequence = watch->sequence };
	int error;

	if (!monitor_is_ours(monitor))
		return -EPERM;
	do {
		error = system_ioctl(monitor->event_descriptor, WSDIRECT_IOC_UNSECURE, &request);
	} while (error == -EINTR);
	if (error == 0)
		statistic_add(STATISTIC_ranges_unsecured, 1);
	return error;
}

static void module_close(struct monitor *monitor)
{
	struct module_monitor *module = module_of(monitor);

	munmap((void *)(uintptr_t)module->words, module->words_size);
	system_close(monitor->event_descriptor);
	fork_mark_free(monitor->fork_mark);
	free(module);
}

static const struct monitor_operations module_operations = {
	.secure = module_secure,
	.unsecure = module_unsecure,
	.read = monitor_read_events,
	.close = module_close,
};

/* Agrees on the interface and maps the state words. */
static int module_attach(struct module_monitor *module)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
	void *words;
	int error = system_ioctl(module->monitor.event_descriptor, WSDIRECT_IOC_HELLO, &hello);

	if (error == -EPROTONOSUPPORT) {
		log_error("/dev/wsdirect speaks version %u of its interface, this library %u",
			  hello.abi_version, WSDIRECT_ABI_VERSION);
		return error;
	}
	if (error)
		return error;
	if (hello.max_ranges == 0 || hello.state_bytes / sizeof(uint64_t) < hello.max_ranges ||
	    hello.state_bytes > SIZE_MAX / 2)
		return -EPROTO;
	words = mmap(NULL, (size_t)hello.state_bytes, PROT_READ, MAP_SHARED,
		     module->monitor.event_descriptor, 0);
	if (words == MAP_FAILED)
		return -errno;
	module->words = words;
	module->words_size = (size_t)hello.state_bytes;
	module->monitor.most_ranges = hello.max_ranges;
	return 0;
}

int monitor_module_open(struct monitor **monitor)
{
	struct module_monitor *module = calloc(1, sizeof(*module));
	int error;

	if (!module)
		return -ENOMEM;
	module->monitor.operations = &module_operations;
	module->monitor.name = "module";
	error = fork_mark_alloc(&module->monitor.fork_mark);
	if (error)
		goto err_free;
	error = system_open(WSDIRECT_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	if (error < 0)
		goto err_mark;
	module->monitor.event_descriptor = descriptor_hide(error);
	error = module_attach(module);
	if (error)
		goto err_close;
	*monitor = &module->monitor;
	return 0;

err_close:
	system_close(module->monitor.event_descriptor);
err_mark:
	fork_mark_free(module->monitor.fork_mark);
err_free:
	free(module);
	return error;
}
