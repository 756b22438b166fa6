// SPDX-License-Identifier: BSD-2-Clause
/*
 * Devices of this process. See device.h.
 */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "descriptor.h"
#include "log.h"
#include "provider.h"
#include "registration.h"
#include "system.h"

/*
 * RDMA reads in flight each way. Every one costs memory on the side that
 * answers, and a few keep a link busy.
 */
#define READS_MOST	8

/* Protects the list, which only grows while the provider runs. Comes after a socket's lock. */
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;
static struct device *devices;

/* Puts the descriptors of a context where the application does not look. */
static void hide_descriptors(struct ibv_context *context)
{
	context->cmd_fd = descriptor_hide(context->cmd_fd);
	context->async_fd = descriptor_hide(context->async_fd);
}

static int watch_device(struct device *device)
{
	struct epoll_event event = {
		.events = EPOLLIN,
		.data.u64 = WAKE_DEVICE + device->number,
	};

	system_fcntl(device->context->async_fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(provider.epoll, EPOLL_CTL_ADD, device->context->async_fd, &event))
		return -errno;
	return 0;
}

static uint8_t reads_most(int limit)
{
	return (uint8_t)(limit < READS_MOST ? limit : READS_MOST);
}

static int device_open(struct ibv_context *chosen, struct device **opened)
{
	struct device *device = calloc(1, sizeof(*device));
	int error;

	if (!device)
		return -ENOMEM;
	device->number = devices ? devices->number + 1 : 0;
	device->name = ibv_get_device_name(chosen->device);
	gate_enter();
	device->context = ibv_open_device(chosen->device);
	error = device->context ? 0 : errno ? -errno : -EIO;
	gate_leave();
	if (error)
		goto err_device;
	hide_descriptors(device->context);
	/* librdmacm's own one too; it is in nobody's use right now but ours. */
	hide_descriptors(chosen);
	error = -ibv_query_device(device->context, &device->attributes);
	if (error)
		goto err_context;
	device->reads_answered = reads_most(device->attributes.max_qp_rd_atom);
	device->reads_asked = reads_most(device->attributes.max_qp_init_rd_atom);
	device->windows = device->attributes.device_cap_flags &
			  (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	device->pd = ibv_alloc_pd(device->context);
	if (!device->pd) {
		error = errno ? -errno : -EIO;
		goto err_context;
	}
	error = memory_device_add(device);
	if (error)
		goto err_pd;
	error = watch_device(device);
	if (error)
		goto err_memory;
	log_info("verbs: device %s%s", device->name,
		 device->windows ? "" : ", without memory windows: exposing memory registers it");
	*opened = device;
	return 0;

err_memory:
	memory_device_remove(device);
err_pd:
	ibv_dealloc_pd(device->pd);
err_context:
	ibv_close_device(device->context);
err_device:
	log_warn("verbs: cannot use device %s: %s", device->name, log_errno_name(error));
	free(device);
	return error;
}

struct device *device_get(struct ibv_context *chosen, int *error)
{
	struct device *device;

	*error = 0;
	pthread_mutex_lock(&devices_lock);
	for (device = devices; device; device = device->next)
		if (device->context->device == chosen->device)
			break;
	if (!device) {
		*error = device_open(chosen, &device);
		if (!*error) {
			device->next = devices;
			devices = device;
		}
	}
	pthread_mutex_unlock(&devices_lock);
	return *error ? NULL : device;
}

static struct device *device_find(unsigned number)
{
	struct device *device;

	pthread_mutex_lock(&devices_lock);
	for (device = devices; device && device->number != number;)
		device = device->next;
	pthread_mutex_unlock(&devices_lock);
	return device;
}

void device_read_events(unsigned number)
{
	struct device *device = device_find(number);
	struct ibv_async_event event;

	if (!device)
		return;
	/* What breaks a connection shows in its completions too: here it is only told. */
	while (!ibv_get_async_event(device->context, &event)) {
		const char *name = ibv_event_type_str(event.event_type);

		if (event.event_type == IBV_EVENT_DEVICE_FATAL ||
		    event.event_type == IBV_EVENT_CQ_ERR ||
		    event.event_type == IBV_EVENT_PORT_ERR)
			log_warn("verbs: %s: %s", device->name, name);
		else
			log_debug("verbs: %s: %s", device->name, name);
		ibv_ack_async_event(&event);
	}
}

void device_unwatch(unsigned number)
{
	struct device *device = device_find(number);

	if (!device)
		return;
	log_warn("verbs: %s: the device is gone", device->name);
	if (epoll_ctl(provider.epoll, EPOLL_CTL_DEL, device->context->async_fd, NULL))
		log_error("verbs: %s: still watched: %s", device->name, log_errno_name(errno));
}

void device_close_all(void)
{
	while (devices) {
		struct device *device = devices;
		int error;

		devices = device->next;
		memory_device_remove(device);
		error = ibv_dealloc_pd(device->pd);
		if (error)
			log_error("verbs: %s: cannot free a protection domain: %s", device->name,
				  log_errno_name(error));
		gate_enter();
		ibv_close_device(device->context);
		gate_leave();
		free(device);
	}
}

void device_forked(void)
{
	for (struct device *device = devices; device; device = device->next) {
		system_close(device->context->cmd_fd);
		system_close(device->context->async_fd);
	}
	devices = NULL;
	pthread_mutex_init(&devices_lock, NULL);
}
