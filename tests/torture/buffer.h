/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The buffers of the torture test: who has one, where it is mapped, what it holds.
 *
 * A buffer has one owner at a time: a thread that changes it, sends from it or
 * receives into it. So what a transfer must deliver is never in doubt, however the
 * memory changed before it, and a byte of anything older is an error.
 *
 * Contents name where they come from: each page holds a pattern of its buffer, its
 * place in it and its generation, which is a new one whenever it is written.
 * Generation 0 is what the kernel gives: zeros.
 */
#ifndef TESTS_TORTURE_BUFFER_H
#define TESTS_TORTURE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096, SMALL_PAGES = 64, LEAST_PAGES = 12, LARGE_PAGES = 512 };

enum kind {
	ANONYMOUS,
	SHARED_FILE,
	PRIVATE_FILE,
	HUGETLB,
};

struct page {
	uint32_t generation;		/* what the program sees here */
	uint32_t file_generation;	/* what the file holds at this place */
	uint8_t kind;
	bool own;			/* PRIVATE_FILE: written, so no longer the file's */
};

struct buffer {
	char *address;
	unsigned number;
	unsigned pages;			/* mapped now */
	unsigned most;			/* there is room for */
	unsigned place;
	int fd;				/* a file of `most` pages; page N of the buffer is page N of it */
	bool hugetlb;
	bool read_only;			/* mapped without the right to write */
	bool busy;
	uint32_t last_generation;
	struct page *page;
};

/* Makes all buffers, for the process whose contents are those of @origin. */
void buffers_create(uint32_t origin, uint64_t seed);

/* Whether one of them is of hugetlb pages. */
bool buffers_hugetlb(void);

/* Waits for a buffer that nobody has, a random one; to be given back. */
struct buffer *buffer_take(uint64_t *random, bool writable);
void buffer_give(struct buffer *buffer);

/* Whether it lies where buffers are mapped. */
bool buffers_contain(const void *address);

/*
 * Where buffers are mapped. Reserves a place that no buffer is at, for one of this size;
 * -1: there is none. Who moves there leaves the old one.
 */
int place_reserve(const struct buffer *buffer, uint64_t *random);
void place_leave(unsigned place);
char *place_address(unsigned place);

/* A new generation for these pages, written where they are. */
void buffer_fill(struct buffer *buffer, unsigned first, unsigned count);
/* The same at another mapping of them, which is to take their place. */
void buffer_fill_at(struct buffer *buffer, unsigned first, unsigned count, char *where);
/* The pages are newly mapped: they hold what the kernel puts there. */
void buffer_mapped(struct buffer *buffer, unsigned first, unsigned count, enum kind kind);
/* All of these pages are of this kind. */
bool buffer_all(const struct buffer *buffer, unsigned first, unsigned count, enum kind kind);

/* Where contents come from: which process's buffer. */
uint64_t buffer_source(const struct buffer *buffer);
void page_write(char *where, uint64_t source, unsigned page, uint32_t generation);

/*
 * Ends the test unless [@data, @data + @size) is what @offset of that source holds; the
 * generations are those of the pages from the first that @offset is in. @into, or NULL,
 * is the buffer that received it, at @into_offset, for the message.
 */
void contents_check(const char *data, size_t size, uint64_t source, size_t offset,
		    const uint32_t *generations, const struct buffer *into, size_t into_offset);
/* The same for a part of the buffer itself. */
void buffer_check(const struct buffer *buffer, size_t offset, size_t size);
/* False instead of an end; for a child, which may do nothing but look. */
bool page_is(const char *data, uint64_t source, unsigned page, uint32_t generation);

/* Says what does not hold and ends the process. */
void torture_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static inline unsigned below(uint64_t *random, unsigned limit);
uint64_t stream_random(uint64_t *state);

static inline unsigned below(uint64_t *random, unsigned limit)
{
	return (unsigned)(stream_random(random) % limit);
}

#endif
