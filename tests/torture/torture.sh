#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: torture.sh [SECONDS [SEED]]
#
# The torture test: over plain TCP for a moment, then with both ends under the library for
# SECONDS (default: TORTURE_SECONDS in the environment, or 60), in turns of at most five
# minutes with a seed each. Seeds are printed; the same one (default: TORTURE_SEED, or a random
# one) makes the same choices, though threads come to them in another order.

. "$(dirname -- "$0")/lib.sh"
seconds=${1:-${TORTURE_SECONDS:-60}}
seed=${2:-${TORTURE_SEED:-$SRANDOM}}

echo "plain TCP, seed $seed"
torture none 3 "$seed"

for ((left = seconds; left > 0; left -= turn)); do
	turn=$((left < 300 ? left : 300))
	echo "both under the library, seed $seed, $turn s of $left"
	forget_statistics
	over_rdma 1000 torture both "$turn" "$seed"
	for name in bytes_sent_rdma bytes_sent_staged cache_hits cache_misses cache_stale \
		    cache_retries callbacks; do
		echo "$name: $(statistic all "$name")"
	done
	# It is about the application's own pages: most bytes came from and to them.
	sent=$(statistic all bytes_sent_rdma)
	staged=$(statistic all bytes_sent_staged)
	[ "$staged" -le $((sent / 5)) ] || fail "of $sent bytes sent by RDMA, $staged were copied"
	expect_statistic all callbacks -ge 10
	expect_statistic all cache_hits -ge 1
	seed=$((seed + 1))
done
