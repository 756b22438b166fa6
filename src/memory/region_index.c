// SPDX-License-Identifier: BSD-2-Clause
/*
 * The ordered index of regions.
 *
 * Why arrays: a search among 10,000 regions is five steps, and a change moves at
 * most a leaf's worth of entries. A step compares the key with seven keys at once,
 * an eighth of what is left apart, so its loads wait for memory together, where
 * those of a binary search would wait in turn; the last seven lie in the line of
 * one that was compared before. Keys after the last are the largest there is, so
 * that the number of steps depends on no count, and no branch on what is found.
 *
 * Why relaxed loads and stores suffice: a reader without the lock takes nothing
 * from here but a pointer to a region, of which it then takes a reference; that
 * is where it synchronises. A torn view costs it a miss, which ends in a search
 * with the lock. Entries are only ever overwritten by other entries, so what lies
 * below a count that was true once is a pointer that was true once, or NULL where
 * the count became visible before the entry.
 *
 * In front of the arrays lies a table hashed by page, of as little authority: it makes
 * the usual look-up, of a buffer from where it was used before, three loads.
 *
 * Two neighbouring leaves together hold more than half a leaf's entries: this
 * bounds the number of leaves.
 */
#include "region_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "region.h"

#define HALF (INDEX_LEAF_ENTRIES / 2)

#define NO_KEY UINTPTR_MAX

/* Steps of a search, each of which leaves an eighth. */
#define STEP_BITS 3
#define LEAF_STEPS 2

_Static_assert(INDEX_LEAF_ENTRIES == 1 << (STEP_BITS * LEAF_STEPS), "a leaf is searched in whole");

#define entry_read(object)	atomic_load_explicit(&(object), memory_order_relaxed)
#define entry_write(object, value)	atomic_store_explicit(&(object), (value), memory_order_relaxed)

/* Zeroed memory whose pages cost nothing until they are used. */
static void *table_map(size_t size)
{
	void *table = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return table == MAP_FAILED ? NULL : table;
}

static void table_unmap(void *table, size_t size)
{
	if (table)
		munmap(table, size);
}

static size_t shortcut_count(const struct region_index *index)
{
	return (size_t)1 << (64 - index->shortcut_shift);
}

int region_index_init(struct region_index *index, uint32_t capacity)
{
	uint32_t leaves = capacity / (HALF / 2) + 2;

	*index = (struct region_index){ .pool_size = leaves, .root_size = 1 };
	while (index->root_size < leaves)
		index->root_size <<= STEP_BITS;
	/* At most two thirds full; two at least, since one shifts by less than all bits. */
	index->shortcut_shift = 63;
	while (shortcut_count(index) < (size_t)capacity + capacity / 2)
		index->shortcut_shift--;
	index->shortcuts = table_map(sizeof(*index->shortcuts) * shortcut_count(index));
	index->firsts = table_map(index->root_size * sizeof(*index->firsts));
	index->leaves = table_map(index->root_size * sizeof(*index->leaves));
	index->pool = table_map(leaves * sizeof(*index->pool));
	if (!index->shortcuts || !index->firsts || !index->leaves || !index->pool) {
		region_index_free(index);
		return -ENOMEM;
	}
	return 0;
}

void region_index_free(struct region_index *index)
{
	table_unmap(index->shortcuts, sizeof(*index->shortcuts) * shortcut_count(index));
	table_unmap((void *)(uintptr_t)index->firsts, index->root_size * sizeof(*index->firsts));
	table_unmap((void *)(uintptr_t)index->leaves, index->root_size * sizeof(*index->leaves));
	table_unmap(index->pool, index->pool_size * sizeof(*index->pool));
}

/* How many of seven keys, @apart from each other, are <= @key. */
static inline uint32_t keys_below(const _Atomic uintptr_t *keys, uint32_t apart, uintptr_t key)
{
#define BELOW(i) ((uint32_t)(entry_read(keys[(i) * apart]) <= key))
	return BELOW(1) + BELOW(2) + BELOW(3) + BELOW(4) + BELOW(5) + BELOW(6) + BELOW(7);
#undef BELOW
}

/*
 * Place of the last of 8 to the power of @steps ascending keys that is <= @key; 0 too if
 * there is none.
 */
static inline uint32_t keys_search(const _Atomic uintptr_t *keys, uint32_t steps, uintptr_t key)
{
	uint32_t base = 0;

	for (uint32_t bits = steps * STEP_BITS; bits > 0;) {
		bits -= STEP_BITS;
		base += keys_below(keys + base, 1u << bits, key) << bits;
	}
	return base;
}

/* No region starts at the very last byte, so an address there finds what the one before does. */
static inline uintptr_t below_no_key(uintptr_t address)
{
	return address - (address == NO_KEY);
}

/* Place of the leaf that has the region with the largest start <= @address, if any has. */
static inline uint32_t root_search(const struct region_index *index, uintptr_t address)
{
	return keys_search(index->firsts, entry_read(index->root_steps), address);
}

static inline uint32_t leaf_search(const struct index_leaf *leaf, uintptr_t address)
{
	return keys_search(leaf->starts, LEAF_STEPS, address);
}

struct cache_region *region_index_before(const struct region_index *index, uintptr_t address)
{
	const struct index_leaf *leaf;
	uint32_t at;

	address = below_no_key(address);
	leaf = entry_read(index->leaves[root_search(index, address)]);
	if (!leaf)
		return NULL;
	at = leaf_search(leaf, address);
	return entry_read(leaf->starts[at]) <= address ? entry_read(leaf->regions[at]) : NULL;
}

struct cache_region *region_index_after(const struct region_index *index, uintptr_t address)
{
	uint32_t leaves = entry_read(index->leaf_count);
	uint32_t which;
	uint32_t at;
	struct index_leaf *leaf;

	if (leaves == 0)
		return NULL;
	address = below_no_key(address);
	which = root_search(index, address);
	leaf = entry_read(index->leaves[which]);
	at = leaf_search(leaf, address);
	if (entry_read(leaf->starts[at]) > address)
		return entry_read(leaf->regions[at]);
	if (at + 1 < entry_read(leaf->count))
		return entry_read(leaf->regions[at + 1]);
	if (which + 1 < leaves)
		return entry_read(entry_read(index->leaves[which + 1])->regions[0]);
	return NULL;
}

static struct index_leaf *leaf_take(struct region_index *index)
{
	struct index_leaf *leaf = index->free;

	if (leaf)
		index->free = leaf->next_free;
	else
		leaf = &index->pool[index->pool_used++];
	for (uint32_t i = 0; i < INDEX_LEAF_ENTRIES; i++)
		entry_write(leaf->starts[i], NO_KEY);
	entry_write(leaf->count, 0);
	return leaf;
}

static void leaf_insert(struct index_leaf *leaf, uint32_t at, uintptr_t start,
			struct cache_region *region)
{
	uint32_t count = entry_read(leaf->count);

	for (uint32_t i = count; i > at; i--) {
		entry_write(leaf->starts[i], entry_read(leaf->starts[i - 1]));
		entry_write(leaf->regions[i], entry_read(leaf->regions[i - 1]));
	}
	entry_write(leaf->starts[at], start);
	entry_write(leaf->regions[at], region);
	entry_write(leaf->count, count + 1);
}

static void leaf_remove(struct index_leaf *leaf, uint32_t at)
{
	uint32_t count = entry_read(leaf->count) - 1;

	for (uint32_t i = at; i < count; i++) {
		entry_write(leaf->starts[i], entry_read(leaf->starts[i + 1]));
		entry_write(leaf->regions[i], entry_read(leaf->regions[i + 1]));
	}
	entry_write(leaf->starts[count], NO_KEY);
	entry_write(leaf->count, count);
}

/* Appends the entries of @from, from place @first on, to @to. */
static void leaf_append(struct index_leaf *to, struct index_leaf *from, uint32_t first)
{
	uint32_t count = entry_read(to->count);

	for (uint32_t i = first; i < entry_read(from->count); i++, count++) {
		entry_write(to->starts[count], entry_read(from->starts[i]));
		entry_write(to->regions[count], entry_read(from->regions[i]));
		entry_write(from->starts[i], NO_KEY);
	}
	entry_write(to->count, count);
	entry_write(from->count, first);
}

/* As many steps as it takes to search one leaf more; what they reach is filled up. */
static void root_grow(struct region_index *index)
{
	uint32_t steps = entry_read(index->root_steps);
	uint32_t reached = 1u << (steps * STEP_BITS);

	if (entry_read(index->leaf_count) < reached && steps > 0)
		return;
	for (uint32_t i = steps > 0 ? reached : 0; i < reached << STEP_BITS; i++)
		entry_write(index->firsts[i], NO_KEY);
	entry_write(index->root_steps, steps + 1);
}

static void root_insert(struct region_index *index, uint32_t at, struct index_leaf *leaf)
{
	uint32_t count = entry_read(index->leaf_count);

	root_grow(index);
	for (uint32_t i = count; i > at; i--) {
		entry_write(index->firsts[i], entry_read(index->firsts[i - 1]));
		entry_write(index->leaves[i], entry_read(index->leaves[i - 1]));
	}
	entry_write(index->firsts[at], entry_read(leaf->starts[0]));
	entry_write(index->leaves[at], leaf);
	entry_write(index->leaf_count, count + 1);
}

static void root_remove(struct region_index *index, uint32_t at)
{
	uint32_t count = entry_read(index->leaf_count) - 1;
	struct index_leaf *leaf = entry_read(index->leaves[at]);

	for (uint32_t i = at; i < count; i++) {
		entry_write(index->firsts[i], entry_read(index->firsts[i + 1]));
		entry_write(index->leaves[i], entry_read(index->leaves[i + 1]));
	}
	entry_write(index->firsts[count], NO_KEY);
	entry_write(index->leaf_count, count);
	leaf->next_free = index->free;
	index->free = leaf;
}

void region_index_insert(struct region_index *index, struct cache_region *region)
{
	uintptr_t start = region->start;
	uint32_t which = 0;
	struct index_leaf *leaf;
	uint32_t at;

	region_index_remember(index, start, region);
	if (entry_read(index->leaf_count) == 0) {
		leaf = leaf_take(index);
		leaf_insert(leaf, 0, start, region);
		root_insert(index, 0, leaf);
		return;
	}
	which = root_search(index, start);
	leaf = entry_read(index->leaves[which]);
	if (entry_read(leaf->count) == INDEX_LEAF_ENTRIES) {
		struct index_leaf *upper = leaf_take(index);

		leaf_append(upper, leaf, HALF);
		root_insert(index, which + 1, upper);
		if (start > entry_read(upper->starts[0])) {
			leaf = upper;
			which++;
		}
	}
	at = leaf_search(leaf, start);
	if (entry_read(leaf->starts[at]) < start)
		at++;
	leaf_insert(leaf, at, start, region);
	entry_write(index->firsts[which], entry_read(leaf->starts[0]));
}

/* Joins leaf @which and the one after it if both fit into half a leaf. */
static void root_join(struct region_index *index, uint32_t which)
{
	struct index_leaf *leaf;
	struct index_leaf *next;

	if (which + 1 >= entry_read(index->leaf_count))
		return;
	leaf = entry_read(index->leaves[which]);
	next = entry_read(index->leaves[which + 1]);
	if (entry_read(leaf->count) + entry_read(next->count) > HALF)
		return;
	leaf_append(leaf, next, 0);
	root_remove(index, which + 1);
}

void region_index_remove(struct region_index *index, struct cache_region *region)
{
	uint32_t which = root_search(index, region->start);
	struct index_leaf *leaf = entry_read(index->leaves[which]);
	struct index_shortcut *shortcut = region_index_shortcut(index, region->start);

	if (entry_read(shortcut->region) == region)
		entry_write(shortcut->region, NULL);
	leaf_remove(leaf, leaf_search(leaf, region->start));
	if (entry_read(leaf->count) == 0) {
		root_remove(index, which);
		return;
	}
	entry_write(index->firsts[which], entry_read(leaf->starts[0]));
	root_join(index, which);
	if (which > 0)
		root_join(index, which - 1);
}
