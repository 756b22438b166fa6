#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_mutation.sh PROVIDER
#
# The proof that stream_mapped_again.sh can fail: with a provider whose cache does not look
# at the state of a range, old contents must reach the receiver.

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=200
export WSDIRECT_RDMA_THRESHOLD=65536
export WSDIRECT_PROVIDER=$1
[ -e "$1" ] || fail "no such provider: $1"

# On one processor, first come first served, the sender comes to its next send before the
# switch thread comes to the event: the look-up alone decides.
taskset -p -c 0 $$ >/dev/null && chrt -f -p 1 $$ || fail "cannot stay on one processor"
for how in libc raw over; do
	if output=$(stream buffer_reuse both "$how" 400 65536 2>&1); then
		fail "without the state check, contents were right all the same ($how)"
	fi
	echo "$output"
	grep -q 'wrong bytes at' <<<"$output" || fail "failed, but not by old contents"
done
