// SPDX-License-Identifier: BSD-2-Clause
/* Preloaded: RDMA devices say that they have no memory windows, as some do. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include <infiniband/verbs.h>

__attribute__((visibility("default")))
int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attributes)
{
	static int (*next)(struct ibv_context *context, struct ibv_device_attr *attributes);
	int error;

	if (!next) {
		void *library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);

		if (!library)
			abort();
		next = (int (*)(struct ibv_context *, struct ibv_device_attr *))(uintptr_t)
			dlsym(library, "ibv_query_device");
		if (!next)
			abort();
	}
	error = next(context, attributes);
	attributes->device_cap_flags &= ~(unsigned)(IBV_DEVICE_MEM_WINDOW |
						    IBV_DEVICE_MEM_WINDOW_TYPE_2A |
						    IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	return error;
}
