// SPDX-License-Identifier: BSD-2-Clause
/*
 * The table of descriptors, and which descriptors share a socket.
 *
 * Words change by compare-and-exchange only. The rings of duplicates are
 * protected by ring_lock, taken with all signals blocked, since close() may be
 * called in a signal handler; nothing is called with it held but the reference
 * counting of the object at hand. A descriptor enters and leaves its ring under
 * the lock together with its word, so that "the last descriptor" is decided once.
 */
#include "descriptors.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

#include "epoll.h"
#include "system.h"

/*
 * 2^26 descriptors: more than any kernel gives out by default (fs.nr_open is
 * 2^20). One beyond that stays plain TCP.
 */
#define LEAF_BITS	12
#define LEAF_SLOTS	(1 << LEAF_BITS)
#define LEAVES		(1 << 14)

#define MARK_EPOLL	((uintptr_t)1)	/* the pointer is to an epoll set */
#define MARK_LISTENING	((uintptr_t)2)
#define MARK_WATCHED	((uintptr_t)4)	/* in some epoll set, or may be */
#define MARKS		((uintptr_t)15)
#define READER		((uintptr_t)1 << 48)
#define READERS		(~(uintptr_t)0 << 48)
#define HOLDS_MOST	((uintptr_t)1 << 63)	/* half of what fits */
#define POINTER		(~(READERS | MARKS))

_Static_assert(sizeof(uintptr_t) == 8, "pointers leave the 16 highest bits free");

struct slot {
	_Atomic uintptr_t word;
	struct watch *watches;
	int next_duplicate;	/* the ring of this object's descriptors; ring_lock */
};

static struct slot *_Atomic directory[LEAVES];
static atomic_int highest = -1;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;

static void ring_enter(sigset_t *mask)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, mask);
	pthread_mutex_lock(&ring_lock);
}

static void ring_leave(const sigset_t *mask)
{
	pthread_mutex_unlock(&ring_lock);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

static struct slot *slot_find(int fd)
{
	unsigned int number = (unsigned int)fd;
	struct slot *leaf;

	if (number >= (unsigned int)LEAVES * LEAF_SLOTS)
		return NULL;
	leaf = atomic_load_explicit(&directory[number >> LEAF_BITS], memory_order_acquire);
	return leaf ? &leaf[number & (LEAF_SLOTS - 1)] : NULL;
}

static struct slot *slot_make(int fd)
{
	unsigned int number = (unsigned int)fd;
	struct slot *expected = NULL, *leaf;
	size_t size = LEAF_SLOTS * sizeof(struct slot);
	int seen;

	if (number >= (unsigned int)LEAVES * LEAF_SLOTS)
		return NULL;
	if (!atomic_load_explicit(&directory[number >> LEAF_BITS], memory_order_acquire)) {
		leaf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (leaf == MAP_FAILED)
			return NULL;
		if (!atomic_compare_exchange_strong(&directory[number >> LEAF_BITS], &expected,
						    leaf))
			munmap(leaf, size);
	}
	seen = atomic_load(&highest);
	while (seen < fd && !atomic_compare_exchange_weak(&highest, &seen, fd))
		;
	return slot_find(fd);
}

static void object_get(void *object, bool epoll)
{
	if (epoll)
		epoll_get(object);
	else
		socket_get(object);
}

static void object_put(void *object, bool epoll)
{
	if (epoll)
		epoll_put(object);
	else
		socket_put(object);
}

static bool word_holds(uintptr_t word, bool epoll)
{
	return (word & POINTER) && !!(word & MARK_EPOLL) == epoll;
}

/*
 * Counts the caller in the word as one that uses the object, which is as good as a reference:
 * see slot_take(). NULL: the slot has no such object.
 */
static inline void *slot_hold(struct slot *slot, bool epoll)
{
	uintptr_t word = atomic_load_explicit(&slot->word, memory_order_acquire);

	do {
		if (!word_holds(word, epoll))
			return NULL;
	} while (!atomic_compare_exchange_weak(&slot->word, &word, word + READER));
	return (void *)(word & POINTER);
}

/*
 * Gives back a hold or a reference. Which of both the caller had does not matter: who gives back
 * a hold that another has leaves that one the reference.
 */
static inline void slot_release(struct slot *slot, void *object, bool epoll)
{
	uintptr_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);

	while ((word & POINTER) == (uintptr_t)object && (word & READERS))
		if (atomic_compare_exchange_weak(&slot->word, &word, word - READER))
			return;
	/* Who took the pointer out took a reference for us. */
	object_put(object, epoll);
}

static void *slot_get(struct slot *slot, bool epoll)
{
	void *object = slot_hold(slot, epoll);

	if (object) {
		object_get(object, epoll);
		slot_release(slot, object, epoll);
	}
	return object;
}

/* Changes the word to `to` and makes references of the holds. False: it was not `word`. */
static bool slot_change(struct slot *slot, uintptr_t word, uintptr_t to)
{
	void *object = (void *)(word & POINTER);
	bool epoll = word & MARK_EPOLL;
	uintptr_t holds = word / READER, i;

	/* References first: one may see the word changed and give one back at once. */
	for (i = 0; i < holds; i++)
		object_get(object, epoll);
	if (atomic_compare_exchange_strong(&slot->word, &word, to))
		return true;
	for (i = 0; i < holds; i++)
		object_put(object, epoll);
	return false;
}

/*
 * Takes the object out and leaves the marks in `keep`. The caller owns the
 * table's reference now. False if the slot holds another object.
 */
static bool slot_take(struct slot *slot, void *object, bool epoll, uintptr_t keep)
{
	uintptr_t word;

	do {
		word = atomic_load(&slot->word);
		if (!word_holds(word, epoll) || (word & POINTER) != (uintptr_t)object)
			return false;
	} while (!slot_change(slot, word, word & keep));
	return true;
}

/* In a forked child: of the holds only those are alive that this thread may have. */
static void slot_forked(struct slot *slot)
{
	uintptr_t word = atomic_load(&slot->word);

	if (word & READERS)
		slot_change(slot, word, word & ~READERS);
}

static void slot_mark(struct slot *slot, uintptr_t mark, bool on)
{
	if (on)
		atomic_fetch_or(&slot->word, mark);
	else
		atomic_fetch_and(&slot->word, ~mark);
}

/* Puts the object in and makes fd the ring, or a part of the ring of `sibling`. ring_lock held. */
static int slot_enter(int fd, struct slot *slot, void *object, bool epoll, struct slot *sibling)
{
	uintptr_t word = atomic_load(&slot->word);

	assert(!((uintptr_t)object & ~POINTER));
	do {
		if (word & POINTER)
			return -EEXIST;
	} while (!atomic_compare_exchange_weak(&slot->word, &word,
			(word & MARKS) | (uintptr_t)object | (epoll ? MARK_EPOLL : 0)));
	slot->next_duplicate = fd;
	if (sibling) {
		slot->next_duplicate = sibling->next_duplicate;
		sibling->next_duplicate = fd;
	}
	return 0;
}

/* Takes fd out of its ring; true if it was the last one there. ring_lock held. */
static bool ring_remove(int fd, struct slot *slot)
{
	struct slot *before = slot;

	if (slot->next_duplicate == fd)
		return true;
	while (before->next_duplicate != fd)
		before = slot_find(before->next_duplicate);
	before->next_duplicate = slot->next_duplicate;
	return false;
}

static int object_set(int fd, void *object, bool epoll)
{
	struct slot *slot = slot_make(fd);
	sigset_t mask;
	int result;

	if (!slot)
		return -EMFILE;
	ring_enter(&mask);
	result = slot_enter(fd, slot, object, epoll, NULL);
	ring_leave(&mask);
	return result;
}

static bool object_clear(int fd, void *object, bool epoll)
{
	struct slot *slot = slot_find(fd);
	bool taken = false;
	sigset_t mask;

	if (!slot)
		return false;
	ring_enter(&mask);
	if (slot_take(slot, object, epoll, MARK_WATCHED)) {
		ring_remove(fd, slot);
		taken = true;
	}
	ring_leave(&mask);
	if (taken)
		object_put(object, epoll);
	return taken;
}

struct socket *descriptor_get(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot ? slot_get(slot, false) : NULL;
}

struct socket *descriptor_hold(int fd)
{
	struct slot *slot = slot_find(fd);

	if (!slot)
		return NULL;
	/* As many threads as cannot be: the count must not run over. */
	if (atomic_load_explicit(&slot->word, memory_order_relaxed) >= HOLDS_MOST)
		return slot_get(slot, false);
	return slot_hold(slot, false);
}

void descriptor_release(int fd, struct socket *socket)
{
	slot_release(slot_find(fd), socket, false);
}

struct socket *descriptor_get_waitable(int fd)
{
	struct slot *slot = slot_find(fd);
	uintptr_t word;

	if (!slot)
		return NULL;
	word = atomic_load_explicit(&slot->word, memory_order_acquire);
	if (word_holds(word, false))
		return slot_get(slot, false);
	return word & MARK_LISTENING ? switch_listener_get(fd) : NULL;
}

bool descriptor_is_known(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot && (atomic_load_explicit(&slot->word, memory_order_relaxed) &
			(POINTER | MARK_LISTENING));
}

bool descriptor_is_epoll(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot && word_holds(atomic_load_explicit(&slot->word, memory_order_relaxed), true);
}

int descriptor_set(int fd, struct socket *socket)
{
	struct slot *slot = slot_find(fd);

	/*
	 * fd is a socket, so an epoll set there was closed where we could not see it
	 * (by a library's own system call).
	 */
	if (slot && atomic_load(&slot->word) & MARK_EPOLL)
		descriptor_closing(fd);
	return object_set(fd, socket, false);
}

void descriptor_clear(int fd, struct socket *socket)
{
	object_clear(fd, socket, false);
}

void descriptor_clear_all(struct socket *socket)
{
	int fd, last = descriptor_highest();

	/* Rare (a connect that ended on TCP), so a walk over the table will do. */
	for (fd = 0; fd <= last; fd++) {
		struct slot *slot = slot_find(fd);

		if (!slot)
			fd |= LEAF_SLOTS - 1;
		else if ((atomic_load(&slot->word) & POINTER) == (uintptr_t)socket)
			object_clear(fd, socket, false);
	}
}

void descriptor_mark_listening(int fd, bool listening)
{
	struct slot *slot = listening ? slot_make(fd) : slot_find(fd);

	if (!slot)
		return;
	slot_mark(slot, MARK_LISTENING, listening);
	if (listening && atomic_load(&slot->word) & MARK_WATCHED)
		epoll_descriptor_listens(fd);
}

bool descriptor_is_listening(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot && atomic_load(&slot->word) & MARK_LISTENING;
}

bool descriptors_are_ours(void)
{
	return !owner || system_getpid() == owner;
}

void descriptor_duplicated(int from, int to)
{
	struct slot *source = slot_find(from), *target = slot_find(to);
	uintptr_t word = source ? atomic_load(&source->word) : 0;
	uintptr_t stale = target ? atomic_load(&target->word) : 0;
	bool epoll = word & MARK_EPOLL;
	void *object = NULL;
	sigset_t mask;

	if (!((word | stale) & (POINTER | MARK_LISTENING)) || !descriptors_are_ours())
		return;
	/* The kernel gave `to` out anew: it was closed where we could not see it. */
	if (stale)
		descriptor_closing(to);
	if (!(word & (POINTER | MARK_LISTENING)))
		return;
	target = slot_make(to);
	if (!target)
		return;
	if (word & MARK_LISTENING)
		slot_mark(target, MARK_LISTENING, true);
	if (word & POINTER)
		object = slot_get(source, epoll);
	if (!object)
		return;
	ring_enter(&mask);
	/* Closed by another thread meanwhile: the duplicate stands alone. */
	word = atomic_load(&source->word);
	if (slot_enter(to, target, object, epoll,
		       (word & POINTER) == (uintptr_t)object ? source : NULL) == 0)
		object = NULL;
	ring_leave(&mask);
	if (object)
		object_put(object, epoll);
}

bool descriptor_closing_matters(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot && atomic_load_explicit(&slot->word, memory_order_relaxed);
}

int descriptor_closing(int fd)
{
	struct slot *slot = slot_find(fd);
	bool epoll, last = false;
	void *object = NULL;
	uintptr_t word;
	sigset_t mask;
	int result = 0;

	if (!slot || !atomic_load_explicit(&slot->word, memory_order_relaxed) ||
	    !descriptors_are_ours())
		return 0;
	if (atomic_load(&slot->word) & MARK_WATCHED)
		epoll_descriptor_closing(fd);

	ring_enter(&mask);
	word = atomic_load(&slot->word);
	epoll = word & MARK_EPOLL;
	if (word & POINTER) {
		object = (void *)(word & POINTER);
		if (slot_take(slot, object, epoll, MARK_WATCHED))
			last = ring_remove(fd, slot);
		else
			object = NULL;
		if (object && epoll && !last)
			epoll_descriptor_left(object, slot->next_duplicate);
	}
	slot_mark(slot, MARK_LISTENING, false);
	ring_leave(&mask);

	if (!object)
		return 0;
	if (last && epoll)
		epoll_close(object);
	else if (last)
		result = socket_close(object);
	object_put(object, epoll);
	return result;
}

int descriptor_highest(void)
{
	return atomic_load(&highest);
}

void descriptor_each(void (*visit)(int fd, struct socket *socket, void *context), void *context)
{
	int fd, last = descriptor_highest();

	for (fd = 0; fd <= last; fd++) {
		struct slot *slot = slot_find(fd);
		struct socket *socket;

		if (!slot) {
			fd |= LEAF_SLOTS - 1;
			continue;
		}
		socket = slot_get(slot, false);
		if (socket) {
			visit(fd, socket, context);
			socket_put(socket);
		}
	}
}

void descriptor_epoll_each(void (*visit)(int fd, struct epoll *epoll, void *context),
			   void *context)
{
	int fd, last = descriptor_highest();

	for (fd = 0; fd <= last; fd++) {
		struct slot *slot = slot_find(fd);
		struct epoll *epoll;

		if (!slot) {
			fd |= LEAF_SLOTS - 1;
			continue;
		}
		epoll = slot_get(slot, true);
		if (epoll) {
			visit(fd, epoll, context);
			epoll_put(epoll);
		}
	}
}

void descriptors_open(void)
{
	int fd, last = descriptor_highest();

	if (owner) {
		/* A child: of the parent's threads only this one is left. */
		pthread_mutex_init(&ring_lock, NULL);
		for (fd = 0; fd <= last; fd++) {
			struct slot *slot = slot_find(fd);

			if (slot)
				slot_forked(slot);
			else
				fd |= LEAF_SLOTS - 1;
		}
	}
	owner = system_getpid();
}

struct epoll *descriptor_epoll_get(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot ? slot_get(slot, true) : NULL;
}

int descriptor_epoll_set(int fd, struct epoll *epoll)
{
	return object_set(fd, epoll, true);
}

void descriptor_epoll_clear(int fd, struct epoll *epoll)
{
	object_clear(fd, epoll, true);
}

struct watch **descriptor_watches(int fd)
{
	struct slot *slot = slot_make(fd);

	return slot ? &slot->watches : NULL;
}

void descriptor_watched(int fd, bool watched)
{
	struct slot *slot = slot_find(fd);

	if (slot)
		slot_mark(slot, MARK_WATCHED, watched);
}

bool descriptor_is_watched(int fd)
{
	struct slot *slot = slot_find(fd);

	return slot && atomic_load(&slot->word) & MARK_WATCHED;
}
