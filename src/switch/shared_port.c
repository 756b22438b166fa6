/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listeners that share a port. See shared_port.h.
 *
 * Locking: `lock` is for the table of this process only, below any socket's lock. What
 * processes share is atomic. A place in the page is claimed by its `owner`, and looked at by
 * others while its `port` is not 0. A process that was killed leaves its places; who comes
 * by sees that it is gone. What a stale or forged place can do is to send a peer where nobody
 * listens: then the peer uses TCP.
 */
#include "shared_port.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "socket_state.h"
#include "system.h"
#include "waiter.h"

#define PAGE		4096
#define PLACES		(PAGE / sizeof(struct place))
#define PORTS_MOST	64	/* listening addresses of one process; further ones share nothing */
#define UNATTENDED	60	/* seconds without connections for who left one alone */

struct place {
	_Atomic(pid_t) owner;		/* 0: free */
	atomic_uint port;		/* on the SAN, in network order; 0: not yet, or no more */
	atomic_uint load;		/* connections it has */
	atomic_uint back;		/* CLOCK_MONOTONIC seconds until which it gets none */
};

struct shared_port {
	union address address;
	struct place *places;		/* NULL: unused */
	unsigned int users;		/* listeners of this process, and one for its children */
	bool bequeathed;
	unsigned int next;		/* whose turn it is: the first place to look at */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_port ports[PORTS_MOST];

static bool same_address(const union address *one, const union address *other)
{
	if (one->any.sa_family != other->any.sa_family || one->v4.sin_port != other->v4.sin_port)
		return false;
	return one->any.sa_family == AF_INET ?
	       one->v4.sin_addr.s_addr == other->v4.sin_addr.s_addr :
	       IN6_ARE_ADDR_EQUAL(&one->v6.sin6_addr, &other->v6.sin6_addr) &&
	       one->v6.sin6_scope_id == other->v6.sin6_scope_id;
}

static struct shared_port *find(const union address *address)
{
	for (unsigned int i = 0; i < PORTS_MOST; i++)
		if (ports[i].places && same_address(&ports[i].address, address))
			return &ports[i];
	return NULL;
}

static struct shared_port *make(const union address *address)
{
	struct place *places;

	for (unsigned int i = 0; i < PORTS_MOST; i++) {
		if (ports[i].places)
			continue;
		places = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (places == MAP_FAILED)
			return NULL;
		ports[i] = (struct shared_port){ .address = *address, .places = places };
		return &ports[i];
	}
	return NULL;
}

void shared_port_open(struct listening *listening, const union address *address)
{
	struct shared_port *shared;

	pthread_mutex_lock(&lock);
	shared = find(address);
	if (!shared)
		shared = make(address);
	if (shared)
		shared->users++;
	listening->shared = shared;
	pthread_mutex_unlock(&lock);
}

bool shared_port_known(const union address *address)
{
	bool known;

	pthread_mutex_lock(&lock);
	known = find(address);
	pthread_mutex_unlock(&lock);
	return known;
}

/* Has the process that was there gone without leaving? */
static bool deserted(const struct place *place)
{
	pid_t owner = atomic_load(&place->owner);

	return owner > 0 && system_raw(SYS_kill, owner, 0) == -ESRCH;
}

static bool claim(struct place *place)
{
	pid_t owner = atomic_load(&place->owner);

	if (owner && !deserted(place))
		return false;
	return atomic_compare_exchange_strong(&place->owner, &owner, system_getpid());
}

bool shared_port_enter(struct listening *listening, const union address *address, in_port_t port)
{
	struct shared_port *shared;

	shared_port_open(listening, address);
	shared = listening->shared;
	for (unsigned int i = 0; shared && i < PLACES; i++) {
		struct place *place = &shared->places[i];

		if (!claim(place))
			continue;
		atomic_store(&place->port, 0);
		atomic_store(&place->back, 0);
		listening->place = place;
		shared_port_loaded(listening);
		atomic_store(&place->port, port);
		return true;
	}
	shared_port_leave(listening);
	return false;
}

void shared_port_take(struct listening *listening)
{
	struct place *place = listening->place;

	listening->place = NULL;
	if (!place)
		return;
	atomic_store(&place->port, 0);
	atomic_store(&place->owner, 0);
}

void shared_port_leave(struct listening *listening)
{
	struct shared_port *shared = listening->shared;

	if (!shared)
		return;
	shared_port_take(listening);
	listening->shared = NULL;
	pthread_mutex_lock(&lock);
	if (!--shared->users) {
		munmap(shared->places, PAGE);
		shared->places = NULL;
	}
	pthread_mutex_unlock(&lock);
}

void shared_port_bequeath(struct listening *listening)
{
	struct shared_port *shared = listening->shared;

	if (!shared)
		return;
	pthread_mutex_lock(&lock);
	if (!shared->bequeathed)
		shared->users++;
	shared->bequeathed = true;
	pthread_mutex_unlock(&lock);
}

void shared_port_forked(void)
{
	pthread_mutex_init(&lock, NULL);
}

static unsigned int load(const struct listening *listening)
{
	return listening->waiting + listening->open;
}

void shared_port_loaded(struct listening *listening)
{
	if (listening->place)
		atomic_store_explicit(&listening->place->load, load(listening),
				      memory_order_relaxed);
}

bool shared_port_alone(const struct listening *listening)
{
	const struct shared_port *shared = listening->shared;

	if (listening->place)
		return false;
	for (unsigned int i = 0; shared && i < PLACES; i++)
		if (atomic_load(&shared->places[i].port) && !deserted(&shared->places[i]))
			return false;
	return true;
}

static unsigned int seconds_now(void)
{
	return (unsigned int)(clock_now() / 1000000000);
}

void shared_port_unattended(struct listening *listening)
{
	unsigned int back = seconds_now() + UNATTENDED;

	if (listening->place)
		atomic_store(&listening->place->back, back);
	else
		listening->back = back;
}

int shared_port_choose(struct listening *listening)
{
	struct shared_port *shared = listening->shared;
	unsigned int now = seconds_now(), least = UINT32_MAX, first, chosen = PLACES;
	int answer = -1;

	if (shared_port_alone(listening) || listening->place)
		return 0;
	/* Behind the last place comes the listener itself. */
	first = shared->next;
	for (unsigned int i = 0; i <= PLACES && least; i++) {
		unsigned int number = (first + i) % (PLACES + 1);
		unsigned int has = load(listening), back = listening->back, port = 0;

		if (number < PLACES) {
			struct place *place = &shared->places[number];

			port = atomic_load(&place->port);
			has = atomic_load_explicit(&place->load, memory_order_relaxed);
			back = atomic_load(&place->back);
			if (!port || (has < least && deserted(place)))
				continue;
		}
		if (has >= least || back > now)
			continue;
		least = has;
		answer = (in_port_t)port;
		chosen = number;
	}
	shared->next = (chosen + 1) % (PLACES + 1);
	return answer;
}
