// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which changes of the address space end a range, and which leave it alone.
 *
 * A range is there for memory that is registered, hence pinned for long. What
 * matters is whether the same pages stay at the same addresses with the rights
 * the range needs. When in doubt the answer is no: a range that goes stale
 * without need costs a registration, one that stays valid wrongly costs data.
 * docs/memory-events.md lists every sender of a notification and the verdict.
 *
 * All of this runs in the notifier's callback, before the change: no sleeping,
 * no allocating, and only locks that nobody holds while notifying.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <wsdirect.h>

#include "change.h"
#include "compat.h"
#include "range.h"

bool wsdirect_mapping_allows(struct mm_struct *mm, unsigned long start, unsigned long end,
			     u8 access, vm_flags_t refused)
	__must_hold(&mm->mmap_lock)
{
	const struct vm_area_struct *vma;
	vm_flags_t needed = 0;

	mmap_assert_locked(mm);
	if (access & WSDIRECT_ACCESS_READ)
		needed |= VM_READ;
	if (access & WSDIRECT_ACCESS_WRITE)
		needed |= VM_WRITE;
	for (; start < end; start = vma->vm_end) {
		vma = find_vma(mm, start);
		if (!vma || vma->vm_start > start || (vma->vm_flags & refused) ||
		    (vma->vm_flags & needed) != needed)
			return false;
	}
	return true;
}

/*
 * Whether a change of protection leaves the range the rights it needs. mprotect
 * changes the flags of the VMA before it notifies, so the flags tell; and those
 * who notify this way for another reason (NUMA hinting, which makes present
 * pages fault, and write-tracking) leave the flags as they are. All of them hold
 * the mmap_lock, for reading at least. Write-tracking by userfaultfd takes the
 * right to write until its handler gives it back.
 */
static bool protection_keeps_rights(const struct wsdirect_range *range,
				    const struct mmu_notifier_range *change)
{
	unsigned long start = max_t(unsigned long, change->start, wsdirect_range_address(range));
	unsigned long end = min_t(unsigned long, change->end, wsdirect_range_end(range));
	vm_flags_t refused = range->access & WSDIRECT_ACCESS_WRITE ? VM_UFFD_WP : 0;

	if (WARN_ON_ONCE(!rwsem_is_locked(&change->mm->mmap_lock)))
		return false;
	return wsdirect_mapping_allows(change->mm, start, end, range->access, refused);
}

/* The entry of the third level for @address, or NULL. The caller holds the mmap_lock. */
static pmd_t *pmd_find(struct mm_struct *mm, unsigned long address)
	__must_hold(&mm->mmap_lock)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return NULL;
	return pmd_offset(pud, address);
}

/*
 * Whether a pinned page is mapped at @address by the table that @entry was read
 * from @pmd to point to. With RCU and the second look that is safe against a
 * file mapping's table being taken away, for which no mmap_lock is needed.
 */
static bool small_page_pinned(struct mm_struct *mm, pmd_t *pmd, pmd_t entry, unsigned long address)
	__must_hold(RCU)
{
	spinlock_t *lock = pte_lockptr(mm, &entry);
	bool pinned = false;
	pte_t pte;

	spin_lock(lock);
	if (pmd_same(entry, READ_ONCE(*pmd))) {
		pte = READ_ONCE(*pte_offset_kernel(&entry, address));
		pinned = pte_present(pte) && !pte_special(pte) && pfn_valid(pte_pfn(pte)) &&
			 folio_maybe_dma_pinned(page_folio(pte_page(pte)));
	}
	spin_unlock(lock);
	return pinned;
}

/* The same for the huge page of @pmd. Its entry cannot change while its lock is held. */
static bool huge_page_pinned(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *lock = pmd_lockptr(mm, pmd);
	bool pinned = false;
	pmd_t entry;

	spin_lock(lock);
	entry = READ_ONCE(*pmd);
	if (pmd_present(entry) && pmd_trans_huge(entry))
		pinned = folio_maybe_dma_pinned(page_folio(pmd_page(entry)));
	spin_unlock(lock);
	return pinned;
}

/*
 * Whether a change is no more than one huge page becoming mapped by small
 * entries: the same pages stay at the same addresses. fork does that to pinned
 * huge pages, and every call that divides a VMA (mprotect, munmap, mremap,
 * madvise) does it where the cut goes through a huge page, and notifies likewise
 * where the cut goes through what could have been one. So without this rule
 * freeing a buffer would cost its neighbours their registration.
 *
 * The notification, CLEAR of exactly one huge page, looks like those of
 * migration, collapse and madvise(DONTNEED). The sender tells them apart: a task
 * that holds the mmap_lock for writing. It unmaps with UNMAP, not CLEAR, and
 * madvise(DONTNEED) holds the lock for reading. Reclaim and compaction, which an
 * allocation under the lock may enter, have PF_MEMALLOC set. Left are collapse,
 * and (6.1) mbind, which migrates under that lock. Both give up where they find a
 * pinned page, so the pin decides: what is not pinned is not registered yet, and
 * has nothing to lose by another round. hugetlb does move pages this way, and is
 * left out.
 */
static bool change_splits_huge_page(const struct wsdirect_range *range,
				    const struct mmu_notifier_range *change)
{
	unsigned long address = max_t(unsigned long, change->start, wsdirect_range_address(range));
	struct mm_struct *mm = change->mm;
	struct vm_area_struct *vma;
	pmd_t *pmd, entry;
	bool pinned;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) || !IS_ENABLED(CONFIG_64BIT))
		return false;
	if (!IS_ALIGNED(change->start, HPAGE_PMD_SIZE) ||
	    change->end - change->start != HPAGE_PMD_SIZE)
		return false;
	if (!mmap_write_locked_by_me(mm) || (current->flags & PF_MEMALLOC))
		return false;
	vma = find_vma(mm, address);
	if (!vma || vma->vm_start > address || is_vm_hugetlb_page(vma))
		return false;
	/* With the lock held for writing nobody else frees the upper levels of the tables. */
	pmd = pmd_find(mm, address);
	if (!pmd)
		return false;

	rcu_read_lock();
	entry = READ_ONCE(*pmd);
	if (pmd_trans_huge(entry))
		pinned = huge_page_pinned(mm, pmd);
	else if (!pmd_present(entry) || pmd_bad(entry))
		pinned = false;
	else
		pinned = small_page_pinned(mm, pmd, entry, address);
	rcu_read_unlock();
	return pinned;
}

bool wsdirect_change_keeps(const struct wsdirect_range *range,
			   const struct mmu_notifier_range *change)
{
	switch (change->event) {
	case MMU_NOTIFY_PROTECTION_PAGE:	/* fork or writeback makes entries read-only */
	case MMU_NOTIFY_SOFT_DIRTY:		/* the same, to see who writes */
		return true;
	case MMU_NOTIFY_PROTECTION_VMA:
		return protection_keeps_rights(range, change);
	case MMU_NOTIFY_CLEAR:
		return change_splits_huge_page(range, change);
	default:				/* those of later kernels too */
		return false;
	}
}
