// SPDX-License-Identifier: BSD-2-Clause
/*
 * The registration cache over real memory and a real monitor, given by name: each
 * change of a mapping takes the buffer out of the cache before the change returns,
 * and what leaves the mapping as it is leaves the cache alone. The device is a
 * stand-in; that pages are pinned is for other tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "monitor.h"
#include "registration_cache.h"
#include "settings.h"

#define PAGES 8

#define CHECK(condition, ...) do {						\
	if (!(condition)) {							\
		printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);		\
		printf(__VA_ARGS__);						\
		printf("\n");							\
		exit(EXIT_FAILURE);						\
	}									\
} while (0)

static size_t page;
static struct monitor *monitor;
static struct cache *cache;
static struct cache_device *device;
static unsigned made;	/* registrations, ever */
static unsigned live;	/* registrations, now */

static int device_register(void *unused, void *address, size_t length, unsigned access,
			   void **handle)
{
	(void)unused, (void)length, (void)access;
	made++;
	live++;
	*handle = address;
	return 0;
}

static int device_deregister(void *unused, void *handle)
{
	(void)unused, (void)handle;
	live--;
	return 0;
}

static const struct cache_device_ops device_ops = {
	.reg = device_register, .dereg = device_deregister,
};

/* Whether using the buffer took a new registration. */
static bool use_registers(char *buffer, size_t length, unsigned access)
{
	struct cache_region *region;
	unsigned before = made;
	int error = cache_get(cache, device, buffer, length, access, &region);

	CHECK(error == 0, "%s", log_errno_name(error));
	cache_put(cache, region);
	return made != before;
}

static char *buffer_map(void)
{
	char *buffer = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(buffer != MAP_FAILED, "no memory");
	memset(buffer, 1, PAGES * page);
	return buffer;
}

static void map_again(char *at, size_t length)
{
	CHECK(mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
		   MAP_POPULATE, -1, 0) == at, "mmap");
}

/* ---- changes: each leaves all of the buffer mapped, to be used again ---- */

static void unmap(char *buffer)
{
	munmap(buffer, PAGES * page);
	map_again(buffer, PAGES * page);
}

static void unmap_by_system_call(char *buffer)
{
	syscall(SYS_munmap, buffer, PAGES * page);
	map_again(buffer, PAGES * page);
}

static void unmap_one_page(char *buffer)
{
	munmap(buffer + 3 * page, page);
	map_again(buffer + 3 * page, page);
}

static void map_over_one_page(char *buffer)
{
	map_again(buffer + (PAGES - 1) * page, page);
}

static void move_away(char *buffer)
{
	char *elsewhere = mmap(NULL, PAGES * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mremap(buffer, PAGES * page, PAGES * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		     elsewhere) == elsewhere, "mremap");
	map_again(buffer, PAGES * page);
	munmap(elsewhere, PAGES * page);
}

static void discard(char *buffer)
{
	CHECK(madvise(buffer + page, page, MADV_DONTNEED) == 0, "madvise");
}

static void protect(char *buffer)
{
	CHECK(mprotect(buffer, page, PROT_NONE) == 0, "mprotect");
	CHECK(mprotect(buffer, page, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

/* ---- what changes nothing ---- */

static void write_to_it(char *buffer)
{
	memset(buffer, 2, PAGES * page);
}

static void unmap_a_neighbour(char *buffer)
{
	char *other = buffer_map();

	(void)buffer;
	munmap(other, PAGES * page);
}

static void run_a_child(char *buffer)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct cache_region *region;

		memset(buffer, 3, page);
		_exit(cache_get(cache, device, buffer, page, MEMORY_READ, &region) != -EPERM);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "child: status %x", status);
}

static const struct {
	const char *name;
	void (*change)(char *buffer);
	bool leaves;		/* the cache must let go */
	bool module_only;	/* other monitors do not see it */
} changes[] = {
	{ "unmap", unmap, true, false },
	{ "unmap by system call", unmap_by_system_call, true, false },
	{ "unmap one page", unmap_one_page, true, false },
	{ "map over one page", map_over_one_page, true, false },
	{ "move away", move_away, true, false },
	{ "discard", discard, true, false },
	{ "protect", protect, true, true },
	{ "write to it", write_to_it, false, false },
	{ "unmap a neighbour", unmap_a_neighbour, false, false },
	{ "run a child", run_a_child, false, false },
};

/* What the switch does for events; true if there was one. */
static bool read_events(void)
{
	struct monitor_event event;
	bool any = false;

	while (monitor_read(monitor, &event, 1) == 1) {
		cache_release_range(cache, (uintptr_t)event.address, (size_t)event.length);
		any = true;
	}
	return any;
}

static void check_changes(void)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char *buffer = buffer_map();
		bool module = strcmp(monitor->name, "module") == 0;
		bool registers;

		CHECK(use_registers(buffer, PAGES * page, MEMORY_WRITE), "new buffer");
		CHECK(!use_registers(buffer, PAGES * page, MEMORY_WRITE), "%s: before",
		      changes[i].name);
		changes[i].change(buffer);
		registers = use_registers(buffer, PAGES * page, MEMORY_WRITE);
		printf("%s: %s\n", changes[i].name, registers ? "left the cache" : "stayed");
		if (!changes[i].module_only || module)
			CHECK(registers == changes[i].leaves, "%s", changes[i].name);
		munmap(buffer, PAGES * page);
		read_events();
	}
}

static void check_events(void)
{
	char *buffer = buffer_map();
	struct cache_account account;

	use_registers(buffer, PAGES * page, MEMORY_READ);
	munmap(buffer, PAGES * page);
	/* The event may be on its way still: the thread that queues it is not this one. */
	for (int tries = 0; !read_events(); tries++) {
		CHECK(tries < 5000, "no event");
		usleep(1000);
	}
	cache_account(cache, &account);
	CHECK(account.regions == 0 && live == 0, "%zu regions, %u registrations", account.regions,
	      live);
}

/* Rights: what the mapping does not allow is not registered, what it allows is. */
static void check_rights(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	char *text = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0);
	struct cache_region *region;

	CHECK(text != MAP_FAILED, "mmap");
	CHECK(use_registers(text, page, MEMORY_READ), "read-only file");
	CHECK(!use_registers(text, page, MEMORY_READ), "read-only file, again");
	CHECK(cache_get(cache, device, text, page, MEMORY_WRITE, &region) == -EFAULT, "write");
	munmap(text, page);
	CHECK(cache_get(cache, device, text, page, MEMORY_READ, &region) == -EFAULT, "unmapped");
	close(fd);
	read_events();
}

/* More buffers than the cache may hold: old ones go, and their ranges with them. */
static void check_turnover(void)
{
	struct cache_account account;
	char *buffers[100];

	for (int i = 0; i < 100; i++) {
		buffers[i] = buffer_map();
		use_registers(buffers[i], PAGES * page, MEMORY_READ);
	}
	cache_account(cache, &account);
	CHECK(account.regions == 32 && live == 32, "%zu regions, %u registrations",
	      account.regions, live);
	for (int i = 0; i < 100; i++)
		munmap(buffers[i], PAGES * page);
	read_events();
}

int main(int argc, char **argv)
{
	int error;

	if (argc != 2) {
		fprintf(stderr, "usage: memory_cache MONITOR\n");
		return 2;
	}
	settings_open();
	page = (size_t)sysconf(_SC_PAGESIZE);
	error = monitor_open(argv[1], &monitor);
	CHECK(error == 0, "%s", log_errno_name(error));
	CHECK(strcmp(monitor->name, argv[1]) == 0, "got %s", monitor->name);
	CHECK(cache_create(monitor, 32, 1 << 30, &cache) == 0, "cache");
	CHECK(cache_device_add(cache, &device_ops, NULL, &device) == 0, "device");
	check_changes();
	check_events();
	if (strcmp(monitor->name, "module") == 0)
		check_rights();
	check_turnover();
	CHECK(cache_destroy(cache) == 0, "destroy");
	CHECK(live == 0, "%u registrations left", live);
	monitor_close(monitor);
	return EXIT_SUCCESS;
}
