#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_without.sh module|device|module_permission|device_permission
#
# Something that the library would use is missing: the program runs all the same, and the
# log says why in one line.

. "$(dirname -- "$0")/lib.sh"
export WSDIRECT_LOG=info
what=$1

# Somebody whom file permissions bind, although the files belong to root: no capabilities.
# (Another user might not even reach the programs, where the tree is below /root.)
unprivileged()
{
	setpriv --inh-caps=-all --bounding-set=-all "$@"
}

# Exactly one line of each process of the run mentions this, at level info or above.
expect_reason()
{
	local file lines

	for file in "$scratch"/log.*; do
		lines=$(grep -cE "$1" "$file")
		[ "$lines" -eq 1 ] || { cat "$file"; fail "$lines lines in a log match '$1', not one"; }
	done
	grep -hE "$1" "$scratch"/log.* | head -n 1
}

reuse=("$build/tests/guest/stream_buffer_reuse" "$address" both keep 5 1048576)
case $what in
module)
	mv /dev/wsdirect /dev/wsdirect.away || fail "there is no module"
	over_rdma 1000 "${reuse[@]}"
	mv /dev/wsdirect.away /dev/wsdirect
	expect_reason '(module|/dev/wsdirect): ENOENT'
	expect_statistic all cache_hits -eq 0
	;;
module_permission)
	chmod 0 /dev/wsdirect
	over_rdma 1000 unprivileged "${reuse[@]}"
	chmod 666 /dev/wsdirect
	expect_reason '(module|/dev/wsdirect): EACCES'
	expect_statistic all cache_hits -eq 0
	;;
device)
	rdma link delete rxe0 || fail "cannot remove the device"
	over_tcp 100 "${reuse[@]}"
	rdma link add rxe0 type rxe netdev veth0 || fail "cannot bring the device back"
	expect_reason 'no RDMA .*(ENODEV|ENOENT)'
	;;
device_permission)
	chmod 0 /dev/infiniband/*
	over_tcp 100 unprivileged "${reuse[@]}"
	chmod 666 /dev/infiniband/*
	expect_reason 'no RDMA .*EACCES'
	;;
*)
	fail "no case '$what'"
	;;
esac
