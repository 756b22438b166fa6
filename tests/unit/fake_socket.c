// SPDX-License-Identifier: BSD-2-Clause
/* See fake_socket.h. */
#include "fake_socket.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "descriptors.h"
#include "epoll_set.h"
#include "waiter.h"

struct socket {
	atomic_uint references;
	pthread_mutex_t lock;
	unsigned int bits, pending;
	bool arrived, asked;
	enum socket_wait wait;
	int companion;
	uint32_t in, out;
	struct waiter_list waiters;
	atomic_uint polls, arms;
};

atomic_uint fake_closed;
atomic_int fake_alive;
bool fake_listeners;

/* Lock held. */
static void become(struct socket *socket, unsigned int bits)
{
	if (bits & ~(unsigned int)(POLLOUT | POLLWRNORM))
		socket->in++;
	if (bits & ~socket->bits & POLLOUT)
		socket->out++;
	socket->bits = bits;
}

struct socket *fake_enter(int fd)
{
	struct socket *socket = calloc(1, sizeof(*socket));

	atomic_init(&socket->references, 2);
	pthread_mutex_init(&socket->lock, NULL);
	waiter_list_init(&socket->waiters);
	socket->wait = SOCKET_WAIT_COMPANION;
	socket->companion = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	atomic_fetch_add(&fake_alive, 1);
	if (descriptor_set(fd, socket) || epoll_socket_entered(fd, socket))
		abort();
	/* The test keeps the table's reference in view; its own goes with the socket's last. */
	socket_put(socket);
	return socket;
}

int fake_open(struct socket **made)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*made = fake_enter(fd);
	return fd;
}

static void close_one(int fd, struct socket *socket, void *context)
{
	(void)socket;
	(void)context;
	descriptor_closing(fd);
	close(fd);
}

void fake_close_all(void)
{
	descriptor_each(close_one, NULL);
}

void fake_arrive(struct socket *socket, unsigned int bits)
{
	pthread_mutex_lock(&socket->lock);
	socket->pending = bits;
	socket->arrived = true;
	if (socket->asked) {
		socket->asked = false;
		eventfd_write(socket->companion, 1);
	}
	pthread_mutex_unlock(&socket->lock);
}

void fake_set(struct socket *socket, unsigned int bits)
{
	pthread_mutex_lock(&socket->lock);
	become(socket, bits);
	waiter_list_wake(&socket->waiters);
	pthread_mutex_unlock(&socket->lock);
}

void fake_wait(struct socket *socket, enum socket_wait wait)
{
	pthread_mutex_lock(&socket->lock);
	socket->wait = wait;
	waiter_list_wake(&socket->waiters);
	pthread_mutex_unlock(&socket->lock);
}

unsigned int fake_polls(struct socket *socket)
{
	return atomic_load(&socket->polls);
}

unsigned int fake_arms(struct socket *socket)
{
	return atomic_load(&socket->arms);
}

/* ---- socket.h ---- */

struct socket *socket_get(struct socket *socket)
{
	atomic_fetch_add(&socket->references, 1);
	return socket;
}

void socket_put(struct socket *socket)
{
	if (atomic_fetch_sub(&socket->references, 1) != 1)
		return;
	if (!waiter_list_empty(&socket->waiters))
		abort();
	waiter_list_destroy(&socket->waiters);
	close(socket->companion);
	pthread_mutex_destroy(&socket->lock);
	/* A test closes in a signal handler that may have interrupted malloc(). */
	epoll_bury(socket);
	atomic_fetch_sub(&fake_alive, 1);
}

int socket_close(struct socket *socket)
{
	(void)socket;
	atomic_fetch_add(&fake_closed, 1);
	return 0;
}

struct socket *switch_listener_get(int fd)
{
	struct socket *socket = descriptor_get(fd);

	if (socket || !fake_listeners)
		return socket;
	socket = fake_enter(fd);
	fake_wait(socket, SOCKET_WAIT_BOTH);
	return socket_get(socket);
}

unsigned int socket_poll(struct socket *socket)
{
	unsigned int bits;

	atomic_fetch_add(&socket->polls, 1);
	pthread_mutex_lock(&socket->lock);
	if (socket->arrived) {
		socket->arrived = false;
		become(socket, socket->pending);
		waiter_list_wake(&socket->waiters);
	}
	bits = socket->wait == SOCKET_WAIT_KERNEL ? 0 : socket->bits;
	pthread_mutex_unlock(&socket->lock);
	return bits;
}

enum socket_wait socket_arm(struct socket *socket, int *descriptor)
{
	enum socket_wait wait;
	eventfd_t count;

	if (descriptor)
		atomic_fetch_add(&socket->arms, 1);
	pthread_mutex_lock(&socket->lock);
	wait = socket->wait;
	if (descriptor && wait == SOCKET_WAIT_COMPANION) {
		eventfd_read(socket->companion, &count);
		socket->asked = true;
		*descriptor = socket->companion;
	}
	pthread_mutex_unlock(&socket->lock);
	return wait;
}

void socket_edges(struct socket *socket, uint32_t *in, uint32_t *out)
{
	pthread_mutex_lock(&socket->lock);
	*in = socket->in;
	*out = socket->out;
	pthread_mutex_unlock(&socket->lock);
}

void socket_waiter_add(struct socket *socket, struct waiter_link *link, struct waiter *waiter)
{
	waiter_list_add(&socket->waiters, link, waiter);
}

void socket_waiter_remove(struct socket *socket, struct waiter_link *link)
{
	waiter_list_remove(&socket->waiters, link);
}
