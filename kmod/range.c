// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a range: secured, watched, fired, released.
 *
 * The notifier's callback runs inside mmu_notifier_invalidate_range_start(), in
 * the task that is about to change the page tables and before it does. Clearing
 * the state word there is what makes the promise: when munmap (or whatever it
 * was) returns, and before any of its pages is gone, the word is 0. The callback
 * may be called with any mm lock held, and for changes that must not block, so
 * it takes one spinlock and never sleeps, allocates or fails. The list node of
 * the event is part of the range; a range fires once; so queuing cannot fail.
 *
 * A notifier cannot be removed in its own callback. A range that fired stays in
 * the interval tree, ignored, until its event is read.
 *
 * Securing follows the protocol of mmu_interval_notifier: insert, then
 * mmu_interval_read_begin() waits out a change that is under way, then the
 * mapping is checked, then mmu_interval_read_retry() tells, under the lock that
 * the callback takes, whether a change began meanwhile; if so, once more.
 *
 * Which changes end a range and which leave it alone is decided in change.c.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <wsdirect.h>

#include "change.h"
#include "context.h"
#include "range.h"
#include "statistics.h"
#include "trace.h"
#include "user.h"

static struct kmem_cache *range_cache;

static void range_fire(struct wsdirect_range *range, const struct mmu_notifier_range *change)
	__must_hold(&range->context->lock)
{
	lockdep_assert_held(&range->context->lock);
#ifndef WSDIRECT_MUTATION_MARK_LATE
	WRITE_ONCE(*range->state_word, 0);
#endif
	range->phase = WSDIRECT_RANGE_FIRED;
	range->cause = change->event;
	list_add_tail(&range->event, &range->context->events);
	trace_stale(range, change);
}

static bool range_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *change, unsigned long sequence)
{
	struct wsdirect_range *range = container_of(notifier, struct wsdirect_range, notifier);
	struct wsdirect_context *context = range->context;
	unsigned int cause = wsdirect_statistics_cause(change->event);
	bool keeps = wsdirect_change_keeps(range, change);
	bool fired = false;

#ifdef WSDIRECT_MUTATION_WHOLE_OVERLAP_ONLY
	if (change->start > wsdirect_range_address(range) ||
	    change->end < wsdirect_range_end(range))
		keeps = true;
#endif
	spin_lock(&context->lock);
	mmu_interval_set_seq(notifier, sequence);
	if (range->phase == WSDIRECT_RANGE_WATCHED) {
		if (keeps) {
			atomic_long_inc(&wsdirect_statistics.kept[cause]);
		} else {
			range_fire(range, change);
			atomic_long_inc(&wsdirect_statistics.stale[cause]);
			fired = true;
		}
	}
	if (change->event == MMU_NOTIFY_RELEASE && !context->closing)
		schedule_work(&context->mm_gone);
	spin_unlock(&context->lock);

	/* The context outlives this call: destroying it removes this notifier first. */
	if (fired)
		wake_up_interruptible_poll(&context->readers, EPOLLIN | EPOLLRDNORM);
	return true;
}

static const struct mmu_interval_notifier_ops range_notifier_ops = {
	.invalidate = range_invalidate,
};

static int range_charge(struct wsdirect_context *context, u64 length, u64 *sequence)
{
	int err = -ENOSPC;

	spin_lock(&context->lock);
	if (length <= context->max_bytes - context->bytes) {
		err = wsdirect_user_charge(context->user, length);
		if (!err) {
			context->bytes += length;
			*sequence = ++context->sequence;
		}
	}
	spin_unlock(&context->lock);
	return err;
}

static void range_uncharge(struct wsdirect_context *context, u64 length)
{
	spin_lock(&context->lock);
	context->bytes -= length;
	spin_unlock(&context->lock);
	wsdirect_user_uncharge(context->user, length);
}

static void range_free_slot(struct wsdirect_range *range)
{
	/* Under the lock: unsecure must not find a range that is about to be freed. */
	spin_lock(&range->context->lock);
	xa_erase(&range->context->ranges, range->slot);
	spin_unlock(&range->context->lock);
}

/* A range in phase NEW with its notifier in place; to be armed or released. */
static struct wsdirect_range *range_create(struct wsdirect_context *context,
					   const struct wsdirect_secure *request)
{
	const struct xa_limit slots = XA_LIMIT(0, context->max_ranges - 1);
	struct wsdirect_range *range;
	int err;

	range = kmem_cache_zalloc(range_cache, GFP_KERNEL);
	if (!range)
		return ERR_PTR(-ENOMEM);
	range->context = context;
	range->access = request->access;
	range->phase = WSDIRECT_RANGE_NEW;
	INIT_LIST_HEAD(&range->event);

	err = range_charge(context, request->length, &range->sequence);
	if (err)
		goto free_range;
	err = xa_alloc(&context->ranges, &range->slot, range, slots, GFP_KERNEL_ACCOUNT);
	if (err) {
		err = err == -EBUSY ? -ENOSPC : err;
		goto uncharge;
	}
	range->state_word = wsdirect_context_state_word(context, range->slot);
	if (IS_ERR(range->state_word)) {
		err = PTR_ERR(range->state_word);
		goto free_slot;
	}
	/* The first one of an mm takes all its locks, and gives up if a signal comes. */
	err = mmu_interval_notifier_insert(&range->notifier, context->mm, request->address,
					   request->length, &range_notifier_ops);
	if (err)
		goto free_slot;

	atomic_long_inc(&wsdirect_statistics.ranges);
	atomic_long_add(request->length, &wsdirect_statistics.bytes);
	return range;

free_slot:
	range_free_slot(range);
uncharge:
	range_uncharge(context, request->length);
free_range:
	kmem_cache_free(range_cache, range);
	return ERR_PTR(err);
}

void wsdirect_range_release(struct wsdirect_range *range)
{
	struct wsdirect_context *context = range->context;
	u64 length = wsdirect_range_end(range) - wsdirect_range_address(range);

	spin_lock(&context->lock);
	range->phase = WSDIRECT_RANGE_LEAVING;
	list_del_init(&range->event);
	WRITE_ONCE(*range->state_word, 0);
	spin_unlock(&context->lock);

	/* Waits for callbacks that are running; there are none from here on. */
	mmu_interval_notifier_remove(&range->notifier);
	range_free_slot(range);
	range_uncharge(context, length);
	kmem_cache_free(range_cache, range);
	atomic_long_sub(length, &wsdirect_statistics.bytes);
	atomic_long_dec(&wsdirect_statistics.ranges);
}

/* Start to watch: the mapping is as needed, and no change of it is under way. */
static int range_arm(struct wsdirect_range *range)
{
	struct wsdirect_context *context = range->context;
	unsigned long sequence;
	bool allowed;

	for (;;) {
#ifndef WSDIRECT_MUTATION_NO_WAIT
		sequence = mmu_interval_read_begin(&range->notifier);
#else
		sequence = READ_ONCE(range->notifier.invalidate_seq);
#endif

		if (mmap_read_lock_killable(context->mm))
			return -EINTR;
		allowed = wsdirect_mapping_allows(context->mm, wsdirect_range_address(range),
						  wsdirect_range_end(range), range->access,
						  VM_IO | VM_PFNMAP);
		mmap_read_unlock(context->mm);
		if (!allowed)
			return -EFAULT;

		spin_lock(&context->lock);
		if (!mmu_interval_read_retry(&range->notifier, sequence)) {
			range->phase = WSDIRECT_RANGE_WATCHED;
			WRITE_ONCE(*range->state_word, range->sequence);
			trace_secure(range);
			spin_unlock(&context->lock);
			return 0;
		}
		spin_unlock(&context->lock);

		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
}

int wsdirect_range_secure(struct wsdirect_context *context, struct wsdirect_secure __user *argument)
{
	struct wsdirect_secure request;
	struct wsdirect_range *range;
	u64 end;
	int err;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (!request.length || !PAGE_ALIGNED(request.address) || !PAGE_ALIGNED(request.length) ||
	    !request.access ||
	    request.access & ~(WSDIRECT_ACCESS_READ | WSDIRECT_ACCESS_WRITE))
		return -EINVAL;
	if (check_add_overflow(request.address, request.length, &end) || end > TASK_SIZE_MAX)
		return -EFAULT;

	range = range_create(context, &request);
	if (IS_ERR(range))
		return PTR_ERR(range);

	/* Told before it is armed, so that nothing can fail afterwards. */
	request.slot = range->slot;
	request.sequence = range->sequence;
	err = copy_to_user(argument, &request, sizeof(request)) ? -EFAULT : range_arm(range);
	if (err) {
		wsdirect_range_release(range);
		return err;
	}
	atomic_long_inc(&wsdirect_statistics.secured);
	return 0;
}

int wsdirect_range_unsecure(struct wsdirect_context *context,
			    const struct wsdirect_unsecure *request)
{
	struct wsdirect_range *range;

	spin_lock(&context->lock);
	range = xa_load(&context->ranges, request->slot);
	if (!range || range->phase != WSDIRECT_RANGE_WATCHED ||
	    range->sequence != request->sequence) {
		spin_unlock(&context->lock);
		return -ENOENT;
	}
	range->phase = WSDIRECT_RANGE_LEAVING;
	trace_unsecure(range);
	spin_unlock(&context->lock);

	wsdirect_range_release(range);
	atomic_long_inc(&wsdirect_statistics.unsecured);
	return 0;
}

int __init wsdirect_range_init(void)
{
	/* What one range costs the kernel, besides its share of a page of state words. */
	BUILD_BUG_ON(sizeof(struct wsdirect_range) > 192);

	range_cache = KMEM_CACHE(wsdirect_range, SLAB_ACCOUNT);
	return range_cache ? 0 : -ENOMEM;
}

void wsdirect_range_exit(void)
{
	kmem_cache_destroy(range_cache);
}
