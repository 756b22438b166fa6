// SPDX-License-Identifier: BSD-2-Clause
/* No cache: ibv_reg_mr() before every use and ibv_dereg_mr() after it. */
#include <errno.h>
#include <infiniband/verbs.h>

#include "buffers.h"
#include "registrar.h"
#include "verbs_device.h"

const bool registrar_caches = false;
const bool registrar_watches = false;

static struct ibv_pd *pd;

void registrar_open(const char *device)
{
	pd = verbs_device_pd(device);
}

int registrar_get(void *address, size_t length, void **held)
{
	*held = ibv_reg_mr(pd, address, length, VERBS_ALL_ACCESS);
	return *held ? 0 : -errno;
}

void registrar_put(void *held)
{
	must(-ibv_dereg_mr(held), "ibv_dereg_mr");
}

void registrar_settle(void *address, size_t length)
{
	(void)address, (void)length;
}
