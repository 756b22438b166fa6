// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a context, and the array of state words that it shows its owner.
 *
 * A context is made by open and destroyed by the last fput, which comes when
 * every descriptor is closed and the state words are unmapped. Its ranges may
 * go earlier: when the address space dies while another process (a forked child
 * that never closed it) still has the file, each range's notifier is called for
 * the last time and the work item below takes them out. It cannot be done in
 * that callback, because removing a notifier waits for callbacks to return.
 *
 * exit_mmap() runs those last callbacks before it unmaps anything, and an
 * mm_struct that is grabbed keeps its list of notifiers until it is dropped.
 * So a notifier may be removed at any time after, from any task.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <wsdirect.h>

#include "compat.h"
#include "context.h"
#include "range.h"
#include "statistics.h"
#include "user.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define WORDS_PER_PAGE	(PAGE_SIZE / sizeof(u64))
#define RANGES_CEILING	(1U << 24)	/* of max_ranges: keeps every product below in 32 bits */

static int max_ranges_set(const char *text, const struct kernel_param *parameter)
{
	return param_set_uint_minmax(text, parameter, 1, RANGES_CEILING);
}

static const struct kernel_param_ops max_ranges_ops = {
	.set = max_ranges_set,
	.get = param_get_uint,
};

static unsigned int max_ranges = 65536;
module_param_cb(max_ranges, &max_ranges_ops, &max_ranges, 0644);
MODULE_PARM_DESC(max_ranges, "ranges that one open may hold (65536)");

static unsigned long max_bytes;
module_param(max_bytes, ulong, 0644);
MODULE_PARM_DESC(max_bytes, "bytes that the ranges of one open may cover (0: all the memory)");

static void context_release_ranges(struct wsdirect_context *context)
{
	struct wsdirect_range *range;
	unsigned long slot;

	xa_for_each(&context->ranges, slot, range) {
		wsdirect_range_release(range);
		cond_resched();
	}
}

/*
 * No other path touches a range now: reading, securing and unsecuring are for
 * tasks of the address space that has just died, and release waits for us.
 */
static void context_mm_gone(struct work_struct *work)
{
	context_release_ranges(container_of(work, struct wsdirect_context, mm_gone));
}

struct wsdirect_context *wsdirect_context_create(struct mm_struct *mm)
{
	struct wsdirect_context *context;

	context = kzalloc(sizeof(*context), GFP_KERNEL_ACCOUNT);
	if (!context)
		return ERR_PTR(-ENOMEM);
	context->user = wsdirect_user_get(current_uid());
	if (!context->user) {
		kfree(context);
		return ERR_PTR(-ENOMEM);
	}
	mmgrab(mm);
	context->mm = mm;
	init_waitqueue_head(&context->readers);
	spin_lock_init(&context->lock);
	INIT_LIST_HEAD(&context->events);
	xa_init_flags(&context->ranges, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
	xa_init_flags(&context->pages, XA_FLAGS_ACCOUNT);
	INIT_WORK(&context->mm_gone, context_mm_gone);
	atomic_long_inc(&wsdirect_statistics.contexts);
	return context;
}

/* The caller is the last user: the file is gone, and so are all mappings of it. */
void wsdirect_context_destroy(struct wsdirect_context *context)
{
	struct page *page;
	unsigned long index;

	/* From here the work cannot be queued again, and the ranges are ours alone. */
	spin_lock(&context->lock);
	context->closing = true;
	spin_unlock(&context->lock);
	cancel_work_sync(&context->mm_gone);
	context_release_ranges(context);

	WARN_ON_ONCE(!list_empty(&context->events) || context->bytes);
	xa_for_each(&context->pages, index, page)
		put_page(page);
	xa_destroy(&context->pages);
	xa_destroy(&context->ranges);
	mmdrop(context->mm);
	wsdirect_user_put(context->user);
	kfree(context);
	atomic_long_dec(&wsdirect_statistics.contexts);
}

static u64 state_pages(const struct wsdirect_context *context)
{
	return DIV_ROUND_UP(context->max_ranges, WORDS_PER_PAGE);
}

/* The limits are those of the first HELLO; later ones are told the same. */
void wsdirect_context_hello(struct wsdirect_context *context, struct wsdirect_hello *hello)
{
	spin_lock(&context->lock);
	if (!context->max_ranges) {
		context->max_bytes = READ_ONCE(max_bytes) ?: (u64)totalram_pages() << PAGE_SHIFT;
		WRITE_ONCE(context->max_ranges, READ_ONCE(max_ranges));
	}
	hello->max_ranges = context->max_ranges;
	hello->max_bytes = context->max_bytes;
	spin_unlock(&context->lock);
	hello->state_bytes = state_pages(context) << PAGE_SHIFT;
}

u64 *wsdirect_context_state_word(struct wsdirect_context *context, u32 slot)
{
	unsigned long index = slot / WORDS_PER_PAGE;
	struct page *page = xa_load(&context->pages, index);
	struct page *other;

	if (!page) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return ERR_PTR(-ENOMEM);
		other = xa_cmpxchg(&context->pages, index, NULL, page, GFP_KERNEL_ACCOUNT);
		if (other) {
			__free_page(page);
			if (xa_is_err(other))
				return ERR_PTR(xa_err(other));
			page = other;
		}
	}
	return (u64 *)page_address(page) + slot % WORDS_PER_PAGE;
}

/*
 * Only pages that already hold a slot: a context that secures nothing cannot
 * make the kernel hold anything by reading.
 */
static vm_fault_t state_fault(struct vm_fault *fault)
{
	struct wsdirect_context *context = fault->vma->vm_private_data;
	struct page *page = xa_load(&context->pages, fault->pgoff);

	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	fault->page = page;
	return 0;
}

static const struct vm_operations_struct state_operations = {
	.fault = state_fault,
};

/* The mapping holds a reference to the file, and through that to the context. */
int wsdirect_context_mmap(struct wsdirect_context *context, struct vm_area_struct *vma)
{
	u64 pages = state_pages(context);

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff > pages ||
	    vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	vma->vm_private_data = context;
	vma->vm_ops = &state_operations;
	return 0;
}
