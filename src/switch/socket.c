/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket object: references, state, readiness and waiters, sleeping, and
 * shutting down and closing as TCP does.
 */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attention.h"
#include "handover.h"
#include "libc_calls.h"
#include "log.h"
#include "sealed.h"
#include "socket_state.h"
#include "spinner.h"
#include "waiter.h"
#include "zerocopy.h"

/* As POLL_GROWTH_MOST, while large data is on its way. */
#define POLL_GROWTH_MOVING	100
#define LOOKS			16	/* at the device between looks at the clock */
#define LOOKS_AHEAD		1024	/* of who receives, at the buffer of the next message */
#define SLEEP_BLIND		10000000 /* nanoseconds, of a thread that nobody can wake */
#define ROUNDS_ALONE		8	/* of looks, then others may have the processor */

__thread struct cancellation cancellation __attribute__((tls_model("initial-exec")));
atomic_bool cancellation_used;

/* ---- life ---- */

struct socket *socket_new(enum socket_state state)
{
	struct socket *socket = calloc(1, sizeof(*socket));

	if (!socket)
		return NULL;
	atomic_init(&socket->references, 1);
	light_lock_init(&socket->lock);
	waiter_list_init(&socket->waiters);
	socket->state = state;
	socket->receive_timeout = socket->send_timeout = -1;
	socket->linger = -1;
	socket->low_water = 1;
	socket->attention.descriptor = -1;
	socket->connecting.event = socket->connecting.kernel = -1;
	socket->connecting.companion = INVALID_SOCKET;
	socket->listening.event = -1;
	socket->listening.companion = INVALID_SOCKET;
	socket->session.companion = INVALID_SOCKET;
	return socket;
}

struct socket *socket_get(struct socket *socket)
{
	atomic_fetch_add_explicit(&socket->references, 1, memory_order_relaxed);
	return socket;
}

void socket_put(struct socket *socket)
{
	/* The release of each put pairs with the acquire of the last one, which frees. */
	if (atomic_fetch_sub_explicit(&socket->references, 1, memory_order_acq_rel) != 1)
		return;
	if (socket->session.provider && socket->session.companion != INVALID_SOCKET)
		session_close(&socket->session);
	if (socket->connecting.event >= 0)
		libc_call.close(socket->connecting.event);
	if (socket->connecting.kernel >= 0)
		libc_call.close(socket->connecting.kernel);
	if (socket->listening.event >= 0)
		libc_call.close(socket->listening.event);
	if (socket->listener)
		socket_put(socket->listener);
	if (socket->acceptor)
		socket_put(socket->acceptor);
	waiter_list_destroy(&socket->waiters);
	free(socket);
}

void socket_state_set(struct socket *socket, enum socket_state state, const char *cause)
{
	static const char *const names[] = {
		[SOCKET_CONNECTING] = "connecting", [SOCKET_CONNECTED] = "connected",
		[SOCKET_LISTENING] = "listening", [SOCKET_PLAIN] = "plain TCP",
		[SOCKET_CLOSED] = "closed",
	};

	log_debug("switch: socket %p: %s -> %s: %s", (void *)socket, names[socket->state], names[state],
		  cause);
	socket->state = state;
	socket->session.generation++;
	socket_changed(socket);
}

/* ---- waiters ---- */

void socket_waiter_add(struct socket *socket, struct waiter_link *link, struct waiter *waiter)
{
	waiter_list_add(&socket->waiters, link, waiter);
}

void socket_waiter_remove(struct socket *socket, struct waiter_link *link)
{
	waiter_list_remove(&socket->waiters, link);
}

void socket_changed(struct socket *socket)
{
	waiter_list_wake(&socket->waiters);
}

/* ---- moving ---- */

static bool progress(struct socket *socket, unsigned int looks)
{
	struct session *session = &socket->session;
	bool changed, writable;

	if (!session->provider || session->companion == INVALID_SOCKET)
		return false;
	changed = session_progress(session, looks);
	if (session->received != socket->seen_received ||
	    session->finished_received != socket->seen_finished ||
	    session->broken != socket->seen_broken) {
		socket->seen_received = session->received;
		socket->seen_finished = session->finished_received;
		socket->seen_broken = session->broken;
		socket->in_edge++;
	}
	writable = session_writable(session) || session->broken;
	if (writable && !socket->seen_writable)
		socket->out_edge++;
	socket->seen_writable = writable;
	if (changed)
		socket_changed(socket);
	return changed;
}

bool socket_progress(struct socket *socket)
{
	return progress(socket, 1);
}

/* A thread inside ppoll in session_sleep(). Out of descriptors it has no waiter. */
struct sleeper {
	struct socket *socket;
	struct waiter_link link;
};

static void sleeper_enter(struct sleeper *sleeper, struct waiter *waiter)
{
	if (!waiter)
		return;
	socket_waiter_add(sleeper->socket, &sleeper->link, waiter);
	atomic_store(&sleeper->link.armed, true);
}

static void sleeper_leave(struct sleeper *sleeper)
{
	if (!sleeper->link.waiter)
		return;
	socket_waiter_remove(sleeper->socket, &sleeper->link);
	/* The only link of this thread's waiter was ours: nobody refers to it any more. */
	atomic_store(&sleeper->link.waiter->woken, NULL);
}

/* The thread was cancelled in its sleep; the lock is not held. */
static void sleeper_cancelled(void *argument)
{
	struct sleeper *sleeper = argument;

	sleeper_leave(sleeper);
	light_lock_acquire(&sleeper->socket->lock);
	sleeper->socket->session.sleepers--;
	light_lock_release(&sleeper->socket->lock);
}

/* Lock not held. The thread may be cancelled if @cancel_state says so. 0, -ETIMEDOUT or -EINTR. */
static int sleep_until(struct sleeper *sleeper, int completion, int64_t deadline, int cancel_state)
{
	struct waiter *waiter = sleeper->link.waiter;
	struct pollfd descriptors[2] = {
		{ .fd = completion, .events = POLLIN },
		{ .fd = waiter ? waiter->wake : -1, .events = POLLIN },
	};
	struct timespec time, *timeout = NULL;
	int64_t now = clock_now(), until = deadline;
	int ready, result = 0;

	if (!waiter && (deadline < 0 || deadline > now + SLEEP_BLIND))
		until = now + SLEEP_BLIND;
	if (until >= 0) {
		int64_t left = until > now ? until - now : 0;

		time.tv_sec = left / 1000000000;
		time.tv_nsec = left % 1000000000;
		timeout = &time;
	}
	pthread_cleanup_push(sleeper_cancelled, sleeper);
	pthread_setcancelstate(cancel_state, NULL);
	ready = libc_call.ppoll(descriptors, 2, timeout, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (ready == 0)
		result = until == deadline ? -ETIMEDOUT : 0;
	else if (ready < 0)
		result = -errno;
	else if (descriptors[1].revents)
		waiter_clear(waiter);
	pthread_cleanup_pop(0);
	return result;
}

static int64_t poll_time_most(const struct session *session)
{
	bool moving = session->exclusive || session->receiving;

	return poll_time_least() * (moving ? POLL_GROWTH_MOVING : POLL_GROWTH_MOST);
}

/*
 * Has anything come? Looks as often as it may without a look at the clock. Who has a buffer for it
 * looks where the next message comes to first, which is the cheapest look and keeps the completion
 * queue out of the adapter's way: for about as long as an answer takes, so that completions are
 * dealt with by many and not by each.
 */
static bool look(struct socket *socket, const struct iovec *buffer, size_t *taken)
{
	struct session *session = &socket->session;

	if (!buffer)
		return progress(socket, LOOKS);
	for (int i = 0; i < LOOKS_AHEAD && !sealed_stirs(session); i++)
		;
	*taken = sealed_seen(session) ? sealed_take(socket, buffer) : 0;
	return *taken || progress(socket, 1);
}

static int sleep_or_take(struct socket *socket, int64_t deadline, bool interruptible,
			 const struct iovec *buffer, size_t *taken)
{
	struct session *session = &socket->session;
	uint64_t seen = session->generation;
	int64_t most = poll_time_most(session);
	int64_t polled = session->poll_time < most ? session->poll_time : most;
	int64_t started, poll_until;
	unsigned int rounds = 0;
	struct sleeper sleeper = { .socket = socket };
	int cancel_state = socket->cancel_state, result = 0;

	/*
	 * An answer is often nearer than a sleep is short. The lock is let go in
	 * between so that a thread that sends does not wait for one that receives.
	 */
	session->sleepers++;
	session_post_spent(session);
	if (look(socket, buffer, taken) || session->generation != seen)
		goto out;
	started = clock_now();
	poll_until = started + polled;
	if (deadline >= 0 && deadline < poll_until)
		poll_until = deadline;
	do {
		if (look(socket, buffer, taken) || session->generation != seen)
			goto out;
		light_lock_release(&socket->lock);
		/* Whoever is to bring it about may need this processor. */
		if (++rounds % ROUNDS_ALONE == 0)
			sched_yield();
		light_lock_acquire(&socket->lock);
	} while (clock_now() < poll_until);

	/* Arm, look again, sleep. */
	socket->cancel_state = cancel_state;
	socket_forbid_cancel(socket);
	cancel_state = socket->cancel_state;
	sleeper_enter(&sleeper, waiter_self());
	attention_unguard(socket);
	provider_arm(session->provider, session->companion, WSDIRECT_ARM_ANY);
	if (!socket_progress(socket) && session->generation == seen) {
		light_lock_release(&socket->lock);
		result = sleep_until(&sleeper, session->completion, deadline, cancel_state);
		light_lock_acquire(&socket->lock);
		socket_progress(socket);
	}
	sleeper_leave(&sleeper);
	session->poll_time = poll_time_learn(session->poll_time, clock_now() - started,
					     session->generation == seen, most);
	if (session->generation != seen && result == -ETIMEDOUT)
		result = 0;
	if (result == -EINTR && !interruptible)
		result = 0;
out:
	socket->cancel_state = cancel_state;	/* others held the lock meanwhile */
	session->sleepers--;
	return result;
}

int session_sleep(struct socket *socket, int64_t deadline, bool interruptible)
{
	return sleep_or_take(socket, deadline, interruptible, NULL, NULL);
}

int session_sleep_receiving(struct socket *socket, int64_t deadline, const struct iovec *buffer,
			    size_t *taken)
{
	*taken = 0;
	return sleep_or_take(socket, deadline, true, buffer, taken);
}

/* ---- readiness ---- */

static unsigned int connected_bits(struct socket *socket)
{
	const struct session *session = &socket->session;
	bool ended = session->broken || session->finished_received || socket->shut_read;
	unsigned int bits = 0;

	if (session->chunks_first || ended)
		bits |= POLLIN | POLLRDNORM;
	if (ended)
		bits |= POLLRDHUP;
	if ((session->broken && !session_deserted(session)) || (ended && session->finished_sent))
		bits |= POLLHUP;
	if ((session->broken && session->error) || zerocopy_waits(socket))
		bits |= POLLERR;
	if (session_writable(session) || session->finished_sent || session->broken)
		bits |= POLLOUT | POLLWRNORM;
	return bits;
}

unsigned int socket_poll(struct socket *socket)
{
	unsigned int bits = 0;

	socket_lock(socket);
	switch (socket->state) {
	case SOCKET_CONNECTED:
		socket->session.activity++;
		handover_noticed(socket);
		socket_progress(socket);
		bits = connected_bits(socket);
		break;
	case SOCKET_LISTENING:
		atomic_fetch_add(&socket->listening.looks, 1);
		bits = socket->listening.ready_first ? POLLIN | POLLRDNORM : 0;
		break;
	case SOCKET_CONNECTING:
	case SOCKET_PLAIN:
	case SOCKET_CLOSED:
		break;
	}
	socket_unlock(socket);
	return bits;
}

enum socket_wait socket_arm(struct socket *socket, int *descriptor)
{
	enum socket_wait wait = SOCKET_WAIT_WAKE;

	socket_lock(socket);
	switch (socket->state) {
	case SOCKET_CONNECTED:
		if (socket->session.broken || socket->listener)
			break;
		wait = SOCKET_WAIT_COMPANION;
		if (!descriptor)
			break;
		session_flush_open(&socket->session);
		attention_unguard(socket);
		provider_arm(socket->session.provider, socket->session.companion, WSDIRECT_ARM_ANY);
		*descriptor = socket->session.completion;
		break;
	case SOCKET_LISTENING:
		wait = SOCKET_WAIT_BOTH;
		break;
	case SOCKET_PLAIN:
		wait = SOCKET_WAIT_KERNEL;
		break;
	case SOCKET_CONNECTING:
	case SOCKET_CLOSED:
		break;
	}
	socket_unlock(socket);
	return wait;
}

void socket_edges(struct socket *socket, uint32_t *in, uint32_t *out)
{
	socket_lock(socket);
	*in = socket->in_edge;
	*out = socket->out_edge;
	socket_unlock(socket);
}

/* ---- shutting down ---- */

int socket_shutdown(struct socket *socket, int fd, int how)
{
	int result = 0;

	socket_lock(socket);
	if (socket->state == SOCKET_LISTENING || socket->state == SOCKET_PLAIN) {
		socket_unlock(socket);
		return libc_call.shutdown(fd, how) ? -errno : 0;
	}
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
		result = -EINVAL;
	} else if (socket->state != SOCKET_CONNECTED ||
		   (socket->session.broken && !session_deserted(&socket->session))) {
		result = -ENOTCONN;
	} else {
		socket_progress(socket);
		if (how != SHUT_WR)
			socket->shut_read = true;
		if (how != SHUT_RD) {
			session_finish(&socket->session);
			if (socket->session.want_finish)
				attention_soon(socket);
		}
		socket->in_edge++;
		socket->out_edge++;
		socket->session.generation++;
		socket_changed(socket);
	}
	socket_unlock(socket);
	return result;
}

static int close_connected(struct socket *socket)
{
	struct session *session = &socket->session;
	int64_t deadline;
	int result = 0;

	socket_progress(socket);
	/*
	 * As TCP: unread data, or lingering for no time, makes the end a reset. So
	 * does a thread of the program that moves large data: its memory may be
	 * exposed to the peer, and this is how that ends at once.
	 */
	if (session->chunks_first || socket->linger == 0 || session->receiving || session->exclusive)
		session_reset(session, ECONNRESET);
	else
		session_finish(session);
	if (socket->linger > 0 && !socket->nonblocking) {
		deadline = clock_now() + (int64_t)socket->linger * 1000000000;
		while (session_draining(session) && !session->broken && !result)
			result = session_sleep(socket, deadline, true);
	}
	listen_connection_over(socket);
	socket_state_set(socket, SOCKET_CLOSED, "the program closed it");
	if (session->provider) {
		attention_draining();
		attention_soon(socket);
	}
	return result == -EINTR ? result : 0;
}

int socket_close(struct socket *socket)
{
	int result = 0, cancel;

	/* The descriptor is gone: who is cancelled while it lingers must not leave the socket. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	socket_lock(socket);
	switch (socket->state) {
	case SOCKET_CONNECTED:
		result = close_connected(socket);
		break;
	case SOCKET_CONNECTING:
		connect_abort(socket);
		socket_state_set(socket, SOCKET_CLOSED, "closed while connecting");
		attention_soon(socket);
		break;
	case SOCKET_LISTENING:
		listen_close(socket);
		socket_state_set(socket, SOCKET_CLOSED, "closed while listening");
		attention_soon(socket);
		break;
	case SOCKET_PLAIN:
	case SOCKET_CLOSED:
		break;
	}
	socket_unlock(socket);
	pthread_setcancelstate(cancel, NULL);
	return result;
}
