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

/* ---- inside: the word ---- */

#define HANDLE_CLOSING		UINT64_C(0x80000000)
#define HANDLE_REFERENCES	UINT64_C(0x7fffffff)

static inline uint64_t handle_generation(uintptr_t handle)
{
	return (uint64_t)handle >> 32;
}

/* Does the word say that the handle is open? */
static inline bool handle_word_open(uint64_t word, uintptr_t handle)
{
	return word >> 32 == handle_generation(handle) && !(word & HANDLE_CLOSING) &&
	       word & HANDLE_REFERENCES;
}

static inline struct handle_slot *handle_slot(struct handle_table *table, uintptr_t handle)
{
	uint32_t index = (uint32_t)handle - 1;
	struct handle_slot *chunk;

	if (index / HANDLE_CHUNK >= HANDLE_CHUNKS)
		return NULL;
	/* Pairs with the release of who added the chunk: its slots are initialised. */
	chunk = atomic_load_explicit(&table->chunks[index / HANDLE_CHUNK], memory_order_acquire);
	return chunk ? &chunk[index % HANDLE_CHUNK] : NULL;
}

/* The last reference is gone: nobody can look at the object any more. */
void handle_slot_free(struct handle_table *table, struct handle_slot *slot);

/* ---- references; inline since every request of a program takes some ---- */

/* The object, with a reference that handle_put() gives back; NULL: no such handle. */
static inline void *handle_get(struct handle_table *table, uintptr_t handle)
{
	struct handle_slot *slot = handle_slot(table, handle);
	uint64_t word;

	if (!slot)
		return NULL;
	word = atomic_load_explicit(&slot->word, memory_order_relaxed);
	do {
		if (!handle_word_open(word, handle))
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word + 1,
							memory_order_acquire,
							memory_order_relaxed));
	return slot->object;
}

/* Gives back a reference. Without this the caller could not be looking at the object. */
static inline void handle_put(struct handle_table *table, uintptr_t handle)
{
	struct handle_slot *slot = handle_slot(table, handle);
	/* Release and acquire: everybody's use of the object is over before it is freed. */
	uint64_t word = atomic_fetch_sub_explicit(&slot->word, 1, memory_order_acq_rel) - 1;

	if (!(word & HANDLE_REFERENCES))
		handle_slot_free(table, slot);
}

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
