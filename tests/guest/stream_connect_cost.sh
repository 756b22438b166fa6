#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# With one end under the library and the other not, connecting costs at most 1.5 s the first
# time, and later a small fraction of that: the destination is remembered.

. "$(dirname -- "$0")/lib.sh"

echo "plain TCP"
over_tcp 5 stream connect_time none
echo "the client alone"
over_tcp 5 stream connect_time client
echo "the server alone"
over_tcp 5 stream connect_time server
echo "both"
over_rdma 5 stream connect_time both
