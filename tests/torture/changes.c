// SPDX-License-Identifier: BSD-2-Clause
/*
 * What happens to the memory of a buffer in the torture test, and what it must hold
 * afterwards. See changes.h.
 *
 * Each change is made by libc or by a system call that no library can see, of the whole
 * buffer or some pages of it. Behind it most pages get a new generation; some keep what the
 * kernel put there, which is as well known.
 */
#include "changes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "registrations.h"
#include "stream.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define HUGE_SIZE	(2ul << 20)

/* One change, of the pages [first, first + count). */
struct change {
	struct buffer *buffer;
	uint64_t *random;
	unsigned first, count;
	bool raw;		/* by system calls alone */
	const char *name;
};

static char *change_address(const struct change *change)
{
	return change->buffer->address + (size_t)change->first * PAGE;
}

static size_t change_size(const struct change *change)
{
	return (size_t)change->count * PAGE;
}

/* ---- calls, by libc or not ---- */

static char *try_map(bool raw, char *address, size_t size, int flags, int fd, size_t offset)
{
	int protection = PROT_READ | PROT_WRITE;

	if (raw)
		return (char *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
	return mmap(address, size, protection, flags, fd, (off_t)offset);
}

static char *do_map(bool raw, char *address, size_t size, int flags, int fd, size_t offset)
{
	char *memory = try_map(raw, address, size, flags, fd, offset);

	/*
	 * The pool of huge pages is small, and who still has one registered keeps it from the
	 * pool. Whoever keeps it too long is named by registrations_check().
	 */
	for (int i = 0; memory == MAP_FAILED && errno == ENOMEM && flags & MAP_HUGETLB && i < 1000; i++) {
		usleep(50000);
		memory = try_map(raw, address, size, flags, fd, offset);
	}
	check(memory != MAP_FAILED);
	check(!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) || memory == address);
	return memory;
}

static void do_unmap(bool raw, char *address, size_t size)
{
	check((raw ? (int)syscall(SYS_munmap, address, size) : munmap(address, size)) == 0);
}

/* Moves the mapping, to @to or, if that is NULL, anywhere. NULL: it is more than one mapping. */
static char *do_move(bool raw, char *from, size_t size, char *to)
{
	int flags = MREMAP_MAYMOVE | (to ? MREMAP_FIXED : 0);
	char *moved;

	if (raw)
		moved = (char *)syscall(SYS_mremap, from, size, size, flags, to);
	else
		moved = to ? mremap(from, size, size, flags, to) : mremap(from, size, size, flags);
	check(moved != MAP_FAILED || (to && errno == EFAULT));
	return moved == MAP_FAILED ? NULL : moved;
}

/* Moves all there is, mapping by mapping if need be, to where nothing is mapped. */
static void move_all(bool raw, char *from, size_t size, char *to)
{
	if (do_move(raw, from, size, to))
		return;
	for (size_t done = 0; done < size; done += PAGE)
		check(do_move(raw, from + done, PAGE, to + done) != NULL);
}

static void do_protect(bool raw, char *address, size_t size, int protection)
{
	check((raw ? (int)syscall(SYS_mprotect, address, size, protection) :
		     mprotect(address, size, protection)) == 0);
}

static int do_advise(bool raw, char *address, size_t size, int advice)
{
	return raw ? (int)syscall(SYS_madvise, address, size, advice) : madvise(address, size, advice);
}

/* ---- mapping ---- */

static enum kind random_kind(const struct change *change)
{
	static const enum kind kinds[] = { ANONYMOUS, ANONYMOUS, SHARED_FILE, PRIVATE_FILE };

	if (change->buffer->hugetlb)
		return HUGETLB;
	if (change->buffer->most == LARGE_PAGES && change->count == LARGE_PAGES)
		return ANONYMOUS;
	return kinds[below(change->random, sizeof(kinds) / sizeof(kinds[0]))];
}

/* Maps pages of the buffer, there or (NULL) anywhere. What they hold: buffer_mapped(). */
static char *map_kind(const struct change *change, enum kind kind, char *address, int fixed)
{
	const struct buffer *buffer = change->buffer;
	size_t offset = (size_t)change->first * PAGE, size = change_size(change);
	char *memory;

	switch (kind) {
	case SHARED_FILE:
		return do_map(change->raw, address, size, MAP_SHARED | fixed, buffer->fd, offset);
	case PRIVATE_FILE:
		return do_map(change->raw, address, size, MAP_PRIVATE | fixed, buffer->fd, offset);
	case HUGETLB:
		return do_map(change->raw, address, size,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | fixed, -1, 0);
	default:
		memory = do_map(change->raw, address, size, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
		/* Some of the large ones in small pages all the same. */
		if (buffer->most == LARGE_PAGES && below(change->random, 4))
			check(do_advise(change->raw, memory, size, MADV_HUGEPAGE) == 0);
		return memory;
	}
}

/* The pages changed: a new generation for most, or for some, or for none. */
static void renew(const struct change *change)
{
	unsigned part = change->count;

	if (!below(change->random, 4))
		part = below(change->random, change->count + 1);
	if (part)
		buffer_fill(change->buffer, change->first, part);
}

static void ended(const struct change *change)
{
	registrations_end(change_address(change), change_size(change), change->name);
}

static bool whole(const struct change *change)
{
	return change->count == change->buffer->pages;
}

static void map_again(struct change *change)
{
	enum kind kind = random_kind(change);

	do_unmap(change->raw, change_address(change), change_size(change));
	ended(change);
	if (whole(change) && change->buffer->most == SMALL_PAGES)
		change->buffer->pages = change->count =
			LEAST_PAGES + below(change->random, SMALL_PAGES - LEAST_PAGES + 1);
	map_kind(change, kind, change_address(change), MAP_FIXED_NOREPLACE);
	buffer_mapped(change->buffer, change->first, change->count, kind);
	renew(change);
}

static void map_over(struct change *change)
{
	enum kind kind = random_kind(change);

	map_kind(change, kind, change_address(change), MAP_FIXED);
	ended(change);
	buffer_mapped(change->buffer, change->first, change->count, kind);
	renew(change);
}

static void move_onto(struct change *change)
{
	struct exchange exchange = { .fresh = NULL };
	enum kind kind = random_kind(change);

	if (kind == HUGETLB)
		return;
	exchange.fresh = map_kind(change, kind, NULL, 0);
	buffer_mapped(change->buffer, change->first, change->count, kind);
	buffer_fill_at(change->buffer, change->first, change->count, exchange.fresh);
	check(do_move(change->raw, exchange.fresh, change_size(change), change_address(change)));
	ended(change);
}

/* Away, and another one there; what moved must still be what it was. */
static void move_away(struct change *change)
{
	struct buffer *buffer = change->buffer;
	size_t size = change_size(change);
	enum kind kind = random_kind(change);
	int place = buffer->hugetlb ? -1 : place_reserve(buffer, change->random);
	char *away;

	if (place < 0) {
		map_over(change);
		return;
	}
	away = place_address((unsigned)place);
	move_all(change->raw, change_address(change), size, away);
	ended(change);
	for (unsigned i = 0; i < change->count; i++)
		if (!page_is(away + (size_t)i * PAGE, buffer_source(buffer), change->first + i,
			     buffer->page[change->first + i].generation))
			torture_fail("wrong contents: page %u of buffer %u, moved away",
				     change->first + i, buffer->number);
	do_unmap(change->raw, away, size);
	place_leave((unsigned)place);
	map_kind(change, kind, change_address(change), MAP_FIXED_NOREPLACE);
	buffer_mapped(buffer, change->first, change->count, kind);
	renew(change);
}

/* The buffer goes on elsewhere, with what it holds. */
static void move_elsewhere(struct change *change)
{
	struct buffer *buffer = change->buffer;
	size_t size = (size_t)buffer->pages * PAGE;
	unsigned before = buffer->place;
	int place = place_reserve(buffer, change->random);

	if (place < 0)
		return;
	move_all(change->raw, buffer->address, size, place_address((unsigned)place));
	registrations_end(buffer->address, size, change->name);
	buffer->place = (unsigned)place;
	buffer->address = place_address(buffer->place);
	place_leave(before);
	buffer_check(buffer, 0, size);
}

/* The mapping stays, its pages go elsewhere. */
static void move_pages_only(struct change *change)
{
	size_t size = change_size(change);
	char *away;

	if (!buffer_all(change->buffer, change->first, change->count, ANONYMOUS))
		return;
	away = mremap(change_address(change), size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	if (away == MAP_FAILED) {
		check(errno == EFAULT || errno == EINVAL);
		return;
	}
	ended(change);
	do_unmap(change->raw, away, size);
	buffer_mapped(change->buffer, change->first, change->count, ANONYMOUS);
	renew(change);
}

static void shrink_and_grow(struct change *change)
{
	struct buffer *buffer = change->buffer;
	size_t size = (size_t)buffer->pages * PAGE, less;
	enum kind kind;

	if (buffer->hugetlb)
		return;
	change->count = 1 + below(change->random, buffer->pages / 2);
	change->first = buffer->pages - change->count;
	less = (size_t)change->first * PAGE;
	kind = buffer->page[change->first - 1].kind;
	check(mremap(buffer->address, size, less, 0) == buffer->address);
	ended(change);
	/* From the last page that is left, for the buffer may be several mappings. */
	check(mremap(buffer->address + less - PAGE, PAGE, size - less + PAGE, 0) ==
	      buffer->address + less - PAGE);
	buffer_mapped(buffer, change->first, change->count, kind);
	renew(change);
}

/* ---- discarding ---- */

static void discard(struct change *change)
{
	check(do_advise(change->raw, change_address(change), change_size(change), MADV_DONTNEED) == 0);
	ended(change);
	for (unsigned i = change->first; i < change->first + change->count; i++)
		buffer_mapped(change->buffer, i, 1, change->buffer->page[i].kind);
	renew(change);
}

static void discard_lazily(struct change *change)
{
	if (!buffer_all(change->buffer, change->first, change->count, ANONYMOUS))
		return;
	check(do_advise(change->raw, change_address(change), change_size(change), MADV_FREE) == 0);
	ended(change);
	/* Until they are written, they hold either. */
	buffer_fill(change->buffer, change->first, change->count);
}

/* The file lost these pages. */
static void file_lost(struct change *change, bool copies_too)
{
	struct buffer *buffer = change->buffer;

	for (unsigned i = change->first; i < change->first + change->count; i++) {
		struct page *page = &buffer->page[i];

		page->file_generation = 0;
		if (i >= buffer->pages || (page->kind != SHARED_FILE && page->kind != PRIVATE_FILE))
			continue;
		if (page->kind == SHARED_FILE || copies_too) {
			registrations_end(buffer->address + (size_t)i * PAGE, PAGE, change->name);
			buffer_mapped(buffer, i, 1, page->kind);
		} else if (!page->own) {
			/* The file's, or a copy that was made to register it: write it anew. */
			buffer_fill(buffer, i, 1);
		}
	}
}

static void remove_pages(struct change *change)
{
	if (!buffer_all(change->buffer, change->first, change->count, SHARED_FILE))
		return;
	check(do_advise(change->raw, change_address(change), change_size(change), MADV_REMOVE) == 0);
	file_lost(change, false);
	renew(change);
}

static void punch_hole(struct change *change)
{
	if (change->buffer->hugetlb)
		return;
	check(fallocate(change->buffer->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)change->first * PAGE, (off_t)change_size(change)) == 0);
	file_lost(change, false);
}

static void truncate_file(struct change *change)
{
	struct buffer *buffer = change->buffer;

	check(ftruncate(buffer->fd, (off_t)change->first * PAGE) == 0);
	check(ftruncate(buffer->fd, (off_t)buffer->most * PAGE) == 0);
	change->count = buffer->most - change->first;
	file_lost(change, true);
}

/* ---- what leaves the pages where they are ---- */

static void write_file(struct change *change)
{
	struct buffer *buffer = change->buffer;
	char contents[PAGE] __attribute__((aligned(8)));
	uint32_t generation;

	if (!buffer_all(buffer, change->first, change->count, SHARED_FILE))
		return;
	generation = ++buffer->last_generation;
	for (unsigned i = change->first; i < change->first + change->count; i++) {
		page_write(contents, buffer_source(buffer), i, generation);
		check_count(pwrite(buffer->fd, contents, PAGE, (off_t)i * PAGE), PAGE);
		buffer->page[i].generation = buffer->page[i].file_generation = generation;
	}
}

static void write_only(struct change *change)
{
	buffer_fill(change->buffer, change->first, change->count);
}

static void protect(struct change *change)
{
	struct buffer *buffer = change->buffer;
	size_t size = (size_t)buffer->pages * PAGE;

	if (below(change->random, 3)) {
		do_protect(change->raw, change_address(change), change_size(change),
			   below(change->random, 2) ? PROT_NONE : PROT_READ);
		do_protect(change->raw, change_address(change), change_size(change),
			   PROT_READ | PROT_WRITE);
		if (below(change->random, 2))
			renew(change);
		return;
	}
	/* Until the next change it can be sent from, not received into. */
	do_protect(change->raw, buffer->address, size, PROT_READ);
	buffer->read_only = true;
}

/* What a program may ask of the kernel without another result than speed. */
static void advise(struct change *change)
{
	static const int advices[] = {
		MADV_PAGEOUT, MADV_COLD, MADV_COLLAPSE, MADV_POPULATE_WRITE, MADV_WILLNEED,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE,
	};
	int advice = advices[below(change->random, sizeof(advices) / sizeof(advices[0]))];

	/* Some kernels or kinds of memory refuse. */
	do_advise(change->raw, change_address(change), change_size(change), advice);
	if (advice == MADV_POPULATE_WRITE)
		for (unsigned i = change->first; i < change->first + change->count; i++)
			change->buffer->page[i].own = false;
}

/* ---- fork ---- */

enum { MOST_CHILDREN = 4 };

static pthread_mutex_t children_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t children[MOST_CHILDREN];

/* In the child nothing of the program's may be used but its memory and system calls. */
static void __attribute__((noreturn)) child(const struct change *change, unsigned milliseconds)
{
	const struct buffer *buffer = change->buffer;
	struct timespec pause = { .tv_nsec = milliseconds * 1000000l };
	long status = 0;

	syscall(SYS_nanosleep, &pause, NULL);
	for (unsigned i = 0; i < buffer->pages; i++) {
		const struct page *page = &buffer->page[i];

		/* What the parent does to a file is to be seen here too, sooner or later. */
		if (page->kind != ANONYMOUS)
			continue;
		if (!page_is(buffer->address + (size_t)i * PAGE, buffer_source(buffer), i,
			     page->generation))
			status = 1;
	}
	for (;;)
		syscall(SYS_exit_group, status);
}

static void child_ended(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		torture_fail("wrong contents: a child does not see what was there at the fork");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		torture_fail("a child ended with status %#x", (unsigned)status);
}

/* An entry for a child, its old one reaped; NULL: all of them still live. */
static pid_t *child_entry(bool wait)
{
	pid_t *entry = NULL;

	for (unsigned i = 0; i < MOST_CHILDREN; i++) {
		int status = 0;

		if (children[i]) {
			pid_t ended = waitpid(children[i], &status, wait ? 0 : WNOHANG);

			check(ended >= 0);
			if (!ended)
				continue;
			child_ended(status);
			children[i] = 0;
		}
		entry = &children[i];
	}
	return entry;
}

static void fork_over(struct change *change)
{
	unsigned milliseconds = below(change->random, 3) ? below(change->random, 50) : 0;
	pid_t *entry;
	pid_t pid;

	pthread_mutex_lock(&children_lock);
	entry = child_entry(false);
	if (!entry) {
		pthread_mutex_unlock(&children_lock);
		return;
	}
	pid = change->raw ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
	if (!pid)
		child(change, milliseconds);
	check(pid > 0);
	*entry = pid;
	pthread_mutex_unlock(&children_lock);
	/* The first to write gets the copy, unless the pages are pinned. */
	renew(change);
}

void changes_await_children(void)
{
	pthread_mutex_lock(&children_lock);
	child_entry(true);
	pthread_mutex_unlock(&children_lock);
}

/* ---- the choice ---- */

static struct {
	const char *name;
	void (*make)(struct change *change);
	unsigned weight;
	_Atomic unsigned made;
} table[] = {
	{ "unmapped and mapped", map_again, 6, 0 },
	{ "mapped over", map_over, 6, 0 },
	{ "moved onto", move_onto, 6, 0 },
	{ "moved away", move_away, 3, 0 },
	{ "moved elsewhere", move_elsewhere, 4, 0 },
	{ "only pages moved", move_pages_only, 2, 0 },
	{ "shrunk and grown", shrink_and_grow, 3, 0 },
	{ "discarded", discard, 4, 0 },
	{ "discarded lazily", discard_lazily, 3, 0 },
	{ "removed", remove_pages, 3, 0 },
	{ "hole punched", punch_hole, 3, 0 },
	{ "file truncated", truncate_file, 3, 0 },
	{ "file written", write_file, 2, 0 },
	{ "written", write_only, 2, 0 },
	{ "protected", protect, 4, 0 },
	{ "advised", advise, 3, 0 },
	{ "forked", fork_over, 2, 0 },
};

enum { CHANGES = sizeof(table) / sizeof(table[0]) };

void change_at_random(struct buffer *buffer, uint64_t *random)
{
	struct change change = {
		.buffer = buffer, .random = random, .count = buffer->pages, .raw = below(random, 2),
	};
	unsigned all = 0, chosen;

	if (buffer->read_only) {
		do_protect(change.raw, buffer->address, (size_t)buffer->pages * PAGE,
			   PROT_READ | PROT_WRITE);
		buffer->read_only = false;
	}
	if (!buffer->hugetlb && below(random, 2)) {
		change.first = below(random, buffer->pages);
		change.count = 1 + below(random, buffer->pages - change.first);
	}
	for (unsigned i = 0; i < CHANGES; i++)
		all += table[i].weight;
	chosen = below(random, all);
	for (unsigned i = 0; i < CHANGES; i++) {
		if (chosen < table[i].weight) {
			change.name = table[i].name;
			table[i].make(&change);
			table[i].made++;
			return;
		}
		chosen -= table[i].weight;
	}
}

struct exchange exchange_prepare(struct buffer *buffer, uint64_t *random)
{
	struct change change = { .buffer = buffer, .random = random, .count = buffer->pages };
	struct exchange exchange = { .raw = below(random, 2) };
	enum kind kind;

	if (buffer->hugetlb || buffer->read_only || (buffer->most == LARGE_PAGES && below(random, 4)))
		return exchange;
	if (below(random, 2)) {
		change.first = below(random, buffer->pages);
		change.count = 1 + below(random, buffer->pages - change.first);
	}
	kind = random_kind(&change);
	exchange.address = change_address(&change);
	exchange.size = change_size(&change);
	exchange.fresh = map_kind(&change, kind, NULL, 0);
	buffer_mapped(buffer, change.first, change.count, kind);
	buffer_fill_at(buffer, change.first, change.count, exchange.fresh);
	return exchange;
}

void exchange_now(const struct exchange *exchange)
{
	if (!exchange->fresh)
		return;
	registrations_end(exchange->address, exchange->size, "exchanged");
	check(do_move(exchange->raw, exchange->fresh, exchange->size, exchange->address));
}

void changes_report(const char *who)
{
	printf("%s:", who);
	for (unsigned i = 0; i < CHANGES; i++)
		printf(" %u %s%s", table[i].made, table[i].name, i + 1 < CHANGES ? "," : "\n");
}
