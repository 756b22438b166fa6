#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# A service provider exports WSPStartupEx and nothing else.
# usage: test_san_exports.sh PROVIDER

set -u
exports=$(nm -D --defined-only "$1" | awk '{ print $NF }')
[ "$exports" = WSPStartupEx ] && exit 0
echo "exported by $1: $exports"
exit 1
