/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of a buffer of the program's is there. send() and recv() of the kernel
 * answer EFAULT, or a short count, for memory that cannot be read or written; where
 * this library copies with plain instructions it must ask first, or it would
 * end the program, and under a lock.
 *
 * The answer is the kernel's, for any kind of memory: guard pages, files that were
 * cut short, memory of a device. Each thread remembers the pages that it saw last, since
 * a system call for each small message is too dear; so it is no promise: memory that was
 * there at the last call and has been taken away since ends the program, as a copy of its
 * own would.
 */
#ifndef WSD_SWITCH_PROGRAM_MEMORY_H
#define WSD_SWITCH_PROGRAM_MEMORY_H

#include <stddef.h>

/* Bytes from @address on, @size at most, that can be read. */
size_t program_readable(const void *address, size_t size);
/* The same for writing. What is there stays as it is. */
size_t program_writable(void *address, size_t size);

#endif
