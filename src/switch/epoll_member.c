// SPDX-License-Identifier: BSD-2-Clause
/*
 * Members of an epoll set: what a watch has while its descriptor has a socket,
 * above all its registration in the kernel's set. epoll_set.h has the theory;
 * all of this runs with the set's lock held.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "descriptor.h"
#include "epoll_set.h"
#include "libc_calls.h"
#include "log.h"
#include "system.h"
#include "waiter.h"

void member_queue(struct member *member)
{
	struct epoll *epoll = member->watch->epoll;

	member->misses = 0;
	if (member->queued || member->disabled)
		return;
	TAILQ_INSERT_TAIL(&epoll->queue, member, entry);
	member->queued = true;
}

void member_unqueue(struct member *member)
{
	if (member->queued)
		TAILQ_REMOVE(&member->watch->epoll->queue, member, entry);
	member->queued = false;
}

void epoll_take_woken(struct epoll *epoll)
{
	struct waiter_link *link;

	if (!atomic_load(&epoll->waiter.woken))
		return;
	link = atomic_exchange(&epoll->waiter.woken, NULL);
	while (link) {
		struct waiter_link *next = link->woken_next;

		waiter_link_taken(link);
		member_queue((struct member *)((char *)link - offsetof(struct member, link)));
		link = next;
	}
}

int epoll_kernel_control(struct epoll *epoll, int operation, int fd, uint32_t events,
			 uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return libc_call.epoll_ctl(epoll->kernel, operation, fd, &event) ? -errno : 0;
}

/*
 * The companion's descriptor may be in the set already: two descriptors of the
 * application share one socket. A duplicate is another key for the kernel.
 */
static int register_companion(struct member *member, int descriptor, uint64_t data)
{
	struct epoll *epoll = member->watch->epoll;
	int result = epoll_kernel_control(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN, data);

	if (result != -EEXIST)
		return result;
	member->duplicate = system_fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
	if (member->duplicate < 0)
		return member->duplicate;
	member->duplicate = descriptor_hide(member->duplicate);
	return epoll_kernel_control(epoll, EPOLL_CTL_ADD, member->duplicate, EPOLLIN, data);
}

static void unregister_companion(struct member *member)
{
	struct epoll *epoll = member->watch->epoll;

	if (member->duplicate >= 0) {
		epoll_kernel_control(epoll, EPOLL_CTL_DEL, member->duplicate, 0, 0);
		system_close(member->duplicate);
		member->duplicate = -1;
	} else {
		epoll_kernel_control(epoll, EPOLL_CTL_DEL, member->descriptor, 0, 0);
	}
}

void member_register(struct member *member, enum registration wanted, int descriptor)
{
	struct watch *watch = member->watch;
	struct epoll *epoll = watch->epoll;
	enum registration was = member->registration;
	bool was_own = was == REGISTERED_OWN || was == REGISTERED_MARKED ||
		       was == REGISTERED_UNDECIDED;
	bool own = wanted == REGISTERED_OWN || wanted == REGISTERED_MARKED;
	uint64_t mark = epoll_mark() | member->index;
	uint64_t data = wanted == REGISTERED_OWN ? watch->data.u64 : mark;
	int result = 0;

	if (was == wanted && (wanted != REGISTERED_COMPANION || descriptor == member->descriptor))
		return;
	member->registration = wanted;
	/* The kernel refuses to modify an exclusive registration. */
	if (was_own && own && !(watch->events & EPOLLEXCLUSIVE)) {
		result = epoll_kernel_control(epoll, EPOLL_CTL_MOD, watch->fd, watch->events, data);
		goto out;
	}
	/* A failure to remove means that it is gone already. */
	if (was_own)
		epoll_kernel_control(epoll, EPOLL_CTL_DEL, watch->fd, 0, 0);
	else if (was == REGISTERED_COMPANION)
		unregister_companion(member);
	if (own) {
		result = epoll_kernel_control(epoll, EPOLL_CTL_ADD, watch->fd, watch->events, data);
	} else if (wanted == REGISTERED_COMPANION) {
		member->descriptor = descriptor;
		result = register_companion(member, descriptor, data);
	}
out:
	if (result) {
		log_error("epoll: descriptor %d cannot be watched: %s", watch->fd,
			  log_errno_name(result));
		member->registration = REGISTERED_NOT;
	}
}

static int member_index(struct epoll *epoll, struct member *member)
{
	uint32_t index = epoll->free_index, size;
	struct member **members;

	while (index < epoll->members_size && epoll->members[index])
		index++;
	if (index >= epoll->members_size) {
		size = epoll->members_size ? epoll->members_size * 2 : 16;
		if (size > MEMBER_INDEX_MASK + 1)
			return -ENOSPC;
		members = realloc(epoll->members, size * sizeof(*members));
		if (!members)
			return -ENOMEM;
		memset(members + epoll->members_size, 0,
		       (size - epoll->members_size) * sizeof(*members));
		epoll->members = members;
		epoll->members_size = size;
	}
	epoll->members[index] = member;
	epoll->free_index = index + 1;
	member->index = index;
	return 0;
}

int watch_attach(struct watch *watch, struct socket *socket, enum registration registration)
{
	struct epoll *epoll = watch->epoll;
	struct member *member;
	int result;

	result = epoll_involve(epoll);
	if (result)
		return result;
	member = calloc(1, sizeof(*member));
	if (!member)
		return -ENOMEM;
	result = member_index(epoll, member);
	if (result) {
		free(member);
		return result;
	}
	member->watch = watch;
	member->registration = registration;
	member->wait = SOCKET_WAIT_WAKE;
	member->descriptor = member->duplicate = -1;
	member->fresh = true;
	member->socket = socket_get(socket);
	watch->member = member;
	socket_waiter_add(socket, &member->link, &epoll->waiter);
	member_queue(member);
	return 0;
}

struct socket *watch_detach(struct watch *watch)
{
	struct member *member = watch->member;
	struct epoll *epoll = watch->epoll;
	struct socket *socket = member->socket;

	member_register(member, REGISTERED_NOT, -1);
	socket_waiter_remove(socket, &member->link);
	/* Nobody wakes it any more, so it is not on the list after this. */
	epoll_take_woken(epoll);
	member_unqueue(member);
	epoll->members[member->index] = NULL;
	if (member->index < epoll->free_index)
		epoll->free_index = member->index;
	watch->member = NULL;
	epoll_bury(member);
	return socket;
}
