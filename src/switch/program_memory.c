/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking the kernel what of a buffer is there. See program_memory.h.
 *
 * One page is asked for by a system call that touches a word of it and does nothing
 * else: rt_sigprocmask() with an operation that does not exist reads the mask before
 * it refuses, FUTEX_WAKE_OP ors 0 to a word. Neither takes the lock of the address
 * space unless the page is not there yet. Many pages are asked for at once by
 * madvise(), which knows ordinary memory only; where it refuses, page by page.
 */
#include "program_memory.h"

#include <linux/futex.h>
#include <sys/mman.h>

#include "system.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE		((uintptr_t)4096)
/* From this many pages on it is cheaper to ask for all at once. */
#define MANY_PAGES	4

__thread struct stretch program_seen[2];

/*
 * Single pages seen lately, each at the place its number gives: a server that takes turns
 * among its connections has a buffer for each, so the last stretch is always another's.
 */
#define PAGES_SEEN	64
static __thread uintptr_t pages_seen[2][PAGES_SEEN] __attribute__((tls_model("initial-exec")));

static bool page_readable(uintptr_t page)
{
	return system_raw(SYS_rt_sigprocmask, -1, page, NULL, 8) != -EFAULT;
}

static bool page_writable(uintptr_t page)
{
	uint32_t nobody = 0;
	/* Ors 0; then wakes nobody here, and there only those who sleep on a huge negative value. */
	unsigned operation = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_LT, -2048);

	return system_raw(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1, page,
			  operation) != -EFAULT;
}

static bool page_there(uintptr_t page, bool write)
{
	uintptr_t *seen = &pages_seen[write][page / PAGE % PAGES_SEEN];

	/* Bit 0 tells page 0 from a place that is empty yet. */
	if (*seen == (page | 1))
		return true;
	if (!(write ? page_writable(page) : page_readable(page)))
		return false;
	*seen = page | 1;
	return true;
}

/* Bytes of [start, end) from the start on. */
static size_t pages_there(uintptr_t start, uintptr_t end, bool write)
{
	uintptr_t page = start & ~(PAGE - 1);
	size_t size = end - start;

	if (end - page > MANY_PAGES * PAGE &&
	    !system_raw(SYS_madvise, page, (end - page + PAGE - 1) & ~(PAGE - 1),
			write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
		return size;
	for (; page < end; page += PAGE)
		if (!page_there(page, write))
			return page > start ? page - start : 0;
	return size;
}

size_t program_ask(uintptr_t start, size_t size, bool write)
{
	struct stretch *last = &program_seen[write];
	uintptr_t end = start + size;
	uintptr_t first, behind;

	if (!size)
		return 0;
	if (end < start)
		end = UINTPTR_MAX - PAGE;
	size = pages_there(start, end, write);
	if (!size)
		return 0;
	first = start & ~(PAGE - 1);
	behind = (start + size + PAGE - 1) & ~(PAGE - 1);
	/* Neighbours grow together: a buffer that is sent piece by piece. */
	if (first > last->end || behind < last->start) {
		*last = (struct stretch){ first, behind };
	} else {
		last->start = first < last->start ? first : last->start;
		last->end = behind > last->end ? behind : last->end;
	}
	return size;
}
