/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels 6.1 and 6.12, and what depends on how a kernel
 * was configured, so that no other file has an #if on either.
 *
 * mmu_notifier_range lost its vma in 6.3. Nothing here replaces it: the one
 * place that wants a VMA looks it up, which is right on both.
 */
#ifndef WSDIRECT_COMPAT_H
#define WSDIRECT_COMPAT_H

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/version.h>

/* The wrappers that keep per-VMA locks informed came with those locks, in 6.3. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_mod(struct vm_area_struct *vma, unsigned long set,
				unsigned long clear)
{
	mmap_assert_write_locked(vma->vm_mm);
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/*
 * True only if the calling task itself holds @mm's mmap_lock for writing. A
 * task that does not hold it can never see itself as the owner, so the answer
 * needs no lock. Where the lock keeps no such owner (PREEMPT_RT), or keeps it
 * with flags in the low bits, the answer is no, which callers must find safe.
 */
static inline bool mmap_write_locked_by_me(struct mm_struct *mm)
{
#ifdef CONFIG_PREEMPT_RT
	return false;
#else
	return atomic_long_read(&mm->mmap_lock.owner) == (long)current;
#endif
}

#endif /* WSDIRECT_COMPAT_H */
