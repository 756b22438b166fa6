// SPDX-License-Identifier: BSD-2-Clause
/*
 * epoll sets and what is registered in them; epoll_set.h has the theory.
 *
 * Signal handlers: close() is allowed there, and closing a watched descriptor
 * changes sets. A handler that interrupts a critical section of its own thread
 * must not wait for it, so such a close is noted, and done when the section is
 * left. epoll_ctl(), epoll_wait() and closing a set are not for signal handlers.
 */
#include "epoll_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "descriptor.h"
#include "descriptors.h"
#include "libc_calls.h"
#include "spinner.h"
#include "system.h"
#include "waiter.h"

/* What epoll_ctl() allows together with EPOLLEXCLUSIVE. */
#define EXCLUSIVE_OK	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | \
			 EPOLLEXCLUSIVE)

#define STRIPES 64
static pthread_mutex_t stripes[STRIPES] = { [0 ... STRIPES - 1] = PTHREAD_MUTEX_INITIALIZER };

/* This thread's critical sections, and the closes that a handler met in them. */
static __thread struct {
	unsigned int held;
	unsigned int count;
	int fds[16];
} sections __attribute__((tls_model("initial-exec")));

static void section_enter(void)
{
	sections.held++;
	atomic_signal_fence(memory_order_seq_cst);
}

static void section_leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (--sections.held)
		return;
	while (sections.count)
		epoll_descriptor_closing(sections.fds[--sections.count]);
}

static void stripe_enter(int fd)
{
	section_enter();
	pthread_mutex_lock(&stripes[(unsigned int)fd % STRIPES]);
}

static void stripe_leave(int fd)
{
	pthread_mutex_unlock(&stripes[(unsigned int)fd % STRIPES]);
	section_leave();
}

void epoll_enter(struct epoll *epoll)
{
	section_enter();
	pthread_mutex_lock(&epoll->lock);
}

void epoll_leave(struct epoll *epoll)
{
	pthread_mutex_unlock(&epoll->lock);
	section_leave();
}

/*
 * What close() frees: it may run in a signal handler that interrupted malloc().
 * The next epoll_ctl() really frees it.
 */
struct grave {
	struct grave *next;
};
static _Atomic(struct grave *) graves;

void epoll_bury(void *memory)
{
	struct grave *grave = memory;

	grave->next = atomic_load(&graves);
	while (!atomic_compare_exchange_weak(&graves, &grave->next, grave))
		;
}

static void graves_clear(void)
{
	struct grave *grave;

	if (!atomic_load_explicit(&graves, memory_order_relaxed))
		return;
	grave = atomic_exchange(&graves, NULL);
	while (grave) {
		struct grave *next = grave->next;

		free(grave);
		grave = next;
	}
}

/* ---- life ---- */

uint64_t epoll_mark(void)
{
	static _Atomic uint64_t mark;
	uint64_t value = atomic_load_explicit(&mark, memory_order_relaxed), none = 0;

	if (value)
		return value;
	/*
	 * The highest bit is set: neither a descriptor nor a pointer of the
	 * application's looks like that. Without randomness the constant does.
	 */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		value = UINT64_C(0x9e3779b97f4a7c15);
	value = (value | UINT64_C(1) << 63) & ~MEMBER_INDEX_MASK;
	return atomic_compare_exchange_strong(&mark, &none, value) ? value : none;
}

void epoll_get(struct epoll *epoll)
{
	atomic_fetch_add_explicit(&epoll->references, 1, memory_order_relaxed);
}

void epoll_put(struct epoll *epoll)
{
	/* The release of each put pairs with the acquire of the last one, which frees. */
	if (atomic_fetch_sub_explicit(&epoll->references, 1, memory_order_acq_rel) != 1)
		return;
	/* Only now: a socket that was waking the set may have been writing to it. */
	if (epoll->waiter.wake >= 0)
		system_close(epoll->waiter.wake);
	pthread_mutex_destroy(&epoll->lock);
	free(epoll->members);
	free(epoll);
}

/* A reference to the set behind epoll_fd, which is one: the kernel has said so. */
static struct epoll *epoll_know(int epoll_fd)
{
	struct epoll *epoll = descriptor_epoll_get(epoll_fd);
	int result;

	if (epoll)
		return epoll;
	epoll = calloc(1, sizeof(*epoll));
	if (!epoll)
		return NULL;
	atomic_init(&epoll->references, 2);
	pthread_mutex_init(&epoll->lock, NULL);
	atomic_init(&epoll->fd, epoll_fd);
	epoll->kernel = epoll->waiter.wake = -1;
	epoll->free_index = 1;
	epoll->poll_time = poll_time_least();
	LIST_INIT(&epoll->watches);
	TAILQ_INIT(&epoll->queue);
	result = descriptor_epoll_set(epoll_fd, epoll);
	if (result) {
		atomic_store(&epoll->references, 1);
		epoll_put(epoll);
		/* Another thread was first, or there is no room for such a number. */
		return result == -EEXIST ? descriptor_epoll_get(epoll_fd) : NULL;
	}
	return epoll;
}

void switch_epoll_created(int epoll_fd)
{
	struct epoll *epoll;

	/* The number may stand for something that was closed where we could not see. */
	if (descriptor_closing_matters(epoll_fd))
		descriptor_closing(epoll_fd);
	epoll = epoll_know(epoll_fd);
	if (epoll)
		epoll_put(epoll);
}

void epoll_descriptor_left(struct epoll *epoll, int fd)
{
	atomic_store(&epoll->fd, fd);
}

/* Our own descriptor of the kernel's set, and the waiter in it. */
int epoll_involve(struct epoll *epoll)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = epoll_mark() };
	int kernel, wake, result;

	if (epoll->closed)
		return -EBADF;
	if (epoll->kernel >= 0)
		return 0;
	kernel = system_fcntl(atomic_load(&epoll->fd), F_DUPFD_CLOEXEC, 3);
	if (kernel < 0)
		return kernel;
	kernel = descriptor_hide(kernel);
	wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (wake < 0) {
		result = -errno;
		goto close_kernel;
	}
	wake = descriptor_hide(wake);
	if (libc_call.epoll_ctl(kernel, EPOLL_CTL_ADD, wake, &event)) {
		result = -errno;
		goto close_wake;
	}
	epoll->waiter.wake = wake;
	epoll->kernel = kernel;
	atomic_store(&epoll->involved, true);
	return 0;

close_wake:
	system_close(wake);
close_kernel:
	system_close(kernel);
	return result;
}

/* ---- the lock is held ---- */

void epoll_changed(struct epoll *epoll)
{
	if (TAILQ_EMPTY(&epoll->queue))
		return;
	if (atomic_load(&epoll->outside)) {
		struct member *member, *next;
		bool ready = false;

		for (member = TAILQ_FIRST(&epoll->queue); member; member = next) {
			next = TAILQ_NEXT(member, entry);
			ready |= member_arm(member);
		}
		if (!ready)
			return;
	} else if (!atomic_load(&epoll->waiter.inside)) {
		return;
	}
	waiter_wake(&epoll->waiter);
}

/* ---- watches: the descriptor's stripe is held ---- */

static struct watch *watch_find(int fd, const struct epoll *epoll)
{
	struct watch **list = descriptor_is_watched(fd) ? descriptor_watches(fd) : NULL;
	struct watch *watch;

	for (watch = list ? *list : NULL; watch; watch = watch->next)
		if (watch->epoll == epoll)
			return watch;
	return NULL;
}

static int watch_add(struct epoll *epoll, int fd, const struct epoll_event *event,
		     struct watch **added)
{
	struct watch **list = descriptor_watches(fd);
	struct epoll *inner = descriptor_epoll_get(fd);
	struct watch *watch = list ? calloc(1, sizeof(*watch)) : NULL;

	if (!watch) {
		if (inner)
			epoll_put(inner);
		return -ENOMEM;
	}
	watch->epoll = epoll;
	watch->fd = fd;
	watch->events = event->events;
	watch->data = event->data;
	watch->inner = inner;
	epoll_enter(epoll);
	if (epoll->closed) {
		epoll_leave(epoll);
		free(watch);
		if (inner)
			epoll_put(inner);
		return -EBADF;
	}
	LIST_INSERT_HEAD(&epoll->watches, watch, entry);
	epoll->inner += watch->inner;
	if (inner)
		atomic_store(&epoll->involved, true);
	epoll_leave(epoll);
	watch->next = *list;
	*list = watch;
	descriptor_watched(fd, true);
	*added = watch;
	if (inner) {
		epoll_settle(inner);
		epoll_put(inner);
	}
	return 0;
}

/* Takes it out of both lists and frees it; the set's lock is held too. */
static struct socket *watch_remove(struct watch *watch)
{
	struct watch **place = descriptor_watches(watch->fd);
	struct socket *socket = watch->member ? watch_detach(watch) : NULL;

	while (*place != watch)
		place = &(*place)->next;
	*place = watch->next;
	if (!*descriptor_watches(watch->fd))
		descriptor_watched(watch->fd, false);
	LIST_REMOVE(watch, entry);
	watch->epoll->inner -= watch->inner;
	epoll_bury(watch);
	return socket;
}

/* The next wait gives the descriptor its companion; see descriptor_mark_listening(). */
static void watch_listens(struct watch *watch)
{
	struct epoll *epoll = watch->epoll;

	epoll_enter(epoll);
	if (!epoll_involve(epoll)) {
		atomic_store(&epoll->listeners, true);
		if (atomic_load(&epoll->waiter.inside))
			waiter_wake(&epoll->waiter);
	}
	epoll_leave(epoll);
}

/* The descriptor is the kernel's alone. *epoll is filled in if the set was not known. */
static int control_plain(int epoll_fd, int operation, int fd, struct epoll_event *event,
			 struct epoll **epoll, struct watch *watch)
{
	struct socket *gone = NULL;
	int result = 0;

	if (libc_call.epoll_ctl(epoll_fd, operation, fd, event))
		return -errno;
	if (operation == EPOLL_CTL_MOD && watch) {
		watch->events = event->events;
		watch->data = event->data;
	} else if (watch) {
		/* Removed; or added anew since the one we remember was closed unseen. */
		epoll_enter(*epoll);
		gone = watch_remove(watch);
		epoll_leave(*epoll);
	}
	if (operation == EPOLL_CTL_ADD) {
		if (!*epoll)
			*epoll = epoll_know(epoll_fd);
		result = *epoll ? watch_add(*epoll, fd, event, &watch) : -ENOMEM;
		if (result)
			libc_call.epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, event);
		else if (descriptor_is_listening(fd))
			watch_listens(watch);
	}
	if (gone)
		socket_put(gone);
	return result;
}

/*
 * Arms what the set does not look at by itself: connections are looked at by the next wait,
 * and registered in the kernel's set only if that sleeps. Programs that add and
 * remove a connection with every request so make no system call for it.
 */
static void member_start(struct member *member)
{
	struct epoll *epoll = member->watch->epoll;

	member->wait = socket_arm(member->socket, NULL);
	if (member->wait != SOCKET_WAIT_COMPANION || member->registration != REGISTERED_NOT ||
	    atomic_load(&epoll->waiter.inside))
		member_arm(member);
	epoll_changed(epoll);
}

/* The descriptor has a socket. *epoll as above. */
static int control_add_socket(int epoll_fd, int fd, struct epoll_event *event,
			      struct epoll **epoll, struct socket *socket)
{
	struct epoll_event undecided = { .data.u64 = epoll_mark() | MEMBER_INDEX_MASK };
	enum registration registration = REGISTERED_NOT;
	bool unknown = !*epoll;
	struct socket *gone = NULL;
	struct watch *watch;
	int result;

	if (!event)
		return -EFAULT;
	if (event->events & EPOLLEXCLUSIVE && event->events & ~(uint32_t)EXCLUSIVE_OK)
		return -EINVAL;
	if (unknown)
		*epoll = epoll_know(epoll_fd);
	if (!*epoll)
		return descriptor_is_known(epoll_fd) ? -EINVAL : -ENOMEM;

	epoll_enter(*epoll);
	result = epoll_involve(*epoll);
	epoll_leave(*epoll);
	if (result) {
		if (unknown)	/* it may be no epoll set at all */
			descriptor_epoll_clear(epoll_fd, *epoll);
		return result;
	}
	if (unknown) {
		/* The kernel judges the two descriptors; what it reports meanwhile is ignored. */
		if (libc_call.epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &undecided))
			return -errno;
		registration = REGISTERED_UNDECIDED;
	}
	result = watch_add(*epoll, fd, event, &watch);
	if (result)
		goto remove;
	epoll_enter(*epoll);
	result = watch_attach(watch, socket, registration);
	if (result)
		gone = watch_remove(watch);
	else
		member_start(watch->member);
	epoll_leave(*epoll);
	if (gone)
		socket_put(gone);
	if (!result)
		return 0;
remove:
	if (unknown)
		libc_call.epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &undecided);
	return result;
}

static int control_member(int operation, struct epoll_event *event, struct watch *watch)
{
	struct epoll *epoll = watch->epoll;
	struct member *member = watch->member;
	struct socket *gone = NULL;
	int result = 0;

	epoll_enter(epoll);
	switch (operation) {
	case EPOLL_CTL_ADD:
		result = -EEXIST;
		break;
	case EPOLL_CTL_MOD:
		if (!event) {
			result = -EFAULT;
			break;
		}
		if ((event->events | watch->events) & EPOLLEXCLUSIVE) {
			result = -EINVAL;
			break;
		}
		if (member->registration == REGISTERED_OWN)
			result = epoll_kernel_control(epoll, EPOLL_CTL_MOD, watch->fd, event->events,
						event->data.u64);
		else if (member->registration == REGISTERED_MARKED)
			result = epoll_kernel_control(epoll, EPOLL_CTL_MOD, watch->fd, event->events,
						epoll_mark() | member->index);
		if (result)
			break;
		watch->events = event->events;
		watch->data = event->data;
		member->fresh = true;
		member->disabled = false;
		member_queue(member);
		epoll_changed(epoll);
		break;
	case EPOLL_CTL_DEL:
		gone = watch_remove(watch);
		break;
	default:
		result = -EINVAL;
	}
	epoll_leave(epoll);
	if (gone)
		socket_put(gone);
	return result;
}

int switch_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	struct socket *socket;
	struct epoll *epoll;
	struct watch *watch;
	int result;

	graves_clear();
	stripe_enter(fd);
	epoll = descriptor_epoll_get(epoll_fd);
	watch = epoll ? watch_find(fd, epoll) : NULL;
	socket = watch ? NULL : descriptor_get(fd);
	if (watch && watch->member)
		result = control_member(operation, event, watch);
	else if (socket && operation == EPOLL_CTL_ADD)
		result = control_add_socket(epoll_fd, fd, event, &epoll, socket);
	else
		result = control_plain(epoll_fd, operation, fd, event, &epoll, watch);
	stripe_leave(fd);
	if (socket)
		socket_put(socket);
	if (epoll)
		epoll_put(epoll);
	return result;
}

int epoll_socket_entered(int fd, struct socket *socket)
{
	struct socket *gone[16];
	unsigned int count = 0;
	struct watch **list, *watch;
	int result = 0;

	if (!descriptor_is_watched(fd))
		return 0;
	stripe_enter(fd);
	list = descriptor_watches(fd);
	for (watch = list ? *list : NULL; watch && !result; watch = watch->next) {
		struct epoll *epoll = watch->epoll;

		epoll_enter(epoll);
		if (watch->member && watch->member->socket != socket &&
		    count < sizeof(gone) / sizeof(gone[0])) {
			/* Left over from a connect that ended on TCP. */
			member_register(watch->member, REGISTERED_OWN, -1);
			watch->member->registration = REGISTERED_NOT;
			gone[count++] = watch_detach(watch);
		}
		if (!watch->member) {
			result = watch_attach(watch, socket, REGISTERED_OWN);
			if (watch->member)
				member_arm(watch->member);
			epoll_changed(epoll);
		}
		epoll_leave(epoll);
	}
	stripe_leave(fd);
	while (count)
		socket_put(gone[--count]);
	return result;
}

void epoll_descriptor_listens(int fd)
{
	struct watch **list, *watch;

	stripe_enter(fd);
	list = descriptor_watches(fd);
	for (watch = list ? *list : NULL; watch; watch = watch->next)
		watch_listens(watch);
	stripe_leave(fd);
}

void epoll_descriptor_closing(int fd)
{
	struct watch **list, *watch;

	if (sections.held) {
		if (sections.count < sizeof(sections.fds) / sizeof(sections.fds[0]))
			sections.fds[sections.count++] = fd;
		return;
	}
	stripe_enter(fd);
	list = descriptor_watches(fd);
	while (list && (watch = *list)) {
		struct epoll *epoll = watch->epoll;
		struct socket *gone;

		epoll_enter(epoll);
		gone = watch_remove(watch);
		epoll_leave(epoll);
		if (gone)
			socket_put(gone);
	}
	stripe_leave(fd);
}

void epoll_close(struct epoll *epoll)
{
	struct watch *watch;

	epoll_enter(epoll);
	epoll->closed = true;
	while ((watch = LIST_FIRST(&epoll->watches))) {
		struct socket *gone = NULL;
		int fd = watch->fd;

		/* The stripe comes first. Meanwhile someone else may have removed it. */
		epoll_leave(epoll);
		stripe_enter(fd);
		epoll_enter(epoll);
		watch = watch_find(fd, epoll);
		if (watch)
			gone = watch_remove(watch);
		epoll_leave(epoll);
		stripe_leave(fd);
		if (gone)
			socket_put(gone);
		epoll_enter(epoll);
	}
	if (epoll->kernel >= 0)
		system_close(epoll->kernel);
	epoll->kernel = -1;
	epoll_leave(epoll);
}

bool epoll_has_sockets(struct epoll *epoll)
{
	return atomic_load(&epoll->involved);
}

/* ---- fork ---- */

/*
 * A set that sockets are involved in holds descriptors of the parent's companions: the child
 * gets another one in its place, and the parent's stays as it is.
 */
static void epoll_disown(int fd, struct epoll *epoll, void *unused)
{
	int flags = system_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC ? O_CLOEXEC : 0, set;

	(void)unused;
	pthread_mutex_init(&epoll->lock, NULL);
	atomic_store(&epoll->waiter.inside, 0);
	if (epoll->child) {
		/* A duplicate. */
		system_raw(SYS_dup3, atomic_load(&epoll->fd), fd, flags);
	} else if (epoll_has_sockets(epoll)) {
		epoll->child = true;
		system_close(epoll->kernel);
		system_close(epoll->waiter.wake);
		epoll->kernel = epoll->waiter.wake = -1;
		atomic_store(&epoll->fd, fd);
		set = (int)system_raw(SYS_epoll_create1, 0);
		system_raw(SYS_dup3, set, fd, flags);
		system_close(set);
	}
}

static void epoll_refill(int fd, struct epoll *epoll, void *unused)
{
	struct watch *watch;

	(void)fd;
	(void)unused;
	if (!epoll->child)
		return;
	epoll->child = false;
	TAILQ_INIT(&epoll->queue);
	atomic_store(&epoll->waiter.woken, NULL);
	epoll->members_size = 0;
	epoll->free_index = 1;
	epoll_involve(epoll);
	LIST_FOREACH(watch, &epoll->watches, entry) {
		/*
		 * What members hold belongs to the parent's sockets, whose locks may be
		 * in any state here: it is forgotten, not given back.
		 */
		struct member *member = watch->member;

		watch->member = NULL;
		/* The parent's connections are not for the child to wait for. */
		if (!member || member->wait == SOCKET_WAIT_BOTH || member->wait == SOCKET_WAIT_KERNEL)
			epoll_kernel_control(epoll, EPOLL_CTL_ADD, watch->fd, watch->events,
					     watch->data.u64);
		if (descriptor_is_listening(watch->fd))
			watch_listens(watch);
	}
}

void epoll_forked_child(void)
{
	unsigned int i;

	for (i = 0; i < STRIPES; i++)
		pthread_mutex_init(&stripes[i], NULL);
	memset(&sections, 0, sizeof(sections));
	descriptor_epoll_each(epoll_disown, NULL);
	/* Only now, for a set may be in another one. */
	descriptor_epoll_each(epoll_refill, NULL);
}
