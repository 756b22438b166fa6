// SPDX-License-Identifier: BSD-2-Clause
/*
 * poll and select over mixed sets: "arm, look again, sleep" (socket.h) for each
 * SAN socket of the set, with the kernel's poll asleep over all that is left.
 *
 * The kernel gets the array of the application's entries in their places. Those
 * that only the SAN can answer have the descriptor -1, which the kernel skips;
 * in a sleep their companions' descriptors stand there, and the waiter's in some
 * place that is free. So the array is hardly ever longer than the application's,
 * which may be as long as RLIMIT_NOFILE allows.
 *
 * No lock is held while sleeping. A thread that is cancelled there takes its
 * links off the sockets and gives its references back.
 *
 * A signal handler may poll while the thread that it interrupted polls too: both
 * use the thread's one waiter. The inner one may clear the wake-up of the outer
 * one, so it leaves one behind.
 */
#include "readiness.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "descriptor.h"
#include "descriptors.h"
#include "epoll.h"
#include "libc_calls.h"
#include "spinner.h"
#include "waiter.h"

/* How long a sleep leaves out an entry that the kernel keeps answering in vain. */
#define MUTED_TIME	10000000
/* How often spinning asks the kernel about the other descriptors. */
#define SPIN_KERNEL	8
/* Sets up to this size need no memory from malloc. */
#define SMALL		32

/* A SAN socket of the set. */
struct item {
	struct socket *socket;		/* a reference */
	struct waiter_link link;
	nfds_t place;			/* in the application's array */
	int descriptor;			/* the companion's, to sleep on, or -1 */
	bool added;			/* the link is on the socket */
};

struct wait {
	struct pollfd *fds;		/* the application's */
	nfds_t count;
	struct pollfd *kernel;		/* count + 1 */
	struct item *items;
	nfds_t item_count, item_room;
	nfds_t plain;			/* entries that the kernel answers */
	unsigned int always;		/* bits that count, asked for or not */
	bool sets;			/* there are epoll sets with sockets */
	bool muted;			/* some entries are left out of the next sleep */
	struct waiter *waiter;
	void *memory;			/* of kernel and items, or NULL */
};

static __thread int nesting __attribute__((tls_model("initial-exec")));

/* ---- which sets need this ---- */

static bool set_with_sockets(int fd)
{
	struct epoll *epoll = descriptor_epoll_get(fd);
	bool has = false;

	if (epoll) {
		has = epoll_has_sockets(epoll);
		epoll_put(epoll);
	}
	return has;
}

static bool fd_concerns(int fd)
{
	return descriptor_is_known(fd) && (!descriptor_is_epoll(fd) || set_with_sockets(fd));
}

bool switch_poll_concerns(const struct pollfd *fds, nfds_t count)
{
	nfds_t i;

	/* The kernel will say EFAULT. */
	if (!fds)
		return false;
	for (i = 0; i < count; i++)
		if (fd_concerns(fds[i].fd))
			return true;
	return false;
}

/* fd_set says nothing about descriptors beyond FD_SETSIZE; the kernel allows them. */
static bool bit_test(const fd_set *set, int fd)
{
	const unsigned long *words = (const unsigned long *)(const void *)set;
	unsigned int bits = 8 * sizeof(*words);

	return set && words[(unsigned int)fd / bits] >> ((unsigned int)fd % bits) & 1;
}

static void bit_set(fd_set *set, int fd)
{
	unsigned long *words = (unsigned long *)(void *)set;
	unsigned int bits = 8 * sizeof(*words);

	words[(unsigned int)fd / bits] |= 1UL << ((unsigned int)fd % bits);
}

static bool bit_any(const fd_set *in, const fd_set *out, const fd_set *except, int fd)
{
	return bit_test(in, fd) || bit_test(out, fd) || bit_test(except, fd);
}

bool switch_select_concerns(int limit, const fd_set *in, const fd_set *out, const fd_set *except)
{
	int fd, last = descriptor_highest();

	for (fd = 0; fd < limit && fd <= last; fd++)
		if (descriptor_is_known(fd) && bit_any(in, out, except, fd) && fd_concerns(fd))
			return true;
	return false;
}

/* ---- the wait ---- */

static void wait_end(void *argument)
{
	struct wait *wait = argument;
	nfds_t i;

	for (i = 0; i < wait->item_count; i++) {
		struct item *item = &wait->items[i];

		if (item->added)
			socket_waiter_remove(item->socket, &item->link);
		socket_put(item->socket);
	}
	if (wait->waiter) {
		/* Nobody reads the list, and what stands on it is about to go. */
		atomic_store(&wait->waiter->woken, NULL);
		if (nesting > 1)
			waiter_wake(wait->waiter);
	}
	free(wait->memory);
	nesting--;
}

/* Finds the sockets of the set and lays out the kernel's array. 0 or -ENOMEM. */
static int wait_begin(struct wait *wait, struct pollfd *small_kernel, struct item *small_items)
{
	nfds_t i, room = 0;

	nesting++;
	for (i = 0; i < wait->count; i++)
		room += descriptor_is_known(wait->fds[i].fd);
	wait->kernel = small_kernel;
	wait->items = small_items;
	if (wait->count + 1 > SMALL) {
		size_t kernel_size = (wait->count + 1) * sizeof(struct pollfd);

		wait->memory = malloc(kernel_size + room * sizeof(struct item));
		if (!wait->memory)
			return -ENOMEM;
		wait->kernel = wait->memory;
		wait->items = (struct item *)(void *)((char *)wait->memory + kernel_size);
	}
	for (i = 0; i < wait->count; i++) {
		struct socket *socket = NULL;
		int fd = wait->fds[i].fd;

		wait->kernel[i] = wait->fds[i];
		wait->kernel[i].revents = 0;
		/* More may have become known since they were counted; they wait as plain ones. */
		if (wait->item_count < room)
			socket = descriptor_get_waitable(fd);
		if (socket) {
			wait->items[wait->item_count++] = (struct item){
				.socket = socket, .place = i,
			};
			if (!descriptor_is_listening(fd))
				wait->kernel[i].fd = -1;
		} else if (descriptor_is_epoll(fd) && set_with_sockets(fd)) {
			wait->sets = true;
		}
		wait->plain += wait->kernel[i].fd >= 0;
	}
	return 0;
}

static void settle_sets(struct wait *wait)
{
	nfds_t i;

	if (!wait->sets)
		return;
	for (i = 0; i < wait->count; i++) {
		struct epoll *epoll = descriptor_epoll_get(wait->fds[i].fd);

		if (epoll) {
			epoll_settle(epoll);
			epoll_put(epoll);
		}
	}
}

/* Asks every socket; true if one has what its entry wants. */
static bool look(struct wait *wait)
{
	bool found = false;
	nfds_t i;

	for (i = 0; i < wait->item_count; i++) {
		struct item *item = &wait->items[i];
		struct pollfd *entry = &wait->fds[item->place];
		unsigned int wanted = (uint16_t)entry->events | wait->always;

		entry->revents = (short)(socket_poll(item->socket) & wanted);
		found |= entry->revents != 0;
	}
	return found;
}

/*
 * Adds the kernel's answers to those of the sockets and counts the entries that
 * have any. select() does not want all that poll() reports unasked: an entry that
 * has nothing else is left out of the next sleep, which would not be one.
 */
static int merge(struct wait *wait)
{
	nfds_t i, item = 0;
	int ready = 0;

	for (i = 0; i < wait->count; i++) {
		short wanted = (short)((unsigned int)(uint16_t)wait->fds[i].events | wait->always);
		short kernel = wait->kernel[i].fd >= 0 ? wait->kernel[i].revents : 0;

		if (kernel && !(kernel & wanted)) {
			wait->kernel[i].fd = -1;
			wait->muted = true;
		}
		kernel &= wanted;
		if (item < wait->item_count && wait->items[item].place == i) {
			wait->fds[i].revents |= kernel;
			item++;
		} else {
			wait->fds[i].revents = kernel;
		}
		ready += wait->fds[i].revents != 0;
	}
	return ready;
}

/* What is ready now: a count or -errno. */
static int answer(struct wait *wait)
{
	bool found = look(wait);
	int result = 0;

	settle_sets(wait);
	if (wait->plain)
		result = poll_now(wait->kernel, wait->count);
	if (result < 0)
		return found && result == -EINTR ? merge(wait) : result;
	return found || result ? merge(wait) : 0;
}

/* How long this thread polls before it sleeps, in nanoseconds; 0: as the setting says yet. */
static __thread int64_t poll_time __attribute__((tls_model("initial-exec")));

static bool spin(struct wait *wait, struct spinner *spinner, int64_t deadline)
{
	if (!wait->item_count)
		return false;
	if (!poll_time)
		poll_time = poll_time_least();
	spinner_start(spinner, poll_time, deadline);
	do {
		if (look(wait))
			return true;
		if (wait->plain && spinner->rounds % SPIN_KERNEL == SPIN_KERNEL - 1 &&
		    poll_now(wait->kernel, wait->count))
			return true;
	} while (spinner_again(spinner));
	return false;
}

/* 0: every socket will wake us. 1: one is ready. Or -errno. */
static int arm(struct wait *wait)
{
	nfds_t i;

	if (!wait->waiter)
		wait->waiter = waiter_self();
	if (!wait->waiter)
		return -ENOMEM;
	for (i = 0; i < wait->item_count; i++) {
		struct item *item = &wait->items[i];
		struct pollfd *own = &wait->kernel[item->place];

		if (!item->added)
			socket_waiter_add(item->socket, &item->link, wait->waiter);
		item->added = true;
		atomic_store(&item->link.armed, LINK_ARMED);

		item->descriptor = -1;
		own->fd = -1;
		switch (socket_arm(item->socket, &item->descriptor)) {
		case SOCKET_WAIT_KERNEL:
		case SOCKET_WAIT_BOTH:
			*own = wait->fds[item->place];
			own->revents = 0;
			break;
		case SOCKET_WAIT_COMPANION:
		case SOCKET_WAIT_WAKE:
			break;
		}
	}
	wait->plain = 0;
	for (i = 0; i < wait->count; i++)
		wait->plain += wait->kernel[i].fd >= 0;
	return look(wait);
}

/* Entries of sockets come back when those are armed again. */
static void unmute(struct wait *wait)
{
	nfds_t i, item = 0;

	wait->muted = false;
	for (i = 0; i < wait->count; i++) {
		if (item < wait->item_count && wait->items[item].place == i) {
			item++;
		} else if (wait->kernel[i].fd < 0) {
			wait->kernel[i] = wait->fds[i];
			wait->kernel[i].revents = 0;
		}
	}
}

/* Puts our own descriptors into the kernel's array; returns the waiter's place. */
static nfds_t own_enter(struct wait *wait)
{
	nfds_t i;

	for (i = 0; i < wait->item_count; i++)
		if (wait->items[i].descriptor >= 0)
			wait->kernel[wait->items[i].place] = (struct pollfd){
				.fd = wait->items[i].descriptor, .events = POLLIN,
			};
	for (i = 0; i < wait->count && wait->kernel[i].fd >= 0; i++)
		;
	wait->kernel[i] = (struct pollfd){ .fd = wait->waiter->wake, .events = POLLIN };
	return i;
}

static void own_leave(struct wait *wait, nfds_t waiter)
{
	nfds_t i;

	if (wait->kernel[waiter].revents)
		waiter_clear(wait->waiter);
	wait->kernel[waiter].fd = -1;
	for (i = 0; i < wait->item_count; i++)
		if (wait->items[i].descriptor >= 0)
			wait->kernel[wait->items[i].place].fd = -1;
}

/* Sleeps in the kernel; its result or -errno. */
static int wait_sleep(struct wait *wait, int64_t deadline, const sigset_t *mask)
{
	nfds_t waiter = own_enter(wait);
	struct timespec time, *timeout = NULL;
	int result;

	if (deadline >= 0 || wait->muted) {
		int64_t left = deadline >= 0 ? deadline - clock_now() : MUTED_TIME;

		left = left > 0 ? left : 0;
		if (wait->muted && left > MUTED_TIME)
			left = MUTED_TIME;
		time.tv_sec = left / 1000000000;
		time.tv_nsec = left % 1000000000;
		timeout = &time;
	}
	settle_sets(wait);
	result = libc_call.ppoll(wait->kernel, wait->count + (waiter == wait->count), timeout, mask);
	if (result < 0)
		return -errno;
	own_leave(wait, waiter);
	if (wait->muted)
		unmute(wait);
	return result;
}

/* deadline: -1 never. */
static int wait_run(struct wait *wait, int64_t deadline, const sigset_t *mask)
{
	struct spinner spinner = { 0 };
	bool spun = false;
	int result;

	for (;;) {
		result = answer(wait);
		if (result || deadline == 0)
			return result;
		if (!spun) {
			spun = true;
			if (spin(wait, &spinner, deadline))
				continue;
		}
		result = arm(wait);
		if (result < 0)
			return result;
		if (result)
			continue;
		result = wait_sleep(wait, deadline, mask);
		if (result < 0)
			return result;
		look(wait);
		result = merge(wait);
		if (spinner.rounds) {
			poll_time = spinner_learn(&spinner, poll_time, !result);
			spinner.rounds = 0;
		}
		if (result || (deadline > 0 && clock_now() >= deadline))
			return result;
	}
}

static int poll_for(struct pollfd *fds, nfds_t count, int64_t timeout, const sigset_t *mask,
		    unsigned int always)
{
	struct pollfd small_kernel[SMALL];
	struct item small_items[SMALL];
	struct wait wait = { .fds = fds, .count = count, .always = always };
	int result;

	pthread_cleanup_push(wait_end, &wait);
	result = wait_begin(&wait, small_kernel, small_items);
	if (!result)
		result = wait_run(&wait, timeout > 0 ? clock_now() + timeout : timeout, mask);
	pthread_cleanup_pop(1);
	return result;
}

int switch_poll(struct pollfd *fds, nfds_t count, int64_t timeout, const sigset_t *mask)
{
	return poll_for(fds, count, timeout, mask, POLLERR | POLLHUP | POLLNVAL);
}

/* ---- select ---- */

#define SELECT_IN	(POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define SELECT_OUT	(POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define SELECT_EXCEPT	POLLPRI

/* The highest descriptor of the program's, or -1 if it cannot be told. Async-signal-safe. */
static int highest_open(void)
{
	int first = descriptor_hidden_first(), highest = -1;
	int directory = system_open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	char buffer[4096];
	long bytes, at;

	while ((bytes = system_raw(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0) {
		for (at = 0; at < bytes;) {
			const struct dirent64 *entry = (const void *)(buffer + at);
			int fd = atoi(entry->d_name);	/* 0 for . and .. */

			at += entry->d_reclen;
			/* As far as they can be told, ours are hidden and close-on-exec. */
			if (fd > highest && fd != directory &&
			    (fd < first || !(system_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC)))
				highest = fd;
		}
	}
	system_close(directory);
	/* With all numbers below taken those up there may be the program's as well. */
	return highest == first - 1 ? -1 : highest;
}

int switch_select_limit(int limit)
{
	int highest, table = FD_SETSIZE;

	if (limit <= FD_SETSIZE)
		return limit;
	highest = highest_open();
	if (highest < 0)
		return limit;
	while (table <= highest)
		table *= 2;
	return limit < table ? limit : table;
}

static void set_clear(fd_set *set, int limit)
{
	size_t bits = 8 * sizeof(unsigned long);

	if (set)
		memset(set, 0, ((size_t)limit + bits - 1) / bits * sizeof(unsigned long));
}

static int select_answer(int limit, fd_set *in, fd_set *out, fd_set *except,
			 const struct pollfd *fds, nfds_t count)
{
	nfds_t i;
	int bits = 0;

	for (i = 0; i < count; i++)
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
	set_clear(in, limit);
	set_clear(out, limit);
	set_clear(except, limit);
	for (i = 0; i < count; i++) {
		/* `events` still says which sets had it. */
		if (fds[i].events & POLLIN && fds[i].revents & SELECT_IN) {
			bit_set(in, fds[i].fd);
			bits++;
		}
		if (fds[i].events & POLLOUT && fds[i].revents & SELECT_OUT) {
			bit_set(out, fds[i].fd);
			bits++;
		}
		if (fds[i].events & POLLPRI && fds[i].revents & SELECT_EXCEPT) {
			bit_set(except, fds[i].fd);
			bits++;
		}
	}
	return bits;
}

/* poll for an array that goes with the thread if it is cancelled. */
static int poll_and_free(struct pollfd *fds, nfds_t count, int64_t timeout, const sigset_t *mask,
			 void *memory)
{
	int result;

	pthread_cleanup_push(free, memory);
	result = poll_for(fds, count, timeout, mask, POLLNVAL);
	pthread_cleanup_pop(0);
	return result;
}

int switch_select(int limit, fd_set *in, fd_set *out, fd_set *except, int64_t timeout,
		  const sigset_t *mask)
{
	struct pollfd small[SMALL], *fds = small;
	nfds_t count = 0, room = 0;
	int fd, result;

	for (fd = 0; fd < limit; fd++)
		room += bit_any(in, out, except, fd);
	if (room > SMALL)
		fds = malloc(room * sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	for (fd = 0; fd < limit && count < room; fd++) {
		struct pollfd entry = { .fd = fd };

		if (bit_test(in, fd))
			entry.events |= SELECT_IN;
		if (bit_test(out, fd))
			entry.events |= SELECT_OUT;
		if (bit_test(except, fd))
			entry.events |= SELECT_EXCEPT;
		if (entry.events)
			fds[count++] = entry;
	}
	result = poll_and_free(fds, count, timeout, mask, fds == small ? NULL : fds);
	if (result >= 0)
		result = select_answer(limit, in, out, except, fds, count);
	if (fds != small)
		free(fds);
	return result;
}
