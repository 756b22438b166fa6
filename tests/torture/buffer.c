// SPDX-License-Identifier: BSD-2-Clause
/* The buffers of the torture test, their places and their contents. See buffer.h. */
#include "buffer.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream.h"

/* Far from wherever the kernel maps what asks for no address, so that holes stay holes. */
#define ARENA ((char *)0x200000000000)

enum {
	SMALL_BUFFERS = 10, LARGE_BUFFERS = 3, BUFFERS = SMALL_BUFFERS + LARGE_BUFFERS,
	/* More than buffers: those move, and others come to where they were. */
	SMALL_PLACES = SMALL_BUFFERS + 4, LARGE_PLACES = LARGE_BUFFERS + 1,
	PLACES = SMALL_PLACES + LARGE_PLACES,
	WORDS = PAGE / 8,
};

static struct buffer buffers[BUFFERS];
static bool place_taken[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t given = PTHREAD_COND_INITIALIZER;
static uint64_t origin;

void torture_fail(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	dprintf(2, "torture: %s\n", text);
	_exit(1);
}

/* ---- contents ---- */

#define STEP 0x9e3779b97f4a7c15u

static uint64_t page_first_word(uint64_t source, unsigned page, uint32_t generation)
{
	uint64_t state = (source << 48) ^ ((uint64_t)page << 32) ^ generation;

	return stream_random(&state);
}

static uint64_t page_step(uint32_t generation)
{
	return generation ? STEP : 0;
}

void page_write(char *where, uint64_t source, unsigned page, uint32_t generation)
{
	uint64_t *words = (uint64_t *)(void *)where;
	uint64_t first = generation ? page_first_word(source, page, generation) : 0;
	uint64_t step = page_step(generation);

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = first + i * step;
}

bool page_is(const char *data, uint64_t source, unsigned page, uint32_t generation)
{
	uint64_t first = generation ? page_first_word(source, page, generation) : 0;
	uint64_t step = page_step(generation), wrong = 0;

	for (unsigned i = 0; i < WORDS; i++) {
		uint64_t word;

		memcpy(&word, data + i * sizeof(word), sizeof(word));
		wrong |= word ^ (first + i * step);
	}
	return !wrong;
}

/* Which generation of the page these bytes are of, or -1. */
static long generation_of(const char *data, size_t size, uint64_t source, unsigned page,
			  size_t in_page, uint32_t last)
{
	char expected[PAGE] __attribute__((aligned(8)));

	for (uint32_t generation = last + 1000; generation + 1 > 0; generation--) {
		page_write(expected, source, page, generation);
		if (!memcmp(data, expected + in_page, size))
			return generation;
		if (!generation)
			break;
	}
	return -1;
}

static void __attribute__((noreturn))
wrong_contents(const char *data, size_t size, uint64_t source, size_t offset,
	       uint32_t generation, const struct buffer *into, size_t into_offset)
{
	/* Up to the end of the receiver's page: enough to tell. */
	size_t place = into ? into_offset % PAGE : 0;
	long own = -1, other;

	if (size > PAGE - place)
		size = PAGE - place;
	if (into)
		own = generation_of(data, size, buffer_source(into), (unsigned)(into_offset / PAGE),
				    place, into->last_generation);
	if (own >= 0)
		torture_fail("wrong contents: page %zu of buffer %u, where page %zu of source %llx was "
			     "received, still holds its own generation %ld", into_offset / PAGE,
			     into->number, offset / PAGE, (unsigned long long)source, own);
	other = generation_of(data, size, source, (unsigned)(offset / PAGE), offset % PAGE, generation);
	torture_fail("wrong contents: page %zu of source %llx holds generation %ld, not %u",
		     offset / PAGE, (unsigned long long)source, other, generation);
}

void contents_check(const char *data, size_t size, uint64_t source, size_t offset,
		    const uint32_t *generations, const struct buffer *into, size_t into_offset)
{
	char expected[PAGE] __attribute__((aligned(8)));

	while (size) {
		unsigned page = (unsigned)(offset / PAGE);
		size_t in_page = offset % PAGE;
		size_t part = size < PAGE - in_page ? size : PAGE - in_page;
		bool right;

		if (part == PAGE) {
			right = page_is(data, source, page, *generations);
		} else {
			page_write(expected, source, page, *generations);
			right = !memcmp(data, expected + in_page, part);
		}
		if (!right)
			wrong_contents(data, part, source, offset, *generations, into, into_offset);
		data += part;
		offset += part;
		into_offset += part;
		size -= part;
		generations++;
	}
}

void buffer_check(const struct buffer *buffer, size_t offset, size_t size)
{
	while (size) {
		size_t part = PAGE - offset % PAGE;

		if (part > size)
			part = size;
		contents_check(buffer->address + offset, part, buffer_source(buffer), offset,
			       &buffer->page[offset / PAGE].generation, NULL, 0);
		offset += part;
		size -= part;
	}
}

uint64_t buffer_source(const struct buffer *buffer)
{
	return origin << 8 | buffer->number;
}

void buffer_fill_at(struct buffer *buffer, unsigned first, unsigned count, char *where)
{
	uint32_t generation = ++buffer->last_generation;

	for (unsigned i = first; i < first + count; i++, where += PAGE) {
		struct page *page = &buffer->page[i];

		page_write(where, buffer_source(buffer), i, generation);
		page->generation = generation;
		if (page->kind == SHARED_FILE)
			page->file_generation = generation;
		else
			page->own = true;
	}
}

void buffer_fill(struct buffer *buffer, unsigned first, unsigned count)
{
	buffer_fill_at(buffer, first, count, buffer->address + first * PAGE);
}

void buffer_mapped(struct buffer *buffer, unsigned first, unsigned count, enum kind kind)
{
	for (unsigned i = first; i < first + count; i++) {
		struct page *page = &buffer->page[i];

		page->kind = kind;
		page->own = false;
		page->generation = kind == SHARED_FILE || kind == PRIVATE_FILE ?
			page->file_generation : 0;
	}
}

bool buffer_all(const struct buffer *buffer, unsigned first, unsigned count, enum kind kind)
{
	for (unsigned i = first; i < first + count; i++)
		if (buffer->page[i].kind != kind)
			return false;
	return true;
}

/* ---- places ---- */

char *place_address(unsigned place)
{
	if (place < LARGE_PLACES)
		return ARENA + (size_t)place * LARGE_PAGES * PAGE;
	/* Next to each other: neighbours' mappings are joined and divided again. */
	return ARENA + (size_t)LARGE_PLACES * LARGE_PAGES * PAGE +
		(size_t)(place - LARGE_PLACES) * SMALL_PAGES * PAGE;
}

bool buffers_contain(const void *address)
{
	return (const char *)address >= ARENA && (const char *)address < place_address(PLACES);
}

int place_reserve(const struct buffer *buffer, uint64_t *random)
{
	unsigned first = buffer->most == LARGE_PAGES ? 0 : LARGE_PLACES;
	unsigned count = buffer->most == LARGE_PAGES ? LARGE_PLACES : SMALL_PLACES;
	unsigned start = below(random, count);
	int found = -1;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < count && found < 0; i++) {
		unsigned place = first + (start + i) % count;

		if (!place_taken[place])
			found = (int)place;
	}
	if (found >= 0)
		place_taken[found] = true;
	pthread_mutex_unlock(&lock);
	return found;
}

void place_leave(unsigned place)
{
	pthread_mutex_lock(&lock);
	place_taken[place] = false;
	pthread_mutex_unlock(&lock);
}

/* ---- owners ---- */

static void buffer_create(struct buffer *buffer, unsigned number, uint64_t *random)
{
	bool large = number < LARGE_BUFFERS;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	size_t size;

	buffer->number = number;
	buffer->most = large ? LARGE_PAGES : SMALL_PAGES;
	buffer->pages = large ? LARGE_PAGES : LEAST_PAGES + below(random, SMALL_PAGES - LEAST_PAGES + 1);
	buffer->place = large ? number : LARGE_PLACES + (number - LARGE_BUFFERS);
	buffer->address = place_address(buffer->place);
	buffer->page = calloc(buffer->most, sizeof(*buffer->page));
	buffer->fd = memfd_create("torture", MFD_CLOEXEC);
	check(buffer->page != NULL);
	check(buffer->fd >= 0);
	check(ftruncate(buffer->fd, (off_t)buffer->most * PAGE) == 0);
	place_taken[buffer->place] = true;
	size = (size_t)buffer->pages * PAGE;
	if (number == 0)
		buffer->hugetlb = mmap(buffer->address, size, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB,
				       -1, 0) == buffer->address;
	if (!buffer->hugetlb) {
		check(mmap(buffer->address, size, PROT_READ | PROT_WRITE, flags, -1, 0) ==
		      buffer->address);
		if (large)
			check(madvise(buffer->address, size, MADV_HUGEPAGE) == 0);
	}
	buffer_mapped(buffer, 0, buffer->pages, buffer->hugetlb ? HUGETLB : ANONYMOUS);
	buffer_fill(buffer, 0, buffer->pages);
}

void buffers_create(uint32_t own_origin, uint64_t seed)
{
	origin = own_origin;
	for (unsigned i = 0; i < BUFFERS; i++)
		buffer_create(&buffers[i], i, &seed);
}

bool buffers_hugetlb(void)
{
	return buffers[0].hugetlb;
}

struct buffer *buffer_take(uint64_t *random, bool writable)
{
	struct buffer *found = NULL;
	unsigned start = below(random, BUFFERS);

	pthread_mutex_lock(&lock);
	for (;;) {
		for (unsigned i = 0; i < BUFFERS && !found; i++) {
			struct buffer *buffer = &buffers[(start + i) % BUFFERS];

			if (!buffer->busy && !(writable && buffer->read_only))
				found = buffer;
		}
		if (found)
			break;
		pthread_cond_wait(&given, &lock);
	}
	found->busy = true;
	pthread_mutex_unlock(&lock);
	return found;
}

void buffer_give(struct buffer *buffer)
{
	pthread_mutex_lock(&lock);
	buffer->busy = false;
	pthread_cond_broadcast(&given);
	pthread_mutex_unlock(&lock);
}
