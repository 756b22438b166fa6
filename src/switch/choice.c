/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes, and the memory of what destinations speak. */
#include "choice.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "libc_calls.h"
#include "waiter.h"

#define REMEMBERED_MOST	128

/* After socket locks. Protects the memory below. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory {
	struct sockaddr_storage peer;
	int64_t tcp_until;		/* CLOCK_MONOTONIC nanoseconds */
	int64_t san_at;			/* when it last spoke, 0: never */
} remembered[REMEMBERED_MOST];
static unsigned int remembered_next;

/* ---- routes ---- */

int choice_source(const struct sockaddr_storage *peer, socklen_t length,
		  struct sockaddr_storage *source)
{
	/* Connecting a datagram socket sends nothing, but asks the routing table. */
	int fd = socket(peer->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
	socklen_t room = sizeof(*source);

	if (fd < 0)
		return -errno;
	if (libc_call.connect(fd, (const struct sockaddr *)peer, length) ||
	    libc_call.getsockname(fd, (struct sockaddr *)source, &room))
		error = -errno;
	libc_call.close(fd);
	((struct sockaddr_in *)source)->sin_port = 0;
	return error;
}

/* ---- memory ---- */

static bool same_peer(const struct sockaddr_storage *one, const struct sockaddr_storage *other)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)one;
	const struct sockaddr_in6 *other_six = (const struct sockaddr_in6 *)other;

	if (one->ss_family != other->ss_family)
		return false;
	if (one->ss_family == AF_INET)
		return !memcmp(one, other, offsetof(struct sockaddr_in, sin_zero));
	return six->sin6_port == other_six->sin6_port &&
	       !memcmp(&six->sin6_addr, &other_six->sin6_addr, sizeof(six->sin6_addr));
}

/* Of this destination, or NULL. Lock held. */
static struct memory *find(const struct sockaddr_storage *peer)
{
	for (unsigned int i = 0; i < REMEMBERED_MOST; i++)
		if (same_peer(&remembered[i].peer, peer))
			return &remembered[i];
	return NULL;
}

/* The same; another one goes for it, that of a TCP-only destination only if all are. */
static struct memory *find_or_make(const struct sockaddr_storage *peer)
{
	struct memory *memory = find(peer);
	int64_t now = clock_now();

	for (unsigned int i = 0; i <= REMEMBERED_MOST && !memory; i++) {
		struct memory *next = &remembered[remembered_next];

		remembered_next = (remembered_next + 1) % REMEMBERED_MOST;
		if (next->tcp_until > now && i < REMEMBERED_MOST)
			continue;
		*next = (struct memory){ .peer = *peer };
		memory = next;
	}
	return memory;
}

bool choice_remembers_tcp(const struct sockaddr_storage *peer)
{
	const struct memory *memory;
	bool found;

	pthread_mutex_lock(&lock);
	memory = find(peer);
	found = memory && memory->tcp_until > clock_now();
	pthread_mutex_unlock(&lock);
	return found;
}

void choice_remember_tcp(const struct sockaddr_storage *peer, uint64_t milliseconds)
{
	pthread_mutex_lock(&lock);
	find_or_make(peer)->tcp_until = clock_now() + (int64_t)milliseconds * 1000000;
	pthread_mutex_unlock(&lock);
}

void choice_remember_san(const struct sockaddr_storage *peer)
{
	pthread_mutex_lock(&lock);
	find_or_make(peer)->san_at = clock_now();
	pthread_mutex_unlock(&lock);
}

bool choice_remembers_san(const struct sockaddr_storage *peer, uint64_t milliseconds)
{
	const struct memory *memory;
	bool found;

	pthread_mutex_lock(&lock);
	memory = find(peer);
	found = memory && memory->san_at &&
		memory->san_at + (int64_t)milliseconds * 1000000 > clock_now();
	pthread_mutex_unlock(&lock);
	return found;
}
