/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening an RDMA device by name, for the registrars that use verbs themselves. */
#ifndef WSD_BENCH_VERBS_DEVICE_H
#define WSD_BENCH_VERBS_DEVICE_H

#include <infiniband/verbs.h>

/* What libfabric's and UCX's caches register with, but for atomic operations. */
#define VERBS_ALL_ACCESS \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)

/* A protection domain of the device; ends the program if there is none. */
struct ibv_pd *verbs_device_pd(const char *device);

#endif
