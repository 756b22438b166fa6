// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPMemoryRegistrationCacheCallback with two devices: one region of memory is registered with
 * both; the callback takes it out of the cache at once, with any overlap, and its registrations
 * go when nobody uses it any more, on both devices; WSAEINVAL where nothing is cached, WSAEFAULT
 * where a device does not let go.
 *
 * usage: san_callback ADDRESS-OF-THE-SECOND-DEVICE
 *
 * ibv_dereg_mr() here comes before the library's, for this program exports it.
 */
#include "san_common.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <infiniband/verbs.h>

#define SIZE	65536

static unsigned char *area;
static _Atomic int refusals;	/* deregistrations that are still to be refused */

__attribute__((visibility("default"))) int ibv_dereg_mr(struct ibv_mr *registration)
{
	static int (*next)(struct ibv_mr *registration);

	if (atomic_load(&refusals) > 0 && atomic_fetch_sub(&refusals, 1) > 0)
		return EBUSY;
	if (!next) {
		void *library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);

		check(library);
		next = (int (*)(struct ibv_mr *))(uintptr_t)dlsym(library, "ibv_dereg_mr");
		check(next);
	}
	return next(registration);
}

/* 0 or the WSA code. */
static int released(const unsigned char *address, size_t size)
{
	int error = 0;

	san_memory_released((void *)(uintptr_t)address, size, &error);
	return error;
}

static void deregister(SOCKET s, HANDLE handle)
{
	int error = 0;

	check(!san_deregister(s, handle, &error));
}

/* Registers and lets go again: cached, used by nobody. */
static void touch(SOCKET s)
{
	deregister(s, san_registered(s, area, SIZE, MEM_READWRITE));
}

/* Moves bytes between two halves of the area, so that its registration is seen to be good. */
static void use(struct san_pair *pair, HANDLE client, HANDLE server)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };

	memset(area, 0x5a, 100);
	memset(area + SIZE / 2, 0, 100);
	san_post(pair->server, area + SIZE / 2, 100, server, &received);
	san_send_message(pair->client, area, 100, client, 0, &sent);
	check_error(san_wait(pair->client, &sent, NULL), 0);
	check_error(san_wait(pair->server, &received, NULL), 0);
	check(!memcmp(area, area + SIZE / 2, 100));
}

int main(int argc, char **argv)
{
	struct san_pair one, two;
	HANDLE first[2], second[2], again;
	int held;

	check(argc == 2);
	san_start();
	san_pair_open(&one);
	san_host = argv[1];
	san_pair_open(&two);
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(area != MAP_FAILED);
	check(!madvise(area, SIZE, MADV_NOHUGEPAGE));
	memset(area, 1, SIZE);
	held = resources_held("mr");

	/* In use through both devices: out of the cache now, deregistered by the last user. */
	first[0] = san_registered(one.client, area, SIZE, MEM_READWRITE);
	first[1] = san_registered(one.server, area, SIZE, MEM_READWRITE);
	check_error(resources_held("mr"), held + 1);
	second[0] = san_registered(two.client, area, SIZE, MEM_READWRITE);
	second[1] = san_registered(two.server, area, SIZE, MEM_READWRITE);
	check_error(resources_held("mr"), held + 2);
	check_error(released(area + 4096, 1), 0);
	check_error(resources_held("mr"), held + 2);
	check_error(released(area, SIZE), WSAEINVAL);
	use(&one, first[0], first[1]);
	use(&two, second[0], second[1]);
	/* Who comes now gets a registration of its own. */
	again = san_registered(one.client, area, SIZE, MEM_READWRITE);
	check_error(resources_held("mr"), held + 3);
	deregister(one.client, first[0]);
	deregister(one.server, first[1]);
	deregister(two.client, second[0]);
	check_error(resources_held("mr"), held + 3);
	deregister(two.server, second[1]);
	check_error(resources_held("mr"), held + 1);
	check_error(released(area, SIZE), 0);
	check_error(resources_held("mr"), held + 1);
	deregister(one.client, again);
	check_error(resources_held("mr"), held);
	check_error(released(area, SIZE), WSAEINVAL);

	/* In use by nobody: gone from both devices when the callback returns. Any overlap. */
	for (unsigned i = 0; i < 3; i++) {
		touch(one.client);
		touch(two.server);
		check_error(resources_held("mr"), held + 2);
		check_error(released(area - 4096, 4096), WSAEINVAL);
		check_error(released(area + SIZE, 4096), WSAEINVAL);
		check_error(resources_held("mr"), held + 2);
		check_error(i == 0 ? released(area - 4096, 4097) : i == 1 ?
			    released(area + SIZE - 1, 1) : released(NULL, SIZE_MAX), 0);
		check_error(resources_held("mr"), held);
	}

	/* A device that does not let go; what it kept goes with the device at the latest. */
	touch(one.client);
	touch(two.client);
	refusals = 1;
	check_error(released(area, 1), WSAEFAULT);
	check_error(resources_held("mr"), held + 1);
	check_error(released(area, 1), WSAEINVAL);
	touch(two.client);
	check_error(released(area, 1), 0);

	san_pair_close(&two);
	san_pair_close(&one);
	san_stop();
	check_error(released(area, 1), WSANOTINITIALISED);
	check_error(resources_held("mr"), 0);
	return 0;
}
