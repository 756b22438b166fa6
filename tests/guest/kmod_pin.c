// SPDX-License-Identifier: BSD-2-Clause
/*
 * Pinning by registration with libibverbs; see kmod_pin.h.
 */
#include "kmod_pin.h"

#include <errno.h>
#include <infiniband/verbs.h>
#include <string.h>

#define ROUNDS	4

static struct ibv_pd *domain(void)
{
	static struct ibv_pd *opened;
	struct ibv_device **devices;
	struct ibv_context *context;
	int count;

	if (opened)
		return opened;
	devices = ibv_get_device_list(&count);
	CHECK(devices && count > 0, "no RDMA device");
	context = ibv_open_device(devices[0]);
	CHECK(context, "ibv_open_device: %s", strerror(errno));
	ibv_free_device_list(devices);
	CHECK(ibv_is_fork_initialized() == IBV_FORK_UNNEEDED,
	      "this kernel does not copy pinned pages at fork");
	opened = ibv_alloc_pd(context);
	CHECK(opened, "ibv_alloc_pd: %s", strerror(errno));
	return opened;
}

struct ibv_mr *kmod_pin(void *address, size_t length, uint32_t access)
{
	int flags = access & WSDIRECT_ACCESS_WRITE ? IBV_ACCESS_LOCAL_WRITE : 0;
	struct ibv_mr *registration = ibv_reg_mr(domain(), address, length, flags);

	CHECK(registration, "ibv_reg_mr: %s", strerror(errno));
	return registration;
}

void kmod_unpin(struct ibv_mr *registration)
{
	int err = ibv_dereg_mr(registration);

	CHECK(!err, "ibv_dereg_mr: %s", strerror(err));
}

struct kmod_range kmod_secure_and_pin(const struct kmod_device *device, void *address,
				      size_t length, uint32_t access, int *rounds)
{
	for (int round = 1; round <= ROUNDS; round++) {
		struct kmod_range range = kmod_secure(device, address, length, access);
		struct ibv_mr *registration = kmod_pin(address, length, access);
		struct wsdirect_event event;

		if (kmod_valid(device, &range)) {
			if (rounds)
				*rounds = round;
			return range;
		}
		CHECK(kmod_event(device, &event), "stale, but no event");
		kmod_unpin(registration);
	}
	FAIL("the memory went stale while it was being registered, %d times", ROUNDS);
}
