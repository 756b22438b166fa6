// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sees every registration with an RDMA device, whoever makes it in this process: its
 * functions stand before those of libibverbs, and libfabric's and UCX's calls end here
 * too. Linked into programs that export their symbols.
 */
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>

#include "buffers.h"

#undef ibv_reg_mr
#define EXPORTED __attribute__((visibility("default")))

EXPORTED struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *address, size_t length, int access);
EXPORTED struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *address, size_t length,
					 uint64_t iova, unsigned int access);

/* What libibverbs has under the name; UCX brings it only when it looks for devices. */
static void *behind(const char *name, const char *version)
{
	void *library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_GLOBAL);
	void *function = library ? dlvsym(library, name, version) : NULL;

	if (!function)
		must(-ENOSYS, name);
	return function;
}

/* Looked up in advance, since it must not be while something is timed. */
static __typeof__(ibv_reg_mr) *next_reg;
static __typeof__(ibv_reg_mr_iova2) *next_reg_iova2;
static __typeof__(ibv_dereg_mr) *next_dereg;

__attribute__((constructor)) static void look_up(void)
{
	next_reg = behind("ibv_reg_mr", "IBVERBS_1.1");
	next_reg_iova2 = behind("ibv_reg_mr_iova2", "IBVERBS_1.8");
	next_dereg = behind("ibv_dereg_mr", "IBVERBS_1.1");
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *address, size_t length, int access)
{
	struct ibv_mr *mr = next_reg(pd, address, length, access);

	if (mr)
		count_registered(address);
	return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *address, size_t length, uint64_t iova,
				unsigned int access)
{
	struct ibv_mr *mr = next_reg_iova2(pd, address, length, iova, access);

	if (mr)
		count_registered(address);
	return mr;
}

EXPORTED int ibv_dereg_mr(struct ibv_mr *mr)
{
	void *address = mr->addr;
	int error = next_dereg(mr);

	if (!error)
		count_given_back(address);
	return error;
}
