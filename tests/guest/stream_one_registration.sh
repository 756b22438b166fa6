#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A buffer that is sent 100 times, and the one it is received into, are registered once;
# every later time the cache answers, and no byte is copied at either end. Each time it is
# exposed anew, by a window that the connection has already.

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=200
# However long the receiver looks at what it got: what is counted here is not to depend on time.
export WSDIRECT_SEND_PATIENCE=600000
count=100
bytes=$((count * 4194304))

over_rdma 100000 stream buffer_reuse both keep "$count"
show_statistics
expect_statistic sender bytes_sent_rdma -eq "$bytes"
expect_statistic sender bytes_sent_message -eq 0
expect_statistic sender bytes_sent_staged -eq 0
expect_one_registration sender "$count"
expect_statistic receiver bytes_received_rdma -eq "$bytes"
expect_statistic receiver bytes_received_message -eq 0
expect_statistic receiver bytes_received_spilled -eq 0
expect_one_registration receiver "$count"
expect_statistic sender windows_bound -eq "$count"
expect_statistic sender windows_made -eq 1
expect_statistic all windows_made -le 2
