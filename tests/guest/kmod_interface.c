// SPDX-License-Identifier: BSD-2-Clause
/*
 * The interface of /dev/wsdirect: every errno its header names, what the state words and
 * the events look like, who may use a context, and what becomes of ranges at the end.
 */
#include "kmod_common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int secure_errno(const struct kmod_device *device, uint64_t address, uint64_t length,
			uint32_t access)
{
	struct wsdirect_secure secure = {
		.address = address, .length = length, .access = access,
	};

	return ioctl(device->fd, WSDIRECT_IOC_SECURE, &secure) ? errno : 0;
}

static int hello_errno(int fd, struct wsdirect_hello *hello)
{
	return ioctl(fd, WSDIRECT_IOC_HELLO, hello) ? errno : 0;
}

static void mode(const void *unused)
{
	struct stat status;

	(void)unused;
	CHECK(!stat(WSDIRECT_DEVICE, &status), "stat: %s", strerror(errno));
	CHECK((status.st_mode & 07777) == 0666 && S_ISCHR(status.st_mode),
	      "mode is %o", status.st_mode);
}

static void hello(const void *unused)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
	struct wsdirect_hello again = { .abi_version = WSDIRECT_ABI_VERSION };
	int fd = open(WSDIRECT_DEVICE, O_RDWR);

	(void)unused;
	CHECK(!hello_errno(fd, &hello), "hello: %s", strerror(errno));
	CHECK(hello.abi_version == WSDIRECT_ABI_VERSION, "version %u", hello.abi_version);
	CHECK(hello.max_ranges > 0 && hello.max_bytes > 0, "no limits");
	CHECK(hello.state_bytes >= hello.max_ranges * sizeof(uint64_t) &&
	      hello.state_bytes % kmod_page() == 0, "state_bytes %llu", hello.state_bytes);
	CHECK(!hello_errno(fd, &again), "second hello: %s", strerror(errno));
	CHECK(!memcmp(&hello, &again, sizeof(hello)), "a second hello gives another answer");
}

static void hello_refused(const void *unused)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION + 1 };
	int fd = open(WSDIRECT_DEVICE, O_RDWR);

	(void)unused;
	CHECK(hello_errno(fd, &hello) == EPROTONOSUPPORT, "another version: %s", strerror(errno));
	CHECK(hello.abi_version == WSDIRECT_ABI_VERSION, "version told: %u", hello.abi_version);
	hello = (struct wsdirect_hello){ .abi_version = WSDIRECT_ABI_VERSION, .flags = 1 };
	CHECK(hello_errno(fd, &hello) == EINVAL, "flags: %s", strerror(errno));
	hello = (struct wsdirect_hello){ .abi_version = WSDIRECT_ABI_VERSION, .reserved = 1 };
	CHECK(hello_errno(fd, &hello) == EINVAL, "reserved: %s", strerror(errno));
	CHECK(ioctl(fd, WSDIRECT_IOC_HELLO, (void *)8) && errno == EFAULT, "bad pointer");
}

static void before_hello(const void *unused)
{
	struct kmod_device device = { .fd = open(WSDIRECT_DEVICE, O_RDWR | O_NONBLOCK) };
	struct wsdirect_unsecure unsecure = { .slot = 0 };
	char *memory = kmod_map(kmod_page());
	struct wsdirect_event event;

	(void)unused;
	CHECK(secure_errno(&device, (uintptr_t)memory, kmod_page(), KMOD_RW) == EPROTO, "secure");
	CHECK(ioctl(device.fd, WSDIRECT_IOC_UNSECURE, &unsecure) && errno == EPROTO, "unsecure");
	CHECK(read(device.fd, &event, sizeof(event)) < 0 && errno == EPROTO, "read");
	CHECK(mmap(NULL, kmod_page(), PROT_READ, MAP_SHARED, device.fd, 0) == MAP_FAILED &&
	      errno == EPROTO, "mmap");
}

static void unknown_requests(const void *unused)
{
	struct kmod_device device;

	(void)unused;
	kmod_open(&device);
	for (unsigned int number = 0; number < 256; number++) {
		if (number >= 0x40 && number <= 0x42)
			continue;
		CHECK(ioctl(device.fd, _IOWR('W', number, struct wsdirect_secure), &device) &&
		      errno == ENOTTY, "request %u: %s", number, strerror(errno));
	}
	/* The right number with another size is another request. */
	CHECK(ioctl(device.fd, _IOWR('W', 0x41, uint32_t), &device) && errno == ENOTTY, "size");
	CHECK(ioctl(device.fd, FIONREAD, &device) && errno == ENOTTY, "FIONREAD");
}

static void secure_arguments(const void *unused)
{
	struct kmod_device device;
	size_t page = kmod_page();
	uint64_t at;

	(void)unused;
	kmod_open(&device);
	at = (uintptr_t)kmod_map(4 * page);
	CHECK(secure_errno(&device, at, 0, KMOD_RW) == EINVAL, "no length");
	CHECK(secure_errno(&device, at + 1, page, KMOD_RW) == EINVAL, "address not aligned");
	CHECK(secure_errno(&device, at, page + 1, KMOD_RW) == EINVAL, "length not aligned");
	CHECK(secure_errno(&device, at, page, 0) == EINVAL, "no access");
	CHECK(secure_errno(&device, at, page, 4) == EINVAL, "unknown access");
	CHECK(secure_errno(&device, at, page, 7) == EINVAL, "unknown access with known");
	CHECK(secure_errno(&device, at, 0 - at, KMOD_RW) == EFAULT, "to the end of all addresses");
	CHECK(secure_errno(&device, at, 0 - at + page, KMOD_RW) == EFAULT, "wrapping around");
	CHECK(secure_errno(&device, 1ULL << 63, page, KMOD_RW) == EFAULT, "kernel addresses");
	CHECK(secure_errno(&device, 1 << 20, 1ULL << 46, KMOD_RW) == ENOSPC, "more than max_bytes");
	CHECK(ioctl(device.fd, WSDIRECT_IOC_SECURE, (void *)8) && errno == EFAULT, "bad pointer");
	CHECK(ioctl(device.fd, WSDIRECT_IOC_UNSECURE, (void *)8) && errno == EFAULT, "bad pointer");
	kmod_expect_counter("ranges", 0);
}

static void secure_result_unwritable(const void *unused)
{
	struct wsdirect_secure *request;
	struct kmod_device device;
	char *memory = kmod_map(kmod_page());

	(void)unused;
	kmod_open(&device);
	request = kmod_map_flags(kmod_page(), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	request->address = (uintptr_t)memory;
	request->length = kmod_page();
	request->access = KMOD_RW;
	CHECK(!mprotect(request, kmod_page(), PROT_READ), "mprotect");
	CHECK(ioctl(device.fd, WSDIRECT_IOC_SECURE, request) && errno == EFAULT, "%s",
	      strerror(errno));
	kmod_expect_counter("ranges", 0);
}

static void secure_unmapped(const void *unused)
{
	struct kmod_device device;
	size_t page = kmod_page();
	char *memory = kmod_map(9 * page);

	(void)unused;
	kmod_open(&device);
	CHECK(!munmap(memory + 2 * page, page) && !munmap(memory + 8 * page, page), "munmap");
	CHECK(!mprotect(memory + 5 * page, page, PROT_READ), "mprotect");
	CHECK(secure_errno(&device, (uintptr_t)memory + 2 * page, page, KMOD_READ) == EFAULT,
	      "a hole");
	CHECK(secure_errno(&device, (uintptr_t)memory, 4 * page, KMOD_READ) == EFAULT,
	      "around a hole");
	CHECK(secure_errno(&device, (uintptr_t)memory + 6 * page, 4 * page, KMOD_READ) == EFAULT,
	      "over the end");
	CHECK(secure_errno(&device, (uintptr_t)memory + 4 * page, 4 * page, KMOD_RW) == EFAULT,
	      "a read-only page, write needed");
	CHECK(secure_errno(&device, (uintptr_t)memory + 4 * page, 4 * page, KMOD_READ) == 0,
	      "a read-only page, read needed: %s", strerror(errno));
	CHECK(secure_errno(&device, 0, page, KMOD_READ) == EFAULT, "page 0");
}

static void secure_device_memory(const void *unused)
{
	unsigned long start = 0, end;
	struct kmod_device device;
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "re");

	(void)unused;
	kmod_open(&device);
	/* Every process has a mapping with VM_IO and VM_PFNMAP: the data of the vDSO. */
	CHECK(maps, "maps: %s", strerror(errno));
	while (!start && fgets(line, sizeof(line), maps))
		if (!strstr(line, "[vvar]") || sscanf(line, "%lx-%lx", &start, &end) != 2)
			start = 0;
	fclose(maps);
	CHECK(start, "no [vvar] among the mappings");
	CHECK(secure_errno(&device, start, kmod_page(), KMOD_READ) == EFAULT, "%s",
	      strerror(errno));
}

static void unsecure(const void *unused)
{
	struct wsdirect_unsecure request;
	struct kmod_range range, other;
	struct wsdirect_event event;
	struct kmod_device device;
	char *memory = kmod_map(kmod_page());

	(void)unused;
	kmod_open(&device);
	range = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(kmod_valid(&device, &range), "not valid after secure");

	request = (struct wsdirect_unsecure){ .slot = range.slot, .reserved = 1,
					      .sequence = range.sequence };
	CHECK(ioctl(device.fd, WSDIRECT_IOC_UNSECURE, &request) && errno == EINVAL, "reserved");
	other = range;
	other.sequence++;
	CHECK(kmod_unsecure(&device, &other) == -ENOENT, "another sequence");
	other = range;
	other.slot++;
	CHECK(kmod_unsecure(&device, &other) == -ENOENT, "another slot");
	other.slot = UINT32_MAX;
	CHECK(kmod_unsecure(&device, &other) == -ENOENT, "the last slot of all");

	CHECK(kmod_unsecure(&device, &range) == 0, "unsecure");
	CHECK(!kmod_valid(&device, &range), "valid after unsecure");
	CHECK(kmod_unsecure(&device, &range) == -ENOENT, "twice");
	CHECK(!munmap(memory, kmod_page()), "munmap");
	CHECK(!kmod_event(&device, &event), "an event of an unsecured range");
	kmod_expect_counter("ranges", 0);
}

static void unsecure_fired(const void *unused)
{
	struct kmod_device device;
	struct kmod_range range;
	char *memory = kmod_map(kmod_page());

	(void)unused;
	kmod_open(&device);
	range = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(!munmap(memory, kmod_page()), "munmap");
	CHECK(kmod_unsecure(&device, &range) == -ENOENT, "before its event was read");
	kmod_expect_stale(&device, &range, KMOD_UNMAP, "munmap");
	CHECK(kmod_unsecure(&device, &range) == -ENOENT, "after its event was read");
}

static void slot_reuse(const void *unused)
{
	struct kmod_device device;
	struct kmod_range first, second;
	char *memory = kmod_map(kmod_page());

	(void)unused;
	kmod_open(&device);
	first = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(!kmod_unsecure(&device, &first), "unsecure");
	second = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(second.slot == first.slot, "slot %u was not reused", first.slot);
	CHECK(!kmod_valid(&device, &first), "the old range looks valid in a reused slot");
	CHECK(kmod_valid(&device, &second), "the new range is not valid");
	CHECK(kmod_unsecure(&device, &first) == -ENOENT, "unsecure by the old sequence");
}

static void overlapping(const void *unused)
{
	struct kmod_device device;
	struct kmod_range ranges[3];
	struct wsdirect_event events[4];
	size_t page = kmod_page();
	char *memory = kmod_map(4 * page);

	(void)unused;
	kmod_open(&device);
	ranges[0] = kmod_secure(&device, memory, 4 * page, KMOD_RW);
	ranges[1] = kmod_secure(&device, memory + page, page, KMOD_READ);
	ranges[2] = kmod_secure(&device, memory + 3 * page, page, KMOD_RW);
	CHECK(!munmap(memory + page, page), "munmap");
	CHECK(!kmod_valid(&device, &ranges[0]) && !kmod_valid(&device, &ranges[1]), "overlapped");
	CHECK(kmod_valid(&device, &ranges[2]), "not overlapped");
	CHECK(read(device.fd, events, sizeof(events)) == 2 * sizeof(events[0]),
	      "not two events in one read");
}

static void read_sizes(const void *unused)
{
	char buffer[3 * sizeof(struct wsdirect_event) + 7];
	struct pollfd ready = { .events = POLLIN };
	struct kmod_device device;
	size_t page = kmod_page();
	char *memory = kmod_map(4 * page);

	(void)unused;
	kmod_open(&device);
	ready.fd = device.fd;
	CHECK(read(device.fd, buffer, sizeof(buffer)) < 0 && errno == EAGAIN, "nothing to read");
	CHECK(poll(&ready, 1, 0) == 0, "readable without an event");
	for (int i = 0; i < 4; i++)
		kmod_secure(&device, memory + (size_t)i * page, page, KMOD_RW);
	CHECK(!munmap(memory, 4 * page), "munmap");
	CHECK(poll(&ready, 1, 0) == 1 && ready.revents == POLLIN, "not readable with events");
	CHECK(read(device.fd, buffer, sizeof(struct wsdirect_event) - 1) < 0 && errno == EINVAL,
	      "less than a record");
	CHECK(read(device.fd, buffer, 0) < 0 && errno == EINVAL, "nothing at all");
	CHECK(read(device.fd, buffer, sizeof(buffer)) == 3 * sizeof(struct wsdirect_event),
	      "whole records only");
	CHECK(syscall(SYS_read, device.fd, (void *)8, sizeof(buffer)) < 0 && errno == EFAULT,
	      "bad pointer");
	CHECK(poll(&ready, 1, 0) == 1, "an event was lost to a bad pointer");
	CHECK(read(device.fd, buffer, sizeof(buffer)) == sizeof(struct wsdirect_event), "the last");
	CHECK(poll(&ready, 1, 0) == 0, "readable after the last event");
	kmod_expect_counter("ranges", 0);
}

static void *unmap_later(void *memory)
{
	usleep(50000);
	CHECK(!munmap(memory, kmod_page()), "munmap");
	return NULL;
}

static void ignore_signal(int number)
{
	(void)number;
}

static void read_blocks(const void *unused)
{
	const struct sigaction action = { .sa_handler = ignore_signal };
	struct wsdirect_event event;
	struct kmod_device device;
	char *memory = kmod_map(kmod_page());
	pthread_t thread;

	(void)unused;
	kmod_open(&device);
	kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(!fcntl(device.fd, F_SETFL, 0), "fcntl");
	CHECK(!pthread_create(&thread, NULL, unmap_later, memory), "pthread_create");
	CHECK(read(device.fd, &event, sizeof(event)) == sizeof(event), "read: %s", strerror(errno));
	pthread_join(thread, NULL);

	CHECK(!sigaction(SIGALRM, &action, NULL), "sigaction");
	ualarm(50000, 0);
	CHECK(read(device.fd, &event, sizeof(event)) < 0 && errno == EINTR, "EINTR: %s",
	      strerror(errno));
}

static void poll_wakes(const void *unused)
{
	struct pollfd ready = { .events = POLLIN };
	struct kmod_device device;
	char *memory = kmod_map(kmod_page());
	pthread_t thread;

	(void)unused;
	kmod_open(&device);
	ready.fd = device.fd;
	kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(!pthread_create(&thread, NULL, unmap_later, memory), "pthread_create");
	CHECK(poll(&ready, 1, 10000) == 1 && ready.revents == POLLIN, "poll did not wake");
	pthread_join(thread, NULL);
}

static sigjmp_buf back;

static void jump_back(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static void words_mapping(const void *unused)
{
	const struct sigaction action = { .sa_handler = jump_back };
	struct kmod_device device;
	struct kmod_range range;
	size_t page = kmod_page();
	char *memory = kmod_map(page);
	uint64_t length;
	void *words;
	int status;
	pid_t child;

	(void)unused;
	kmod_open(&device);
	length = device.hello.state_bytes;
	CHECK(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd, 0) == MAP_FAILED &&
	      errno == EACCES, "writable: %s", strerror(errno));
	CHECK(mmap(NULL, page, PROT_READ, MAP_PRIVATE, device.fd, 0) == MAP_FAILED &&
	      errno == EINVAL, "private: %s", strerror(errno));
	CHECK(mmap(NULL, length + page, PROT_READ, MAP_SHARED, device.fd, 0) == MAP_FAILED &&
	      errno == EINVAL, "too long: %s", strerror(errno));
	CHECK(mmap(NULL, page, PROT_READ, MAP_SHARED, device.fd, (off_t)length) == MAP_FAILED &&
	      errno == EINVAL, "behind the end: %s", strerror(errno));
	words = mmap(NULL, page, PROT_READ, MAP_SHARED, device.fd, 0);
	CHECK(words != MAP_FAILED, "one page: %s", strerror(errno));
	CHECK(mprotect(words, page, PROT_READ | PROT_WRITE) && errno == EACCES, "mprotect");
	CHECK(mremap(words, page, 2 * page, MREMAP_MAYMOVE) == MAP_FAILED, "mremap grows it");

	range = kmod_secure(&device, memory, page, KMOD_RW);
	CHECK(((volatile uint64_t *)words)[range.slot] == range.sequence, "second mapping");
	child = fork();
	if (!child) {
		/* The child must not have the mapping. */
		CHECK(!sigaction(SIGSEGV, &action, NULL), "sigaction");
		if (!sigsetjmp(back, 1)) {
			(void)((volatile uint64_t *)words)[range.slot];
			_exit(1);
		}
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status, "the child has the state words");
}

static void unused_words(const void *unused)
{
	const struct sigaction action = { .sa_handler = jump_back };
	struct kmod_device device;

	(void)unused;
	kmod_open(&device);
	CHECK(!sigaction(SIGBUS, &action, NULL), "sigaction");
	if (!sigsetjmp(back, 1)) {
		(void)device.words[0];
		FAIL("a word that was never used is there");
	}
	kmod_secure(&device, kmod_map(kmod_page()), kmod_page(), KMOD_RW);
	(void)device.words[0];
}

static void expect_refused(const struct kmod_device *device, const char *who)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
	struct wsdirect_unsecure unsecure = { .slot = 0 };
	char *memory = kmod_map(kmod_page());
	struct wsdirect_event event;

	CHECK(hello_errno(device->fd, &hello) == EPERM, "%s: hello", who);
	CHECK(secure_errno(device, (uintptr_t)memory, kmod_page(), KMOD_RW) == EPERM,
	      "%s: secure", who);
	CHECK(ioctl(device->fd, WSDIRECT_IOC_UNSECURE, &unsecure) && errno == EPERM,
	      "%s: unsecure", who);
	CHECK(read(device->fd, &event, sizeof(event)) < 0 && errno == EPERM, "%s: read", who);
	CHECK(mmap(NULL, kmod_page(), PROT_READ, MAP_SHARED, device->fd, 0) == MAP_FAILED &&
	      errno == EPERM, "%s: mmap", who);
}

static void forked_child_refused(const void *unused)
{
	struct kmod_device device, own;
	struct kmod_range range;
	char *memory = kmod_map(kmod_page());
	int status;
	pid_t child;

	(void)unused;
	kmod_open(&device);
	range = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	child = fork();
	if (!child) {
		expect_refused(&device, "forked child");
		/* Its own context works, and what it does to its memory is its own affair. */
		kmod_open(&own);
		kmod_secure(&own, memory, kmod_page(), KMOD_RW);
		CHECK(!munmap(memory, kmod_page()), "munmap");
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
	kmod_expect_kept(&device, &range, "after the child");
}

static void executed_image_refused(const void *unused)
{
	struct kmod_device device;
	char number[16];
	int status;
	pid_t child;

	(void)unused;
	kmod_open(&device);
	CHECK(!fcntl(device.fd, F_SETFD, 0), "fcntl");
	snprintf(number, sizeof(number), "%d", device.fd);
	child = fork();
	if (!child) {
		setenv("KMOD_INHERITED", number, 1);
		execl("/proc/self/exe", "kmod_interface", (char *)NULL);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the executed image failed");
}

static int shares_memory(void *argument)
{
	const struct kmod_device *device = argument;
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };

	return hello_errno(device->fd, &hello);
}

static void same_memory_allowed(const void *unused)
{
	struct kmod_device device;
	char *stack = kmod_map(64 * 1024);
	int status;
	pid_t child;

	(void)unused;
	kmod_open(&device);
	child = clone(shares_memory, stack + 64 * 1024, CLONE_VM | SIGCHLD, &device);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0,
	      "a process of the same address space was refused");
}

static void passed_descriptor_refused(const void *unused)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { .iov_base = control, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct kmod_device device;
	int pair[2], status;
	pid_t child;

	(void)unused;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	child = fork();
	if (!child) {
		CHECK(recvmsg(pair[1], &message, 0) == 1, "recvmsg");
		memset(&device, 0, sizeof(device));
		memcpy(&device.fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
		expect_refused(&device, "receiver of a descriptor");
		_exit(0);
	}
	kmod_open(&device);
	CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &device.fd, sizeof(int));
	CHECK(sendmsg(pair[0], &message, 0) == 1, "sendmsg: %s", strerror(errno));
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the receiver failed");
}

static void close_releases(const void *unused)
{
	struct kmod_device device;
	size_t page = kmod_page();
	char *memory = kmod_map(100 * page);

	(void)unused;
	kmod_open(&device);
	for (size_t i = 0; i < 100; i++)
		kmod_secure(&device, memory + i * page, page, KMOD_RW);
	kmod_expect_counter("ranges", 100);
	kmod_expect_counter("contexts", 1);
	/* Some of them fired and unread. */
	CHECK(!munmap(memory, 30 * page), "munmap");
	kmod_close(&device);
	kmod_expect_counter("ranges", 0);
	kmod_expect_counter("bytes", 0);
	kmod_expect_counter("contexts", 0);
	CHECK(!munmap(memory + 30 * page, 70 * page), "munmap after close");
}

static void hold_ranges(int ready, bool fork_first)
{
	struct kmod_device device;
	size_t page = kmod_page();
	char *memory = kmod_map(50 * page);

	kmod_open(&device);
	for (size_t i = 0; i < 50; i++)
		kmod_secure(&device, memory + i * page, page, KMOD_RW);
	if (fork_first && !fork()) {
		/* Keeps the descriptor, and so the context, after its parent has gone. */
		char byte;

		while (read(ready, &byte, 1) > 0)
			;
		_exit(0);
	}
	CHECK(write(ready, "r", 1) == 1, "write");
	for (;;)
		pause();
}

static void killed(bool fork_first)
{
	int pair[2], status;
	char byte;
	pid_t child;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
	child = fork();
	if (!child) {
		close(pair[0]);
		hold_ranges(pair[1], fork_first);
	}
	close(pair[1]);
	CHECK(read(pair[0], &byte, 1) == 1, "the child did not come up");
	kmod_expect_counter("ranges", 50);
	CHECK(!kill(child, SIGKILL), "kill");
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status), "waitpid");
	kmod_expect_counter("ranges", 0);
	kmod_expect_counter("bytes", 0);
	kmod_expect_counter("contexts", fork_first ? 1 : 0);
	close(pair[0]);
	kmod_expect_counter("contexts", 0);
}

static void killed_alone(const void *unused)
{
	(void)unused;
	killed(false);
}

static void killed_while_a_child_has_it(const void *unused)
{
	(void)unused;
	killed(true);
}

static void exec_releases(const void *unused)
{
	int status;
	pid_t child = fork();

	(void)unused;
	if (!child) {
		struct kmod_device device;
		char number[16];

		kmod_open(&device);
		kmod_secure(&device, kmod_map(kmod_page()), kmod_page(), KMOD_RW);
		CHECK(!fcntl(device.fd, F_SETFD, 0), "fcntl");
		snprintf(number, sizeof(number), "%d", device.fd);
		setenv("KMOD_INHERITED", number, 1);
		setenv("KMOD_NO_RANGES", "1", 1);
		execl("/proc/self/exe", "kmod_interface", (char *)NULL);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the executed image failed");
}

static void mapping_keeps_context(const void *unused)
{
	struct kmod_device device;
	struct kmod_range range;
	char *memory = kmod_map(kmod_page());

	(void)unused;
	kmod_open(&device);
	range = kmod_secure(&device, memory, kmod_page(), KMOD_RW);
	CHECK(!close(device.fd), "close");
	CHECK(kmod_valid(&device, &range), "not watched any more");
	CHECK(!munmap(memory, kmod_page()), "munmap");
	CHECK(!kmod_valid(&device, &range), "valid after munmap");
	CHECK(!munmap((void *)(uintptr_t)device.words, device.hello.state_bytes), "munmap");
	kmod_expect_counter("ranges", 0);
}

static void unload_refused(const void *unused)
{
	struct kmod_device device;

	(void)unused;
	kmod_open(&device);
	CHECK(syscall(SYS_delete_module, "wsdirect", O_NONBLOCK) && errno == EWOULDBLOCK,
	      "unloading while it is open: %s", strerror(errno));
	CHECK(!close(device.fd), "close");
	CHECK(syscall(SYS_delete_module, "wsdirect", O_NONBLOCK) && errno == EWOULDBLOCK,
	      "unloading while it is mapped: %s", strerror(errno));
}

static void counters(const void *unused)
{
	long secured = kmod_counter("secured"), unsecured = kmod_counter("unsecured");
	long events = kmod_counter("events_read"), stale = kmod_counter("stale/unmap");
	long kept = kmod_counter("kept/protection_vma");
	struct kmod_device device;
	struct kmod_range range;
	size_t page = kmod_page();
	char *memory = kmod_map(3 * page);

	(void)unused;
	kmod_open(&device);
	range = kmod_secure(&device, memory, page, KMOD_RW);
	CHECK(!kmod_unsecure(&device, &range), "unsecure");
	range = kmod_secure(&device, memory, 3 * page, KMOD_RW);
	kmod_expect_counter("bytes", (long)(3 * page));
	CHECK(!mprotect(memory, page, PROT_READ | PROT_WRITE | PROT_EXEC), "mprotect");
	CHECK(!munmap(memory, page), "munmap");
	kmod_expect_stale(&device, &range, KMOD_UNMAP, "munmap");
	CHECK(kmod_counter("secured") == secured + 2, "secured");
	CHECK(kmod_counter("unsecured") == unsecured + 1, "unsecured");
	CHECK(kmod_counter("events_read") == events + 1, "events_read");
	CHECK(kmod_counter("stale/unmap") == stale + 1, "stale/unmap");
	CHECK(kmod_counter("kept/protection_vma") == kept + 1, "kept/protection_vma");
}

#define TRACING	"/sys/kernel/tracing/"

static bool traced(const char *event, pid_t process)
{
	char line[512], task[32], name[32];
	FILE *file = fopen(TRACING "trace", "re");
	bool found = false;

	CHECK(file, "no trace: %s", strerror(errno));
	snprintf(task, sizeof(task), "-%d ", process);
	snprintf(name, sizeof(name), " %s: context=", event);
	while (fgets(line, sizeof(line), file))
		if (strstr(line, task) && strstr(line, name))
			found = true;
	fclose(file);
	return found;
}

static void tracepoints(const void *unused)
{
	static const char *const events[] = { "secure", "unsecure", "stale", "event_read" };
	struct kmod_device device;
	struct kmod_range range;
	size_t page = kmod_page();
	char *memory = kmod_map(2 * page);

	(void)unused;
	CHECK(!system("mountpoint -q " TRACING " || mount -t tracefs none " TRACING), "tracefs");
	CHECK(kmod_write_file(TRACING "events/wsdirect/enable", "1"), "events/wsdirect/enable");
	kmod_open(&device);
	range = kmod_secure(&device, memory, page, KMOD_RW);
	CHECK(!kmod_unsecure(&device, &range), "unsecure");
	range = kmod_secure(&device, memory + page, page, KMOD_READ);
	CHECK(!munmap(memory + page, page), "munmap");
	kmod_expect_stale(&device, &range, KMOD_UNMAP, "munmap");
	CHECK(kmod_write_file(TRACING "events/wsdirect/enable", "0"), "events/wsdirect/enable");
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		CHECK(traced(events[i], getpid()), "%s was not traced", events[i]);
	CHECK(kmod_write_file(TRACING "trace", "\n"), "trace");
}

/* The executed image of the two exec cases: all that it inherited is a number. */
static int inherited(const char *number)
{
	struct kmod_device device = { .fd = atoi(number) };

	expect_refused(&device, "executed image");
	if (getenv("KMOD_NO_RANGES"))
		kmod_expect_counter("ranges", 0);
	return 0;
}

static const struct kmod_case cases[] = {
	{ "the device may be opened by everybody", mode, NULL },
	{ "hello", hello, NULL },
	{ "hello refused", hello_refused, NULL },
	{ "EPROTO before hello", before_hello, NULL },
	{ "unknown requests", unknown_requests, NULL },
	{ "arguments of secure", secure_arguments, NULL },
	{ "secure that cannot return its result", secure_result_unwritable, NULL },
	{ "secure of what is not mapped as needed", secure_unmapped, NULL },
	{ "secure of device memory", secure_device_memory, NULL },
	{ "unsecure", unsecure, NULL },
	{ "unsecure of a fired range", unsecure_fired, NULL },
	{ "a reused slot", slot_reuse, NULL },
	{ "overlapping ranges", overlapping, NULL },
	{ "read and its sizes", read_sizes, NULL },
	{ "read blocks and is interrupted", read_blocks, NULL },
	{ "poll wakes", poll_wakes, NULL },
	{ "mapping of the state words", words_mapping, NULL },
	{ "state words nobody used", unused_words, NULL },
	{ "a forked child is refused", forked_child_refused, NULL },
	{ "an executed image is refused", executed_image_refused, NULL },
	{ "a receiver of the descriptor is refused", passed_descriptor_refused, NULL },
	{ "a process with the same memory is allowed", same_memory_allowed, NULL },
	{ "close releases", close_releases, NULL },
	{ "SIGKILL releases", killed_alone, NULL },
	{ "SIGKILL releases though a child has the descriptor", killed_while_a_child_has_it, NULL },
	{ "exec releases though the descriptor stays", exec_releases, NULL },
	{ "the mapping keeps the context", mapping_keeps_context, NULL },
	{ "unloading in use is refused", unload_refused, NULL },
	{ "counters", counters, NULL },
	{ "tracepoints", tracepoints, NULL },
};

int main(int argc, char **argv)
{
	const char *number = getenv("KMOD_INHERITED");

	if (number)
		return inherited(number);
	return KMOD_RUN(argc, argv, cases);
}
