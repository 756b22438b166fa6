/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of /dev/wsdirect share: opening it, securing, reading events
 * and counters, and a runner that gives each case a process of its own.
 */
#ifndef KMOD_COMMON_H
#define KMOD_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsdirect.h>

/* enum mmu_notifier_event of the kernel, as found in struct wsdirect_event. */
enum kmod_cause {
	KMOD_UNMAP,
	KMOD_CLEAR,
	KMOD_PROTECTION_VMA,
	KMOD_PROTECTION_PAGE,
	KMOD_SOFT_DIRTY,
	KMOD_RELEASE,
	KMOD_MIGRATE,
	KMOD_EXCLUSIVE,
	KMOD_ANY_CAUSE = 1000,	/* in expectations: kernels differ */
};

struct kmod_device {
	int fd;
	const volatile uint64_t *words;
	struct wsdirect_hello hello;
};

struct kmod_range {
	uint64_t address;
	uint64_t length;
	uint64_t sequence;
	uint32_t slot;
};

#define KMOD_RW	(WSDIRECT_ACCESS_READ | WSDIRECT_ACCESS_WRITE)
#define KMOD_READ WSDIRECT_ACCESS_READ

/* Say what was wrong and end the process with status 1. */
void kmod_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#define FAIL(...)	kmod_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition, ...)							\
	do {									\
		if (!(condition))						\
			FAIL(__VA_ARGS__);					\
	} while (0)

size_t kmod_page(void);

/* Open, say hello, map the state words. Fails the test if it cannot. */
void kmod_open(struct kmod_device *device);
void kmod_close(struct kmod_device *device);

/* 0 or errno, negative. */
int kmod_try_secure(const struct kmod_device *device, const void *address, size_t length,
		    uint32_t access, struct kmod_range *range);
int kmod_unsecure(const struct kmod_device *device, const struct kmod_range *range);

struct kmod_range kmod_secure(const struct kmod_device *device, const void *address, size_t length,
			      uint32_t access);
bool kmod_valid(const struct kmod_device *device, const struct kmod_range *range);

/* The next event without waiting: true if there was one. The descriptor must not block. */
bool kmod_event(const struct kmod_device *device, struct wsdirect_event *event);

/* The range must be stale, with exactly one event, of @cause, in the queue. */
void kmod_expect_stale(const struct kmod_device *device, const struct kmod_range *range,
		       enum kmod_cause cause, const char *what);
/* The range must still be valid, with no event in the queue. */
void kmod_expect_kept(const struct kmod_device *device, const struct kmod_range *range,
		      const char *what);

/* Private anonymous memory, every page written; in small pages unless @flags say otherwise. */
void *kmod_map(size_t length);
void *kmod_map_flags(size_t length, int protection, int flags, int fd);
void kmod_fill(void *address, size_t length, unsigned char value);

/*
 * The physical page behind each page of a range, to tell whether a mapping changed at all;
 * 0 for a page that is not present. Needs root.
 */
void kmod_frames(const void *address, size_t pages, uint64_t *frames);

/* A counter below /sys/class/misc/wsdirect; waits up to 5 s for it to become @value. */
long kmod_counter(const char *name);
void kmod_expect_counter(const char *name, long value);

/* Write @text to a file of the kernel; false if that cannot be done. */
bool kmod_write_file(const char *path, const char *text);
/* The number after @key (or at the beginning, if NULL) of a file of the kernel; -1 if none. */
long kmod_read_number(const char *path, const char *key);

/* Move this process into a new control group with the memory controller. */
void kmod_enter_group(const char *name);

struct kmod_case {
	const char *name;
	void (*run)(const void *argument);
	const void *argument;
};

/*
 * Run each case (or those named in argv) in a child of its own, with a time
 * limit of 60 s; afterwards the module's count of ranges must be back where it was.
 * Returns the exit status for main.
 */
int kmod_run(int argc, char **argv, const struct kmod_case *cases, size_t count);

#define KMOD_RUN(argc, argv, cases)	\
	kmod_run(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]))

#endif /* KMOD_COMMON_H */
