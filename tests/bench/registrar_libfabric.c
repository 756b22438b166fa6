// SPDX-License-Identifier: BSD-2-Clause
/*
 * libfabric's cache, reached through fi_mr_reg() and fi_close() of its verbs provider.
 * FI_MR_CACHE_MONITOR in the environment chooses what watches the memory.
 */
#include <errno.h>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_errno.h>
#include <stdlib.h>

#include "buffers.h"
#include "registrar.h"

const bool registrar_caches = true;
const bool registrar_watches = true;

static struct fid_domain *domain;

void registrar_open(const char *device)
{
	struct fi_info *hints;
	struct fi_info *info;
	struct fid_fabric *fabric;

	/* Its usual 1024 regions are fewer than are measured. */
	setenv("FI_MR_CACHE_MAX_COUNT", "1000000", 1);
	setenv("FI_MR_CACHE_MAX_SIZE", "1000000000000", 1);
	hints = fi_allocinfo();
	if (!hints)
		must(-ENOMEM, "fi_allocinfo");
	hints->caps = FI_MSG | FI_RMA;
	hints->ep_attr->type = FI_EP_MSG;
	hints->fabric_attr->prov_name = strdup("verbs");
	hints->domain_attr->name = strdup(device);
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_ALLOCATED | FI_MR_PROV_KEY |
				      FI_MR_VIRT_ADDR;
	must(fi_getinfo(FI_VERSION(1, 15), NULL, NULL, 0, hints, &info), "fi_getinfo");
	must(fi_fabric(info->fabric_attr, &fabric, NULL), "fi_fabric");
	must(fi_domain(fabric, info, &domain, NULL), "fi_domain");
}

int registrar_get(void *address, size_t length, void **held)
{
	struct fid_mr *mr;
	int error = fi_mr_reg(domain, address, length,
			      FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ |
			      FI_REMOTE_WRITE, 0, 0, 0, &mr, NULL);

	*held = mr;
	return error;
}

void registrar_put(void *held)
{
	must(fi_close(&((struct fid_mr *)held)->fid), "fi_close");
}

/* Registrations that went stale are given back by the next look-up, also of another buffer. */
void registrar_settle(void *address, size_t length)
{
	void *held;

	(void)address;
	must(registrar_get(buffer_at(0), length, &held), "fi_mr_reg");
	registrar_put(held);
}
