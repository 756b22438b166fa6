// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits per user: one object for each uid that has a context open, found in a
 * short list. Opening and closing walk the list; securing only touches the
 * object, which the context keeps.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "user.h"

static unsigned int max_user_ranges = 262144;
module_param(max_user_ranges, uint, 0644);
MODULE_PARM_DESC(max_user_ranges, "ranges that one user may hold in all (262144)");

static unsigned long max_user_bytes;
module_param(max_user_bytes, ulong, 0644);
MODULE_PARM_DESC(max_user_bytes,
		 "bytes that all ranges of one user may cover (0: four times the memory)");

struct wsdirect_user {
	struct list_head node;		/* users_lock */
	unsigned int contexts;		/* users_lock; freed when it drops to 0 */
	kuid_t uid;
	spinlock_t lock;		/* the two below; inside a context's lock */
	unsigned int ranges;
	u64 bytes;
};

static DEFINE_MUTEX(users_lock);	/* the list and the count of contexts; outermost */
static LIST_HEAD(users);

static struct wsdirect_user *user_find(kuid_t uid)
	__must_hold(&users_lock)
{
	struct wsdirect_user *user;

	lockdep_assert_held(&users_lock);
	list_for_each_entry(user, &users, node)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

struct wsdirect_user *wsdirect_user_get(kuid_t uid)
{
	struct wsdirect_user *user;

	mutex_lock(&users_lock);
	user = user_find(uid);
	if (!user) {
		user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
		if (!user)
			goto out;
		user->uid = uid;
		spin_lock_init(&user->lock);
		list_add(&user->node, &users);
	}
	user->contexts++;
out:
	mutex_unlock(&users_lock);
	return user;
}

void wsdirect_user_put(struct wsdirect_user *user)
{
	mutex_lock(&users_lock);
	if (!--user->contexts) {
		WARN_ON_ONCE(user->ranges || user->bytes);
		list_del(&user->node);
		kfree(user);
	}
	mutex_unlock(&users_lock);
}

int wsdirect_user_charge(struct wsdirect_user *user, u64 bytes)
{
	u64 limit = READ_ONCE(max_user_bytes) ?: (u64)totalram_pages() << (PAGE_SHIFT + 2);
	int err = -EDQUOT;

	spin_lock(&user->lock);
	/* The limit may have been lowered below what is held already. */
	if (user->ranges < READ_ONCE(max_user_ranges) &&
	    user->bytes <= limit && bytes <= limit - user->bytes) {
		user->ranges++;
		user->bytes += bytes;
		err = 0;
	}
	spin_unlock(&user->lock);
	return err;
}

void wsdirect_user_uncharge(struct wsdirect_user *user, u64 bytes)
{
	spin_lock(&user->lock);
	user->ranges--;
	user->bytes -= bytes;
	spin_unlock(&user->lock);
}
