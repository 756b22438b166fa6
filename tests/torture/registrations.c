// SPDX-License-Identifier: BSD-2-Clause
/*
 * In front of libibverbs: remaps memory while it is registered, and remembers which
 * registrations of buffers are held. See registrations.h.
 *
 * The functions below come before the library's own, for this program exports them.
 */
#include "registrations.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#include "buffer.h"
#include "stream.h"

#undef ibv_reg_mr

#define EXPORT __attribute__((visibility("default")))

enum { MOST_HELD = 1024 };

struct held {
	const struct ibv_mr *region;	/* NULL: this entry is free */
	const char *address;
	size_t size;
	unsigned access;
	double made;
	double ended;			/* when some of its memory went; 0: it is there */
	const char *how;
};

static struct held held[MOST_HELD];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned made, changed;

static __thread struct buffer *transferring;
static __thread bool to_change;

void registrations_transfer_begins(struct buffer *buffer, bool change)
{
	transferring = buffer;
	to_change = change;
}

void registrations_transfer_ends(void)
{
	transferring = NULL;
	to_change = false;
}

/* ---- what is held ---- */

static void hold(struct held new)
{
	struct held *entry = NULL;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST_HELD && !entry; i++)
		if (!held[i].region)
			entry = &held[i];
	if (entry)
		*entry = new;
	pthread_mutex_unlock(&lock);
	if (!entry)
		torture_fail("more than %d registrations are held", MOST_HELD);
	made++;
}

static struct held let_go(const struct ibv_mr *region)
{
	struct held was = { .region = NULL };

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST_HELD; i++)
		if (held[i].region == region) {
			was = held[i];
			held[i].region = NULL;
			break;
		}
	pthread_mutex_unlock(&lock);
	return was;
}

void registrations_end(const void *address, size_t size, const char *how)
{
	const char *start = address;
	double now = stream_now();

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST_HELD; i++)
		if (held[i].region && held[i].address < start + size &&
		    held[i].address + held[i].size > start && held[i].ended == 0) {
			held[i].ended = now;
			held[i].how = how;
		}
	pthread_mutex_unlock(&lock);
}

bool registrations_check(double seconds)
{
	double now = stream_now();
	bool some = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST_HELD; i++) {
		if (!held[i].region || held[i].ended == 0)
			continue;
		some = true;
		if (now - held[i].ended > seconds)
			torture_fail("still registered: %zu bytes at %p (access %#x), of which some "
				     "were %s %.1f s ago, %.3f s after they were registered",
				     held[i].size, (const void *)held[i].address, held[i].access,
				     held[i].how, now - held[i].ended, held[i].ended - held[i].made);
	}
	pthread_mutex_unlock(&lock);
	return some;
}

void registrations_count(unsigned *count, unsigned *all, unsigned *changes)
{
	*count = 0;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST_HELD; i++)
		*count += held[i].region != NULL;
	pthread_mutex_unlock(&lock);
	*all = made;
	*changes = changed;
}

/* ---- changing what is being registered ---- */

/*
 * Other pages with the same contents take the place of those just registered, by system
 * calls that nobody can interpose, and these get a generation that nobody was told of: if
 * they are what is sent, the receiver notices; if they are what is received into, the
 * sender's bytes never appear.
 */
static void change(struct buffer *buffer, char *address, size_t size)
{
	unsigned first = (unsigned)((address - buffer->address) / PAGE);
	unsigned count = (unsigned)(size / PAGE);
	uint32_t poison = ++buffer->last_generation;
	char *fresh = (char *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(fresh != MAP_FAILED);
	memcpy(fresh, address, size);
	for (unsigned i = 0; i < count; i++) {
		struct page *page = &buffer->page[first + i];

		page_write(address + (size_t)i * PAGE, buffer_source(buffer), first + i, poison);
		if (page->kind == SHARED_FILE)
			page->file_generation = poison;
		page->kind = ANONYMOUS;
	}
	/* Last, so that nothing stands between this change and the look that must see it. */
	check(syscall(SYS_mremap, fresh, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, address) ==
	      (long)address);
}

static void registered(const struct ibv_mr *region, char *address, size_t size, unsigned access)
{
	struct buffer *buffer = transferring;

	if (!region || !buffers_contain(address))
		return;
	hold((struct held){
		.region = region, .address = address, .size = size, .access = access,
		.made = stream_now(),
	});
	/* What is registered only to be exposed is so behind the look, in the transfer itself. */
	if (!to_change || !buffer || buffer->hugetlb || buffer->read_only ||
	    access & (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE))
		return;
	if (address < buffer->address ||
	    address + size > buffer->address + (size_t)buffer->pages * PAGE)
		torture_fail("registered beyond the buffer: %zu bytes at %p", size, (void *)address);
	/* Once: a mapping that changes each time it is registered cannot be cached. */
	to_change = false;
	changed++;
	registrations_end(address, size, "changed while they were registered");
	change(buffer, address, size);
}

/* ---- in front of the library ---- */

static void *next(const char *name)
{
	static void *_Atomic library;
	void *function;

	if (!library)
		library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
	check(library != NULL);
	function = dlsym(library, name);
	check(function != NULL);
	return function;
}

#define NEXT(name) ((__typeof__(name) *)(uintptr_t)next(#name))

/* One of the library's two functions calls the other: what it made is dealt with once. */
static __thread bool inside;

EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *address, size_t size, int access)
{
	bool outer = inside;
	struct ibv_mr *region;

	inside = true;
	region = NEXT(ibv_reg_mr)(pd, address, size, access);
	inside = outer;
	if (!outer)
		registered(region, address, size, (unsigned)access);
	return region;
}

EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *address, size_t size,
				       uint64_t iova, unsigned access)
{
	bool outer = inside;
	struct ibv_mr *region;

	inside = true;
	region = NEXT(ibv_reg_mr_iova2)(pd, address, size, iova, access);
	inside = outer;
	if (!outer)
		registered(region, address, size, access);
	return region;
}

EXPORT int ibv_dereg_mr(struct ibv_mr *region)
{
	/* Before: as soon as it is gone, another may get its address. */
	struct held was = let_go(region);
	int error = NEXT(ibv_dereg_mr)(region);

	if (error && was.region)
		hold(was);
	return error;
}
