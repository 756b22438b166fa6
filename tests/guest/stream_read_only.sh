#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_read_only.sh private|shared|constant
#
# Memory that may only be read is sent from as it is: registered once, for reading, and not
# copied. Kernels before 6.2 do not pin shared mappings that may only be read; those are
# copied.

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=200
export WSDIRECT_SEND_PATIENCE=600000
kind=$1
count=5
bytes=$((count * 1048576))

over_tcp 1 stream read_only none "$kind" "$count"
forget_statistics
over_rdma 1000 stream read_only both "$kind" "$count"
show_statistics
case $kind-$(uname -r) in
shared-6.[01].*)
	copied=$(($(statistic sender bytes_sent_staged) + $(statistic sender bytes_sent_message)))
	[ "$copied" -eq "$bytes" ] || fail "$copied bytes of $bytes were copied"
	exit 0
	;;
esac
expect_statistic sender bytes_sent_rdma -eq "$bytes"
expect_statistic sender bytes_sent_message -eq 0
expect_statistic sender bytes_sent_staged -eq 0
# One of the cache's and, since windows cannot be bound to it, one for each exposure.
expect_one_registration sender "$count"
