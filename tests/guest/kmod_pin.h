/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory registered with a real RDMA device, for tests whose outcome depends on pinning.
 */
#ifndef KMOD_PIN_H
#define KMOD_PIN_H

#include "kmod_common.h"

struct ibv_mr;

/* Register with the first device there is; pinned until kmod_unpin or the end of the process. */
struct ibv_mr *kmod_pin(void *address, size_t length, uint32_t access);
void kmod_unpin(struct ibv_mr *registration);

/*
 * Secure, register, look again, as a registration cache does it: a few times at most. Says in
 * *@rounds how many it took. Fails the test if the memory never holds still.
 */
struct kmod_range kmod_secure_and_pin(const struct kmod_device *device, void *address,
				      size_t length, uint32_t access, int *rounds);

#endif /* KMOD_PIN_H */
