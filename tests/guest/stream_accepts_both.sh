#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A server under the library serves a client under it and one without it, at the same time.

. "$(dirname -- "$0")/lib.sh"

stream accept_both mixed || fail "failed"
# Three rounds of each client.
expect_statistic all san_accepts -eq 3
expect_statistic all san_connects -eq 3
expect_statistic all tcp_accepts -eq 3
expect_statistic all tcp_connects -eq 0
