/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes and the memory of TCP-only destinations. */
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
static struct { struct sockaddr_storage peer; int64_t until; } remembered[REMEMBERED_MOST];
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

bool choice_remembers_tcp(const struct sockaddr_storage *peer)
{
	int64_t now = clock_now();
	bool found = false;

	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < REMEMBERED_MOST && !found; i++)
		found = remembered[i].until > now && same_peer(&remembered[i].peer, peer);
	pthread_mutex_unlock(&lock);
	return found;
}

void choice_remember_tcp(const struct sockaddr_storage *peer, uint64_t milliseconds)
{
	pthread_mutex_lock(&lock);
	remembered[remembered_next].peer = *peer;
	remembered[remembered_next].until = clock_now() + (int64_t)milliseconds * 1000000;
	remembered_next = (remembered_next + 1) % REMEMBERED_MOST;
	pthread_mutex_unlock(&lock);
}
