#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: settings.sh WSDIRECT
#
# wsdirect settings: the values in force, from the environment before the file; what it
# prints in brief can be read back as a file; bad values are reported.

. "$(dirname -- "$0")/lib.sh"

expect_status 0 "$wsdirect" settings
expect_line out '^  rdma_threshold +131072$'
expect_status 0 "$wsdirect" settings --brief
expect_line out '^log = warn$'

printf 'rdma_threshold = 64k\n# a comment\nlog = debug\n' >"$scratch/file"
export WSDIRECT_CONFIG=$scratch/file WSDIRECT_LOG=error
expect_status 0 "$wsdirect" settings
expect_line out '^\* rdma_threshold +65536$'
expect_line out '^\* log +error$'

"$wsdirect" settings --brief >"$scratch/copy"
WSDIRECT_CONFIG=$scratch/copy expect_status 0 env -u WSDIRECT_LOG "$wsdirect" settings --brief
cmp "$scratch/out" "$scratch/copy" || fail "what was printed is not read back the same"

WSDIRECT_POLL_TIME=soon WSDIRECT_NONSENSE=1 expect_status 0 "$wsdirect" settings --brief
expect_line out '^poll_time = 50$'
expect_line err "WSDIRECT_POLL_TIME: 'soon' is not a number"
expect_line err 'WSDIRECT_NONSENSE: no such setting'
WSDIRECT_RULES='listen tcp; bogus' expect_status 0 "$wsdirect" settings --brief
expect_line out '^rules = listen tcp; bogus$'
expect_line err 'malformed rule "bogus"'
WSDIRECT_CONFIG=/nonexistent expect_status 1 "$wsdirect" settings
expect_line err '/nonexistent: ENOENT'
WSDIRECT_CONFIG=/ expect_status 1 "$wsdirect" settings
expect_line err 'not a regular file'
expect_status 2 "$wsdirect" settings nonsense
