// SPDX-License-Identifier: BSD-2-Clause
/*
 * Changes of a mapping in small pages: each either makes a secured range stale before
 * the system call returns, or must leave it alone. Each by libc and by a raw call.
 */
#include "kmod_common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES	16
#define KEPT	(-1)

/* Eight pages in the middle of sixteen are secured, so that there are neighbours. */
struct area {
	struct kmod_device device;
	struct kmod_range range;
	char *base;		/* the sixteen pages */
	char *start;		/* the secured ones */
	size_t page;
	size_t length;
	int fd;			/* of the file behind it, or -1 */
	bool raw;
};

static void area_secure(struct area *area, uint32_t access)
{
	area->page = kmod_page();
	area->length = PAGES / 2 * area->page;
	area->start = area->base + PAGES / 4 * area->page;
	area->range = kmod_secure(&area->device, area->start, area->length, access);
}

static void make_private(struct area *area)
{
	area->base = kmod_map(PAGES * kmod_page());
	area_secure(area, KMOD_RW);
}

static void make_read_only_right(struct area *area)
{
	area->base = kmod_map(PAGES * kmod_page());
	area_secure(area, KMOD_READ);
}

static void make_file(struct area *area, int flags)
{
	size_t length = PAGES * kmod_page();

	area->fd = memfd_create("kmod_changes", MFD_CLOEXEC);
	CHECK(area->fd >= 0, "memfd_create: %s", strerror(errno));
	CHECK(!ftruncate(area->fd, (off_t)length), "ftruncate: %s", strerror(errno));
	area->base = kmod_map_flags(length, PROT_READ | PROT_WRITE, flags, area->fd);
	kmod_fill(area->base, length, 1);
	area_secure(area, KMOD_RW);
}

static void make_shared_file(struct area *area)
{
	make_file(area, MAP_SHARED);
}

static void make_private_file(struct area *area)
{
	make_file(area, MAP_PRIVATE);
}

static void make_disk_file(struct area *area)
{
	char path[] = "/tmp/kmod_changes.XXXXXX";
	size_t length = PAGES * kmod_page();

	area->fd = mkostemp(path, O_CLOEXEC);
	CHECK(area->fd >= 0, "mkostemp: %s", strerror(errno));
	unlink(path);
	CHECK(!ftruncate(area->fd, (off_t)length), "ftruncate: %s", strerror(errno));
	area->base = kmod_map_flags(length, PROT_READ | PROT_WRITE, MAP_SHARED, area->fd);
	kmod_fill(area->base, length, 1);
	area_secure(area, KMOD_RW);
}

static void make_zero_page(struct area *area)
{
	volatile char sum = 0;

	area->base = kmod_map_flags(PAGES * kmod_page(), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(area->base, PAGES * kmod_page(), MADV_NOHUGEPAGE);
	for (int i = 0; i < PAGES; i++)
		sum = (char)(sum + area->base[(size_t)i * kmod_page()]);
	area_secure(area, KMOD_RW);
}

static void make_sysv(struct area *area)
{
	int id = shmget(IPC_PRIVATE, PAGES * kmod_page(), IPC_CREAT | 0600);

	CHECK(id >= 0, "shmget: %s", strerror(errno));
	area->base = shmat(id, NULL, 0);
	CHECK((intptr_t)area->base != -1, "shmat: %s", strerror(errno));
	shmctl(id, IPC_RMID, NULL);
	kmod_fill(area->base, PAGES * kmod_page(), 1);
	area_secure(area, KMOD_RW);
}

static void make_heap(struct area *area)
{
	/* The kernel's break, not libc's idea of it: nothing here allocates. */
	char *end = (char *)syscall(SYS_brk, 0);
	size_t page = kmod_page();

	end = (char *)(((uintptr_t)end + page - 1) & ~(page - 1));
	CHECK((char *)syscall(SYS_brk, end + PAGES * page) == end + PAGES * page, "brk");
	area->base = end;
	madvise(area->base, PAGES * page, MADV_NOHUGEPAGE);
	kmod_fill(area->base, PAGES * page, 1);
	area_secure(area, KMOD_RW);
}

#define CALL(area, function, number, ...)					\
	((area)->raw ? syscall(number, __VA_ARGS__) : (long)(intptr_t)function(__VA_ARGS__))
#define CALL_OK(...)	CHECK(CALL(__VA_ARGS__) != -1, "the call itself: %s", strerror(errno))

static void unmap_all(struct area *area)
{
	CALL_OK(area, munmap, SYS_munmap, area->start, area->length);
}

static void unmap_one_page(struct area *area)
{
	CALL_OK(area, munmap, SYS_munmap, area->start + 3 * area->page, area->page);
}

static void unmap_neighbours(struct area *area)
{
	CALL_OK(area, munmap, SYS_munmap, area->start - area->page, area->page);
	CALL_OK(area, munmap, SYS_munmap, area->start + area->length, area->page);
}

static void remap_away(struct area *area)
{
	CALL_OK(area, mremap, SYS_mremap, area->start, area->length, 4 * area->length,
		MREMAP_MAYMOVE);
}

static void remap_fixed(struct area *area)
{
	char *target = kmod_map(area->length);

	CALL_OK(area, mremap, SYS_mremap, area->start, area->length, area->length,
		MREMAP_MAYMOVE | MREMAP_FIXED, target);
}

static void remap_part(struct area *area)
{
	char *target = kmod_map(area->page);

	CALL_OK(area, mremap, SYS_mremap, area->start + area->page, area->page, area->page,
		MREMAP_MAYMOVE | MREMAP_FIXED, target);
}

static void remap_onto(struct area *area)
{
	char *source = kmod_map(area->page);

	CALL_OK(area, mremap, SYS_mremap, source, area->page, area->page,
		MREMAP_MAYMOVE | MREMAP_FIXED, area->start + area->page);
}

static void remap_keep_source(struct area *area)
{
	CALL_OK(area, mremap, SYS_mremap, area->start, area->length, area->length,
		MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
}

static void remap_shrink(struct area *area)
{
	CALL_OK(area, mremap, SYS_mremap, area->start, area->length, area->length - area->page, 0);
}

static void remap_grow(struct area *area)
{
	/* Grows where it is, into pages that were given back first. */
	CALL_OK(area, munmap, SYS_munmap, area->start + area->length, area->page);
	CALL_OK(area, mremap, SYS_mremap, area->start, area->length, area->length + area->page, 0);
}

static void map_over(struct area *area)
{
	CALL_OK(area, mmap, SYS_mmap, area->start + 2 * area->page, area->page,
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, (off_t)0);
}

static void map_over_neighbour(struct area *area)
{
	CALL_OK(area, mmap, SYS_mmap, area->start + area->length, area->page,
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, (off_t)0);
}

static void advise_one_page(struct area *area, int advice)
{
	CALL_OK(area, madvise, SYS_madvise, area->start + area->page, area->page, advice);
}

static void advise_dontneed(struct area *area)
{
	advise_one_page(area, MADV_DONTNEED);
}

static void advise_dontneed_neighbour(struct area *area)
{
	CALL_OK(area, madvise, SYS_madvise, area->start - area->page, area->page, MADV_DONTNEED);
}

static void advise_free(struct area *area)
{
	advise_one_page(area, MADV_FREE);
}

static void advise_remove(struct area *area)
{
	advise_one_page(area, MADV_REMOVE);
}

static void advise_cold(struct area *area)
{
	advise_one_page(area, MADV_COLD);
}

static void advise_willneed(struct area *area)
{
	advise_one_page(area, MADV_WILLNEED);
}

static void advise_dontfork(struct area *area)
{
	advise_one_page(area, MADV_DONTFORK);
}

static void advise_mergeable(struct area *area)
{
	advise_one_page(area, MADV_UNMERGEABLE);
}

static void break_shrink(struct area *area)
{
	char *end = area->base + (PAGES - PAGES / 2) * area->page;

	if (area->raw)
		CHECK((char *)syscall(SYS_brk, end) == end, "brk");
	else
		CHECK(!brk(end), "brk: %s", strerror(errno));
}

static void break_grow(struct area *area)
{
	char *end = area->base + (PAGES + 4) * area->page;

	CHECK((char *)syscall(SYS_brk, end) == end, "brk");
}

static void protect(struct area *area, char *address, size_t length, int protection)
{
	CALL_OK(area, mprotect, SYS_mprotect, address, length, protection);
}

static void protect_none(struct area *area)
{
	protect(area, area->start + area->page, area->page, PROT_NONE);
}

static void protect_read_only(struct area *area)
{
	protect(area, area->start, area->length, PROT_READ);
}

static void protect_write_only(struct area *area)
{
	/* On x86 still readable in hardware; the right to read is gone nonetheless. */
	protect(area, area->start, area->length, PROT_WRITE);
}

static void protect_same(struct area *area)
{
	protect(area, area->start, area->length, PROT_READ | PROT_WRITE);
}

static void protect_more(struct area *area)
{
	protect(area, area->start, area->length, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void protect_neighbours(struct area *area)
{
	protect(area, area->base, area->page, PROT_NONE);
	protect(area, area->start - area->page, area->page, PROT_READ);
	protect(area, area->start + area->length, area->page, PROT_NONE);
}

static void protect_key(struct area *area)
{
	long key = syscall(SYS_pkey_alloc, 0, 0);

	/* Without protection keys in the processor there is no such call to make. */
	if (key < 0)
		return;
	CHECK(!syscall(SYS_pkey_mprotect, area->start, area->length, PROT_READ | PROT_WRITE, key),
	      "pkey_mprotect: %s", strerror(errno));
}

static void lock_memory(struct area *area)
{
	CALL_OK(area, mlock, SYS_mlock, area->start, area->length);
	CALL_OK(area, munlock, SYS_munlock, area->start, area->length);
}

static void write_bytes(struct area *area)
{
	kmod_fill(area->base, PAGES * area->page, 2);
}

static void truncate_inside(struct area *area)
{
	CALL_OK(area, ftruncate, SYS_ftruncate, area->fd, (off_t)(6 * area->page));
}

static void truncate_behind(struct area *area)
{
	CALL_OK(area, ftruncate, SYS_ftruncate, area->fd, (off_t)((PAGES - 2) * area->page));
}

static void truncate_longer(struct area *area)
{
	CALL_OK(area, ftruncate, SYS_ftruncate, area->fd, (off_t)(2 * PAGES * area->page));
}

static void punch(struct area *area, size_t first_page)
{
	CALL_OK(area, fallocate, SYS_fallocate, area->fd,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first_page * area->page),
		(off_t)area->page);
}

static void punch_inside(struct area *area)
{
	punch(area, 6);
}

static void punch_before(struct area *area)
{
	punch(area, 1);
}

static void sync_file(struct area *area)
{
	CALL_OK(area, msync, SYS_msync, area->base, PAGES * area->page, MS_SYNC);
}

static void write_file(struct area *area)
{
	char byte = 3;

	CHECK(pwrite(area->fd, &byte, 1, (off_t)(6 * area->page)) == 1, "pwrite");
}

static void detach(struct area *area)
{
	CALL_OK(area, shmdt, SYS_shmdt, area->base);
}

static void clear_soft_dirty(struct area *area)
{
	(void)area;
	CHECK(kmod_write_file("/proc/self/clear_refs", "4"), "clear_refs");
}

static void clear_referenced(struct area *area)
{
	(void)area;
	CHECK(kmod_write_file("/proc/self/clear_refs", "1"), "clear_refs");
}

struct change {
	const char *name;
	void (*make)(struct area *area);
	void (*apply)(struct area *area);
	int cause;	/* enum kmod_cause, or KEPT */
};

static const struct change changes[] = {
	{ "munmap", make_private, unmap_all, KMOD_UNMAP },
	{ "munmap of one page in the middle", make_private, unmap_one_page, KMOD_UNMAP },
	{ "munmap of both neighbours", make_private, unmap_neighbours, KEPT },
	{ "munmap of a shared file", make_shared_file, unmap_one_page, KMOD_UNMAP },
	{ "mremap that moves", make_private, remap_away, KMOD_UNMAP },
	{ "mremap to a fixed place", make_private, remap_fixed, KMOD_UNMAP },
	{ "mremap of one page of it", make_private, remap_part, KMOD_UNMAP },
	{ "mremap onto it", make_private, remap_onto, KMOD_UNMAP },
	{ "mremap that keeps the source mapped", make_private, remap_keep_source, KMOD_UNMAP },
	{ "mremap that shrinks", make_private, remap_shrink, KMOD_UNMAP },
	{ "mremap that grows in place", make_private, remap_grow, KEPT },
	{ "mmap MAP_FIXED over one page", make_private, map_over, KMOD_UNMAP },
	{ "mmap MAP_FIXED over a neighbour", make_private, map_over_neighbour, KEPT },
	{ "MADV_DONTNEED", make_private, advise_dontneed, KMOD_CLEAR },
	{ "MADV_DONTNEED of a neighbour", make_private, advise_dontneed_neighbour, KEPT },
	{ "MADV_DONTNEED of a private file", make_private_file, advise_dontneed, KMOD_CLEAR },
	{ "MADV_DONTNEED of a shared file", make_shared_file, advise_dontneed, KMOD_CLEAR },
	{ "MADV_FREE", make_private, advise_free, KMOD_CLEAR },
	{ "MADV_REMOVE", make_shared_file, advise_remove, KMOD_CLEAR },
	{ "MADV_COLD", make_private, advise_cold, KEPT },
	{ "MADV_WILLNEED", make_private, advise_willneed, KEPT },
	{ "MADV_DONTFORK", make_private, advise_dontfork, KEPT },
	{ "MADV_UNMERGEABLE where nothing was merged", make_private, advise_mergeable, KEPT },
	{ "brk that shrinks", make_heap, break_shrink, KMOD_UNMAP },
	{ "brk that grows", make_heap, break_grow, KEPT },
	{ "mprotect to nothing", make_private, protect_none, KMOD_PROTECTION_VMA },
	{ "mprotect to read-only, write needed", make_private, protect_read_only,
	  KMOD_PROTECTION_VMA },
	{ "mprotect to read-only, read needed", make_read_only_right, protect_read_only, KEPT },
	{ "mprotect to nothing, read needed", make_read_only_right, protect_none,
	  KMOD_PROTECTION_VMA },
	{ "mprotect to write-only", make_private, protect_write_only, KMOD_PROTECTION_VMA },
	{ "mprotect of a shared file to read-only", make_shared_file, protect_read_only,
	  KMOD_PROTECTION_VMA },
	{ "mprotect to the same", make_private, protect_same, KEPT },
	{ "mprotect to more", make_private, protect_more, KEPT },
	{ "mprotect of both neighbours", make_private, protect_neighbours, KEPT },
	{ "pkey_mprotect that keeps the rights", make_private, protect_key, KEPT },
	{ "mlock and munlock", make_private, lock_memory, KEPT },
	{ "writing to it", make_private, write_bytes, KEPT },
	{ "writing to a zero page", make_zero_page, write_bytes, KMOD_CLEAR },
	{ "ftruncate inside it", make_shared_file, truncate_inside, KMOD_CLEAR },
	{ "ftruncate inside it, private", make_private_file, truncate_inside, KMOD_CLEAR },
	{ "ftruncate inside it, on disk", make_disk_file, truncate_inside, KMOD_CLEAR },
	{ "ftruncate behind it", make_shared_file, truncate_behind, KEPT },
	{ "ftruncate to longer", make_shared_file, truncate_longer, KEPT },
	{ "a hole punched into it", make_shared_file, punch_inside, KMOD_CLEAR },
	{ "a hole punched before it", make_shared_file, punch_before, KEPT },
	{ "msync", make_shared_file, sync_file, KEPT },
	{ "msync on disk", make_disk_file, sync_file, KEPT },
	{ "writing to the file", make_shared_file, write_file, KEPT },
	{ "shmdt", make_sysv, detach, KMOD_UNMAP },
	{ "soft-dirty bits cleared", make_private, clear_soft_dirty, KEPT },
	{ "referenced bits cleared", make_private, clear_referenced, KEPT },
};

struct way {
	const struct change *change;
	bool raw;
	char name[96];
};

static void run_way(const void *argument)
{
	const struct way *way = argument;
	const struct change *change = way->change;
	struct area area = { .fd = -1, .raw = way->raw };

	kmod_open(&area.device);
	change->make(&area);
	kmod_expect_kept(&area.device, &area.range, "before the change");
	change->apply(&area);
	if (change->cause == KEPT)
		kmod_expect_kept(&area.device, &area.range, change->name);
	else
		kmod_expect_stale(&area.device, &area.range, (enum kmod_cause)change->cause,
				  change->name);
}

#define CHANGES	(sizeof(changes) / sizeof(changes[0]))

int main(int argc, char **argv)
{
	static struct kmod_case cases[2 * CHANGES];
	static struct way ways[2 * CHANGES];

	for (size_t i = 0; i < 2 * CHANGES; i++) {
		ways[i].change = &changes[i / 2];
		ways[i].raw = i % 2;
		snprintf(ways[i].name, sizeof(ways[i].name), "%s%s", ways[i].change->name,
			 ways[i].raw ? ", raw call" : "");
		cases[i] = (struct kmod_case){ ways[i].name, run_way, &ways[i] };
	}
	return KMOD_RUN(argc, argv, cases);
}
