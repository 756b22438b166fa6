/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Judging changes of an address space.
 */
#ifndef WSDIRECT_CHANGE_H
#define WSDIRECT_CHANGE_H

#include <linux/mm.h>

struct mmu_notifier_range;
struct wsdirect_range;

/*
 * Whether the range still stands after a change that it was notified of: every page of it at
 * the same address, with the rights it needs. For the notifier's callback: never sleeps.
 */
bool wsdirect_change_keeps(const struct wsdirect_range *range,
			   const struct mmu_notifier_range *change);

/*
 * Whether all of [start, end) is mapped with the rights in @access (WSDIRECT_ACCESS_*), and
 * no part of it by a VMA with any of the flags in @refused. The mmap_lock must be held.
 */
bool wsdirect_mapping_allows(struct mm_struct *mm, unsigned long start, unsigned long end,
			     u8 access, vm_flags_t refused);

#endif /* WSDIRECT_CHANGE_H */
