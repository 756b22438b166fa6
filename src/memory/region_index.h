/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions ordered by start address, in two levels of arrays: to be read without
 * a lock, changed under one.
 *
 * A reader without the lock gets a hint: while the index changes under it, it
 * may be given a wrong region or none, but always a region of the cache's array
 * or NULL, after a bounded number of steps. It must take a reference and then
 * ask the region itself. With the lock the answer is exact.
 *
 * No two regions of an index start at the same address.
 */
#ifndef WSD_MEMORY_REGION_INDEX_H
#define WSD_MEMORY_REGION_INDEX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct cache_region;

#define INDEX_LEAF_ENTRIES 64
#define INDEX_PAGE_BITS 12	/* of the smallest pages */

/* Never unmapped while the index exists, like the regions. */
struct index_leaf {
	_Alignas(64) _Atomic uintptr_t starts[INDEX_LEAF_ENTRIES];
	struct cache_region *_Atomic regions[INDEX_LEAF_ENTRIES];
	_Atomic uint32_t count;
	struct index_leaf *next_free;
};

/* The region last found for a page, by the hash of the address. A later page displaces an earlier. */
struct index_shortcut {
	_Atomic uintptr_t page;
	struct cache_region *_Atomic region;	/* NULL: none */
};

struct region_index {
	struct index_shortcut *shortcuts;
	unsigned shortcut_shift;		/* leaves as many bits of a hash as number the shortcuts */
	_Atomic uint32_t leaf_count;
	_Atomic uint32_t root_steps;		/* of a search among the leaves */
	_Atomic uintptr_t *firsts;		/* smallest start of each leaf */
	struct index_leaf *_Atomic *leaves;
	size_t root_size;			/* entries of both, a power of 8 */
	struct index_leaf *pool;
	struct index_leaf *free;
	uint32_t pool_used;
	uint32_t pool_size;
};

/* Room for @capacity regions. -ENOMEM. */
int region_index_init(struct region_index *index, uint32_t capacity);
void region_index_free(struct region_index *index);

/* Where the index keeps the shortcut from the page that starts at @page. */
static inline struct index_shortcut *region_index_shortcut(const struct region_index *index,
							   uintptr_t page)
{
	uint64_t hash = (uint64_t)(page >> INDEX_PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15);

	return &index->shortcuts[hash >> index->shortcut_shift];
}

/*
 * The region last remembered for the page that starts at @page, in one step: most buffers are
 * used again from where they were used before. A hint even with the lock: it may be NULL, or
 * a region that has left, or another. Any thread.
 */
static inline struct cache_region *region_index_hint(const struct region_index *index,
						     uintptr_t page)
{
	const struct index_shortcut *shortcut = region_index_shortcut(index, page);

	if (atomic_load_explicit(&shortcut->page, memory_order_relaxed) != page)
		return NULL;
	return atomic_load_explicit(&shortcut->region, memory_order_relaxed);
}

/*
 * Remembers @region for the page that starts at @page; a region that is inserted is remembered for
 * its first page. Any thread: should the words of two threads get mixed, the hint is wrong.
 */
static inline void region_index_remember(struct region_index *index, uintptr_t page,
					 struct cache_region *region)
{
	struct index_shortcut *shortcut = region_index_shortcut(index, page);

	atomic_store_explicit(&shortcut->page, page, memory_order_relaxed);
	atomic_store_explicit(&shortcut->region, region, memory_order_relaxed);
}

/* The region with the largest start <= @address, or NULL. Any thread: see above. */
struct cache_region *region_index_before(const struct region_index *index, uintptr_t address);

/* Only with the lock that guards the index: */

/* The region with the smallest start > @address, or NULL. */
struct cache_region *region_index_after(const struct region_index *index, uintptr_t address);
void region_index_insert(struct region_index *index, struct cache_region *region);
void region_index_remove(struct region_index *index, struct cache_region *region);

#endif
