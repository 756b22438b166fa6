#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Unmapping one page in the middle of a registered buffer releases the whole registration,
# before the buffer is used again.

. "$(dirname -- "$0")/lib.sh"
export WSDIRECT_SEND_PATIENCE=600000
mkfifo "$scratch/say" "$scratch/hear"

stream unmap_page both "$scratch/say" "$scratch/hear" &
program=$!

read -r word <"$scratch/say" && [ "$word" = sent ] || fail "the program said '$word'"
regions=$(rdma_objects mr)
ranges=$(module_ranges)
[ "$ranges" -gt 0 ] || fail "no range is secured"
echo ok >"$scratch/hear"

read -r word <"$scratch/say" && [ "$word" = unmapped ] || fail "the program said '$word'"
one_less()
{
	[ "$(rdma_objects mr)" -eq $((regions - 1)) ] && [ "$(module_ranges)" -eq $((ranges - 1)) ]
}
eventually 5 one_less || fail "$(rdma_objects mr) regions, $(module_ranges) ranges; before the" \
	"page was unmapped $regions and $ranges"
echo ok >"$scratch/hear"

wait "$program" || fail "the contents were wrong"
expect_statistic sender callbacks -ge 1
expect_statistic sender cache_misses -eq 2
