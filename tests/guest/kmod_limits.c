// SPDX-License-Identifier: BSD-2-Clause
/*
 * What one context and one user may make the kernel hold, and that it is accounted for; and
 * that as many events as there can be ranges do not overflow anything.
 */
#include "kmod_common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PARAMETERS	"/sys/module/wsdirect/parameters/"

static void set(const char *parameter, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", parameter);
	CHECK(kmod_write_file(path, value), "%s cannot be set to %s", parameter, value);
}

static int secure(const struct kmod_device *device, char *memory, size_t pages)
{
	struct kmod_range range;

	return kmod_try_secure(device, memory, pages * kmod_page(), KMOD_RW, &range);
}

static void ranges_of_a_context(const void *unused)
{
	struct kmod_device device;
	struct wsdirect_event event;
	size_t page = kmod_page();
	char *memory = kmod_map(8 * page);

	(void)unused;
	set("max_ranges", "4");
	kmod_open(&device);
	set("max_ranges", "65536");
	CHECK(device.hello.max_ranges == 4, "hello says %u", device.hello.max_ranges);
	for (size_t i = 0; i < 4; i++)
		CHECK(!secure(&device, memory + i * page, 1), "range %zu", i);
	CHECK(secure(&device, memory + 4 * page, 1) == -ENOSPC, "a fifth range");
	/* One that fired keeps its slot until its event is read. */
	CHECK(!munmap(memory, page), "munmap");
	CHECK(secure(&device, memory + 4 * page, 1) == -ENOSPC, "instead of a fired one");
	CHECK(kmod_event(&device, &event), "no event");
	CHECK(!secure(&device, memory + 4 * page, 1), "after the event was read");
}

static void bytes_of_a_context(const void *unused)
{
	struct kmod_device device;
	struct kmod_range range;
	size_t page = kmod_page();
	char *memory = kmod_map(16 * page);

	(void)unused;
	set("max_bytes", "32768");
	kmod_open(&device);
	set("max_bytes", "0");
	CHECK(device.hello.max_bytes == 32768, "hello says %llu", device.hello.max_bytes);
	CHECK(secure(&device, memory, 9) == -ENOSPC, "more than allowed at once");
	CHECK(!kmod_try_secure(&device, memory, 5 * page, KMOD_RW, &range), "five pages");
	CHECK(secure(&device, memory, 4) == -ENOSPC, "four more");
	CHECK(!secure(&device, memory, 3), "three more");
	CHECK(!kmod_unsecure(&device, &range), "unsecure");
	CHECK(!secure(&device, memory, 5), "five instead of five");
	CHECK(secure(&device, memory, 1) == -ENOSPC, "one too many");
}

static void bytes_by_default(const void *unused)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * kmod_page();
	struct kmod_device device;

	(void)unused;
	kmod_open(&device);
	CHECK(device.hello.max_bytes == memory, "%llu, the machine has %llu",
	      device.hello.max_bytes, (unsigned long long)memory);
}

/* Another process of @uid secures @pages; its result. */
static int secure_as(uid_t uid, size_t pages)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0, "fork");
	if (!child) {
		struct kmod_device device;

		CHECK(!setuid(uid), "setuid");
		kmod_open(&device);
		_exit(-secure(&device, kmod_map(pages * kmod_page()), pages));
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
	return -WEXITSTATUS(status);
}

static void ranges_of_a_user(const void *unused)
{
	struct kmod_device one, other;
	size_t page = kmod_page();
	char *memory = kmod_map(8 * page);

	(void)unused;
	kmod_open(&one);
	kmod_open(&other);
	set("max_user_ranges", "3");
	CHECK(!secure(&one, memory, 1) && !secure(&other, memory, 1), "two");
	CHECK(!secure(&one, memory, 1), "three");
	CHECK(secure(&one, memory, 1) == -EDQUOT, "four");
	CHECK(secure(&other, memory, 1) == -EDQUOT, "four, in the other context");
	CHECK(secure_as(getuid(), 1) == -EDQUOT, "four, in another process");
	CHECK(!secure_as(12345, 1), "the first of another user");
	kmod_close(&other);
	CHECK(!secure(&one, memory, 1), "after a context was closed");
	set("max_user_ranges", "262144");
}

static void bytes_of_a_user(const void *unused)
{
	struct kmod_device one, other;
	size_t page = kmod_page();
	char *memory = kmod_map(16 * page);

	(void)unused;
	kmod_open(&one);
	kmod_open(&other);
	set("max_user_bytes", "32768");
	CHECK(!secure(&one, memory, 5), "five pages");
	CHECK(secure(&other, memory, 4) == -EDQUOT, "four more");
	CHECK(!secure(&other, memory, 3), "three more");
	CHECK(secure_as(getuid(), 1) == -EDQUOT, "one more, in another process");
	CHECK(!secure_as(12345, 8), "eight of another user");
	/* Lowered below what is held: nothing breaks, nothing more is given. */
	set("max_user_bytes", "4096");
	CHECK(secure(&one, memory, 1) == -EDQUOT, "over a lowered limit");
	set("max_user_bytes", "0");
}

static void parameters_refused(const void *unused)
{
	(void)unused;
	CHECK(!kmod_write_file(PARAMETERS "max_ranges", "0"), "max_ranges=0");
	CHECK(!kmod_write_file(PARAMETERS "max_ranges", "-1"), "max_ranges=-1");
	CHECK(!kmod_write_file(PARAMETERS "max_ranges", "4294967295"), "max_ranges=2^32-1");
	CHECK(!kmod_write_file(PARAMETERS "max_ranges", "many"), "max_ranges=many");
	CHECK(kmod_read_number(PARAMETERS "max_ranges", NULL) == 65536, "max_ranges was changed");
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void full_queue(const void *unused)
{
	static struct wsdirect_event events[512];
	unsigned char *seen;
	struct kmod_device device;
	size_t page = kmod_page();
	uint32_t ranges;
	size_t total = 0;
	double start, secured, fired, done;
	ssize_t got;
	char *memory;

	(void)unused;
	kmod_open(&device);
	ranges = device.hello.max_ranges;
	CHECK(ranges == 65536, "%u ranges by default", ranges);
	seen = calloc(ranges, 1);
	/* Every second page, so that no two ranges touch; none of it ever written. */
	memory = kmod_map_flags(2 * ranges * page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	start = now();
	for (size_t i = 0; i < ranges; i++)
		CHECK(!secure(&device, memory + 2 * i * page, 1), "range %zu", i);
	CHECK(secure(&device, memory, 1) == -ENOSPC, "one too many");
	secured = now();
	CHECK(!munmap(memory, 2 * ranges * page), "munmap");
	fired = now();
	for (size_t slot = 0; slot < ranges; slot++)
		CHECK(!device.words[slot], "slot %zu is not stale", slot);
	while ((got = read(device.fd, events, sizeof(events))) > 0) {
		size_t count = (size_t)got / sizeof(events[0]);

		CHECK((size_t)got % sizeof(events[0]) == 0, "part of a record");
		for (size_t i = 0; i < count; i++) {
			size_t index = (events[i].address - (uintptr_t)memory) / page / 2;

			CHECK(index < ranges && !seen[index]++, "an event twice, or of no range");
			CHECK(events[i].length == page && events[i].cause == KMOD_UNMAP, "event");
		}
		total += count;
	}
	done = now();
	CHECK(got < 0 && errno == EAGAIN, "read: %s", strerror(errno));
	CHECK(total == ranges, "%zu events of %u ranges", total, ranges);
	kmod_expect_counter("ranges", 0);
	printf("     each: secure %.2f us, stale %.2f us, read %.2f us\n",
	       (secured - start) * 1e6 / ranges, (fired - secured) * 1e6 / ranges,
	       (done - fired) * 1e6 / ranges);
}

static void memory_accounted(const void *unused)
{
	static const char stat[] = "/sys/fs/cgroup/kmod_limits/memory.stat";
	const size_t ranges = 20000;
	struct kmod_device device;
	size_t page = kmod_page();
	long before, after;
	char *memory;

	(void)unused;
	kmod_enter_group("kmod_limits");
	kmod_open(&device);
	memory = kmod_map_flags(ranges * page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	before = kmod_read_number("/sys/fs/cgroup/kmod_limits/memory.current", NULL);
	for (size_t i = 0; i < ranges; i++)
		CHECK(!secure(&device, memory + i * page, 1), "range %zu", i);
	after = kmod_read_number("/sys/fs/cgroup/kmod_limits/memory.current", NULL);
	printf("     %ld bytes of the cgroup's memory for each range\n",
	       (after - before) / (long)ranges);
	CHECK(before > 0 && kmod_read_number(stat, "slab ") > 0, "no memory controller");
	CHECK(after - before > (long)(ranges * 100), "not accounted: %ld bytes", after - before);
	CHECK(after - before < (long)(ranges * 256), "more than 256 bytes each");
}

/*
 * Fail the first allocation of opening, of hello, of mapping and of securing, then the second,
 * and so on until none is left to fail. Only a kernel with fault injection can do that.
 */
static void no_memory(const void *unused)
{
	static const char nth_file[] = "/proc/thread-self/fail-nth";
	char *memory = kmod_map(kmod_page());
	int refused = 0;

	(void)unused;
	if (access(nth_file, W_OK)) {
		printf("     this kernel cannot make allocations fail\n");
		return;
	}
	CHECK(kmod_write_file("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"), "failslab");
	if (!access("/sys/kernel/debug/fail_page_alloc", F_OK))
		CHECK(kmod_write_file("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") &&
		      kmod_write_file("/sys/kernel/debug/fail_page_alloc/min-order", "0"),
		      "fail_page_alloc");
	for (int nth = 1; ; nth++) {
		struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
		struct wsdirect_secure request = {
			.address = (uintptr_t)memory, .length = kmod_page(), .access = KMOD_RW,
		};
		char number[16];
		int fail_nth = open(nth_file, O_RDWR | O_CLOEXEC);
		int fd, err = 0;
		ssize_t length;

		snprintf(number, sizeof(number), "%d", nth);
		CHECK(write(fail_nth, number, strlen(number)) > 0, "fail-nth");
		fd = open(WSDIRECT_DEVICE, O_RDWR | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, WSDIRECT_IOC_HELLO, &hello) ||
		    ioctl(fd, WSDIRECT_IOC_SECURE, &request))
			err = errno;
		/* 0: the failure happened; else that many allocations were left to go. */
		length = pread(fail_nth, number, sizeof(number) - 1, 0);
		CHECK(length > 0 && pwrite(fail_nth, "0", 1, 0) == 1, "fail-nth");
		number[length] = 0;
		close(fail_nth);
		CHECK(!err || err == ENOMEM || err == ENFILE, "allocation %d: %s", nth,
		      strerror(err));
		refused += err != 0;
		kmod_expect_counter("ranges", !err);
		if (fd >= 0)
			close(fd);
		kmod_expect_counter("ranges", 0);
		kmod_expect_counter("bytes", 0);
		kmod_expect_counter("contexts", 0);
		if (atoi(number))
			break;
		CHECK(nth < 1000, "the allocations do not end");
	}
	printf("     %d allocations refused\n", refused);
	CHECK(refused > 3, "hardly any allocation failed");
}

static const struct kmod_case cases[] = {
	{ "ranges of a context", ranges_of_a_context, NULL },
	{ "bytes of a context", bytes_of_a_context, NULL },
	{ "bytes of a context by default", bytes_by_default, NULL },
	{ "ranges of a user", ranges_of_a_user, NULL },
	{ "bytes of a user", bytes_of_a_user, NULL },
	{ "parameters refused", parameters_refused, NULL },
	{ "as many events as there can be ranges", full_queue, NULL },
	{ "kernel memory is accounted", memory_accounted, NULL },
	{ "no memory", no_memory, NULL },
};

int main(int argc, char **argv)
{
	int status = KMOD_RUN(argc, argv, cases);

	/* A case that failed half-way must not leave its limits behind. */
	set("max_ranges", "65536");
	set("max_bytes", "0");
	set("max_user_ranges", "262144");
	set("max_user_bytes", "0");
	rmdir("/sys/fs/cgroup/kmod_limits");
	return status;
}
