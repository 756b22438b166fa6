/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A secured range: one interval notifier, one slot, one state word, at most one event.
 */
#ifndef WSDIRECT_RANGE_H
#define WSDIRECT_RANGE_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>

struct wsdirect_context;
struct wsdirect_secure;
struct wsdirect_unsecure;

/*
 * NEW -> WATCHED -> FIRED -> LEAVING, or from any of them straight to LEAVING.
 * Whoever makes it LEAVING, under the context's lock, owns the range and frees it.
 */
enum wsdirect_range_phase {
	WSDIRECT_RANGE_NEW,	/* being secured: changes are found by the notifier's sequence */
	WSDIRECT_RANGE_WATCHED,	/* its state word holds its sequence */
	WSDIRECT_RANGE_FIRED,	/* stale, on the context's list of events */
	WSDIRECT_RANGE_LEAVING,
};

struct wsdirect_range {
	struct mmu_interval_notifier notifier;
	struct wsdirect_context *context;
	u64 *state_word;
	u64 sequence;
	u32 slot;
	u8 access;		/* WSDIRECT_ACCESS_* */

	/* Under the context's lock. */
	u8 phase;
	u8 cause;
	struct list_head event;
};

static inline u64 wsdirect_range_address(const struct wsdirect_range *range)
{
	return range->notifier.interval_tree.start;
}

static inline u64 wsdirect_range_end(const struct wsdirect_range *range)
{
	return (u64)range->notifier.interval_tree.last + 1;
}

int wsdirect_range_secure(struct wsdirect_context *context, struct wsdirect_secure __user *argument);
int wsdirect_range_unsecure(struct wsdirect_context *context,
			    const struct wsdirect_unsecure *request);

/* Take the range out, whatever its phase, and free it. May sleep. */
void wsdirect_range_release(struct wsdirect_range *range);

int wsdirect_range_init(void);
void wsdirect_range_exit(void);

#endif /* WSDIRECT_RANGE_H */
