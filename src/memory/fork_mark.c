// SPDX-License-Identifier: BSD-2-Clause
/* A private page that the kernel hands to children empty. */
#include "fork_mark.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t mark_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int fork_mark_alloc(const _Atomic uint32_t **mark)
{
	_Atomic uint32_t *word = mmap(NULL, mark_size(), PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (word == MAP_FAILED)
		return -errno;
	if (madvise(word, mark_size(), MADV_WIPEONFORK) < 0) {
		int error = -errno;

		munmap(word, mark_size());
		return error;
	}
	atomic_store_explicit(word, 1, memory_order_relaxed);
	*mark = word;
	return 0;
}

void fork_mark_free(const _Atomic uint32_t *mark)
{
	munmap((void *)(uintptr_t)mark, mark_size());
}
