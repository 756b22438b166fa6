// SPDX-License-Identifier: BSD-2-Clause
/*
 * A monitor for machines without the kernel module: userfaultfd. It is weaker, so
 * it is used only when it was asked for by name.
 *
 * How: a secured range is registered for write protection, which is never switched
 * on: the kernel then reports that parts of it were unmapped, moved or discarded,
 * and holds the thread that did so until the report has been read. A thread of ours
 * waits for reports. That thread goes on as soon as its report is read, so every
 * range is marked before reading: one change of a watched buffer empties the cache,
 * but the thread that made it cannot meet a stale registration afterwards.
 *
 * What is weaker than with the module:
 *  - Unmapping is reported after it happened. A thread that is handed the same
 *    addresses by the kernel, while the one that unmapped them still waits for its
 *    report to be read, can meet the stale registration.
 *  - Not reported at all: mprotect(), and truncating or punching a mapped file.
 *  - Only anonymous memory, shared memory and huge pages can be watched (and the
 *    latter two only since 5.19). Other buffers are registered for each transfer.
 *  - Watching splits mappings, and a program that uses userfaultfd itself cannot use
 *    it on watched ranges.
 *
 * The thread must not wait for anything that a thread inside munmap() may hold, or
 * both would wait for ever: it takes the slots' lock only, under which nothing is
 * allocated, freed or mapped.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "descriptor.h"
#include "fork_mark.h"
#include "lock.h"
#include "log.h"
#include "monitor_kinds.h"
#include "statistics.h"
#include "system.h"

#define MOST_RANGES 65536

struct watched_range {
	uintptr_t address;
	size_t length;		/* 0: the slot is free */
};

struct userfaultfd_monitor {
	struct monitor monitor;
	int reports;		/* the userfaultfd; never blocks */
	int stop;		/* an eventfd: the thread ends */
	int queue;		/* the end of the pipe that events are written to */
	pthread_t thread;

	/*
	 * Held over taking or giving a slot together with the system call that starts or
	 * stops the reports, so that stopping them never hits a range just secured.
	 */
	struct lock registering;
	/*
	 * After `registering`. Of what follows. The thread holds it from marking to
	 * reading, so that no range is secured in between and left unmarked.
	 */
	struct lock lock;
	uint32_t slots_used GUARDED_BY(lock);	/* that were ever taken */
	uint64_t last_sequence GUARDED_BY(lock);
	/* The words are read without the lock, by monitor_watch_valid(). */
	_Atomic uint64_t words[MOST_RANGES];
	struct watched_range ranges[MOST_RANGES] GUARDED_BY(lock);
};

static struct userfaultfd_monitor *self_of(struct monitor *monitor)
{
	return (struct userfaultfd_monitor *)monitor;
}

/* Takes a free slot for the range, or -ENOSPC. The lowest, which keeps the searches short. */
static int slot_take(struct userfaultfd_monitor *self, uintptr_t address, size_t length,
		     struct monitor_watch *watch)
{
	int error = -ENOSPC;

	lock_acquire(&self->lock);
	for (uint32_t i = 0; i < MOST_RANGES && error; i++) {
		if (self->ranges[i].length > 0)
			continue;
		error = 0;
		if (i >= self->slots_used)
			self->slots_used = i + 1;
		self->ranges[i] = (struct watched_range){ .address = address, .length = length };
		watch->slot = i;
		watch->sequence = ++self->last_sequence;
		watch->word = &self->words[i];
		/* Pairs with the acquire load in monitor_watch_valid(). */
		atomic_store_explicit(&self->words[i], watch->sequence, memory_order_release);
	}
	lock_release(&self->lock);
	return error;
}

/*
 * Marks every range and frees its slot, then reads one report. 0; -errno of the read.
 * A single event says that all memory is to be released; if the queue is full, it
 * says so already.
 */
static int reports_take(struct userfaultfd_monitor *self)
{
	static const struct monitor_event everything = { .length = UINT64_MAX };
	struct uffd_msg report;
	bool any = false;
	ssize_t got;

	lock_acquire(&self->lock);
	for (uint32_t i = 0; i < self->slots_used; i++) {
		any = any || self->ranges[i].length > 0;
		self->ranges[i].length = 0;
		/* Pairs with the acquire load in monitor_watch_valid(). */
		atomic_store_explicit(&self->words[i], 0, memory_order_release);
	}
	self->slots_used = 0;
	got = system_read(self->reports, &report, sizeof(report));
	lock_release(&self->lock);
	if (any)
		system_write(self->queue, &everything, sizeof(everything));
	return got < 0 ? (int)got : 0;
}

static void *reports_run(void *argument)
{
	struct userfaultfd_monitor *self = argument;
	struct pollfd waits[2] = {
		{ .fd = self->reports, .events = POLLIN },
		{ .fd = self->stop, .events = POLLIN },
	};
	int error = 0;

	while (error == 0 || error == -EAGAIN || error == -EINTR) {
		if (system_raw(SYS_ppoll, waits, 2, NULL, NULL, 0) < 0)
			continue;
		if (waits[1].revents)
			return NULL;
		if (waits[0].revents)
			error = reports_take(self);
	}
	/* Somebody closed the descriptor. Nothing more can be secured: see userfaultfd_secure(). */
	log_error("memory monitor userfaultfd: %s", log_errno_name(error));
	return NULL;
}

/*
 * Frees the slot, if it is still this watch's: -ENOENT if it fired. *alone: no
 * other range overlaps, so that the kernel need not report on it any more.
 */
static int slot_give(struct userfaultfd_monitor *self, const struct monitor_watch *watch,
		     struct watched_range *range, bool *alone)
{
	int error = -ENOENT;

	lock_acquire(&self->lock);
	if (atomic_load_explicit(watch->word, memory_order_relaxed) == watch->sequence) {
		*range = self->ranges[watch->slot];
		self->ranges[watch->slot].length = 0;
		atomic_store_explicit(&self->words[watch->slot], 0, memory_order_release);
		*alone = true;
		for (uint32_t i = 0; i < self->slots_used; i++)
			if (self->ranges[i].length > 0 &&
			    self->ranges[i].address < range->address + range->length &&
			    self->ranges[i].address + self->ranges[i].length > range->address)
				*alone = false;
		error = 0;
	}
	lock_release(&self->lock);
	return error;
}

static int userfaultfd_secure(struct monitor *monitor, uintptr_t address, size_t length,
			      unsigned access, struct monitor_watch *watch)
{
	struct userfaultfd_monitor *self = self_of(monitor);
	struct uffdio_register request = {
		.range = { .start = address, .len = length },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct watched_range range;
	bool alone;
	int error;

	/* Rights are not watched: a device that lacks one fails to register. */
	(void)access;
	if (!monitor_is_ours(monitor))
		return -EPERM;
	lock_acquire(&self->registering);
	/* The slot first: the first report must find a word to mark. */
	error = slot_take(self, address, length, watch);
	if (error == 0)
		error = system_ioctl(self->reports, UFFDIO_REGISTER, &request);
	if (error == 0)
		statistic_add(STATISTIC_ranges_secured, 1);
	else if (error != -ENOSPC)
		slot_give(self, watch, &range, &alone);
	lock_release(&self->registering);
	/* Which kinds of mappings it takes differs; what it refuses is not cached. */
	return error == 0 || error == -ENOSPC || error == -ENOMEM ? error : -EOPNOTSUPP;
}

static int userfaultfd_unsecure(struct monitor *monitor, const struct monitor_watch *watch)
{
	struct userfaultfd_monitor *self = self_of(monitor);
	struct watched_range range;
	bool alone;
	int error;

	if (!monitor_is_ours(monitor))
		return -EPERM;
	lock_acquire(&self->registering);
	error = slot_give(self, watch, &range, &alone);
	if (error == 0) {
		struct uffdio_range request = { .start = range.address, .len = range.length };

		statistic_add(STATISTIC_ranges_unsecured, 1);
		if (alone)
			system_ioctl(self->reports, UFFDIO_UNREGISTER, &request);
	}
	lock_release(&self->registering);
	return error;
}

static void descriptors_close(struct userfaultfd_monitor *self)
{
	const int all[] = { self->reports, self->stop, self->queue, self->monitor.event_descriptor };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] >= 0)
			system_close(all[i]);
}

static void userfaultfd_free(struct userfaultfd_monitor *self)
{
	descriptors_close(self);
	if (self->monitor.fork_mark)
		fork_mark_free(self->monitor.fork_mark);
	free(self);
}

static void userfaultfd_close(struct monitor *monitor)
{
	struct userfaultfd_monitor *self = self_of(monitor);
	uint64_t one = 1;

	/* In a child there is no thread, and the eventfd is the parent's too. */
	if (monitor_is_ours(monitor)) {
		system_write(self->stop, &one, sizeof(one));
		pthread_join(self->thread, NULL);
	}
	userfaultfd_free(self);
}

static const struct monitor_operations userfaultfd_operations = {
	.secure = userfaultfd_secure,
	.unsecure = userfaultfd_unsecure,
	.read = monitor_read_events,
	.close = userfaultfd_close,
};

static int descriptors_open(struct userfaultfd_monitor *self)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE |
			    UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	int ends[2];
	int error;

	/* User mode only: no faults are asked for, and this needs no privilege. */
	self->reports = descriptor_hide((int)system_raw(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
							UFFD_USER_MODE_ONLY));
	if (self->reports < 0)
		return self->reports;
	error = system_ioctl(self->reports, UFFDIO_API, &api);
	if (error)
		return error == -EINVAL ? -EOPNOTSUPP : error;
	self->stop = descriptor_hide((int)system_raw(SYS_eventfd2, 0, EFD_CLOEXEC));
	if (self->stop < 0)
		return self->stop;
	error = (int)system_raw(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK);
	if (error)
		return error;
	self->monitor.event_descriptor = descriptor_hide(ends[0]);
	self->queue = descriptor_hide(ends[1]);
	return 0;
}

static int thread_start(struct userfaultfd_monitor *self)
{
	sigset_t all;
	sigset_t before;
	int error;

	/* The application's handlers must not run on a thread it knows nothing of. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = -pthread_create(&self->thread, NULL, reports_run, self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(self->thread, "wsdirect-memory");
	return error;
}

int monitor_userfaultfd_open(struct monitor **monitor)
{
	struct userfaultfd_monitor *self = calloc(1, sizeof(*self));
	int error;

	if (!self)
		return -ENOMEM;
	self->monitor.operations = &userfaultfd_operations;
	self->monitor.name = "userfaultfd";
	self->monitor.most_ranges = MOST_RANGES;
	self->monitor.event_descriptor = self->reports = self->stop = self->queue = -1;
	lock_init(&self->registering);
	lock_init(&self->lock);
	error = fork_mark_alloc(&self->monitor.fork_mark);
	if (error == 0)
		error = descriptors_open(self);
	if (error == 0)
		error = thread_start(self);
	if (error) {
		userfaultfd_free(self);
		return error;
	}
	log_info("memory monitor userfaultfd: changes of protection, and of files under "
		 "mappings, are not seen");
	*monitor = &self->monitor;
	return 0;
}
