// SPDX-License-Identifier: BSD-2-Clause
/* How much the cache may keep registered, from the settings and this process's limits. */
#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include "registration_cache.h"
#include "settings.h"
#include "system.h"

/* The kernel charges no memory-lock limit to who has this capability. */
static bool may_lock_any_memory(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	return system_raw(SYS_capget, &header, data) == 0 &&
	       (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK));
}

size_t cache_setting_regions(void)
{
	return (size_t)setting_number(SETTING_cache_regions);
}

uint64_t cache_setting_bytes(void)
{
	uint64_t asked = setting_number(SETTING_cache_bytes);
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct rlimit limit;

	if (asked > 0)
		return asked;
	if (may_lock_any_memory() || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
	    limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur / 2 > memory / 4)
		return memory / 4;
	return limit.rlim_cur / 2;
}
