#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_old_keys.sh KEEPER [PROVIDER | without-windows LIBRARY]
#
# A peer that keeps keys and tries them when the call they were given for has returned is
# refused: for reading what was sent from, and for writing to what was received into. The same
# with a device that has no memory windows: LIBRARY, to be preloaded, says so. With PROVIDER,
# one that does not hide memory, it must be noticed.

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=100
export WSDIRECT_SEND_PATIENCE=600000
export KEEPER_PROVIDER=$provider
export WSDIRECT_PROVIDER=$1
hides=yes
if [ $# -eq 3 ]; then
	export STREAM_PRELOAD=$preload:$3
elif [ $# -eq 2 ]; then
	KEEPER_PROVIDER=$2
	hides=
fi
[ -e "$1" ] && [ -e "$KEEPER_PROVIDER" ] || fail "no such provider"

for direction in read write; do
	export WSDIRECT_RDMA_DIRECTION=$direction
	# Who moves the data is who has the key.
	[ "$direction" = read ] && end=server || end=client
	echo "$direction, nobody keeps keys"
	KEEPER_END=nobody over_rdma 100 stream old_keys both nobody
	echo "$direction, the $end keeps keys"
	if [ -n "$hides" ]; then
		KEEPER_END=$end stream old_keys both "$end" 2>&1 | tee "$scratch/output"
		[ "${PIPESTATUS[0]}" -eq 0 ] || fail "an old key was of use ($direction)"
	elif KEEPER_END=$end stream old_keys both "$end" >"$scratch/output" 2>&1; then
		fail "the memory was not hidden, and nobody noticed ($direction)"
	fi
	cat "$scratch/output"
	grep -q 'keeper: tries the key' "$scratch/output" || fail "no old key was tried"
done
if [ $# -eq 3 ]; then
	expect_statistic all windows_bound -eq 0
elif [ $# -eq 1 ]; then
	expect_statistic all windows_bound -ge 4
fi
