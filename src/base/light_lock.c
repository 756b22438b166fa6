// SPDX-License-Identifier: BSD-2-Clause
/* Where a light lock sleeps and wakes: futex(2). */
#include "light_lock.h"

#include "system.h"

void light_lock_wait(struct light_lock *lock)
{
	while (atomic_exchange_explicit(&lock->word, LIGHT_LOCK_AWAITED, memory_order_acquire) !=
	       LIGHT_LOCK_FREE)
		system_futex_wait(&lock->word, LIGHT_LOCK_AWAITED);
}

void light_lock_wake(struct light_lock *lock)
{
	system_futex_wake(&lock->word, 1);
}
