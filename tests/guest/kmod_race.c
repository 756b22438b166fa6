// SPDX-License-Identifier: BSD-2-Clause
/*
 * Threads that look while others change the mapping: whoever finds a range valid has, until
 * then, seen nothing but the memory that was secured.
 *
 * Each mutator fills a page with its generation, secures it, publishes the range, takes the
 * page away in one of several ways, and starts over. Observers read the page first and the
 * state word after. If the word is still valid, what they read must be the generation; a
 * fault, zeros or a later generation prove that the word was changed too late.
 *
 * usage: kmod_race [seconds]
 */
#include "kmod_common.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MUTATORS	3
#define OBSERVERS	2
#define PAGES		4	/* per mutator; the change hits one of them */

/* One writer, many readers: odd while it is being written. */
struct published {
	atomic_ulong version;
	atomic_ulong generation;
	atomic_ulong sequence;
	atomic_uint slot;
	char *memory;
	char *aside;	/* a page's worth of address space to move to */
};

static struct kmod_device device;
static struct published areas[MUTATORS];
static atomic_bool stopping;
static atomic_ulong looks, valid_looks, changes, interrupted;

static __thread sigjmp_buf after_fault;
static __thread volatile sig_atomic_t may_fault, faulted;

static void on_fault(int number)
{
	(void)number;
	if (!may_fault)
		abort();
	siglongjmp(after_fault, 1);
}

/* What is at @address: a generation, or 0 if nothing is mapped. */
static unsigned long look(const char *address)
{
	unsigned long value = 0;

	faulted = 1;
	if (!sigsetjmp(after_fault, 0)) {
		may_fault = 1;
		value = __atomic_load_n((const unsigned long *)(const void *)address,
					__ATOMIC_ACQUIRE);
		faulted = 0;
	}
	may_fault = 0;
	return value;
}

static void *observe(void *argument)
{
	unsigned int random = (unsigned int)(uintptr_t)argument;

	while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
		struct published *area = &areas[rand_r(&random) % MUTATORS];
		unsigned long version = atomic_load(&area->version);
		unsigned long generation = atomic_load(&area->generation);
		unsigned long sequence = atomic_load(&area->sequence);
		unsigned int slot = atomic_load(&area->slot);
		size_t page = rand_r(&random) % PAGES;
		unsigned long seen;

		if (version % 2 || atomic_load(&area->version) != version || !sequence)
			continue;
		seen = look(area->memory + page * kmod_page());
		atomic_thread_fence(memory_order_acquire);
		if (device.words[slot] == sequence) {
			CHECK(seen == generation, "valid, but %s%lu is where generation %lu was",
			      faulted ? "a fault, " : "", seen, generation);
			atomic_fetch_add_explicit(&valid_looks, 1, memory_order_relaxed);
		}
		/* Let the mutators run where processors are few. */
		if (atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed) % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static void map_again(char *address, size_t length)
{
	CHECK(mmap(address, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == address, "mmap");
}

/* Take one page of the area away; afterwards all of it is mapped again. */
static void change(const struct published *area, unsigned int *random)
{
	size_t page = kmod_page();
	char *memory = area->memory;
	char *victim = memory + rand_r(random) % PAGES * page;

	switch (rand_r(random) % 6) {
	case 0:
		CHECK(!munmap(victim, page), "munmap");
		map_again(victim, page);
		break;
	case 1:
		CHECK(!syscall(SYS_munmap, memory, PAGES * page), "munmap");
		map_again(memory, PAGES * page);
		break;
	case 2:
		map_again(victim, page);
		break;
	case 3:
		CHECK(!madvise(victim, page, MADV_DONTNEED), "madvise");
		break;
	case 4:
		/* To a place of its own: elsewhere it could fill a hole that another makes. */
		CHECK(mremap(victim, page, page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP |
			     MREMAP_FIXED, area->aside) == area->aside, "mremap");
		break;
	default:
		CHECK(!mprotect(victim, page, PROT_NONE), "mprotect");
		CHECK(!mprotect(victim, page, PROT_READ | PROT_WRITE), "mprotect");
		break;
	}
}

static void *mutate(void *argument)
{
	struct published *area = argument;
	unsigned int random = (unsigned int)(area - areas) + 77;
	size_t page = kmod_page();

	for (unsigned long generation = 1; !atomic_load(&stopping); generation++) {
		struct kmod_range range;
		int err;

		for (size_t i = 0; i < PAGES; i++)
			__atomic_store_n((unsigned long *)(void *)(area->memory + i * page),
					 generation, __ATOMIC_RELEASE);
		do {
			err = kmod_try_secure(&device, area->memory, PAGES * page, KMOD_RW,
					      &range);
			if (err == -EINTR)
				atomic_fetch_add(&interrupted, 1);
		} while (err == -EINTR);
		CHECK(!err, "secure: %s", strerror(-err));

		atomic_fetch_add(&area->version, 1);
		atomic_store(&area->generation, generation);
		atomic_store(&area->sequence, range.sequence);
		atomic_store(&area->slot, range.slot);
		atomic_fetch_add(&area->version, 1);

		for (unsigned int spins = rand_r(&random) % 2000; spins; spins--)
			atomic_signal_fence(memory_order_seq_cst);
		change(area, &random);
		CHECK(!kmod_valid(&device, &range), "valid after the change returned");
		atomic_fetch_add(&changes, 1);
	}
	return NULL;
}

/* Events are read by a thread of its own, so that slots are reused while others look. */
static void *read_events(void *argument)
{
	unsigned long *read_count = argument;
	struct wsdirect_event event;

	while (!atomic_load(&stopping) || kmod_event(&device, &event)) {
		if (kmod_event(&device, &event))
			++*read_count;
		else
			sched_yield();
	}
	return NULL;
}

static void ignore_signal(int number)
{
	(void)number;
}

/* Signals at a high rate, so that SECURE is interrupted where it waits. */
static void signals_on(void)
{
	const struct sigaction action = { .sa_handler = ignore_signal, .sa_flags = SA_RESTART };
	const struct itimerspec rate = {
		.it_value.tv_nsec = 300000, .it_interval.tv_nsec = 300000,
	};
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;

	CHECK(!sigaction(SIGUSR1, &action, NULL), "sigaction");
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
	CHECK(!timer_settime(timer, 0, &rate, NULL), "timer_settime");
}

static int seconds = 10;

static void race(const void *with_signals)
{
	const struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	pthread_t mutators[MUTATORS], observers[OBSERVERS], reader;
	unsigned long events = 0;

	kmod_open(&device);
	/*
	 * No NUMA hinting, which would make faults that prove nothing: see "What valid means" in
	 * docs/memory-events.md.
	 */
	CHECK(!syscall(SYS_set_mempolicy, MPOL_LOCAL, NULL, 0), "set_mempolicy");
	CHECK(!sigaction(SIGSEGV, &action, NULL) && !sigaction(SIGBUS, &action, NULL), "sigaction");
	for (int i = 0; i < MUTATORS; i++) {
		areas[i].memory = kmod_map(PAGES * kmod_page());
		areas[i].aside = kmod_map(kmod_page());
	}
	for (int i = 0; i < MUTATORS; i++)
		CHECK(!pthread_create(&mutators[i], NULL, mutate, &areas[i]), "pthread_create");
	for (int i = 0; i < OBSERVERS; i++)
		CHECK(!pthread_create(&observers[i], NULL, observe, (void *)(uintptr_t)(i + 1)),
		      "pthread_create");
	CHECK(!pthread_create(&reader, NULL, read_events, &events), "pthread_create");
	if (with_signals)
		signals_on();

	for (time_t end = time(NULL) + seconds; time(NULL) < end; )
		usleep(100000);
	atomic_store(&stopping, true);
	for (int i = 0; i < MUTATORS; i++)
		pthread_join(mutators[i], NULL);
	for (int i = 0; i < OBSERVERS; i++)
		pthread_join(observers[i], NULL);
	pthread_join(reader, NULL);
	printf("     %lu changes, %lu looks, %lu found a valid range, %lu secures interrupted\n",
	       atomic_load(&changes), atomic_load(&looks), atomic_load(&valid_looks),
	       atomic_load(&interrupted));
	CHECK(atomic_load(&changes) > 20 && atomic_load(&valid_looks) > 20, "too little happened");
}

static void *keep_discarding(void *memory)
{
	while (!atomic_load(&stopping))
		CHECK(!madvise(memory, PAGES * kmod_page(), MADV_DONTNEED), "madvise");
	return NULL;
}

/* A range that never holds still is secured in the end, or a signal ends the attempt. */
static void secure_is_interrupted(const void *unused)
{
	unsigned long secured = 0, ended = 0;
	char *memory = kmod_map(PAGES * kmod_page());
	struct kmod_range range;
	pthread_t threads[2];
	time_t end;

	(void)unused;
	kmod_open(&device);
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, keep_discarding, memory), "pthread_create");
	signals_on();
	for (end = time(NULL) + 40; time(NULL) < end && (!ended || !secured); ) {
		struct wsdirect_event event;
		int err = kmod_try_secure(&device, memory, PAGES * kmod_page(), KMOD_RW, &range);

		CHECK(!err || err == -EINTR, "secure: %s", strerror(-err));
		ended += err == -EINTR;
		secured += !err;
		if (!err && kmod_unsecure(&device, &range))
			kmod_event(&device, &event);
	}
	atomic_store(&stopping, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("     %lu secured, %lu interrupted\n", secured, ended);
	CHECK(ended && secured, "not both happened");
}

/* Many pages, so that discarding them takes a while. */
#define LARGE_PAGES	2048

static char *large;
static atomic_ulong discards;	/* odd: one is under way */

static void *fill_and_discard(void *unused)
{
	(void)unused;
	while (!atomic_load(&stopping)) {
		/* The last page, which is looked at, is there first and goes last. */
		for (size_t i = LARGE_PAGES; i > 0; i--)
			large[(i - 1) * kmod_page()] = 1;
		atomic_fetch_add(&discards, 1);
		CHECK(!madvise(large, LARGE_PAGES * kmod_page(), MADV_DONTNEED), "madvise");
		atomic_fetch_add(&discards, 1);
	}
	return NULL;
}

/*
 * A change that has passed the point where it marks ranges, but not its end, marks no range
 * that is secured then. So SECURE waits for its end: the page that is there when the range is
 * valid stays as long as the range is valid. The page tables say which page that is, not the
 * processor: it may know the old one until the change returns, which is after its end.
 */
static void secure_waits(const void *unused)
{
	unsigned long kept = 0, stale = 0;
	char *last;
	pthread_t thread;

	(void)unused;
	kmod_open(&device);
	large = kmod_map(LARGE_PAGES * kmod_page());
	last = large + (LARGE_PAGES - 1) * kmod_page();
	CHECK(!pthread_create(&thread, NULL, fill_and_discard, NULL), "pthread_create");
	for (time_t end = time(NULL) + seconds; time(NULL) < end; ) {
		struct kmod_range range;
		struct wsdirect_event event;
		uint64_t before, after;
		unsigned long seen;

		range = kmod_secure(&device, large, LARGE_PAGES * kmod_page(), KMOD_RW);
		kmod_frames(last, 1, &before);
		seen = atomic_load(&discards);
		/* The one that is under way, if there is one, is to be over. */
		while (seen % 2 && atomic_load(&discards) == seen)
			sched_yield();
		kmod_frames(last, 1, &after);
		if (before && before != after) {
			CHECK(!kmod_valid(&device, &range), "valid, but its last page is gone");
			stale++;
		} else {
			kept++;
		}
		if (kmod_unsecure(&device, &range))
			while (!kmod_event(&device, &event))
				sched_yield();
	}
	atomic_store(&stopping, true);
	pthread_join(thread, NULL);
	printf("     %lu times stale, %lu times not\n", stale, kept);
	CHECK(kept + stale > 10, "too little happened");
}

static const struct kmod_case cases[] = {
	{ "secure waits for a change under way", secure_waits, NULL },
	{ "observers and mutators", race, NULL },
	{ "observers and mutators, with signals", race, "" },
	{ "secure is interrupted by a signal", secure_is_interrupted, NULL },
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atoi(argv[1]);
	return KMOD_RUN(1, argv, cases);
}
