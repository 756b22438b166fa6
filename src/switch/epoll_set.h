/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An epoll set from inside: epoll.c keeps the sets and what is registered in
 * them, epoll_member.c those registrations that are of sockets, epoll_wait.c waits.
 *
 * Theory of operation
 *
 * The application's epoll descriptor stays the kernel's. We remember each
 * registration (struct watch), since a descriptor may be registered before
 * connect() or listen() gives it a SAN socket. While none has one, the kernel's
 * registrations are untouched and epoll_wait() goes straight through.
 *
 * A watch whose descriptor has a socket is *attached* (struct member). Its
 * registration in the kernel is then one of enum registration, as socket_arm()
 * demands; ours carry data that no application uses (a random prefix and the
 * member's index), so what the kernel reports can be told apart. The set has one
 * waiter, whose descriptor is registered as index 0.
 *
 * A member is either *queued*: to be looked at by the next epoll_wait (it is
 * new, was reported last time, was woken), or *armed*: its link is armed, its
 * descriptor is in the kernel's set, and it costs nothing until one of the two
 * speaks. Each wait looks at the queued ones, reports those that are ready, and
 * arms the others before it sleeps, or after MISSES_MOST looks in vain. So a wait costs
 * by the number of active members, not by the number registered; and a connection that
 * comes and goes while nobody sleeps never reaches the kernel's set.
 *
 * A thread may sleep in the kernel while another one leaves with members still
 * queued (it has reported them, level-triggered), or while epoll_ctl queues one.
 * It is woken through the set's waiter then, as the kernel would wake it.
 * Someone may also sleep on the set's descriptor from outside (`outside`): then
 * no call leaves the set with an unarmed member that is not ready, and with a
 * ready one the waiter's descriptor is left readable.
 *
 * Locks: stripe of the descriptor, then the set's lock, then a socket's. The
 * stripe protects the list of watches of a descriptor; the set's lock the set's
 * list, attachment, queue and kernel registrations of members. No lock is held
 * while sleeping. Sockets wake waiters without taking either.
 */
#ifndef WSD_SWITCH_EPOLL_SET_H
#define WSD_SWITCH_EPOLL_SET_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "epoll.h"
#include "socket.h"

/* One registration of a descriptor in a set, as the application made it. */
struct watch {
	struct epoll *epoll;		/* no reference: a set outlives its watches */
	struct watch *next;		/* of the same descriptor; stripe */
	LIST_ENTRY(watch) entry;	/* in the set */
	struct member *member;		/* NULL: the kernel's alone */
	int fd;
	bool inner;			/* fd is an epoll set that we know */
	uint32_t events;
	epoll_data_t data;
};

enum registration {
	REGISTERED_OWN,		/* the application's descriptor with its data */
	REGISTERED_MARKED,	/* the application's descriptor with ours */
	REGISTERED_COMPANION,	/* the companion's descriptor with ours */
	REGISTERED_UNDECIDED,	/* the application's descriptor, its reports ignored */
	REGISTERED_NOT,
};

/* What a watch has besides while its descriptor has a socket. */
struct member {
	struct watch *watch;
	struct socket *socket;		/* a reference */
	struct waiter_link link;	/* to the set's waiter */
	TAILQ_ENTRY(member) entry;
	bool queued;
	bool disabled;			/* EPOLLONESHOT, and reported */
	bool fresh;			/* edge-triggered: report whatever holds */
	uint8_t misses;			/* looks in vain since it was queued */
	enum socket_wait wait;		/* socket_arm()'s last answer */
	enum registration registration;
	int descriptor;			/* the companion's, if registered */
	int duplicate;			/* of ours, registered in its stead, or -1 */
	uint32_t seen_in, seen_out;	/* edges when last reported */
	uint32_t index;
	unsigned int reported;		/* the wait that reported it last */
};

struct epoll {
	atomic_uint references;
	pthread_mutex_t lock;
	bool closed;
	bool child;			/* inherited over fork, and being made anew */
	atomic_bool involved;		/* waits cannot go straight through (never reset) */
	atomic_bool outside;		/* somebody may sleep on the set's descriptor */
	atomic_bool listeners;		/* a watched descriptor was marked listening */
	atomic_int fd;			/* a descriptor of the application's */
	int kernel;			/* our duplicate of it once involved, else -1 */
	atomic_int inner;		/* watches that are epoll sets */
	unsigned int waits;		/* numbers them; also says whose turn a single place is */
	unsigned int unlooked;		/* waits since the kernel was asked */
	int64_t poll_time;		/* how long a wait polls the queued ones, in nanoseconds */
	struct waiter waiter;		/* wake is -1 until involved */
	LIST_HEAD(, watch) watches;
	TAILQ_HEAD(member_queue_head, member) queue;
	struct member **members;	/* by index; [0] is never used */
	uint32_t members_size;
	uint32_t free_index;		/* no free one is below */
};

/* Bits above the index in the data of our registrations; the same for all sets. */
#define MEMBER_INDEX_BITS	24
#define MEMBER_INDEX_MASK	((UINT64_C(1) << MEMBER_INDEX_BITS) - 1)
uint64_t epoll_mark(void);

/* Critical sections; what close() in a signal handler meets is done at leaving. */
void epoll_enter(struct epoll *epoll);
void epoll_leave(struct epoll *epoll);

/* Frees memory where free() may not be called: close() may run in a signal handler. */
void epoll_bury(void *memory);

/* The rest is called within. */

/* Prepares the set for members. 0 or -errno. */
int epoll_involve(struct epoll *epoll);
/* epoll_ctl(2) on the kernel's set. 0 or -errno. */
int epoll_kernel_control(struct epoll *epoll, int operation, int fd, uint32_t events,
			 uint64_t data);

/* Makes the watch a member; `registration` is how it is in the kernel's set now. */
int watch_attach(struct watch *watch, struct socket *socket, enum registration registration);
/* Undoes it. Returns the reference to the socket, to be put when no lock is held. */
struct socket *watch_detach(struct watch *watch);

void member_queue(struct member *member);
void member_unqueue(struct member *member);
/* Makes the kernel's registration what is wanted. */
void member_register(struct member *member, enum registration wanted, int descriptor);
/* Queues the members that were woken. */
void epoll_take_woken(struct epoll *epoll);

/* Bits to report now, or 0 (epoll_wait.c). `report`: they will be. */
uint32_t member_look(struct member *member, bool report);
/* Arms it and looks again; true if it is ready and so stays queued. */
bool member_arm(struct member *member);
/* A change was made from outside epoll_wait(): whoever sleeps must learn of it. */
void epoll_changed(struct epoll *epoll);

#endif
