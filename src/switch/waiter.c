/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread's waiter, one eventfd for as long as the thread lives; and lists of waiters.
 *
 * Raw system calls: this runs with locks held, where libc's read() and write()
 * would let a cancelled thread end.
 */
#include "waiter.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "descriptor.h"
#include "system.h"

static __thread struct waiter self __attribute__((tls_model("initial-exec"))) = {
	.wake = -1, .inside = 1,
};
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void waiter_close(void *waiter)
{
	system_close(((struct waiter *)waiter)->wake);
	((struct waiter *)waiter)->wake = -1;
}

static void make_key(void)
{
	pthread_key_create(&thread_end, waiter_close);
}

struct waiter *waiter_self(void)
{
	if (self.wake < 0) {
		int wake = (int)system_raw(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (wake < 0)
			return NULL;
		self.wake = descriptor_hide(wake);
		pthread_once(&once, make_key);
		pthread_setspecific(thread_end, &self);
	}
	return &self;
}

void waiter_clear(struct waiter *waiter)
{
	eventfd_t count;

	(void)!system_read(waiter->wake, &count, sizeof(count));
}

void waiter_wake(struct waiter *waiter)
{
	eventfd_t one = 1;

	/* EAGAIN means that it is readable already. */
	(void)!system_write(waiter->wake, &one, sizeof(one));
}

void waiter_forked(void)
{
	/* The child's thread shares the parent's eventfd: it needs one of its own. */
	if (self.wake >= 0)
		waiter_close(&self);
}

/* ---- lists ---- */

void waiter_list_init(struct waiter_list *list)
{
	pthread_mutex_init(&list->lock, NULL);
	atomic_init(&list->first, NULL);
}

void waiter_list_destroy(struct waiter_list *list)
{
	pthread_mutex_destroy(&list->lock);
}

void waiter_list_add(struct waiter_list *list, struct waiter_link *link, struct waiter *waiter)
{
	pthread_mutex_lock(&list->lock);
	link->waiter = waiter;
	link->previous = NULL;
	link->next = atomic_load(&list->first);
	if (link->next)
		link->next->previous = link;
	atomic_store(&list->first, link);
	pthread_mutex_unlock(&list->lock);
}

void waiter_list_remove(struct waiter_list *list, struct waiter_link *link)
{
	pthread_mutex_lock(&list->lock);
	if (link->previous)
		link->previous->next = link->next;
	else
		atomic_store(&list->first, link->next);
	if (link->next)
		link->next->previous = link->previous;
	pthread_mutex_unlock(&list->lock);
}

bool waiter_list_armed(struct waiter_list *list)
{
	bool armed = false;

	pthread_mutex_lock(&list->lock);
	for (struct waiter_link *link = list->first; link && !armed; link = link->next)
		armed = atomic_load(&link->armed) != LINK_IDLE;
	pthread_mutex_unlock(&list->lock);
	return armed;
}

bool waiter_list_attended(struct waiter_list *list, unsigned int *calls)
{
	bool attended = false;

	*calls = 0;
	pthread_mutex_lock(&list->lock);
	for (struct waiter_link *link = list->first; link; link = link->next) {
		attended |= atomic_load(&link->waiter->inside) > 0;
		*calls += atomic_load_explicit(&link->waiter->calls, memory_order_relaxed);
	}
	pthread_mutex_unlock(&list->lock);
	return attended;
}

static void wake_link(struct waiter_link *link)
{
	struct waiter *waiter = link->waiter;
	int armed = LINK_ARMED;

	if (atomic_load(&link->armed) != LINK_ARMED ||
	    !atomic_compare_exchange_strong(&link->armed, &armed, LINK_WOKEN))
		return;
	link->woken_next = atomic_load(&waiter->woken);
	while (!atomic_compare_exchange_weak(&waiter->woken, &link->woken_next, link))
		;
	waiter_wake(waiter);
}

void waiter_list_wake_armed(struct waiter_list *list)
{
	pthread_mutex_lock(&list->lock);
	for (struct waiter_link *link = list->first; link; link = link->next)
		if (link->waiter != &self)
			wake_link(link);
	pthread_mutex_unlock(&list->lock);
}

/* ---- the clock ---- */

int64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
