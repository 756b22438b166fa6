#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_parity.sh NAME LEAST[:SEGMENTS] [ARGUMENT...]
#
# One stream_NAME program with the same expectations over plain TCP and, with both ends
# under the library, over RDMA (at least LEAST packets of it). SEGMENTS of TCP are allowed
# beside RDMA, for programs that connect to ports where nobody listens.

. "$(dirname -- "$0")/lib.sh"
name=$1
least=${2%:*}
case $2 in
*:*) most_tcp_by_the_way=${2#*:} ;;
esac
shift 2

echo "plain TCP"
over_tcp 1 stream "$name" none "$@"
echo "both under the library"
over_rdma "$least" stream "$name" both "$@"
