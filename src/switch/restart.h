/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SA_RESTART for calls that sleep in ppoll(), which the kernel never restarts.
 */
#ifndef WSD_SWITCH_RESTART_H
#define WSD_SWITCH_RESTART_H

#include <stdbool.h>
#include <stdint.h>

/*
 * After EINTR, with nothing done yet: does the call go on? As signal(7): not if the socket
 * has a timeout (@timeout, in nanoseconds; negative: none) for this direction.
 */
bool interrupted_call_goes_on(int64_t timeout);

#endif
