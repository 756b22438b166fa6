// SPDX-License-Identifier: BSD-2-Clause
/*
 * Helpers of the /dev/wsdirect tests; see kmod_common.h.
 */
#include "kmod_common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CASE_SECONDS	60
#define COUNTER_SECONDS	5

void kmod_fail(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	_exit(1);
}

size_t kmod_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

void kmod_open(struct kmod_device *device)
{
	void *words;

	memset(device, 0, sizeof(*device));
	device->fd = open(WSDIRECT_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	CHECK(device->fd >= 0, "open %s: %s", WSDIRECT_DEVICE, strerror(errno));
	device->hello.abi_version = WSDIRECT_ABI_VERSION;
	CHECK(!ioctl(device->fd, WSDIRECT_IOC_HELLO, &device->hello), "hello: %s", strerror(errno));
	words = mmap(NULL, device->hello.state_bytes, PROT_READ, MAP_SHARED, device->fd, 0);
	CHECK(words != MAP_FAILED, "mmap of the state words: %s", strerror(errno));
	device->words = words;
}

void kmod_close(struct kmod_device *device)
{
	union { const volatile uint64_t *words; void *address; } map = { .words = device->words };

	CHECK(!munmap(map.address, device->hello.state_bytes), "munmap: %s", strerror(errno));
	CHECK(!close(device->fd), "close: %s", strerror(errno));
	device->fd = -1;
}

int kmod_try_secure(const struct kmod_device *device, const void *address, size_t length,
		    uint32_t access, struct kmod_range *range)
{
	struct wsdirect_secure secure = {
		.address = (uintptr_t)address,
		.length = length,
		.access = access,
	};

	if (ioctl(device->fd, WSDIRECT_IOC_SECURE, &secure))
		return -errno;
	range->address = secure.address;
	range->length = secure.length;
	range->sequence = secure.sequence;
	range->slot = secure.slot;
	return 0;
}

struct kmod_range kmod_secure(const struct kmod_device *device, const void *address, size_t length,
			      uint32_t access)
{
	struct kmod_range range;
	int err = kmod_try_secure(device, address, length, access, &range);

	CHECK(!err, "secure %p + %zu: %s", address, length, strerror(-err));
	return range;
}

int kmod_unsecure(const struct kmod_device *device, const struct kmod_range *range)
{
	struct wsdirect_unsecure unsecure = { .slot = range->slot, .sequence = range->sequence };

	return ioctl(device->fd, WSDIRECT_IOC_UNSECURE, &unsecure) ? -errno : 0;
}

bool kmod_valid(const struct kmod_device *device, const struct kmod_range *range)
{
	return device->words[range->slot] == range->sequence;
}

bool kmod_event(const struct kmod_device *device, struct wsdirect_event *event)
{
	ssize_t got = read(device->fd, event, sizeof(*event));

	if (got < 0 && errno == EAGAIN)
		return false;
	CHECK(got == (ssize_t)sizeof(*event), "read of an event: %zd, %s", got, strerror(errno));
	return true;
}

void kmod_expect_stale(const struct kmod_device *device, const struct kmod_range *range,
		       enum kmod_cause cause, const char *what)
{
	struct wsdirect_event event;

	CHECK(!kmod_valid(device, range), "%s: the range is still called valid", what);
	CHECK(device->words[range->slot] == 0, "%s: the state word is not 0", what);
	CHECK(kmod_event(device, &event), "%s: no event", what);
	CHECK(event.address == range->address && event.length == range->length &&
	      event.sequence == range->sequence && event.slot == range->slot,
	      "%s: the event is of another range", what);
	CHECK(event.cause == cause || cause == KMOD_ANY_CAUSE, "%s: cause %u, not %u", what, event.cause, cause);
	CHECK(!kmod_event(device, &event), "%s: a second event", what);
}

void kmod_expect_kept(const struct kmod_device *device, const struct kmod_range *range,
		      const char *what)
{
	struct wsdirect_event event;

	if (!kmod_valid(device, range))
		FAIL("%s: the range went stale, cause %d", what,
		     kmod_event(device, &event) ? (int)event.cause : -1);
	CHECK(!kmod_event(device, &event), "%s: an event of a valid range", what);
}

void *kmod_map_flags(size_t length, int protection, int flags, int fd)
{
	void *address = mmap(NULL, length, protection, flags, fd, 0);

	CHECK(address != MAP_FAILED, "mmap of %zu bytes: %s", length, strerror(errno));
	return address;
}

void kmod_fill(void *address, size_t length, unsigned char value)
{
	size_t page = kmod_page();

	for (size_t offset = 0; offset < length; offset += page)
		((volatile unsigned char *)address)[offset] = value;
}

void *kmod_map(size_t length)
{
	void *address = kmod_map_flags(length, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1);

	CHECK(!madvise(address, length, MADV_NOHUGEPAGE), "madvise: %s", strerror(errno));
	kmod_fill(address, length, 1);
	return address;
}

void kmod_frames(const void *address, size_t pages, uint64_t *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t offset = (off_t)((uintptr_t)address / kmod_page() * sizeof(*frames));
	ssize_t size = (ssize_t)(pages * sizeof(*frames));

	CHECK(fd >= 0, "open pagemap: %s", strerror(errno));
	CHECK(pread(fd, frames, (size_t)size, offset) == size, "pagemap: %s", strerror(errno));
	close(fd);
	for (size_t i = 0; i < pages; i++)
		frames[i] = frames[i] >> 63 ? frames[i] & ((1ULL << 55) - 1) : 0;
}

bool kmod_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text));
	close(fd);
	return done == (ssize_t)strlen(text);
}

long kmod_read_number(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long value = -1;

	if (!file)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), file))
		if (!key || !strncmp(line, key, strlen(key)))
			value = strtol(line + (key ? strlen(key) : 0), NULL, 10);
	fclose(file);
	return value;
}

long kmod_counter(const char *name)
{
	char path[128];
	long value;

	snprintf(path, sizeof(path), "/sys/class/misc/wsdirect/%s", name);
	value = kmod_read_number(path, NULL);
	CHECK(value >= 0, "no counter %s", path);
	return value;
}

void kmod_expect_counter(const char *name, long value)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	long seen = kmod_counter(name);

	/* Releasing at exit happens after the parent could already have seen the exit. */
	for (int i = 0; seen != value && i < COUNTER_SECONDS * 100; i++) {
		nanosleep(&pause, NULL);
		seen = kmod_counter(name);
	}
	CHECK(seen == value, "counter %s is %ld, not %ld", name, seen, value);
}

void kmod_enter_group(const char *name)
{
	char command[512];

	snprintf(command, sizeof(command), "cd /sys/fs/cgroup && { mountpoint -q . || "
		 "mount -t cgroup2 none /sys/fs/cgroup; } && cd /sys/fs/cgroup && "
		 "echo +memory >cgroup.subtree_control && mkdir -p %s && echo %d >%s/cgroup.procs",
		 name, getpid(), name);
	CHECK(!system(command), "control group %s", name);
}

static bool case_wanted(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc <= 1;
}

static bool case_run(const struct kmod_case *one)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0, "fork: %s", strerror(errno));
	if (!child) {
		alarm(CASE_SECONDS);
		one->run(one->argument);
		fflush(NULL);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		CHECK(errno == EINTR, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: killed by signal %d (%s)\n", one->name, WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	return false;
}

int kmod_run(int argc, char **argv, const struct kmod_case *cases, size_t count)
{
	size_t ran = 0, failed = 0;

	for (size_t i = 0; i < count; i++) {
		long ranges;
		bool passed;

		if (!case_wanted(argc, argv, cases[i].name))
			continue;
		ranges = kmod_counter("ranges");
		passed = case_run(&cases[i]);
		printf("%s %s\n", passed ? "ok  " : "FAIL", cases[i].name);
		kmod_expect_counter("ranges", ranges);
		ran++;
		failed += !passed;
	}
	printf("%zu of %zu cases passed\n", ran - failed, ran);
	return failed || !ran;
}
