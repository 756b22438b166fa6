// SPDX-License-Identifier: BSD-2-Clause
/*
 * The statistics page: who makes it, who joins it, who removes it.
 *
 * A process counts in private memory until it has a file: a program gets one
 * at its start, a child of fork only when it counts something, since many
 * children end by _exit(), which leaves the file, and few of them connect.
 * The first copy of this code in a process (the preload library's, usually)
 * makes the file; another copy (the provider's) finds it and joins. A file
 * that bears our pid may also be left over from a dead process, or from the
 * program that this one was before exec(): those are replaced. The page says
 * which program image it belongs to, by a value that exec() changes.
 * The directory is open to everybody, so nothing but a file of our own user is
 * ever joined, and the file's blocks are allocated before it is mapped: a full
 * file system must not turn counting into SIGBUS.
 *
 * Order: counters in a file are relaxed. Each stands alone, and a reader wants
 * a sum that was true at some time lately. Those in private memory are in one
 * order with the store of the page that takes them over: none is lost.
 */
#include "statistics.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

#include "log.h"
#include "settings.h"
#include "system.h"
#include "text.h"

#define PAGE_MAGIC	UINT64_C(0x7461747364737731)	/* "1wsdstat" */
#define OWN_SHARDS	24	/* of one thread each, the first ones */
#define SHARED_SHARDS	8	/* for those that come later */
#define PAGE_SHARDS	(OWN_SHARDS + SHARED_SHARDS)
#define CACHE_LINE	64

/* A shard is whole pairs of cache lines, since processors fetch lines in pairs. */
struct statistics_shard {
	_Alignas(2 * CACHE_LINE) _Atomic uint64_t counters[STATISTIC_COUNT];
};

/* The file, whole. Little more than a page per 20 shards. */
struct statistics_page {
	_Atomic uint64_t magic;		/* 0 until the header is complete */
	uint64_t layout;		/* fingerprint of the counters' names and the shards */
	uint64_t image;			/* of the program that made the page */
	uint64_t start_time;
	int32_t pid;
	_Atomic uint32_t owned_shards;	/* given to threads, in all copies of this code */
	char program[64];
	struct statistics_shard shards[PAGE_SHARDS];
};

_Static_assert(sizeof(struct statistics_shard) % (2 * CACHE_LINE) == 0, "shards share no line");
_Static_assert(sizeof(_Atomic uint64_t) == 8, "counters are plain 64-bit words in the file");

static const char *const names[STATISTIC_COUNT] = {
#define STATISTIC_NAME(id, text) [STATISTIC_##id] = #id,
	STATISTICS_LIST(STATISTIC_NAME)
};

static const char *const helps[STATISTIC_COUNT] = {
#define STATISTIC_HELP(id, text) [STATISTIC_##id] = text,
	STATISTICS_LIST(STATISTIC_HELP)
};

/* Counted into until there is a file, and for good where there can be none. */
static struct statistics_page private_page;

/*
 * Where this copy counts. Stored by page_open(), loaded with acquire in page_current(), so that
 * who sees a new page sees its header.
 */
static struct statistics_page *_Atomic current_page = &private_page;

/* In a child: the first that counts asks for the file. */
static atomic_bool page_due;

/* Both are changed by page_open() and, in a child, by statistics_forked(). */
static pid_t page_creator;	/* the process whose end removes the file; 0: not ours to remove */
static char page_path[PATH_MAX];
static char page_path_new[PATH_MAX + 32];	/* until the page is complete */

static pthread_once_t statistics_once = PTHREAD_ONCE_INIT;

__thread uint64_t *statistics_own;

/* Of a thread that has none of its own: 1 + which of the shared shards it uses; 0: none yet. */
static __thread uint32_t shared_shard;

static struct statistics_page *page_current(void)
{
	return atomic_load_explicit(&current_page, memory_order_acquire);
}

/* FNV-1a over what both sides of the file must agree on. */
static uint64_t page_layout(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ PAGE_SHARDS ^ sizeof(struct statistics_page);

	for (int i = 0; i < STATISTIC_COUNT; i++)
		for (size_t at = 0; at <= strlen(names[i]); at++)
			hash = (hash ^ (unsigned char)names[i][at]) * UINT64_C(0x100000001b3);
	return hash;
}

/* The same for all libraries of a program, another after exec(); kept by fork. */
static uint64_t page_image(void)
{
	return getauxval(AT_RANDOM) ^ (getauxval(AT_SYSINFO_EHDR) << 20);
}

int statistics_path(pid_t pid, char *path, size_t size)
{
	const char *directory = setting_text(SETTING_statistics);

	if (strlen(directory) + sizeof("/wsdirect-2147483647.stat") > size)
		return -ENAMETOOLONG;
	text_format(path, size, "%s/wsdirect-%d.stat", directory, (int)pid);
	return 0;
}

static struct statistics_page *page_map(int fd)
{
	int saved = errno;
	struct statistics_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
					    MAP_SHARED, fd, 0);

	errno = saved;
	return page == MAP_FAILED ? NULL : page;
}

/* Gives the file its size, with all of its blocks. */
static int page_allocate(int fd)
{
	static const char zeros[1024];
	int error = (int)system_raw(SYS_fallocate, fd, 0, (off_t)0,
				    (off_t)sizeof(struct statistics_page));

	if (error != -EOPNOTSUPP && error != -ENOSYS)
		return error;
	for (size_t done = 0; done < sizeof(struct statistics_page);) {
		size_t left = sizeof(struct statistics_page) - done;
		ssize_t put = system_write(fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros));

		if (put <= 0)
			return put < 0 ? (int)put : -EIO;
		done += (size_t)put;
	}
	return 0;
}

static void page_fill(struct statistics_page *page, pid_t pid)
{
	struct timespec now = { 0, 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	page->layout = page_layout();
	page->image = page_image();
	page->start_time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	page->pid = pid;
	text_format(page->program, sizeof(page->program), "%s", program_invocation_short_name);
	/* Pairs with the acquire load in page_is_ours(). */
	atomic_store_explicit(&page->magic, PAGE_MAGIC, memory_order_release);
}

/* Whether another copy of this code in this program made the page. */
static bool page_is_ours(struct statistics_page *page, pid_t pid)
{
	return atomic_load_explicit(&page->magic, memory_order_acquire) == PAGE_MAGIC &&
	       page->layout == page_layout() && page->image == page_image() && page->pid == pid;
}

/*
 * Maps a new file; NULL and *error (-EEXIST among others) where that fails. In a child, another
 * copy may be about to do the same: the file gets its name when it can be joined.
 */
static struct statistics_page *page_create(pid_t pid, int *error)
{
	struct statistics_page *page = NULL;
	int fd;

	text_format(page_path_new, sizeof(page_path_new), "%s.%p", page_path, &private_page);
	/* Left by a process that was killed right here. */
	system_unlink(page_path_new);
	fd = system_open(page_path_new, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		*error = fd;
		return NULL;
	}
	*error = page_allocate(fd);
	if (*error == 0) {
		page = page_map(fd);
		*error = page ? 0 : -ENOMEM;
	}
	system_close(fd);
	if (page) {
		page_fill(page, pid);
		*error = (int)system_raw(SYS_linkat, AT_FDCWD, page_path_new, AT_FDCWD, page_path, 0);
	}
	system_unlink(page_path_new);
	if (*error) {
		if (page)
			munmap(page, sizeof(*page));
		return NULL;
	}
	page_creator = pid;
	return page;
}

/* Maps the file that is there, if it is this program's. */
static struct statistics_page *page_join(pid_t pid)
{
	struct statistics_page *page;
	struct stat st;
	int fd = system_open(page_path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);

	if (fd < 0)
		return NULL;
	if (system_fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_size != (off_t)sizeof(*page)) {
		system_close(fd);
		return NULL;
	}
	page = page_map(fd);
	if (page && !page_is_ours(page, pid)) {
		munmap(page, sizeof(*page));
		page = NULL;
	}
	system_close(fd);
	return page;
}

/* Makes or joins the page of process @pid. */
static struct statistics_page *page_obtain(pid_t pid)
{
	struct statistics_page *page;
	int error;

	if (setting_text(SETTING_statistics)[0] == '\0')
		return NULL;
	error = statistics_path(pid, page_path, sizeof(page_path));
	/* Twice: what is not ours is replaced, unless its directory forbids. */
	for (int attempt = 0; error == 0 && attempt < 2; attempt++) {
		page = page_create(pid, &error);
		if (page)
			return page;
		if (error != -EEXIST)
			break;
		page = page_join(pid);
		if (page)
			return page;
		error = system_unlink(page_path);
	}
	log_info("statistics in %s: %s; counting in private memory",
		 setting_text(SETTING_statistics), log_errno_name(error));
	return NULL;
}

/*
 * What was counted in private memory goes to the file. The load of the page follows the addition
 * (or page_open()'s store) in one order for all: of two threads, one of which stores the page and
 * one of which adds to private memory, the later one sees both.
 */
static void private_page_empty(void)
{
	struct statistics_page *page = atomic_load(&current_page);

	if (page == &private_page)
		return;
	for (int i = 0; i < STATISTIC_COUNT; i++) {
		uint64_t early = 0;

		for (int shard = 0; shard < PAGE_SHARDS; shard++)
			early += atomic_exchange(&private_page.shards[shard].counters[i], 0);
		atomic_fetch_add_explicit(&page->shards[OWN_SHARDS].counters[i], early,
					  memory_order_relaxed);
	}
}

/* Async-signal-safe. */
static void page_open(void)
{
	int saved = errno;
	struct statistics_page *page = page_obtain(system_getpid());

	if (page) {
		atomic_store(&current_page, page);
		private_page_empty();
	}
	errno = saved;
}

static void statistics_start(void)
{
	settings_open();
	page_open();
}

void statistics_open(void)
{
	pthread_once(&statistics_once, statistics_start);
}

void statistics_forked(void)
{
	struct statistics_page *page = page_current();
	int saved = errno;

	page_creator = 0;
	/* The page to come starts to give shards away anew. */
	statistics_own = NULL;
	memset(&private_page, 0, sizeof(private_page));
	atomic_store(&current_page, &private_page);
	atomic_store(&page_due, true);
	/*
	 * Private memory takes the place of the parent's page: a signal handler that forks may
	 * have interrupted an addition to it.
	 */
	if (page != &private_page)
		mmap(page, sizeof(*page), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	errno = saved;
}

/* The page stays mapped: other destructors, and other threads, may still count. */
void statistics_close(void)
{
	if (page_creator == 0 || page_creator != system_getpid())
		return;
	if (setting_number(SETTING_statistics_keep) == 0)
		system_unlink(page_path);
	page_creator = 0;
}

/*
 * A signal handler may come in between and do the same. Then a shard is given away for
 * nothing; what was counted there is in the sum.
 */
static uint64_t *take_own(struct statistics_page *page)
{
	uint32_t shard;

	/* The private page is emptied while others may count: nobody's own. */
	if (page == &private_page ||
	    atomic_load_explicit(&page->owned_shards, memory_order_relaxed) >= OWN_SHARDS)
		return NULL;
	shard = atomic_fetch_add_explicit(&page->owned_shards, 1, memory_order_relaxed);
	return shard < OWN_SHARDS ? (uint64_t *)(uintptr_t)page->shards[shard].counters : NULL;
}

void statistic_add_shared(enum statistic which, uint64_t amount)
{
	struct statistics_page *page = page_current();

	if (page == &private_page && atomic_load_explicit(&page_due, memory_order_relaxed) &&
	    atomic_exchange(&page_due, false)) {
		page_open();
		page = page_current();
	}
	statistics_own = take_own(page);
	if (statistics_own) {
		statistic_add(which, amount);
		return;
	}
	if (!shared_shard)
		shared_shard = 1 + (uint32_t)system_gettid() % SHARED_SHARDS;
	atomic_fetch_add(&page->shards[OWN_SHARDS + shared_shard - 1].counters[which], amount);
	if (page == &private_page)
		private_page_empty();
}

uint64_t statistic_read(enum statistic which)
{
	struct statistics_page *page = page_current();
	uint64_t sum = 0;

	for (int shard = 0; shard < PAGE_SHARDS; shard++)
		sum += atomic_load_explicit(&page->shards[shard].counters[which],
					    memory_order_relaxed);
	return sum;
}

const char *statistic_name(enum statistic which)
{
	return names[which];
}

const char *statistic_help(enum statistic which)
{
	return helps[which];
}

/* All of @size at @offset, or -errno; -EINVAL for a file that ends before. */
static int file_read_at(int fd, void *buffer, size_t size, off_t offset)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = system_raw(SYS_pread64, fd, (char *)buffer + done, size - done,
					 offset + (off_t)done);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? (int)got : -EINVAL;
		done += (size_t)got;
	}
	return 0;
}

/* Read, not mapped: whose file it is may cut it short under us at any time. */
static int snapshot_read(int fd, struct statistics_snapshot *snapshot)
{
	struct statistics_page page;
	struct stat st;
	int error;

	if (system_fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	error = file_read_at(fd, &page, offsetof(struct statistics_page, shards), 0);
	if (error)
		return error;
	if (atomic_load_explicit(&page.magic, memory_order_relaxed) != PAGE_MAGIC)
		return -EINVAL;
	if (page.layout != page_layout())
		return -EPROTONOSUPPORT;
	error = file_read_at(fd, page.shards, sizeof(page.shards),
			     offsetof(struct statistics_page, shards));
	if (error)
		return error;

	memset(snapshot, 0, sizeof(*snapshot));
	snapshot->pid = page.pid;
	snapshot->start_time = page.start_time;
	text_format(snapshot->program, sizeof(snapshot->program), "%.*s",
		    (int)sizeof(page.program), page.program);
	for (int shard = 0; shard < PAGE_SHARDS; shard++)
		for (int i = 0; i < STATISTIC_COUNT; i++)
			snapshot->values[i] += atomic_load_explicit(
				&page.shards[shard].counters[i], memory_order_relaxed);
	return 0;
}

int statistics_load(const char *path, struct statistics_snapshot *snapshot)
{
	int fd = system_open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return fd;
	error = snapshot_read(fd, snapshot);
	system_close(fd);
	return error;
}
