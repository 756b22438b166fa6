// SPDX-License-Identifier: BSD-2-Clause
/*
 * Huge pages: hugetlb, and transparent ones that are split and collapsed. A huge page that is
 * only mapped by small entries from then on has not moved, and its ranges stay valid.
 *
 * A 6.1 kernel that checks locks complains about hugetlb_split() when a hugetlb mapping is
 * divided, with or without the module.
 */
#include "kmod_pin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define HUGE_SIZE	(2UL << 20)
#define HUGE_PAGES	4

struct area {
	struct kmod_device device;
	struct kmod_range range;
	char *memory;		/* aligned */
	size_t page;
	size_t length;
	int fd;
};

static long huge_bytes(void)
{
	return kmod_read_number("/proc/self/smaps_rollup", "AnonHugePages:") * 1024;
}

/* Aligned private memory in transparent huge pages, the range one small page in the first. */
static void make_transparent(struct area *area, bool pinned)
{
	char *memory;

	CHECK(kmod_write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"), "THP");
	area->page = kmod_page();
	area->length = HUGE_PAGES * HUGE_SIZE;
	memory = kmod_map_flags(area->length + HUGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area->memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	CHECK(!madvise(area->memory, area->length, MADV_HUGEPAGE), "madvise");
	kmod_fill(area->memory, area->length, 1);
	CHECK(huge_bytes() == (long)area->length, "%ld bytes in huge pages", huge_bytes());
	kmod_open(&area->device);
	if (pinned)
		area->range = kmod_secure_and_pin(&area->device, area->memory + 16 * area->page,
						  8 * area->page, KMOD_RW, NULL);
	else
		area->range = kmod_secure(&area->device, area->memory + 16 * area->page,
					  8 * area->page, KMOD_RW);
}

struct thp_change {
	void (*apply)(struct area *area);
	int cause;		/* or -1: kept */
	bool pinned;
	bool splits;
};

static void thp_unmap_neighbour(struct area *area)
{
	CHECK(!munmap(area->memory, area->page), "munmap");
}

static void thp_protect_neighbour(struct area *area)
{
	CHECK(!mprotect(area->memory + 32 * area->page, area->page, PROT_READ), "mprotect");
}

static void thp_unmap_one_page(struct area *area)
{
	CHECK(!munmap(area->memory + 17 * area->page, area->page), "munmap");
}

static void thp_protect_one_page(struct area *area)
{
	CHECK(!mprotect(area->memory + 17 * area->page, area->page, PROT_READ), "mprotect");
}

static void thp_unmap_huge(struct area *area)
{
	CHECK(!munmap(area->memory, HUGE_SIZE), "munmap");
}

static void thp_unmap_next_huge(struct area *area)
{
	CHECK(!munmap(area->memory + HUGE_SIZE, HUGE_SIZE), "munmap");
}

static void thp_move_neighbour(struct area *area)
{
	CHECK(mremap(area->memory, area->page, area->page, MREMAP_MAYMOVE | MREMAP_FIXED,
		     kmod_map(area->page)) != MAP_FAILED, "mremap");
}

static void thp_move_huge(struct area *area)
{
	char *target = kmod_map_flags(2 * HUGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	target = (char *)(((uintptr_t)target + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	CHECK(mremap(area->memory, HUGE_SIZE, HUGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     target) != MAP_FAILED, "mremap");
}

static void thp_advise_neighbour(struct area *area)
{
	CHECK(!madvise(area->memory, area->page, MADV_DONTFORK), "madvise");
}

static void thp_discard_neighbour(struct area *area)
{
	CHECK(!madvise(area->memory, area->page, MADV_DONTNEED), "madvise");
}

static void thp_discard_huge(struct area *area)
{
	CHECK(!madvise(area->memory, HUGE_SIZE, MADV_DONTNEED), "madvise");
}

static void thp_discard_next_huge(struct area *area)
{
	CHECK(!madvise(area->memory + HUGE_SIZE, HUGE_SIZE, MADV_DONTNEED), "madvise");
}

static void thp_fork(struct area *area)
{
	int status;

	(void)area;
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		CHECK(waitpid(child, &status, 0) == child && !status, "the child failed");
	}
}

static void thp_fork_and_write(struct area *area)
{
	int status;
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	kmod_fill(area->memory, area->length, 5);
	kill(child, SIGKILL);
	CHECK(waitpid(child, &status, 0) == child, "waitpid");
}

static void thp_split_pages(struct area *area)
{
	char request[96];

	/* Splits the pages themselves; those that are pinned it leaves alone. */
	snprintf(request, sizeof(request), "%d,%#lx,%#lx", getpid(), (unsigned long)area->memory,
		 (unsigned long)area->memory + area->length);
	CHECK(kmod_write_file("/sys/kernel/debug/split_huge_pages", request), "split_huge_pages");
}

static void thp_collapse_again(struct area *area)
{
	CHECK(!madvise(area->memory, area->length, MADV_COLLAPSE), "madvise");
}

static void run_transparent(const void *argument)
{
	const struct thp_change *change = argument;
	uint64_t before[8], after[8];
	struct area area = { .fd = -1 };
	long huge;

	make_transparent(&area, change->pinned);
	huge = huge_bytes();
	kmod_frames(area.memory + 16 * area.page, 8, before);
	change->apply(&area);
	kmod_frames(area.memory + 16 * area.page, 8, after);
	if (change->cause < 0) {
		kmod_expect_kept(&area.device, &area.range, "after the change");
		CHECK(!memcmp(before, after, sizeof(before)), "valid, but the pages are others");
	} else {
		kmod_expect_stale(&area.device, &area.range, (enum kmod_cause)change->cause,
				  "after the change");
	}
	if (change->splits)
		CHECK(huge_bytes() < huge, "nothing was split");
}

/*
 * Calls that divide a large mapping of small pages notify for a whole huge page around the
 * cut. What is pinned there must not suffer from it.
 */
static void cut_large_mapping(const void *unused)
{
	struct area area;
	char *memory;

	(void)unused;
	area.page = kmod_page();
	memory = kmod_map(4 * HUGE_SIZE);
	area.memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	kmod_open(&area.device);
	area.range = kmod_secure_and_pin(&area.device, area.memory + 16 * area.page,
					 8 * area.page, KMOD_RW, NULL);
	thp_protect_neighbour(&area);
	thp_unmap_neighbour(&area);
	CHECK(!munmap(area.memory + 24 * area.page, area.page), "munmap");
	CHECK(!munmap(area.memory + 15 * area.page, area.page), "munmap");
	CHECK(!madvise(area.memory + 40 * area.page, area.page, MADV_DONTFORK), "madvise");
	kmod_expect_kept(&area.device, &area.range, "cuts around it");
	CHECK(kmod_counter("kept/clear") > 0, "no such notification was sent");
	CHECK(!mprotect(area.memory + 20 * area.page, area.page, PROT_READ), "mprotect");
	kmod_expect_stale(&area.device, &area.range, KMOD_PROTECTION_VMA, "a cut through it");
}

/* Small pages made into a huge one: others stand there afterwards, unless they are pinned. */
static void collapse(const void *argument)
{
	bool pinned = argument != NULL;
	uint64_t before[8], after[8];
	struct area area;
	char *memory;
	int err;

	area.page = kmod_page();
	memory = kmod_map(2 * HUGE_SIZE);
	area.memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	kmod_open(&area.device);
	if (pinned)
		area.range = kmod_secure_and_pin(&area.device, area.memory, 8 * area.page,
						 KMOD_RW, NULL);
	else
		area.range = kmod_secure(&area.device, area.memory, 8 * area.page, KMOD_RW);
	CHECK(!madvise(memory, 2 * HUGE_SIZE, MADV_HUGEPAGE), "madvise");
	kmod_frames(area.memory, 8, before);
	err = madvise(area.memory, HUGE_SIZE, MADV_COLLAPSE) ? errno : 0;
	kmod_frames(area.memory, 8, after);
	if (pinned) {
		CHECK(err, "pinned pages were collapsed");
		kmod_expect_kept(&area.device, &area.range, "refused collapse");
		CHECK(!memcmp(before, after, sizeof(before)), "valid, but the pages are others");
	} else {
		CHECK(!err, "MADV_COLLAPSE: %s", strerror(err));
		CHECK(memcmp(before, after, sizeof(before)), "the collapse moved nothing");
		kmod_expect_stale(&area.device, &area.range, KMOD_CLEAR, "collapse");
	}
}

/* Pinning a huge zero page that was only read breaks copy-on-write. */
static void huge_zero_page(const void *unused)
{
	struct area area;
	char *memory;
	int rounds;

	(void)unused;
	memory = kmod_map_flags(2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area.memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	CHECK(!madvise(area.memory, HUGE_SIZE, MADV_HUGEPAGE), "madvise");
	(void)*(volatile char *)area.memory;
	kmod_open(&area.device);
	area.range = kmod_secure_and_pin(&area.device, area.memory, HUGE_SIZE, KMOD_RW, &rounds);
	CHECK(rounds == 2, "%d rounds", rounds);
	kmod_fill(area.memory, HUGE_SIZE, 3);
	kmod_expect_kept(&area.device, &area.range, "written after pinning");
}

/* Four hugetlb pages; the two in the middle are secured. */
static void make_hugetlb(struct area *area, int flags, bool pinned)
{
	CHECK(kmod_write_file("/proc/sys/vm/nr_hugepages", "24"), "nr_hugepages");
	area->page = HUGE_SIZE;
	area->length = 2 * HUGE_SIZE;
	area->fd = -1;
	if (flags & MAP_SHARED) {
		area->fd = memfd_create("kmod_huge", MFD_CLOEXEC | MFD_HUGETLB);
		CHECK(area->fd >= 0 && !ftruncate(area->fd, (off_t)(HUGE_PAGES * HUGE_SIZE)),
		      "memfd: %s", strerror(errno));
	} else {
		flags |= MAP_ANONYMOUS | MAP_HUGETLB;
	}
	area->memory = kmod_map_flags(HUGE_PAGES * HUGE_SIZE, PROT_READ | PROT_WRITE, flags,
				      area->fd);
	kmod_fill(area->memory, HUGE_PAGES * HUGE_SIZE, 1);
	kmod_open(&area->device);
	if (pinned)
		area->range = kmod_secure_and_pin(&area->device, area->memory + HUGE_SIZE,
						  area->length, KMOD_RW, NULL);
	else
		area->range = kmod_secure(&area->device, area->memory + HUGE_SIZE, area->length,
					  KMOD_RW);
}

struct hugetlb_change {
	int flags;
	void (*apply)(struct area *area);
	int cause;
	bool pinned;
};

static void hugetlb_unmap_one(struct area *area)
{
	CHECK(!munmap(area->memory + 2 * HUGE_SIZE, HUGE_SIZE), "munmap");
}

static void hugetlb_unmap_neighbours(struct area *area)
{
	CHECK(!munmap(area->memory, HUGE_SIZE), "munmap");
	CHECK(!munmap(area->memory + 3 * HUGE_SIZE, HUGE_SIZE), "munmap");
}

static void hugetlb_discard(struct area *area)
{
	CHECK(!madvise(area->memory + HUGE_SIZE, HUGE_SIZE, MADV_DONTNEED), "madvise: %s",
	      strerror(errno));
}

static void hugetlb_discard_neighbour(struct area *area)
{
	CHECK(!madvise(area->memory, HUGE_SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
}

static void hugetlb_protect(struct area *area)
{
	CHECK(!mprotect(area->memory + HUGE_SIZE, HUGE_SIZE, PROT_READ), "mprotect");
}

static void hugetlb_protect_neighbour(struct area *area)
{
	CHECK(!mprotect(area->memory, HUGE_SIZE, PROT_NONE), "mprotect");
}

static void hugetlb_protect_more(struct area *area)
{
	CHECK(!mprotect(area->memory, HUGE_PAGES * HUGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC),
	      "mprotect");
}

static void hugetlb_truncate(struct area *area)
{
	CHECK(!ftruncate(area->fd, (off_t)(2 * HUGE_SIZE)), "ftruncate");
}

static void hugetlb_punch(struct area *area)
{
	CHECK(!fallocate(area->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)HUGE_SIZE,
			 (off_t)HUGE_SIZE), "fallocate");
}

static void hugetlb_punch_neighbour(struct area *area)
{
	CHECK(!fallocate(area->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)HUGE_SIZE), "fallocate");
}

static void hugetlb_move(struct area *area)
{
	char *target = kmod_map_flags(HUGE_SIZE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);

	CHECK(mremap(area->memory + HUGE_SIZE, HUGE_SIZE, HUGE_SIZE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, target) != MAP_FAILED, "mremap: %s",
	      strerror(errno));
}

static void hugetlb_fork(struct area *area)
{
	thp_fork(area);
}

static void run_hugetlb(const void *argument)
{
	const struct hugetlb_change *change = argument;
	struct area area;

	make_hugetlb(&area, change->flags, change->pinned);
	change->apply(&area);
	if (change->cause < 0)
		kmod_expect_kept(&area.device, &area.range, "after the change");
	else
		kmod_expect_stale(&area.device, &area.range, (enum kmod_cause)change->cause,
				  "after the change");
}

#define THP(...)	run_transparent, &(const struct thp_change){ __VA_ARGS__ }
#define HUGETLB(...)	run_hugetlb, &(const struct hugetlb_change){ __VA_ARGS__ }
#define KEPT		(-1)

static const struct kmod_case cases[] = {
	/* Nothing is registered yet, so nothing is lost; what is sent tells no more (see mbind). */
	{ "split by munmap of a neighbour", THP(thp_unmap_neighbour, KMOD_CLEAR, false, true) },
	{ "split by munmap of a neighbour, pinned", THP(thp_unmap_neighbour, KEPT, true, true) },
	{ "split by mprotect of a neighbour", THP(thp_protect_neighbour, KMOD_CLEAR, false, true) },
	{ "split by mprotect of a neighbour, pinned",
	  THP(thp_protect_neighbour, KEPT, true, true) },
	{ "split by mremap of a neighbour", THP(thp_move_neighbour, KEPT, true, true) },
	{ "split by madvise of a neighbour", THP(thp_advise_neighbour, KEPT, true, true) },
	{ "split by munmap of one page of it", THP(thp_unmap_one_page, KMOD_UNMAP, true, true) },
	{ "split by mprotect of one page of it",
	  THP(thp_protect_one_page, KMOD_PROTECTION_VMA, true, true) },
	{ "cuts of a large mapping of small pages", cut_large_mapping, NULL },
	{ "munmap of a huge page", THP(thp_unmap_huge, KMOD_UNMAP, false, false) },
	{ "munmap of the next huge page", THP(thp_unmap_next_huge, KEPT, false, false) },
	{ "mremap of a huge page", THP(thp_move_huge, KMOD_UNMAP, false, false) },
	{ "MADV_DONTNEED of a huge page", THP(thp_discard_huge, KMOD_CLEAR, false, false) },
	{ "MADV_DONTNEED of the next huge page", THP(thp_discard_next_huge, KEPT, false, false) },
	{ "MADV_DONTNEED of a neighbour", THP(thp_discard_neighbour, KMOD_CLEAR, true, true) },
	{ "fork, pinned", THP(thp_fork, KEPT, true, false) },
	{ "fork", THP(thp_fork, KEPT, false, false) },
	{ "fork, and the parent writes, pinned", THP(thp_fork_and_write, KEPT, true, false) },
	{ "fork, and the parent writes", THP(thp_fork_and_write, KMOD_CLEAR, false, false) },
	{ "huge pages split", THP(thp_split_pages, KMOD_CLEAR, false, true) },
	{ "huge pages split, pinned", THP(thp_split_pages, KEPT, true, false) },
	{ "MADV_COLLAPSE of what is huge", THP(thp_collapse_again, KEPT, true, false) },
	{ "MADV_COLLAPSE of small pages", collapse, NULL },
	{ "MADV_COLLAPSE of small pages, pinned", collapse, "" },
	{ "pinning the huge zero page", huge_zero_page, NULL },
	{ "hugetlb: munmap of one page",
	  HUGETLB(MAP_PRIVATE, hugetlb_unmap_one, KMOD_UNMAP, false) },
	{ "hugetlb: munmap of neighbours",
	  HUGETLB(MAP_PRIVATE, hugetlb_unmap_neighbours, KEPT, false) },
	{ "hugetlb: munmap, shared", HUGETLB(MAP_SHARED, hugetlb_unmap_one, KMOD_UNMAP, false) },
	{ "hugetlb: MADV_DONTNEED", HUGETLB(MAP_PRIVATE, hugetlb_discard, KMOD_CLEAR, false) },
	{ "hugetlb: MADV_DONTNEED of a neighbour",
	  HUGETLB(MAP_PRIVATE, hugetlb_discard_neighbour, KEPT, false) },
	{ "hugetlb: mprotect", HUGETLB(MAP_PRIVATE, hugetlb_protect, KMOD_PROTECTION_VMA, false) },
	{ "hugetlb: mprotect, shared",
	  HUGETLB(MAP_SHARED, hugetlb_protect, KMOD_PROTECTION_VMA, false) },
	{ "hugetlb: mprotect of a neighbour",
	  HUGETLB(MAP_PRIVATE, hugetlb_protect_neighbour, KEPT, false) },
	{ "hugetlb: mprotect to more", HUGETLB(MAP_PRIVATE, hugetlb_protect_more, KEPT, false) },
	{ "hugetlb: ftruncate", HUGETLB(MAP_SHARED, hugetlb_truncate, KMOD_ANY_CAUSE, false) },
	{ "hugetlb: hole punched", HUGETLB(MAP_SHARED, hugetlb_punch, KMOD_ANY_CAUSE, false) },
	{ "hugetlb: hole punched before",
	  HUGETLB(MAP_SHARED, hugetlb_punch_neighbour, KEPT, false) },
	{ "hugetlb: mremap", HUGETLB(MAP_PRIVATE, hugetlb_move, KMOD_CLEAR, false) },
	{ "hugetlb: fork, shared", HUGETLB(MAP_SHARED, hugetlb_fork, KEPT, true) },
	{ "hugetlb: fork, private", HUGETLB(MAP_PRIVATE, hugetlb_fork, KMOD_CLEAR, true) },
};

/* The guest goes on to other tests, which expect it as it was. */
static const char restore[] =
	"echo always >/sys/kernel/mm/transparent_hugepage/enabled; echo 0 >/proc/sys/vm/nr_hugepages";

int main(int argc, char **argv)
{
	int status = KMOD_RUN(argc, argv, cases);

	if (system(restore))
		fprintf(stderr, "the guest's settings were not all restored\n");
	return status;
}
