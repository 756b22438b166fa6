/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A context: one open of the device, and all that hangs off it.
 */
#ifndef WSDIRECT_CONTEXT_H
#define WSDIRECT_CONTEXT_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct wsdirect_hello;
struct wsdirect_user;

struct wsdirect_context {
	/* Set at open, constant until release. mm is grabbed, not gotten: the address
	 * space may die first, but its address is not reused, so comparing it is sound.
	 */
	struct mm_struct *mm;
	struct wsdirect_user *user;
	wait_queue_head_t readers;

	/* Protects what follows up to closing, and in each range what range.h says.
	 * Taken in the notifier's callback, so nothing may sleep or allocate under it;
	 * the locks of the xarray, the user and the wait queue nest inside.
	 */
	spinlock_t lock;
	struct list_head events;	/* ranges that fired and were not read, oldest first */
	u64 sequence;			/* the last one given out */
	u64 max_bytes;
	u64 bytes;			/* covered by ranges */
	bool closing;			/* destroying takes care of all ranges from now on */
	/* 0 until HELLO, constant from then on. */
	u32 max_ranges;

	struct xarray ranges;		/* slot -> range; erased under lock */
	struct xarray pages;		/* index -> page of state words; only ever grows */
	struct work_struct mm_gone;	/* gives the ranges back when the mm dies first */
};

struct wsdirect_context *wsdirect_context_create(struct mm_struct *mm);
void wsdirect_context_destroy(struct wsdirect_context *context);
void wsdirect_context_hello(struct wsdirect_context *context, struct wsdirect_hello *hello);

/* 0 if the caller may use the context, else -EPERM or -EPROTO. */
static inline int wsdirect_context_check(const struct wsdirect_context *context)
{
	if (current->mm != context->mm)
		return -EPERM;
	if (!READ_ONCE(context->max_ranges))
		return -EPROTO;
	return 0;
}

/* The state word of @slot, its page made now if need be; ERR_PTR(-ENOMEM). */
u64 *wsdirect_context_state_word(struct wsdirect_context *context, u32 slot);
int wsdirect_context_mmap(struct wsdirect_context *context, struct vm_area_struct *vma);

/* event.c: the reading side of fired ranges. */
ssize_t wsdirect_event_read(struct wsdirect_context *context, char __user *buffer, size_t size,
			    bool nonblocking);
__poll_t wsdirect_event_poll(struct wsdirect_context *context, struct file *file,
			     poll_table *table);

#endif /* WSDIRECT_CONTEXT_H */
