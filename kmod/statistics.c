// SPDX-License-Identifier: GPL-2.0-only
/*
 * The counters and their files. sysfs rather than debugfs: everybody who may
 * open the device may read them, and they hold totals only, nothing of any one
 * process.
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "statistics.h"

struct wsdirect_statistics wsdirect_statistics;

struct counter_attribute {
	struct device_attribute attribute;
	atomic_long_t *counter;
};

static ssize_t counter_show(struct device *device, struct device_attribute *attribute, char *page)
{
	const struct counter_attribute *counter =
		container_of(attribute, struct counter_attribute, attribute);

	return sysfs_emit(page, "%ld\n", atomic_long_read(counter->counter));
}

#define COUNTER(variable, file, member)						\
	static struct counter_attribute variable = {				\
		.attribute = __ATTR(file, 0444, counter_show, NULL),		\
		.counter = &wsdirect_statistics.member,				\
	}

COUNTER(contexts, contexts, contexts);
COUNTER(ranges, ranges, ranges);
COUNTER(bytes, bytes, bytes);
COUNTER(secured, secured, secured);
COUNTER(unsecured, unsecured, unsecured);
COUNTER(events_read, events_read, events_read);

COUNTER(stale_unmap, unmap, stale[MMU_NOTIFY_UNMAP]);
COUNTER(stale_clear, clear, stale[MMU_NOTIFY_CLEAR]);
COUNTER(stale_protection_vma, protection_vma, stale[MMU_NOTIFY_PROTECTION_VMA]);
COUNTER(stale_protection_page, protection_page, stale[MMU_NOTIFY_PROTECTION_PAGE]);
COUNTER(stale_soft_dirty, soft_dirty, stale[MMU_NOTIFY_SOFT_DIRTY]);
COUNTER(stale_release, release, stale[MMU_NOTIFY_RELEASE]);
COUNTER(stale_migrate, migrate, stale[MMU_NOTIFY_MIGRATE]);
COUNTER(stale_exclusive, exclusive, stale[MMU_NOTIFY_EXCLUSIVE]);
COUNTER(stale_other, other, stale[WSDIRECT_CAUSE_OTHER]);

COUNTER(kept_unmap, unmap, kept[MMU_NOTIFY_UNMAP]);
COUNTER(kept_clear, clear, kept[MMU_NOTIFY_CLEAR]);
COUNTER(kept_protection_vma, protection_vma, kept[MMU_NOTIFY_PROTECTION_VMA]);
COUNTER(kept_protection_page, protection_page, kept[MMU_NOTIFY_PROTECTION_PAGE]);
COUNTER(kept_soft_dirty, soft_dirty, kept[MMU_NOTIFY_SOFT_DIRTY]);
COUNTER(kept_release, release, kept[MMU_NOTIFY_RELEASE]);
COUNTER(kept_migrate, migrate, kept[MMU_NOTIFY_MIGRATE]);
COUNTER(kept_exclusive, exclusive, kept[MMU_NOTIFY_EXCLUSIVE]);
COUNTER(kept_other, other, kept[WSDIRECT_CAUSE_OTHER]);

#define ATTRIBUTE(variable)	(&variable.attribute.attr)

#define CAUSE_ATTRIBUTES(prefix) {						\
	ATTRIBUTE(prefix##_unmap), ATTRIBUTE(prefix##_clear),			\
	ATTRIBUTE(prefix##_protection_vma), ATTRIBUTE(prefix##_protection_page), \
	ATTRIBUTE(prefix##_soft_dirty), ATTRIBUTE(prefix##_release),		\
	ATTRIBUTE(prefix##_migrate), ATTRIBUTE(prefix##_exclusive),		\
	ATTRIBUTE(prefix##_other), NULL,					\
}

static struct attribute *counter_attributes[] = {
	ATTRIBUTE(contexts), ATTRIBUTE(ranges), ATTRIBUTE(bytes), ATTRIBUTE(secured),
	ATTRIBUTE(unsecured), ATTRIBUTE(events_read), NULL,
};
static struct attribute *stale_attributes[] = CAUSE_ATTRIBUTES(stale);
static struct attribute *kept_attributes[] = CAUSE_ATTRIBUTES(kept);

static const struct attribute_group counter_group = { .attrs = counter_attributes };
static const struct attribute_group stale_group = { .name = "stale", .attrs = stale_attributes };
static const struct attribute_group kept_group = { .name = "kept", .attrs = kept_attributes };

const struct attribute_group *wsdirect_statistics_groups[] = {
	&counter_group, &stale_group, &kept_group, NULL,
};
