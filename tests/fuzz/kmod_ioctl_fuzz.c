// SPDX-License-Identifier: BSD-2-Clause
/*
 * Fuzzes /dev/wsdirect: calls that are nonsense, calls that are nearly right, and calls that
 * are right, from several threads of several processes at once, which meanwhile map, unmap,
 * protect, discard, move and fork over the very memory they secure. It passes if nothing
 * crashes or hangs and the module's counts are back to zero; the caller looks at the kernel's log.
 *
 * usage: kmod_ioctl_fuzz [--seconds N] [--seed N] [--processes N] [--threads N]
 * Without --seconds: $FUZZ_SECONDS, else 60.
 */
#include "kmod_common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS	8
#define ARENA_PAGES	128
#define ARENA		0x100000000	/* far below where anything else is mapped by itself */
#define CHILD_CALLS	500
#define GENERATIONS	4	/* of forks below a process */

static int seconds = 60;
static int processes = 3;
static int threads = 3;
static unsigned int seed;
static time_t end;

/* Shared by the threads of a process, on purpose without any lock. */
static atomic_int descriptors[DESCRIPTORS];
static char *arena;
static size_t page;
static int generation;

struct fuzzer {
	uint64_t state;
	struct kmod_range ranges[32];	/* some that this thread secured, or thinks it did */
	unsigned long calls;
};

static uint64_t rnd(struct fuzzer *fuzzer)
{
	/* xorshift64*: reproducible, whatever libc */
	fuzzer->state ^= fuzzer->state >> 12;
	fuzzer->state ^= fuzzer->state << 25;
	fuzzer->state ^= fuzzer->state >> 27;
	return fuzzer->state * 2685821657736338717ULL;
}

static uint64_t below(struct fuzzer *fuzzer, uint64_t limit)
{
	return rnd(fuzzer) % limit;
}

/* Numbers near the edges that matter, or any number at all. */
static uint64_t number(struct fuzzer *fuzzer)
{
	static const uint64_t edges[] = {
		0, 1, 2, 3, 4, 7, 8, 4095, 4096, 4097, 65535, 65536, INT32_MAX, UINT32_MAX,
		1ULL << 32, 1ULL << 46, 0x7ffffffff000, 0x7fffffffffff, 1ULL << 47,
		INT64_MAX, 1ULL << 63, UINT64_MAX, UINT64_MAX - 4095, UINT64_MAX - 8191,
	};

	if (below(fuzzer, 4) == 0)
		return rnd(fuzzer);
	return edges[below(fuzzer, sizeof(edges) / sizeof(edges[0]))];
}

static char *arena_address(struct fuzzer *fuzzer)
{
	return arena + below(fuzzer, ARENA_PAGES) * page;
}

static size_t arena_length(struct fuzzer *fuzzer)
{
	return (1 + below(fuzzer, below(fuzzer, 8) ? 3 : ARENA_PAGES)) * page;
}

/* Somewhere to put an argument: on the stack, in the arena, or nowhere. */
static void *place(struct fuzzer *fuzzer, void *proper)
{
	switch (below(fuzzer, 16)) {
	case 0:
		return (void *)(uintptr_t)number(fuzzer);
	case 1:
		return arena_address(fuzzer) + page - below(fuzzer, 40);
	default:
		return proper;
	}
}

static int descriptor(struct fuzzer *fuzzer)
{
	return atomic_load(&descriptors[below(fuzzer, DESCRIPTORS)]);
}

static void fuzz_open(struct fuzzer *fuzzer)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
	int fd = open(WSDIRECT_DEVICE, O_RDWR | O_NONBLOCK | (below(fuzzer, 2) ? O_CLOEXEC : 0));
	int old;

	if (fd >= 0 && below(fuzzer, 8))
		ioctl(fd, WSDIRECT_IOC_HELLO, &hello);
	old = atomic_exchange(&descriptors[below(fuzzer, DESCRIPTORS)], fd);
	if (old >= 0)
		close(old);
}

static void fuzz_hello(struct fuzzer *fuzzer)
{
	struct wsdirect_hello hello = {
		.abi_version = below(fuzzer, 2) ? WSDIRECT_ABI_VERSION : (uint32_t)number(fuzzer),
		.flags = below(fuzzer, 4) ? 0 : (uint32_t)number(fuzzer),
		.reserved = below(fuzzer, 4) ? 0 : (uint32_t)number(fuzzer),
	};

	ioctl(descriptor(fuzzer), WSDIRECT_IOC_HELLO, place(fuzzer, &hello));
}

static void fuzz_secure(struct fuzzer *fuzzer)
{
	bool proper = below(fuzzer, 4);
	struct wsdirect_secure secure = {
		.address = proper ? (uintptr_t)arena_address(fuzzer) : number(fuzzer),
		.length = proper ? arena_length(fuzzer) : number(fuzzer),
		.access = below(fuzzer, 8) ? 1 + (uint32_t)below(fuzzer, 3) :
					     (uint32_t)number(fuzzer),
		.slot = (uint32_t)number(fuzzer),
		.sequence = number(fuzzer),
	};

	if (!ioctl(descriptor(fuzzer), WSDIRECT_IOC_SECURE, place(fuzzer, &secure))) {
		struct kmod_range *range = &fuzzer->ranges[below(fuzzer, 32)];

		range->slot = secure.slot;
		range->sequence = secure.sequence;
	}
}

static void fuzz_unsecure(struct fuzzer *fuzzer)
{
	const struct kmod_range *range = &fuzzer->ranges[below(fuzzer, 32)];
	struct wsdirect_unsecure unsecure = { .slot = range->slot, .sequence = range->sequence };

	if (below(fuzzer, 4) == 0)
		unsecure.slot = (uint32_t)number(fuzzer);
	if (below(fuzzer, 8) == 0)
		unsecure.sequence = number(fuzzer);
	if (below(fuzzer, 16) == 0)
		unsecure.reserved = (uint32_t)number(fuzzer);
	ioctl(descriptor(fuzzer), WSDIRECT_IOC_UNSECURE, place(fuzzer, &unsecure));
}

static void fuzz_request(struct fuzzer *fuzzer)
{
	char argument[256];
	unsigned long request = below(fuzzer, 2) ?
		_IOC(below(fuzzer, 4), 'W', 0x3f + below(fuzzer, 5), below(fuzzer, 80)) :
		rnd(fuzzer);

	for (size_t i = 0; i < sizeof(argument); i++)
		argument[i] = (char)rnd(fuzzer);
	ioctl(descriptor(fuzzer), (uint32_t)request, place(fuzzer, argument));
}

static void fuzz_read(struct fuzzer *fuzzer)
{
	struct wsdirect_event events[8];
	struct iovec vectors[2] = { { events, 40 }, { &events[4], 100 } };
	struct pollfd ready = { .fd = descriptor(fuzzer), .events = (short)rnd(fuzzer) };

	switch (below(fuzzer, 4)) {
	case 0:
		poll(&ready, 1, (int)below(fuzzer, 2));
		break;
	case 1:
		(void)!readv(ready.fd, vectors, 2);
		break;
	default:
		(void)!syscall(SYS_read, ready.fd, place(fuzzer, events),
			       below(fuzzer, sizeof(events) + 1));
		break;
	}
}

static void fuzz_words(struct fuzzer *fuzzer)
{
	size_t length = below(fuzzer, 2) ? page * (1 + below(fuzzer, 200)) : number(fuzzer);
	off_t offset = below(fuzzer, 2) ? 0 : (off_t)(number(fuzzer) & ~(page - 1));
	int protection = below(fuzzer, 4) ? PROT_READ : (int)below(fuzzer, 8);
	void *words = mmap(NULL, length, protection, below(fuzzer, 4) ? MAP_SHARED : MAP_PRIVATE,
			   descriptor(fuzzer), offset);

	if (words == MAP_FAILED)
		return;
	switch (below(fuzzer, 5)) {
	case 0:
		mprotect(words, page, PROT_READ | PROT_WRITE);
		break;
	case 1:
		madvise(words, length, (int)below(fuzzer, 26));
		break;
	case 2:
		mlock(words, page);
		break;
	case 3: {
		/* Watching the words themselves is allowed, and useless. */
		struct wsdirect_secure secure = {
			.address = (uintptr_t)words, .length = page, .access = 1,
		};

		ioctl(descriptor(fuzzer), WSDIRECT_IOC_SECURE, &secure);
		break;
	}
	default:
		break;
	}
	munmap(words, length);
}

static void fuzz_memory(struct fuzzer *fuzzer)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, 25 /* COLLAPSE */,
	};
	char *address = arena_address(fuzzer);
	size_t length = arena_length(fuzzer);

	if (address + length > arena + ARENA_PAGES * page)
		length = (size_t)(arena + ARENA_PAGES * page - address);
	switch (below(fuzzer, 8)) {
	case 0:
		munmap(address, length);
		break;
	case 1:
	case 2:
	case 7:
		mmap(address, length, PROT_READ | PROT_WRITE,
		     (below(fuzzer, 3) ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS | MAP_FIXED |
		     (below(fuzzer, 2) ? MAP_POPULATE : 0), -1, 0);
		break;
	case 3:
		mprotect(address, length, (int)below(fuzzer, 8));
		break;
	case 4:
		madvise(address, length, advice[below(fuzzer, sizeof(advice) / sizeof(advice[0]))]);
		break;
	case 5:
		mremap(address, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
		       arena + below(fuzzer, ARENA_PAGES - length / page + 1) * page);
		break;
	default: {
		/* Through the kernel, which answers EFAULT where nothing is mapped. */
		struct iovec local = { arena_address(fuzzer), page };
		struct iovec remote = { address, length };

		(void)!process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
		break;
	}
	}
}

static void *fuzz(void *argument);

static void fuzz_fork(struct fuzzer *fuzzer)
{
	uint64_t state = rnd(fuzzer);
	bool kills = below(fuzzer, 2);
	pid_t child;

	if (generation >= GENERATIONS || below(fuzzer, 50))
		return;
	child = fork();
	if (!child) {
		generation++;
		/* Only this thread is left, with everybody's descriptors. */
		if (below(fuzzer, 2))
			fuzz((void *)(uintptr_t)state);
		_exit(0);
	}
	if (child > 0) {
		if (kills)
			kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
}

static void fuzz_close(struct fuzzer *fuzzer)
{
	int old = atomic_exchange(&descriptors[below(fuzzer, DESCRIPTORS)],
				  below(fuzzer, 4) ? -1 : dup(descriptor(fuzzer)));

	if (old >= 0)
		close(old);
}

static void *fuzz(void *argument)
{
	static void (*const steps[])(struct fuzzer *fuzzer) = {
		fuzz_open, fuzz_hello, fuzz_secure, fuzz_secure, fuzz_secure, fuzz_secure,
		fuzz_unsecure, fuzz_unsecure, fuzz_request, fuzz_read, fuzz_read, fuzz_words,
		fuzz_memory, fuzz_memory, fuzz_memory, fuzz_memory, fuzz_fork, fuzz_close,
	};
	struct fuzzer fuzzer = { .state = (uintptr_t)argument | 1 };

	while (time(NULL) < end && (!generation || fuzzer.calls < CHILD_CALLS))
		for (int i = 0; i < 100; i++, fuzzer.calls++)
			steps[below(&fuzzer, sizeof(steps) / sizeof(steps[0]))](&fuzzer);
	return (void *)(uintptr_t)fuzzer.calls;
}

static void run_threads(uint64_t state)
{
	pthread_t ids[64];
	uint64_t calls = 0;
	int started = 0;

	while (started < threads) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		if (pthread_create(&ids[started], NULL, fuzz, (void *)(uintptr_t)state))
			break;
		started++;
	}
	for (int i = 0; i < started; i++) {
		void *result;

		pthread_join(ids[i], &result);
		calls += (uintptr_t)result;
	}
	printf("process %d: %llu calls\n", getpid(), (unsigned long long)calls);
}

static void process_main(int index)
{
	for (int i = 0; i < DESCRIPTORS; i++)
		atomic_store(&descriptors[i], -1);
	arena = mmap((void *)ARENA, ARENA_PAGES * page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(arena == (char *)ARENA, "mmap: %s", strerror(errno));
	run_threads(((uint64_t)seed << 8) + (uint64_t)index);
	fflush(NULL);
	_exit(0);
}

static int option(char **argv, int index, int least, int most)
{
	char *rest;
	long value = argv[index + 1] ? strtol(argv[index + 1], &rest, 10) : -1;

	if (value < least || value > most || *rest) {
		fprintf(stderr, "%s needs a number from %d to %d\n", argv[index], least, most);
		exit(2);
	}
	return (int)value;
}

int main(int argc, char **argv)
{
	const char *wanted = getenv("FUZZ_SECONDS");
	int failed = 0;

	seed = (unsigned int)time(NULL);
	if (wanted && atoi(wanted) > 0)
		seconds = atoi(wanted);
	for (int i = 1; i < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			seconds = option(argv, i, 1, 1000000);
		else if (!strcmp(argv[i], "--seed"))
			seed = (unsigned int)option(argv, i, 0, INT32_MAX);
		else if (!strcmp(argv[i], "--processes"))
			processes = option(argv, i, 1, 64);
		else if (!strcmp(argv[i], "--threads"))
			threads = option(argv, i, 1, 64);
		else {
			fprintf(stderr, "usage: %s [--seconds N] [--seed N] [--processes N] "
				"[--threads N]\n", argv[0]);
			return 2;
		}
	}
	printf("seed %u, %d s, %d processes of %d threads\n", seed, seconds, processes, threads);
	fflush(NULL);
	page = kmod_page();
	end = time(NULL) + seconds;
	for (int i = 0; i < processes; i++) {
		pid_t child = fork();

		CHECK(child >= 0, "fork: %s", strerror(errno));
		if (!child)
			process_main(i);
	}
	for (int i = 0; i < processes; i++) {
		int status;

		CHECK(wait(&status) > 0, "wait: %s", strerror(errno));
		if (status) {
			fprintf(stderr, "a process ended with status %#x\n", (unsigned int)status);
			failed = 1;
		}
	}
	kmod_expect_counter("contexts", 0);
	kmod_expect_counter("ranges", 0);
	kmod_expect_counter("bytes", 0);
	printf("secured %ld, events read %ld, unsecured %ld\n", kmod_counter("secured"),
	       kmod_counter("events_read"), kmod_counter("unsecured"));
	CHECK(kmod_counter("secured") > 0 && kmod_counter("events_read") > 0, "nothing happened");
	return failed;
}
