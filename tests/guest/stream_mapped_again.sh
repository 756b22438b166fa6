#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_mapped_again.sh libc|raw|over
#
# The sender unmaps its buffer after each send and maps another at the same address, by
# libc, by system calls that nobody interposes, or in one step: the receiver gets the new
# contents every time, and the callback has fired for each buffer that went.

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=200
# However long the receiver looks at what it got: what is counted here is not to depend on time.
export WSDIRECT_SEND_PATIENCE=600000
count=40

over_rdma 40000 stream buffer_reuse both "$1" "$count"
show_statistics
expect_statistic sender callbacks -ge $((count - 1))
expect_statistic sender cache_misses -eq "$count"
expect_statistic sender cache_hits -eq 0
expect_statistic sender bytes_sent_rdma -eq $((count * 4194304))
expect_statistic sender bytes_sent_staged -eq 0
# The receiver's buffer stays.
expect_one_registration receiver "$count"
