/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The switch thread. See attention.h for what it is for.
 *
 * Sockets in its care are either ticking (looked at every tick) or quiet (only
 * their descriptor in the thread's epoll wakes it). The tick is TICK
 * milliseconds after something changed and doubles up to TICK_MOST while
 * nothing does, so a process whose sockets are all slept on costs a few wake-ups
 * a second; one whose sockets are all guarded costs none.
 *
 * Guarding: a connected socket that saw no call for QUIET, and on which no
 * thread sleeps, is armed (for solicited events only, unless epoll sets rely on
 * it being armed for any) and its completion descriptor put into the thread's
 * epoll. The next thread that arms it takes it out again, and so does this thread when
 * it sees that the program calls without sleeping: otherwise every message
 * to a program that spins would wake this thread, too.
 *
 * Signals: all blocked here, so the program's handlers never run in this thread.
 */
#include "attention.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <uapi/wsdirect.h>

#include "descriptor.h"
#include "descriptors.h"
#include "libc_calls.h"
#include "log.h"
#include "socket_state.h"
#include "statistics.h"
#include "system.h"
#include "waiter.h"

#define TICK		10	/* milliseconds */
#define TICK_MOST	160
#define SOON		1
#define QUIET		(TICK * INT64_C(1000000))	/* nanoseconds */
#define MISSED_MOST	8	/* looks in a row that a socket whose lock is taken is spared */

enum attend {
	ATTEND_QUIET,	/* wake me by its descriptor */
	ATTEND_TICK,
	ATTEND_SOON,
	ATTEND_OVER,	/* let go of it */
};

/* After the socket locks. Protects the list and the thread's start. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct socket *ticking;
static atomic_uint draining;		/* closed sockets that still have something to send */
static atomic_uint drained;		/* grows while their peers take it */
static bool started;			/* read without the lock: only ever too early */
static int epoll_descriptor = -1, wake_descriptor = -1;
static atomic_bool hurried;		/* the thread knows that it has to look soon */
static atomic_bool urgent;		/* ... at once */
static int memory_descriptor = -1;

static void wake(void)
{
	eventfd_t one = 1;

	if (!started)
		return;
	if (!atomic_exchange(&hurried, true))
		(void)!system_write(wake_descriptor, &one, sizeof(one));
}

/* ---- membership; lock held ---- */

static void list_add(struct socket *socket)
{
	if (socket->attention.listed)
		return;
	socket->attention.listed = true;
	socket->attention.previous = NULL;
	socket->attention.next = ticking;
	if (ticking)
		ticking->attention.previous = socket;
	ticking = socket;
}

static void list_remove(struct socket *socket)
{
	if (!socket->attention.listed)
		return;
	socket->attention.listed = false;
	if (socket->attention.previous)
		socket->attention.previous->attention.next = socket->attention.next;
	else
		ticking = socket->attention.next;
	if (socket->attention.next)
		socket->attention.next->attention.previous = socket->attention.previous;
}

/* Has the thread's epoll wait for the descriptor of the socket, -1: for none. Socket lock held. */
static void watch(struct socket *socket, int descriptor)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = socket };

	if (socket->attention.descriptor == descriptor)
		return;
	if (socket->attention.descriptor >= 0)
		libc_call.epoll_ctl(epoll_descriptor, EPOLL_CTL_DEL, socket->attention.descriptor, &event);
	socket->attention.descriptor = descriptor;
	if (descriptor >= 0 &&
	    libc_call.epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event))
		log_error("switch: cannot watch a descriptor: %s", log_errno_name(errno));
}

void attention_add(struct socket *socket)
{
	socket_get(socket);
	socket->attention.attended = true;
	socket->attention.descriptor = -1;
	pthread_mutex_lock(&lock);
	list_add(socket);
	pthread_mutex_unlock(&lock);
	atomic_store(&urgent, true);
	atomic_store(&hurried, false);
	wake();
}

void attention_soon(struct socket *socket)
{
	if (!socket->attention.attended)
		return;
	if (!socket->attention.listed) {
		pthread_mutex_lock(&lock);
		list_add(socket);
		pthread_mutex_unlock(&lock);
	}
	wake();
}

void attention_unguard(struct socket *socket)
{
	if (!socket->session.guarded)
		return;
	socket->session.guarded = false;
	watch(socket, -1);
	attention_soon(socket);
}

/* ---- looking after one socket; its lock held ---- */

static bool somebody_sleeps(struct socket *socket)
{
	return socket->session.sleepers || waiter_list_armed(&socket->waiters);
}

/*
 * What the program did since the last look, which may have been just now: how long it
 * has been quiet is asked of the clock, not of the number of looks. Returns whether it
 * called, or a thread of it sleeps.
 */
static bool notice_calls(struct socket *socket, int64_t now)
{
	const struct session *session = &socket->session;

	if (session->receives != socket->attention.receives) {
		socket->attention.receives = session->receives;
		socket->attention.received = now;
	}
	if (session->activity == socket->attention.activity && !somebody_sleeps(socket))
		return false;
	socket->attention.activity = session->activity;
	socket->attention.active = now;
	return true;
}

static enum attend attend_connected(struct socket *socket)
{
	struct session *session = &socket->session;
	int64_t now = clock_now();
	bool open = session->open, called = notice_calls(socket, now);

	if (session->guarded || open)
		socket_progress(socket);
	/* It has waited for more to be sent along with it long enough. */
	session_flush_open(session);
	/* Nobody has received for a while: the peer may go on as far as TCP would let it. */
	if (now - socket->attention.received >= QUIET)
		session_spill_messages(session);
	if (session->broken) {
		watch(socket, -1);
		return ATTEND_QUIET;
	}
	if (session->guarded && called) {
		session->guarded = false;
		watch(socket, -1);
	}
	if (!session->guarded && now - socket->attention.active < QUIET)
		/* Who collects small sends will do so again. */
		return open && !session->open ? ATTEND_SOON : ATTEND_TICK;
	provider_arm(session->provider, session->companion,
		     waiter_list_empty(&socket->waiters) && !session_draining(session) ?
			     WSDIRECT_ARM_SOLICITED : WSDIRECT_ARM_ANY);
	session->guarded = true;
	watch(socket, session->completion);
	return socket_progress(socket) ? ATTEND_TICK : ATTEND_QUIET;
}

static enum attend attend_closed(struct socket *socket)
{
	struct session *session = &socket->session;

	if (!session->provider || session->companion == INVALID_SOCKET)
		return ATTEND_OVER;
	if (socket_progress(socket))
		atomic_fetch_add(&drained, 1);
	if (session->sleepers)
		return ATTEND_TICK;	/* a call of the program has not noticed yet */
	/* The program is gone: bytes that still arrive have no reader. */
	if (session->chunks_first && !session->broken)
		session_reset(session, ECONNRESET);
	if (session->broken || !session_draining(session)) {
		watch(socket, -1);
		session_close(session);
		atomic_fetch_sub(&draining, 1);
		return ATTEND_OVER;
	}
	provider_arm(session->provider, session->companion, WSDIRECT_ARM_ANY);
	watch(socket, session->completion);
	return socket_progress(socket) ? ATTEND_SOON : ATTEND_QUIET;
}

static enum attend attend(struct socket *socket)
{
	switch (socket->state) {
	case SOCKET_CONNECTING:
		if (!connect_step(socket)) {
			watch(socket, socket->connecting.greeted ? socket->session.completion :
								   socket->connecting.event);
			if (socket->connecting.greeted)
				provider_arm(socket->session.provider, socket->session.companion,
					     WSDIRECT_ARM_ANY);
			return ATTEND_TICK;
		}
		watch(socket, -1);
		return socket->state == SOCKET_CONNECTED ? ATTEND_TICK : ATTEND_OVER;
	case SOCKET_LISTENING:
		watch(socket, socket->listening.event);
		listen_step(socket);
		return ATTEND_QUIET;
	case SOCKET_CONNECTED:
		if (socket->listener) {
			if (greeting_step(socket)) {
				watch(socket, -1);
				return ATTEND_TICK;
			}
			watch(socket, socket->session.completion);
			provider_arm(socket->session.provider, socket->session.companion,
				     WSDIRECT_ARM_ANY);
			return ATTEND_TICK;
		}
		return attend_connected(socket);
	case SOCKET_CLOSED:
		return attend_closed(socket);
	case SOCKET_PLAIN:
		watch(socket, -1);
		return ATTEND_OVER;
	}
	return ATTEND_OVER;
}

/*
 * Takes the lock of a socket to look at it. False if it is taken: the program is in a call and
 * looks after the socket itself. To wait would cost it a system call each time it lets
 * the lock go, and again if it takes it back before this thread runs; but one that calls
 * all the time is waited for in the end, and so it is if @must.
 */
static bool lock_to_look(struct socket *socket, bool must)
{
	if (!light_lock_try(&socket->lock)) {
		if (!must && ++socket->attention.missed <= MISSED_MOST)
			return false;
		light_lock_acquire(&socket->lock);
	}
	socket->attention.missed = 0;
	return true;
}

/* With its lock held, which it gives back. Returns whether the tick must be short. */
static bool look_at(struct socket *socket, bool *soon)
{
	enum attend result;
	bool busy, plain;

	busy = socket->state != SOCKET_CONNECTED || socket->listener;
	result = attend(socket);
	if (result == ATTEND_OVER) {
		watch(socket, -1);
		socket->attention.attended = false;
	}
	pthread_mutex_lock(&lock);
	if (result == ATTEND_TICK || result == ATTEND_SOON)
		list_add(socket);
	else
		list_remove(socket);
	pthread_mutex_unlock(&lock);
	plain = socket->state == SOCKET_PLAIN;
	light_lock_release(&socket->lock);
	if (plain)
		descriptor_clear_all(socket);
	if (result == ATTEND_SOON)
		*soon = true;
	if (result == ATTEND_OVER)
		socket_put(socket);
	return busy && result != ATTEND_OVER && result != ATTEND_QUIET;
}

/* ---- memory events ---- */

/*
 * A secured range is about to change or has been changed: every provider hears of it.
 * The registration is out of use already, since the look-up compares the state
 * word; the callback gives the memory back.
 */
static void memory_events(struct provider *provider)
{
	struct wsdirect_event events[32];
	ssize_t bytes;

	while ((bytes = libc_call.read(provider->memory, events, sizeof(events))) > 0)
		for (size_t i = 0; i < (size_t)bytes / sizeof(events[0]); i++) {
			int error = 0;

			statistic_add(STATISTIC_events_read, 1);
			statistic_add(STATISTIC_callbacks, 1);
			if (provider->memory_released((void *)(uintptr_t)events[i].address,
						      events[i].length, &error) &&
			    error != WSAEINVAL)
				log_warn("switch: a provider kept released memory: WSA error %d", error);
		}
}

/* ---- the thread ---- */

static void *attention_thread(void *argument)
{
	struct provider *provider = provider_get();
	struct epoll_event events[64];
	int tick = TICK;

	(void)argument;
	pthread_setname_np(pthread_self(), "wsdirect");
	for (;;) {
		struct socket *sockets[64], *socket;
		bool soon = atomic_load(&hurried), busy = false, events_seen = false;
		bool hurry, at_once;
		int timeout, ready, count;

		if (soon)
			tick = TICK;
		pthread_mutex_lock(&lock);
		/* Whoever set `hurried` relies on it even if its socket is not in the list yet. */
		timeout = soon ? SOON : ticking ? tick : -1;
		pthread_mutex_unlock(&lock);

		ready = libc_call.epoll_wait(epoll_descriptor, events, 64, timeout);
		for (int i = 0; i < ready; i++) {
			if (events[i].data.ptr == &wake_descriptor) {
				eventfd_t taken;

				(void)!libc_call.read(wake_descriptor, &taken, sizeof(taken));
			} else if (events[i].data.ptr == &memory_descriptor) {
				memory_events(provider);
			} else {
				events_seen = true;
				/* The event does not go away by itself. */
				lock_to_look(events[i].data.ptr, true);
				busy |= look_at(events[i].data.ptr, &soon);
			}
		}
		/*
		 * Told to look soon: a millisecond later is soon enough, and by then
		 * there may be more to do at once.
		 */
		if (ready > 0 && !events_seen && !atomic_load(&urgent))
			continue;
		hurry = atomic_exchange(&hurried, false);
		at_once = atomic_exchange(&urgent, false);
		soon = false;
		/*
		 * The list changes under us: take references to a batch, look, and go on
		 * from the list's head only with those that were not looked at.
		 */
		count = 0;
		pthread_mutex_lock(&lock);
		for (socket = ticking; socket && count < 64; socket = socket->attention.next)
			sockets[count++] = socket_get(socket);
		if (socket) {
			/* More than a batch: rotate, so that every one gets its turn. */
			struct socket *last = sockets[count - 1], *end = socket;

			while (end->attention.next)
				end = end->attention.next;
			end->attention.next = ticking;
			ticking->attention.previous = end;
			ticking = socket;
			socket->attention.previous = NULL;
			last->attention.next = NULL;
			soon = true;
		}
		pthread_mutex_unlock(&lock);
		for (int i = 0; i < count; i++) {
			if (lock_to_look(sockets[i], at_once))
				busy |= look_at(sockets[i], &soon);
			else
				soon |= hurry;
			socket_put(sockets[i]);
		}
		if (soon)
			atomic_store(&hurried, true);
		if (busy)
			tick = TICK;
		else if (ready == 0 && tick < TICK_MOST)
			tick *= 2;
	}
	return NULL;
}

static int watch_own(int descriptor, int *which)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = which };

	return libc_call.epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) ? -errno : 0;
}

int attention_start(void)
{
	struct provider *provider = provider_get();
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int error = 0;

	pthread_mutex_lock(&lock);
	if (started)
		goto unlock;
	if (epoll_descriptor < 0)
		epoll_descriptor = descriptor_hide(libc_call.epoll_create1(EPOLL_CLOEXEC));
	if (wake_descriptor < 0)
		wake_descriptor = descriptor_hide(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	if (epoll_descriptor < 0 || wake_descriptor < 0) {
		error = -errno;
		goto unlock;
	}
	error = watch_own(wake_descriptor, &wake_descriptor);
	if (!error && provider && provider->memory >= 0 && provider->memory_released) {
		memory_descriptor = provider->memory;
		error = watch_own(memory_descriptor, &memory_descriptor);
	}
	if (error && error != -EEXIST)
		goto unlock;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 128 * 1024);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = -pthread_create(&thread, &attributes, attention_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	started = !error;
unlock:
	pthread_mutex_unlock(&lock);
	if (error)
		log_warn("switch: no switch thread: %s", log_errno_name(error));
	return error;
}

void attention_draining(void)
{
	atomic_fetch_add(&draining, 1);
}

void attention_drain(int milliseconds)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	unsigned int seen = atomic_load(&drained);

	for (int left = milliseconds; left > 0 && atomic_load(&draining); left--) {
		nanosleep(&pause, NULL);
		/* As long as the peers take anything they shall have the rest. */
		if (atomic_load(&drained) != seen) {
			seen = atomic_load(&drained);
			left = milliseconds;
		}
	}
	if (atomic_load(&draining))
		log_warn("switch: the program ended before its peers took all data");
}

void attention_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	ticking = NULL;
	atomic_store(&draining, 0);
	started = false;
	atomic_store(&hurried, false);
	/* The descriptors are shared with the parent: close ours, make new ones when needed. */
	if (epoll_descriptor >= 0)
		libc_call.close(epoll_descriptor);
	if (wake_descriptor >= 0)
		libc_call.close(wake_descriptor);
	epoll_descriptor = wake_descriptor = memory_descriptor = -1;
}
