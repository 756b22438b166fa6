// SPDX-License-Identifier: BSD-2-Clause
/*
 * fork, and copy-on-write: what is registered stays where it is, and stays valid; what is
 * only secured goes stale when a write gives the parent another page.
 */
#include "kmod_pin.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	16
#define FORKS	50

struct parent {
	struct kmod_device device;
	struct kmod_range range;
	char *memory;
	size_t length;
	uint64_t frames[PAGES];
};

static void parent_map(struct parent *parent)
{
	kmod_open(&parent->device);
	parent->length = PAGES * kmod_page();
	parent->memory = kmod_map(parent->length);
}

static void parent_start(struct parent *parent, bool pinned)
{
	parent_map(parent);
	if (pinned)
		parent->range = kmod_secure_and_pin(&parent->device, parent->memory,
						    parent->length, KMOD_RW, NULL);
	else
		parent->range = kmod_secure(&parent->device, parent->memory, parent->length,
					    KMOD_RW);
	kmod_frames(parent->memory, PAGES, parent->frames);
}

/* The range is valid, and rightly so. */
static void parent_unmoved(const struct parent *parent, const char *what)
{
	uint64_t frames[PAGES];

	kmod_expect_kept(&parent->device, &parent->range, what);
	kmod_frames(parent->memory, PAGES, frames);
	CHECK(!memcmp(frames, parent->frames, sizeof(frames)), "%s: the pages are others", what);
}

struct child {
	pid_t process;
	int stop;
};

/* A child that does @work, says so, and lives until it is stopped. */
static struct child child_start(void (*work)(const struct parent *parent),
				const struct parent *parent)
{
	struct child child;
	int ready[2], stop[2];
	char byte;

	CHECK(!pipe(ready) && !pipe(stop), "pipe");
	child.process = fork();
	CHECK(child.process >= 0, "fork: %s", strerror(errno));
	if (!child.process) {
		close(stop[1]);
		if (work)
			work(parent);
		CHECK(write(ready[1], "r", 1) == 1, "write");
		_exit(read(stop[0], &byte, 1) != 0);
	}
	close(stop[0]);
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1, "the child failed");
	close(ready[0]);
	child.stop = stop[1];
	return child;
}

static void child_stop(const struct child *child)
{
	int status;

	close(child->stop);
	CHECK(waitpid(child->process, &status, 0) == child->process && !status, "the child failed");
}

static void write_all(const struct parent *parent)
{
	kmod_fill(parent->memory, parent->length, 9);
}

static void discard_all(const struct parent *parent)
{
	CHECK(!mprotect(parent->memory, parent->length / 2, PROT_NONE), "mprotect");
	CHECK(!munmap(parent->memory, parent->length), "munmap");
}

static void with_child(bool pinned, void (*work)(const struct parent *parent))
{
	struct parent parent;
	struct child child;

	parent_start(&parent, pinned);
	child = child_start(work, &parent);
	parent_unmoved(&parent, "while the child lives");
	child_stop(&child);
	parent_unmoved(&parent, "after the child");
}

static void idle_child(const void *pinned)
{
	with_child(pinned, NULL);
}

static void writing_child(const void *pinned)
{
	with_child(pinned, write_all);
}

static void unmapping_child(const void *pinned)
{
	with_child(pinned, discard_all);
}

static void writing_parent_pinned(const void *unused)
{
	struct parent parent;
	struct child child;

	(void)unused;
	parent_start(&parent, true);
	child = child_start(NULL, &parent);
	write_all(&parent);
	parent_unmoved(&parent, "after the parent wrote");
	child_stop(&child);
	write_all(&parent);
	parent_unmoved(&parent, "after the child");
}

static void writing_parent(const void *unused)
{
	uint64_t frames[PAGES];
	struct parent parent;
	struct child child;

	(void)unused;
	parent_start(&parent, false);
	child = child_start(NULL, &parent);
	parent_unmoved(&parent, "after fork");
	parent.memory[3 * kmod_page()] = 9;
	kmod_frames(parent.memory, PAGES, frames);
	CHECK(frames[3] != parent.frames[3], "the write was expected to copy");
	kmod_expect_stale(&parent.device, &parent.range, KMOD_CLEAR, "after the parent wrote");
	child_stop(&child);
}

static void many_forks(const void *unused)
{
	struct parent parent;

	(void)unused;
	parent_start(&parent, true);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();
		int status;

		if (!child)
			_exit(0);
		write_all(&parent);
		CHECK(waitpid(child, &status, 0) == child, "waitpid");
	}
	parent_unmoved(&parent, "after all forks");
}

static void executing_child(const void *unused)
{
	struct parent parent;
	int status;
	pid_t child;

	(void)unused;
	parent_start(&parent, true);
	child = vfork();
	if (!child) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child && !status, "vfork and exec");
	CHECK(!system("true"), "system");
	parent_unmoved(&parent, "after exec in a child");
}

static atomic_bool writing;

static void *keep_writing(void *argument)
{
	const struct parent *parent = argument;

	while (atomic_load(&writing))
		write_all(parent);
	return NULL;
}

static void forks_beside_writers(const void *unused)
{
	struct parent parent;
	pthread_t thread;

	(void)unused;
	parent_start(&parent, true);
	atomic_store(&writing, true);
	CHECK(!pthread_create(&thread, NULL, keep_writing, &parent), "pthread_create");
	for (int i = 0; i < FORKS; i++) {
		struct child child = child_start(i % 2 ? NULL : write_all, &parent);

		child_stop(&child);
	}
	atomic_store(&writing, false);
	pthread_join(thread, NULL);
	parent_unmoved(&parent, "after all forks");
}

static void shared_memory(const void *unused)
{
	struct parent parent;
	struct child child;

	(void)unused;
	kmod_open(&parent.device);
	parent.length = PAGES * kmod_page();
	parent.memory = kmod_map_flags(parent.length, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1);
	kmod_fill(parent.memory, parent.length, 1);
	parent.range = kmod_secure(&parent.device, parent.memory, parent.length, KMOD_RW);
	kmod_frames(parent.memory, PAGES, parent.frames);
	child = child_start(write_all, &parent);
	write_all(&parent);
	child_stop(&child);
	parent_unmoved(&parent, "shared memory written by both");
}

/* Pinning what was never written breaks copy-on-write: the first look says so. */
static void pin_zero_pages(const void *unused)
{
	struct parent parent;
	volatile char sum = 0;
	int rounds;

	(void)unused;
	kmod_open(&parent.device);
	parent.length = PAGES * kmod_page();
	parent.memory = kmod_map_flags(parent.length, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(parent.memory, parent.length, MADV_NOHUGEPAGE);
	for (int i = 0; i < PAGES; i++)
		sum = (char)(sum + parent.memory[(size_t)i * kmod_page()]);
	parent.range = kmod_secure_and_pin(&parent.device, parent.memory, parent.length, KMOD_RW,
					   &rounds);
	CHECK(rounds == 2, "%d rounds", rounds);
	kmod_frames(parent.memory, PAGES, parent.frames);
	write_all(&parent);
	parent_unmoved(&parent, "written after pinning");
}

static void pin_untouched(const void *unused)
{
	struct parent parent;
	int rounds;

	(void)unused;
	kmod_open(&parent.device);
	parent.length = PAGES * kmod_page();
	parent.memory = kmod_map_flags(parent.length, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(parent.memory, parent.length, MADV_NOHUGEPAGE);
	parent.range = kmod_secure_and_pin(&parent.device, parent.memory, parent.length, KMOD_RW,
					   &rounds);
	CHECK(rounds == 1, "%d rounds", rounds);
	kmod_frames(parent.memory, PAGES, parent.frames);
	write_all(&parent);
	parent_unmoved(&parent, "written after pinning");
}

static void pin_private_file(const void *unused)
{
	struct parent parent;
	volatile char sum = 0;
	int rounds;
	int fd = memfd_create("kmod_fork", MFD_CLOEXEC);

	(void)unused;
	kmod_open(&parent.device);
	parent.length = PAGES * kmod_page();
	CHECK(fd >= 0 && !ftruncate(fd, (off_t)parent.length), "memfd");
	parent.memory = kmod_map_flags(parent.length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	for (int i = 0; i < PAGES; i++)
		sum = (char)(sum + parent.memory[(size_t)i * kmod_page()]);
	parent.range = kmod_secure_and_pin(&parent.device, parent.memory, parent.length, KMOD_RW,
					   &rounds);
	CHECK(rounds == 2, "%d rounds", rounds);
	kmod_frames(parent.memory, PAGES, parent.frames);
	write_all(&parent);
	parent_unmoved(&parent, "written after pinning");
}

/* After fork, pinning for writing what is shared with the child takes a second round. */
static void pin_after_fork(const void *unused)
{
	struct parent parent;
	struct child child;
	int rounds;

	(void)unused;
	parent_map(&parent);
	child = child_start(NULL, &parent);
	parent.range = kmod_secure_and_pin(&parent.device, parent.memory, parent.length, KMOD_RW,
					   &rounds);
	CHECK(rounds == 2, "%d rounds", rounds);
	kmod_frames(parent.memory, PAGES, parent.frames);
	write_all(&parent);
	child_stop(&child);
	parent_unmoved(&parent, "written after pinning");
}

static const char pinned[] = "";

static const struct kmod_case cases[] = {
	{ "a child that does nothing", idle_child, NULL },
	{ "a child that does nothing, pinned", idle_child, pinned },
	{ "a child that writes", writing_child, NULL },
	{ "a child that writes, pinned", writing_child, pinned },
	{ "a child that protects and unmaps", unmapping_child, NULL },
	{ "a child that protects and unmaps, pinned", unmapping_child, pinned },
	{ "a parent that writes", writing_parent, NULL },
	{ "a parent that writes, pinned", writing_parent_pinned, NULL },
	{ "many forks, pinned", many_forks, NULL },
	{ "children that execute, pinned", executing_child, NULL },
	{ "forks beside writing threads, pinned", forks_beside_writers, NULL },
	{ "shared memory", shared_memory, NULL },
	{ "pinning zero pages", pin_zero_pages, NULL },
	{ "pinning untouched memory", pin_untouched, NULL },
	{ "pinning a private file", pin_private_file, NULL },
	{ "pinning after fork", pin_after_fork, NULL },
};

int main(int argc, char **argv)
{
	return KMOD_RUN(argc, argv, cases);
}
