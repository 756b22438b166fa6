#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_one_end.sh NAME [ARGUMENT...]
#
# One stream_NAME program with only one of its ends under the library, each in turn: the same
# expectations, over TCP.

. "$(dirname -- "$0")/lib.sh"
name=$1
shift

echo "the server alone"
over_tcp 5 stream "$name" server "$@"
echo "the client alone"
over_tcp 5 stream "$name" client "$@"
