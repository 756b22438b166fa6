/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints wsdirect:secure, unsecure, stale and event_read.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM wsdirect

#if !defined(WSDIRECT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define WSDIRECT_TRACE_H

#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

#include "range.h"

#define WSDIRECT_SHOW_CAUSE(cause)					\
	__print_symbolic(cause,						\
		{ MMU_NOTIFY_UNMAP,		"unmap" },		\
		{ MMU_NOTIFY_CLEAR,		"clear" },		\
		{ MMU_NOTIFY_PROTECTION_VMA,	"protection_vma" },	\
		{ MMU_NOTIFY_PROTECTION_PAGE,	"protection_page" },	\
		{ MMU_NOTIFY_SOFT_DIRTY,	"soft_dirty" },		\
		{ MMU_NOTIFY_RELEASE,		"release" },		\
		{ MMU_NOTIFY_MIGRATE,		"migrate" },		\
		{ MMU_NOTIFY_EXCLUSIVE,		"exclusive" })

DECLARE_EVENT_CLASS(range_template,
	TP_PROTO(const struct wsdirect_range *range),
	TP_ARGS(range),
	TP_STRUCT__entry(
		__field(const void *, context)
		__field(u64, start)
		__field(u64, end)
		__field(u64, sequence)
		__field(u32, slot)
		__field(u32, access)
	),
	TP_fast_assign(
		__entry->context = range->context;
		__entry->start = wsdirect_range_address(range);
		__entry->end = wsdirect_range_end(range);
		__entry->sequence = range->sequence;
		__entry->slot = range->slot;
		__entry->access = range->access;
	),
	TP_printk("context=%p slot=%u sequence=%llu range=%#llx-%#llx access=%u",
		  __entry->context, __entry->slot, __entry->sequence, __entry->start,
		  __entry->end, __entry->access)
);

DEFINE_EVENT(range_template, secure,
	TP_PROTO(const struct wsdirect_range *range), TP_ARGS(range));
DEFINE_EVENT(range_template, unsecure,
	TP_PROTO(const struct wsdirect_range *range), TP_ARGS(range));
DEFINE_EVENT(range_template, event_read,
	TP_PROTO(const struct wsdirect_range *range), TP_ARGS(range));

TRACE_EVENT(stale,
	TP_PROTO(const struct wsdirect_range *range, const struct mmu_notifier_range *change),
	TP_ARGS(range, change),
	TP_STRUCT__entry(
		__field(const void *, context)
		__field(u64, sequence)
		__field(u64, start)
		__field(u64, end)
		__field(u32, slot)
		__field(u32, cause)
	),
	TP_fast_assign(
		__entry->context = range->context;
		__entry->sequence = range->sequence;
		__entry->start = change->start;
		__entry->end = change->end;
		__entry->slot = range->slot;
		__entry->cause = change->event;
	),
	TP_printk("context=%p slot=%u sequence=%llu cause=%s change=%#llx-%#llx",
		  __entry->context, __entry->slot, __entry->sequence,
		  WSDIRECT_SHOW_CAUSE(__entry->cause), __entry->start, __entry->end)
);

#endif /* WSDIRECT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
