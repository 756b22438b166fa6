/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An RDMA device as this process uses it: a context of our own, one protection
 * domain, its place in the registration cache.
 *
 * librdmacm opens devices too, for itself, and hands those contexts out. We use
 * them only to learn which device it chose: a process's children would
 * inherit them, and whatever is made on an inherited context lives until both
 * parent and child are gone. Our contexts are closed in the child.
 *
 * Devices stay open until the last WSPCleanup, so a pointer to one needs no
 * reference while the provider runs.
 */
#ifndef WSD_SAN_VERBS_DEVICE_H
#define WSD_SAN_VERBS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>

struct cache_device;

struct device {
	struct device *next;
	unsigned number;
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_device_attr attributes;
	/* RDMA reads that a connection may have in flight: the peer's and ours. */
	uint8_t reads_answered, reads_asked;
	bool windows;			/* has type 2 memory windows */
	struct cache_device *cached;
	const char *name;		/* for the log */
};

/* Transport and link of a device that can carry us: its connections are made by the IB CM. */
static inline bool device_usable(const struct ibv_device *device)
{
	return device->transport_type == IBV_TRANSPORT_IB;
}

/*
 * Our device for the one that librdmacm chose, opened at first need.
 * @chosen: context of a bound or resolved id. NULL with *error = -errno.
 */
struct device *device_get(struct ibv_context *chosen, int *error);

/* Reads what device @number has to tell beside completions; from the provider's thread. */
void device_read_events(unsigned number);

/* There is nothing to read any more, and never will be: the device is gone. */
void device_unwatch(unsigned number);

/* At the last WSPCleanup, when no socket is left. */
void device_close_all(void);

/* In a forked child: closes what was inherited, forgets the devices. Async-signal-safe. */
void device_forked(void);

#endif
