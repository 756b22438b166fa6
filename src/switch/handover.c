/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A SAN connection stays with the process that accepted it, so a child that was to serve it
 * fails. It says so in a page that it shares with its parent, whose listeners decline the SAN
 * from then on: TCP carries the program, all but its first connection. So it does when the
 * process itself passes one on in a message, as Node.js does to the workers of a cluster.
 *
 * The page is made before the first fork of a process that accepts over a SAN. It outlives
 * all that may write to it: a child keeps its parent's until it has children of its own.
 */
#include "handover.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "descriptors.h"
#include "log.h"
#include "socket_state.h"

#define PAGE	4096

/* Did a child of ours try, and one of our parent's? NULL: there is none that could. */
static _Atomic(atomic_bool *) children;
static atomic_bool *siblings;
static atomic_bool passed_on;

void handover_forking(void)
{
	atomic_bool *none = NULL, *page;

	if (atomic_load(&children))
		return;
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Two threads may fork at a time. */
	if (page != MAP_FAILED && !atomic_compare_exchange_strong(&children, &none, page))
		munmap(page, PAGE);
}

void handover_forked(void)
{
	atomic_bool *page = atomic_exchange(&children, NULL);

	if (!page)
		return;
	if (siblings)
		munmap(siblings, PAGE);
	siblings = page;
}

void handover_noticed(const struct socket *socket)
{
	if (!socket->of_parent || !socket->accepted || !siblings || atomic_exchange(siblings, true))
		return;
	log_warn("switch: a connection over the SAN was left to a child process, which cannot use "
		 "it; its parent accepts over TCP only from now on");
}

void handover_exec(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct socket *socket = descriptor_get(fd);

		if (!socket)
			continue;
		handover_noticed(socket);
		socket_put(socket);
	}
}

static void passed(int fd)
{
	struct socket *socket = descriptor_get(fd);

	if (!socket)
		return;
	if (socket->accepted && !atomic_exchange(&passed_on, true))
		log_warn("switch: a connection over the SAN was passed to another process, which cannot "
			 "use it; this one accepts over TCP only from now on");
	socket_put(socket);
}

void handover_sent(const struct msghdr *message)
{
	struct msghdr copy = *message;
	struct cmsghdr *part;

	for (part = CMSG_FIRSTHDR(&copy); part; part = CMSG_NXTHDR(&copy, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++)
			passed(((int *)CMSG_DATA(part))[i]);
	}
}

bool handover_seen(void)
{
	atomic_bool *page = atomic_load(&children);

	return atomic_load(&passed_on) || (page && atomic_load(page));
}
