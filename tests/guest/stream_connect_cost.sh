#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# With one end under the library and the other not, connecting costs at most 1.5 s, and later
# connects do not try the SAN: the destination is remembered.

. "$(dirname -- "$0")/lib.sh"

echo "plain TCP"
over_tcp 5 stream connect_time none
echo "the client alone"
forget_statistics
over_tcp 5 stream connect_time client
# Of five, the first; and one more if they took longer than what answered is remembered, a second.
expect_statistic all tcp_connects -eq 5
expect_statistic all san_fallbacks -ge 1
expect_statistic all san_fallbacks -le 2
echo "the server alone"
over_tcp 5 stream connect_time server
echo "both"
over_rdma 5 stream connect_time both
