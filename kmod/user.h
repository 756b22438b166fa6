/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What one user (uid) holds over all its contexts, and the limits on that.
 */
#ifndef WSDIRECT_USER_H
#define WSDIRECT_USER_H

#include <linux/types.h>
#include <linux/uidgid.h>

struct wsdirect_user;

/* A reference, to be returned with wsdirect_user_put(); NULL when out of memory. */
struct wsdirect_user *wsdirect_user_get(kuid_t uid);
void wsdirect_user_put(struct wsdirect_user *user);

/* Count one range of @bytes: 0 or -EDQUOT. Never sleeps. */
int wsdirect_user_charge(struct wsdirect_user *user, u64 bytes);
void wsdirect_user_uncharge(struct wsdirect_user *user, u64 bytes);

#endif /* WSDIRECT_USER_H */
