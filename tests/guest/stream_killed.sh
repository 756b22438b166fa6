#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_killed.sh server|client
#
# One end is killed in the middle of a transfer. The other notices, and neither leaves
# anything behind in the module or the device.

. "$(dirname -- "$0")/lib.sh"
regions=$(rdma_objects mr)
pairs=$(rdma_objects qp)
ranges=$(module_ranges)

over_rdma 1000 stream kill both "$1"
all_back()
{
	[ "$(rdma_objects mr)" -eq "$regions" ] && [ "$(rdma_objects qp)" -eq "$pairs" ] &&
		[ "$(module_ranges)" -eq "$ranges" ]
}
eventually 10 all_back ||
	fail "left behind: $(rdma resource show), $(module_ranges) ranges; before $regions mr, $pairs qp, $ranges ranges"
