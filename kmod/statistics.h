/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters of the whole module, one file each below /sys/class/misc/wsdirect.
 */
#ifndef WSDIRECT_STATISTICS_H
#define WSDIRECT_STATISTICS_H

#include <linux/atomic.h>
#include <linux/mmu_notifier.h>

/* One more than the last notifier event that has a name: it counts all others. */
#define WSDIRECT_CAUSE_OTHER	(MMU_NOTIFY_EXCLUSIVE + 1)
#define WSDIRECT_CAUSES		(WSDIRECT_CAUSE_OTHER + 1)

struct wsdirect_statistics {
	/* levels */
	atomic_long_t contexts;		/* open */
	atomic_long_t ranges;		/* holding a slot: watched, or fired and unread */
	atomic_long_t bytes;		/* covered by those */
	/* totals since the module was loaded */
	atomic_long_t secured;		/* successful SECURE */
	atomic_long_t unsecured;	/* successful UNSECURE */
	atomic_long_t events_read;
	/* notifications of a watched range by enum mmu_notifier_event: those that made its
	 * state stale, and those after which it still stands
	 */
	atomic_long_t stale[WSDIRECT_CAUSES];
	atomic_long_t kept[WSDIRECT_CAUSES];
};

extern struct wsdirect_statistics wsdirect_statistics;
extern const struct attribute_group *wsdirect_statistics_groups[];

static inline unsigned int wsdirect_statistics_cause(enum mmu_notifier_event event)
{
	return min_t(unsigned int, event, WSDIRECT_CAUSE_OTHER);
}

#endif /* WSDIRECT_STATISTICS_H */
