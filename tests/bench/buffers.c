// SPDX-License-Identifier: BSD-2-Clause
/* One mapping for all buffers, and two counters for each. */
#include "buffers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *area;
static size_t size;
static _Atomic unsigned registered[BUFFERS];
static _Atomic unsigned given_back[BUFFERS];

void must(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-error));
	exit(EXIT_FAILURE);
}

static size_t stride(void)
{
	return size + size / BUFFER_PAGES;
}

void buffers_map(void)
{
	size = BUFFER_PAGES * (size_t)sysconf(_SC_PAGESIZE);
	area = mmap(NULL, stride() * BUFFERS, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		must(-errno, "memory for the buffers");
	/* Huge pages would be cut up while others are timed. */
	madvise(area, stride() * BUFFERS, MADV_NOHUGEPAGE);
	memset(area, 1, stride() * BUFFERS);
}

size_t buffer_size(void)
{
	return size;
}

char *buffer_at(unsigned n)
{
	return area + n * stride();
}

void buffer_map_again(unsigned n)
{
	/* Not MAP_FIXED: who intercepts mmap() takes that for one more change. */
	void *again = mmap(buffer_at(n), size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);

	if (again != buffer_at(n))
		must(again == MAP_FAILED ? -errno : -EEXIST, "mapping a buffer again");
	/* So that it becomes one mapping with those around it, as it was. */
	madvise(again, size, MADV_NOHUGEPAGE);
}

/* BUFFERS: no buffer of ours. */
static size_t buffer_of(const void *address)
{
	uintptr_t offset = (uintptr_t)address - (uintptr_t)area;

	return offset / stride() < BUFFERS ? offset / stride() : BUFFERS;
}

void count_registered(const void *address)
{
	size_t n = buffer_of(address);

	if (n < BUFFERS)
		atomic_fetch_add_explicit(&registered[n], 1, memory_order_relaxed);
}

void count_given_back(const void *address)
{
	size_t n = buffer_of(address);

	/* Release: who waits for it then sees what was done before. */
	if (n < BUFFERS)
		atomic_fetch_add_explicit(&given_back[n], 1, memory_order_release);
}

unsigned times_registered(unsigned n)
{
	return atomic_load_explicit(&registered[n], memory_order_relaxed);
}

unsigned times_given_back(unsigned n)
{
	return atomic_load_explicit(&given_back[n], memory_order_acquire);
}
