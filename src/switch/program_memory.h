/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of a buffer of the program's is there. send() and recv() of the kernel
 * answer EFAULT, or a short count, for memory that cannot be read or written; where
 * this library copies with plain instructions it must ask first, or it would
 * end the program, and under a lock.
 *
 * The answer is the kernel's, for any kind of memory: guard pages, files that were
 * cut short, memory of a device. Each thread remembers the pages that it saw lately, since
 * a system call for each small message is too dear; so it is no promise: memory that was
 * there at such a call and has been taken away since ends the program, as a copy of its
 * own would.
 */
#ifndef WSD_SWITCH_PROGRAM_MEMORY_H
#define WSD_SWITCH_PROGRAM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole pages that this thread saw last, one stretch for reading and one for writing. */
extern __thread struct stretch {
	uintptr_t start, end;
} program_seen[2] __attribute__((tls_model("initial-exec")));

/* Asks the kernel, and remembers. */
size_t program_ask(uintptr_t start, size_t size, bool write);

static inline size_t program_there(uintptr_t start, size_t size, bool write)
{
	/*
	 * In this order nothing wraps. And without a pointer to the element: UBSan would check
	 * that for NULL, by processor flags that are gone where the linker, in a test program,
	 * makes an LEA of the ADD that finds a thread's own variable.
	 */
	if (start >= program_seen[write].start && start <= program_seen[write].end &&
	    size <= program_seen[write].end - start)
		return size;
	return program_ask(start, size, write);
}

/* Bytes from @address on, @size at most, that can be read. */
static inline size_t program_readable(const void *address, size_t size)
{
	return program_there((uintptr_t)address, size, false);
}

/* The same for writing. What is there stays as it is. */
static inline size_t program_writable(void *address, size_t size)
{
	return program_there((uintptr_t)address, size, true);
}

#endif
