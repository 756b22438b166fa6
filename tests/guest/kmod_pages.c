// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the kernel does to pages by itself: merging, swapping, migrating, balancing. What only
 * is secured goes stale when its page is taken. What is pinned stays where it is: that it
 * does is checked for each, whether the range stays valid too is listed with each.
 *
 * Needs root, a NUMA guest with two nodes, and a zram device to swap to.
 */
#include "kmod_pin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES		64
#define HUGE_SIZE	(2UL << 20)
#define PATIENCE	45	/* seconds that the kernel may take to do something on its own */

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

#define MPOL_BIND	2
#define MPOL_PREFERRED	1
#define MPOL_MF_MOVE	2

struct area {
	struct kmod_device device;
	struct kmod_range range;
	char *memory;
	size_t page;
	size_t length;
	bool pinned;
	bool shared;
	uint64_t frames[PAGES];
};

static void area_map(struct area *area)
{
	area->page = kmod_page();
	area->length = PAGES * area->page;
	if (area->shared) {
		area->memory = kmod_map_flags(area->length, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS, -1);
		kmod_fill(area->memory, area->length, 1);
	} else {
		area->memory = kmod_map(area->length);
	}
	kmod_open(&area->device);
}

static void area_secure(struct area *area)
{
	if (area->pinned)
		area->range = kmod_secure_and_pin(&area->device, area->memory, area->length,
						  KMOD_RW, NULL);
	else
		area->range = kmod_secure(&area->device, area->memory, area->length, KMOD_RW);
	kmod_frames(area->memory, PAGES, area->frames);
}

static bool frames_same(const struct area *area)
{
	uint64_t now[PAGES];

	kmod_frames(area->memory, PAGES, now);
	return !memcmp(now, area->frames, sizeof(now));
}

/* Wait until @happened, giving the kernel time to do it; false if it does not. */
static bool wait_until(bool (*happened)(struct area *area), struct area *area)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };

	for (int i = 0; i < PATIENCE * 20; i++) {
		if (happened(area))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* The rule: other pages, then stale; and what is pinned has the same pages. */
static void judge(struct area *area, bool may_be_stale, const char *what)
{
	bool same = frames_same(area);
	bool valid = kmod_valid(&area->device, &area->range);

	printf("     %s%s: pages %s, range %s\n", what, area->pinned ? ", pinned" : "",
	       same ? "the same" : "others", valid ? "valid" : "stale");
	CHECK(same || !valid, "%s: other pages, but the range is valid", what);
	CHECK(same || !area->pinned, "%s: pinned pages moved", what);
	CHECK(valid || may_be_stale, "%s: stale without need", what);
}

/* Swapping */

static void swap_on(void)
{
	static const char setup[] =
		"grep -q zram0 /proc/swaps || { modprobe zram num_devices=1 && "
		"echo 256M > /sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && "
		"swapon /dev/zram0; }";

	CHECK(!system(setup), "no swap on zram");
}

static void page_out(const void *argument)
{
	struct area area = { .pinned = argument != NULL };

	swap_on();
	area_map(&area);
	area_secure(&area);
	CHECK(!madvise(area.memory, area.length, MADV_PAGEOUT), "madvise: %s", strerror(errno));
	judge(&area, !area.pinned, "MADV_PAGEOUT");
	if (!area.pinned) {
		CHECK(!frames_same(&area), "nothing was swapped out");
		kmod_expect_stale(&area.device, &area.range, KMOD_CLEAR, "MADV_PAGEOUT");
	}
}

static void page_out_shared(const void *argument)
{
	struct area area = { .pinned = argument != NULL, .shared = true };

	swap_on();
	area_map(&area);
	area_secure(&area);
	CHECK(!madvise(area.memory, area.length, MADV_PAGEOUT), "madvise: %s", strerror(errno));
	if (area.pinned)
		/* Unmapped, but kept in the page cache: touching finds the same page. */
		kmod_fill(area.memory, area.length, 2);
	judge(&area, true, "MADV_PAGEOUT of shared memory");
}

static void pressure(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	size_t hog = 64 << 20;
	char *memory;

	swap_on();
	/* A group with less memory than what follows needs: reclaim must choose. */
	kmod_enter_group("kmod_pages");
	CHECK(kmod_write_file("/sys/fs/cgroup/kmod_pages/memory.high", "33554432"), "memory.high");
	area_map(&area);
	area_secure(&area);
	memory = kmod_map_flags(hog, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (int i = 0; i < 2; i++)
		kmod_fill(memory, hog, (unsigned char)i);
	judge(&area, !area.pinned, "memory pressure");
	if (!area.pinned)
		CHECK(!frames_same(&area), "nothing was swapped out");
}

/*
 * A process that is killed because its control group is out of memory: the kernel takes its
 * pages from another task, which may not sleep for anybody, before the process itself exits.
 */
static void killed_for_memory(const void *unused)
{
	static const char group[] = "/sys/fs/cgroup/kmod_pages/";
	char path[64];
	int status;
	pid_t child;

	(void)unused;
	swap_on();
	kmod_enter_group("kmod_pages");
	child = fork();
	CHECK(child >= 0, "fork: %s", strerror(errno));
	if (!child) {
		struct kmod_device device;
		size_t page = kmod_page();
		char *memory = kmod_map_flags(256 << 20, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1);

		kmod_open(&device);
		for (size_t i = 0; i < 100; i++)
			kmod_secure(&device, memory + 2 * i * page, page, KMOD_RW);
		snprintf(path, sizeof(path), "%smemory.swap.max", group);
		CHECK(kmod_write_file(path, "0"), "memory.swap.max");
		snprintf(path, sizeof(path), "%smemory.max", group);
		CHECK(kmod_write_file(path, "25165824"), "memory.max");
		kmod_fill(memory, 256 << 20, 1);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child, "waitpid");
	snprintf(path, sizeof(path), "%smemory.max", group);
	CHECK(kmod_write_file(path, "max"), "memory.max");
	snprintf(path, sizeof(path), "%smemory.swap.max", group);
	CHECK(kmod_write_file(path, "max"), "memory.swap.max");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it was not killed");
	kmod_expect_counter("ranges", 0);
	kmod_expect_counter("contexts", 0);
}

/* Merging */

static long merged_before;

static bool has_scanned(struct area *area)
{
	(void)area;
	return kmod_read_number("/sys/kernel/mm/ksm/full_scans", NULL) > merged_before + 3;
}

static void merge(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	bool scanned;

	area_map(&area);
	for (size_t i = 0; i < area.length; i++)
		area.memory[i] = 7;
	area_secure(&area);
	CHECK(!madvise(area.memory, area.length, MADV_MERGEABLE), "madvise: %s", strerror(errno));
	merged_before = kmod_read_number("/sys/kernel/mm/ksm/full_scans", NULL);
	CHECK(kmod_write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1") &&
	      kmod_write_file("/sys/kernel/mm/ksm/pages_to_scan", "10000") &&
	      kmod_write_file("/sys/kernel/mm/ksm/run", "1"), "ksm");
	scanned = wait_until(has_scanned, &area);
	kmod_write_file("/sys/kernel/mm/ksm/run", "0");
	CHECK(scanned, "KSM did not scan");
	/* KSM notifies before it looks whether a page is pinned. */
	judge(&area, true, "KSM");
	if (!area.pinned) {
		CHECK(!frames_same(&area), "nothing was merged");
		kmod_expect_stale(&area.device, &area.range, KMOD_CLEAR, "KSM");
	}
	kmod_write_file("/sys/kernel/mm/ksm/run", "2");
}

/* Migrating */

static void move_pages_to_other_node(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	int nodes[PAGES], status[PAGES];
	void *pages[PAGES];
	long left;

	area_map(&area);
	area_secure(&area);
	for (int i = 0; i < PAGES; i++)
		pages[i] = area.memory + (size_t)i * area.page;
	CHECK(!syscall(SYS_move_pages, 0, PAGES, pages, NULL, status, 0), "where are they");
	for (int i = 0; i < PAGES; i++)
		nodes[i] = !status[0];
	left = syscall(SYS_move_pages, 0, PAGES, pages, nodes, status, MPOL_MF_MOVE);
	CHECK(left >= 0, "move_pages: %s", strerror(errno));
	/* Migration notifies before it finds that the page is pinned. */
	judge(&area, true, "move_pages");
	if (!area.pinned) {
		CHECK(!frames_same(&area), "nothing was moved");
		kmod_expect_stale(&area.device, &area.range, KMOD_CLEAR, "move_pages");
	}
}

static void bind_to_other_node(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	unsigned long mask;
	int node;

	area_map(&area);
	area_secure(&area);
	CHECK(!syscall(SYS_get_mempolicy, &node, NULL, 0, area.memory, 3), "get_mempolicy");
	mask = node ? 1 : 2;
	CHECK(!syscall(SYS_mbind, area.memory, area.length, MPOL_BIND, &mask, 8, MPOL_MF_MOVE),
	      "mbind: %s", strerror(errno));
	judge(&area, true, "mbind");
	if (!area.pinned)
		CHECK(!frames_same(&area), "nothing was moved");
}

/*
 * A huge page: before 6.6 mbind moves it with the lock of the address space held for writing,
 * as those hold it who only split one, and with the same notification.
 */
static void bind_huge_to_other_node(const void *argument)
{
	struct area area = { .pinned = argument != NULL, .page = kmod_page() };
	unsigned long mask;
	char *memory;
	int node;

	area.length = PAGES * area.page;
	memory = kmod_map_flags(2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area.memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	CHECK(!madvise(area.memory, HUGE_SIZE, MADV_HUGEPAGE), "madvise");
	kmod_fill(area.memory, HUGE_SIZE, 1);
	kmod_open(&area.device);
	area_secure(&area);
	CHECK(!syscall(SYS_get_mempolicy, &node, NULL, 0, area.memory, 3), "get_mempolicy");
	mask = node ? 1 : 2;
	CHECK(!syscall(SYS_mbind, area.memory, HUGE_SIZE, MPOL_BIND, &mask, 8, MPOL_MF_MOVE),
	      "mbind: %s", strerror(errno));
	judge(&area, true, "mbind of a huge page");
	if (!area.pinned)
		CHECK(!frames_same(&area), "nothing was moved");
}

static void compaction(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	size_t filler = 64 << 20;
	char *memory;

	/* Holes for it to work on: every second page of a large area. */
	memory = kmod_map(filler);
	for (size_t offset = 0; offset < filler; offset += 2 * kmod_page())
		madvise(memory + offset, kmod_page(), MADV_DONTNEED);
	area_map(&area);
	area_secure(&area);
	for (int i = 0; i < 3; i++)
		CHECK(kmod_write_file("/proc/sys/vm/compact_memory", "1"), "compact_memory");
	judge(&area, !area.pinned, "compaction");
}

static void soft_offline(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	int err;

	area_map(&area);
	area_secure(&area);
	err = madvise(area.memory, area.page, MADV_SOFT_OFFLINE) ? errno : 0;
	if (err == EINVAL) {
		printf("     this kernel cannot take pages offline\n");
		return;
	}
	judge(&area, true, "MADV_SOFT_OFFLINE");
	if (!area.pinned) {
		CHECK(!err, "madvise: %s", strerror(err));
		kmod_expect_stale(&area.device, &area.range, KMOD_CLEAR, "MADV_SOFT_OFFLINE");
	}
}

/* Balancing */

static void on_node(int node)
{
	char path[64];
	cpu_set_t set;
	long cpu;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	cpu = kmod_read_number(path, NULL);
	CHECK(cpu >= 0, "node %d has no processor", node);
	CPU_ZERO(&set);
	CPU_SET((int)cpu, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

/* Not pinned, beside what is watched, so that there is something to hint at. */
#define BESIDE	(4UL << 20)

static char *beside;
static long migrated_before, kept_before;

/* Run where the memory is not, until pages were moved here, or were left where they are. */
static bool balanced(struct area *area)
{
	for (int i = 0; i < 10; i++) {
		kmod_fill(area->memory, area->length, (unsigned char)i);
		kmod_fill(beside, BESIDE, (unsigned char)i);
	}
	if (kmod_read_number("/proc/vmstat", "numa_pages_migrated") < migrated_before + PAGES)
		return false;
	if (area->pinned)
		return kmod_counter("kept/protection_vma") > kept_before;
	return !kmod_valid(&area->device, &area->range);
}

static void balance_fast(void)
{
	static const char directory[] = "/sys/kernel/debug/sched/numa_balancing";
	char command[512];

	snprintf(command, sizeof(command),
		 "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; "
		 "cd %s && echo 1 > scan_delay_ms && echo 10 > scan_period_min_ms && "
		 "echo 20 > scan_period_max_ms && echo 256 > scan_size_mb && "
		 "echo 1 > /proc/sys/kernel/numa_balancing", directory);
	CHECK(!system(command), "NUMA balancing cannot be turned on");
}

static void balance(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	unsigned long mask = 2;

	balance_fast();
	on_node(0);
	migrated_before = kmod_read_number("/proc/vmstat", "numa_pages_migrated");
	kept_before = kmod_counter("kept/protection_vma");
	CHECK(!syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, 8), "set_mempolicy");
	area_map(&area);
	beside = kmod_map(BESIDE);
	CHECK(!syscall(SYS_set_mempolicy, 0, NULL, 0), "set_mempolicy");
	area_secure(&area);
	if (!wait_until(balanced, &area))
		FAIL("%ld pages moved, %ld notifications without effect",
		     kmod_read_number("/proc/vmstat", "numa_pages_migrated") - migrated_before,
		     kmod_counter("kept/protection_vma") - kept_before);
	judge(&area, !area.pinned, "NUMA balancing");
	printf("     notifications without effect: %ld\n",
	       kmod_counter("kept/protection_vma") - kept_before);
}

static long huge_hinting_before;

static bool balanced_huge(struct area *area)
{
	for (int i = 0; i < 20; i++)
		kmod_fill(area->memory, HUGE_SIZE, (unsigned char)i);
	if (!kmod_valid(&area->device, &area->range))
		return true;
	return area->pinned && kmod_read_number("/proc/vmstat", "numa_huge_pte_updates") >
			       huge_hinting_before;
}

/* A huge page is hinted at though it is pinned; it then cannot be migrated. */
static void balance_huge(const void *argument)
{
	struct area area = { .pinned = argument != NULL };
	unsigned long mask = 2;
	char *memory;

	balance_fast();
	on_node(0);
	area.page = kmod_page();
	area.length = PAGES * area.page;
	huge_hinting_before = kmod_read_number("/proc/vmstat", "numa_huge_pte_updates");
	CHECK(!syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, 8), "set_mempolicy");
	memory = kmod_map_flags(4 * HUGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area.memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	CHECK(!madvise(area.memory, HUGE_SIZE, MADV_HUGEPAGE), "madvise");
	kmod_fill(area.memory, HUGE_SIZE, 1);
	CHECK(!syscall(SYS_set_mempolicy, 0, NULL, 0), "set_mempolicy");
	kmod_open(&area.device);
	area_secure(&area);
	CHECK(wait_until(balanced_huge, &area), "the huge page was not hinted at");
	/* Being hinted at is one thing, the fault that follows another. */
	for (int i = 0; i < 50; i++)
		balanced_huge(&area);
	/* Migration notifies before it finds that the page is pinned. */
	judge(&area, true, "NUMA balancing of a huge page");
}

/* A run of what programs do all the time */

#define BUFFERS		16
#define BUFFER_PAGES	8
#define ROUNDS		30

static const char *const causes[] = {
	"unmap", "clear", "protection_vma", "protection_page", "soft_dirty", "release", "migrate",
	"exclusive", "other",
};

/* Of all causes: notifications that ended a range, or that did not. */
static long notifications(const char *verdict)
{
	long sum = 0;

	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s/%s", verdict, causes[i]);
		sum += kmod_counter(name);
	}
	return sum;
}

static void child_that_writes(char *memory, size_t length)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0, "fork: %s", strerror(errno));
	if (!child) {
		kmod_fill(memory, length, 9);
		_exit(0);
	}
	kmod_fill(memory, length, 8);
	CHECK(waitpid(child, &status, 0) == child && !status, "the child failed");
}

/*
 * Buffers that are registered lie in one mapping with pages that are not: fork, NUMA balancing
 * and changes of the pages between them must not cost any of them its registration.
 */
static void no_needless_invalidation(const void *unused)
{
	size_t page = kmod_page(), stride = (BUFFER_PAGES + 2) * page, length = BUFFERS * stride;
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	uint64_t before[BUFFERS][BUFFER_PAGES], after[BUFFER_PAGES];
	struct kmod_range ranges[BUFFERS];
	struct kmod_device device;
	unsigned long mask = 2;
	long stale, kept, hinted;
	char *memory;

	(void)unused;
	balance_fast();
	on_node(0);
	CHECK(!syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, 8), "set_mempolicy");
	memory = kmod_map(length);
	beside = kmod_map(BESIDE);
	CHECK(!syscall(SYS_set_mempolicy, 0, NULL, 0), "set_mempolicy");
	kmod_open(&device);
	for (int i = 0; i < BUFFERS; i++) {
		ranges[i] = kmod_secure_and_pin(&device, memory + i * stride + page,
						BUFFER_PAGES * page, KMOD_RW, NULL);
		kmod_frames(memory + i * stride + page, BUFFER_PAGES, before[i]);
	}
	stale = notifications("stale");
	kept = notifications("kept");
	hinted = kmod_read_number("/proc/vmstat", "numa_hint_faults ");
	migrated_before = kmod_read_number("/proc/vmstat", "numa_pages_migrated");
	/* Balancing is the kernel's to begin: go on until it has moved what is beside. */
	for (int round = 0; round < ROUNDS ||
	     kmod_read_number("/proc/vmstat", "numa_pages_migrated") < migrated_before + PAGES;
	     round++) {
		char *gap = memory + (size_t)(round % BUFFERS) * stride;

		CHECK(round < ROUNDS + 600, "the kernel does not balance");
		kmod_fill(beside, BESIDE, (unsigned char)round);
		CHECK(!mprotect(gap, page, PROT_NONE), "mprotect");
		CHECK(!mprotect(gap + stride - page, page, PROT_READ), "mprotect");
		CHECK(!munmap(gap, page), "munmap");
		CHECK(mmap(gap, page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == gap, "mmap");
		CHECK(!madvise(gap, page, MADV_DONTNEED), "madvise");
		CHECK(!mprotect(gap + stride - page, page, PROT_READ | PROT_WRITE), "mprotect");
		if (round < ROUNDS)
			child_that_writes(memory, length);
		else
			nanosleep(&pause, NULL);
	}
	stale = notifications("stale") - stale;
	kept = notifications("kept") - kept;
	printf("     %ld notifications: %ld kept, %ld stale; %ld hinting faults\n", stale + kept,
	       kept, stale, kmod_read_number("/proc/vmstat", "numa_hint_faults ") - hinted);
	for (int i = 0; i < BUFFERS; i++) {
		kmod_expect_kept(&device, &ranges[i], "after the run");
		kmod_frames(memory + i * stride + page, BUFFER_PAGES, after);
		CHECK(!memcmp(before[i], after, sizeof(after)), "valid, but the pages are others");
	}
	CHECK(stale == 0, "%ld needless invalidations", stale);
	CHECK(kept >= BUFFERS * ROUNDS, "only %ld notifications", kept);
}

/* Write-tracking */

static void userfaultfd_write_protect(const void *unused)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register registration = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct area area = { 0 };
	struct kmod_range reading;
	int fd;

	(void)unused;
	area_map(&area);
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	CHECK(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "userfaultfd: %s", strerror(errno));
	registration.range.start = (uintptr_t)area.memory;
	registration.range.len = area.length;
	CHECK(!ioctl(fd, UFFDIO_REGISTER, &registration), "register: %s", strerror(errno));
	area_secure(&area);
	reading = kmod_secure(&area.device, area.memory, area.length, KMOD_READ);
	protect.range = registration.range;
	CHECK(!ioctl(fd, UFFDIO_WRITEPROTECT, &protect), "write-protect: %s", strerror(errno));
	kmod_expect_stale(&area.device, &area.range, KMOD_PROTECTION_VMA, "write needed");
	kmod_expect_kept(&area.device, &reading, "read needed");
}

static const char pinned[] = "";

static const struct kmod_case cases[] = {
	{ "swapped out", page_out, NULL },
	{ "swapped out, pinned", page_out, pinned },
	{ "shared memory swapped out", page_out_shared, NULL },
	{ "shared memory swapped out, pinned", page_out_shared, pinned },
	{ "memory pressure", pressure, NULL },
	{ "memory pressure, pinned", pressure, pinned },
	{ "killed for lack of memory", killed_for_memory, NULL },
	{ "merged by KSM", merge, NULL },
	{ "merged by KSM, pinned", merge, pinned },
	{ "move_pages", move_pages_to_other_node, NULL },
	{ "move_pages, pinned", move_pages_to_other_node, pinned },
	{ "mbind", bind_to_other_node, NULL },
	{ "mbind, pinned", bind_to_other_node, pinned },
	{ "mbind of a huge page", bind_huge_to_other_node, NULL },
	{ "mbind of a huge page, pinned", bind_huge_to_other_node, pinned },
	{ "compaction", compaction, NULL },
	{ "compaction, pinned", compaction, pinned },
	{ "soft offline", soft_offline, NULL },
	{ "soft offline, pinned", soft_offline, pinned },
	{ "NUMA balancing", balance, NULL },
	{ "NUMA balancing, pinned", balance, pinned },
	{ "NUMA balancing of a huge page", balance_huge, NULL },
	{ "NUMA balancing of a huge page, pinned", balance_huge, pinned },
	{ "fork, balancing and neighbours", no_needless_invalidation, NULL },
	{ "write-protected by userfaultfd", userfaultfd_write_protect, NULL },
};

/* The guest goes on to other tests, which expect it as it was. */
static const char restore[] =
	"echo 2 >/sys/kernel/mm/ksm/run; echo 0 >/sys/kernel/mm/ksm/run; "
	"! grep -q zram0 /proc/swaps || { swapoff /dev/zram0 && rmmod zram; }; "
	"cd /sys/kernel/debug/sched/numa_balancing && echo 1000 >scan_delay_ms && "
	"echo 60000 >scan_period_max_ms && echo 1000 >scan_period_min_ms; "
	"rmdir /sys/fs/cgroup/kmod_pages";

int main(int argc, char **argv)
{
	int status = KMOD_RUN(argc, argv, cases);

	if (system(restore))
		fprintf(stderr, "the guest's settings were not all restored\n");
	return status;
}
