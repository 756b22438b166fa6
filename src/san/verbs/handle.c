// SPDX-License-Identifier: BSD-2-Clause
/*
 * Numbers that stand for objects. See handle.h.
 *
 * The word of a slot: generation in the upper 32 bits, HANDLE_CLOSING, references in
 * the lower 31. A slot without references is free. Generations start at 1, and
 * slot numbers in handles too, so that neither 0 nor all ones is ever a handle.
 */
#include "handle.h"

#include <errno.h>
#include <stdlib.h>

static uintptr_t handle_of(const struct handle_slot *slot, uint64_t generation)
{
	return (uintptr_t)(generation << 32 | (slot->index + 1));
}

/* With the lock held. */
static bool add_chunk(struct handle_table *table)
{
	struct handle_slot *chunk;

	if (table->count == HANDLE_CHUNKS)
		return false;
	chunk = calloc(HANDLE_CHUNK, sizeof(*chunk));
	if (!chunk)
		return false;
	for (uint32_t i = HANDLE_CHUNK; i-- > 0;) {
		chunk[i].index = table->count * HANDLE_CHUNK + i;
		atomic_init(&chunk[i].word, UINT64_C(1) << 32);
		chunk[i].next_free = table->free;
		table->free = &chunk[i];
	}
	atomic_store_explicit(&table->chunks[table->count++], chunk, memory_order_release);
	return true;
}

uintptr_t handle_open(struct handle_table *table, void *object)
{
	struct handle_slot *slot = NULL;
	uint64_t generation;

	pthread_mutex_lock(&table->lock);
	if (table->free || add_chunk(table)) {
		slot = table->free;
		table->free = slot->next_free;
	}
	pthread_mutex_unlock(&table->lock);
	if (!slot)
		return 0;
	generation = atomic_load_explicit(&slot->word, memory_order_relaxed) >> 32;
	slot->object = object;
	/* Release: whoever gets the handle sees the object. */
	atomic_store_explicit(&slot->word, generation << 32 | 2, memory_order_release);
	return handle_of(slot, generation);
}

void handle_slot_free(struct handle_table *table, struct handle_slot *slot)
{
	void *object = slot->object;
	uint64_t next = (atomic_load_explicit(&slot->word, memory_order_relaxed) >> 32) + 1;

	/* The generation after the last is 1; 0 would make small numbers handles. */
	if (next > UINT32_MAX)
		next = 1;
	slot->object = NULL;
	atomic_store_explicit(&slot->word, next << 32, memory_order_relaxed);
	table->release(object);
	pthread_mutex_lock(&table->lock);
	slot->next_free = table->free;
	table->free = slot;
	pthread_mutex_unlock(&table->lock);
}

int handle_close_unused(struct handle_table *table, uintptr_t handle, unsigned held)
{
	struct handle_slot *slot = handle_slot(table, handle);
	uint64_t word;

	if (!slot)
		return -ENOENT;
	word = atomic_load_explicit(&slot->word, memory_order_relaxed);
	do {
		if (!handle_word_open(word, handle))
			return -ENOENT;
		if ((word & HANDLE_REFERENCES) > held + 1)
			return -EBUSY;
	} while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word | HANDLE_CLOSING,
							memory_order_acq_rel,
							memory_order_relaxed));
	return 0;
}

bool handle_close(struct handle_table *table, uintptr_t handle)
{
	/* However many are held. */
	return !handle_close_unused(table, handle, HANDLE_REFERENCES);
}

void handle_table_forked(struct handle_table *table, void (*each)(void *object))
{
	table->free = NULL;
	for (uint32_t i = table->count * HANDLE_CHUNK; i-- > 0;) {
		struct handle_slot *chunk =
			atomic_load_explicit(&table->chunks[i / HANDLE_CHUNK],
					     memory_order_relaxed);
		struct handle_slot *slot;
		uint64_t word, next;

		/* Another thread of the parent was about to add it. */
		if (!chunk)
			continue;
		slot = &chunk[i % HANDLE_CHUNK];
		word = atomic_load_explicit(&slot->word, memory_order_relaxed);
		next = (word >> 32) + 1;
		if (word & HANDLE_REFERENCES && slot->object)
			each(slot->object);
		slot->object = NULL;
		atomic_store_explicit(&slot->word, (next > UINT32_MAX ? 1 : next) << 32,
				      memory_order_relaxed);
		slot->next_free = table->free;
		table->free = slot;
	}
	pthread_mutex_init(&table->lock, NULL);
}

void handle_table_each(struct handle_table *table, void (*each)(uintptr_t handle))
{
	for (uint32_t i = 0; i < HANDLE_CHUNKS * HANDLE_CHUNK; i++) {
		struct handle_slot *slot = handle_slot(table, i + 1);
		uint64_t word;

		if (!slot)
			return;
		word = atomic_load_explicit(&slot->word, memory_order_acquire);
		if (word & HANDLE_REFERENCES && !(word & HANDLE_CLOSING))
			each(handle_of(slot, word >> 32));
	}
}
