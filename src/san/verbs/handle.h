/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers that stand for objects, so that a stale or invented one is noticed
 * instead of followed.
 *
 * A handle is a slot number and the slot's generation. Slots are never freed,
 * only reused under the next generation, so looking at one is always safe. One
 * word per slot holds generation, a mark "being closed" and a reference count,
 * and every change of it is one compare-and-swap: getting a reference and
 * closing cannot cross.
 *
 * An object lives until the last reference is put. The table itself holds one
 * from handle_open() until handle_close() or handle_close_unused().
 */
#ifndef WSD_SAN_VERBS_HANDLE_H
#define WSD_SAN_VERBS_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HANDLE_CHUNK	256
#define HANDLE_CHUNKS	4096

struct handle_slot {
	_Atomic uint64_t word;
	void *object;			/* written before the word makes it reachable */
	struct handle_slot *next_free;	/* under the table's lock */
	uint32_t index;
};

struct handle_table {
	_Atomic(struct handle_slot *) chunks[HANDLE_CHUNKS];
	pthread_mutex_t lock;		/* protects free and the adding of chunks; innermost */
	struct handle_slot *free;
	uint32_t count;
	/* Frees an object whose last reference was put. No lock of the table is held. */
	void (*release)(void *object);
};

/* A handle for @object, with the table's reference and one for the caller; 0: out of memory. */
uintptr_t handle_open(struct handle_table *table, void *object);

/* The object, with a reference that handle_put() gives back; NULL: no such handle. */
void *handle_get(struct handle_table *table, uintptr_t handle);

/* Gives back a reference. Without this the caller could not be looking at the object. */
void handle_put(struct handle_table *table, uintptr_t handle);

/*
 * Makes the handle invalid for handle_get() and takes the table's reference
 * over: the caller has it now and puts it. False: no such handle, or somebody
 * else closed it.
 */
bool handle_close(struct handle_table *table, uintptr_t handle);

/*
 * Like handle_close(), but only if there are no references except the table's
 * and the @held ones of the caller. 0, -EBUSY, -ENOENT.
 */
int handle_close_unused(struct handle_table *table, uintptr_t handle, unsigned held);

/*
 * In a forked child: calls @each for every object, then makes every handle
 * invalid. The objects are not released: half of them may have been in other threads'
 * hands. Async-signal-safe if @each is.
 */
void handle_table_forked(struct handle_table *table, void (*each)(void *object));

/* Calls @each with every open handle; it may close the handle. */
void handle_table_each(struct handle_table *table, void (*each)(uintptr_t handle));

#endif
