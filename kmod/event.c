// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handing out events: read and poll. Reading the event of a range is also what
 * frees it and its slot.
 */
#include <linux/uaccess.h>
#include <wsdirect.h>

#include "context.h"
#include "range.h"
#include "statistics.h"
#include "trace.h"

/* The range whose event is oldest, now the caller's; or NULL. */
static struct wsdirect_range *event_take(struct wsdirect_context *context)
{
	struct wsdirect_range *range;

	spin_lock(&context->lock);
	range = list_first_entry_or_null(&context->events, struct wsdirect_range, event);
	if (range) {
		range->phase = WSDIRECT_RANGE_LEAVING;
		list_del_init(&range->event);
	}
	spin_unlock(&context->lock);
	return range;
}

static void event_put_back(struct wsdirect_range *range)
{
	struct wsdirect_context *context = range->context;

	spin_lock(&context->lock);
	range->phase = WSDIRECT_RANGE_FIRED;
	list_add(&range->event, &context->events);
	spin_unlock(&context->lock);
	wake_up_interruptible_poll(&context->readers, EPOLLIN | EPOLLRDNORM);
}

static bool event_queued(struct wsdirect_context *context)
{
	return !list_empty_careful(&context->events);
}

ssize_t wsdirect_event_read(struct wsdirect_context *context, char __user *buffer, size_t size,
			    bool nonblocking)
{
	struct wsdirect_event event = { 0 };
	struct wsdirect_range *range;
	ssize_t done = 0;
	int err;

	while (size - done >= sizeof(event)) {
		range = event_take(context);
		if (!range) {
			if (done)
				break;
			if (nonblocking)
				return -EAGAIN;
			err = wait_event_interruptible(context->readers, event_queued(context));
			if (err)
				return err;
			continue;
		}
		event.address = wsdirect_range_address(range);
		event.length = wsdirect_range_end(range) - event.address;
		event.sequence = range->sequence;
		event.slot = range->slot;
		event.cause = range->cause;
		/* Nothing is locked: writing to the reader's memory may itself notify. */
		if (copy_to_user(buffer + done, &event, sizeof(event))) {
			event_put_back(range);
			return done ?: -EFAULT;
		}
		trace_event_read(range);
		wsdirect_range_release(range);
		atomic_long_inc(&wsdirect_statistics.events_read);
		done += sizeof(event);
		cond_resched();
	}
	return done ?: -EINVAL;
}

__poll_t wsdirect_event_poll(struct wsdirect_context *context, struct file *file,
			     poll_table *table)
{
	poll_wait(file, &context->readers, table);
	return event_queued(context) ? EPOLLIN | EPOLLRDNORM : 0;
}
