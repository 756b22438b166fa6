#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: san_callback.sh PROGRAM
#
# Runs the program on the guest's device and a second one, which is there for so long.

set -u
[ -n "${WSDIRECT_GUEST:-}" ] || { echo "this test needs the guest: tools/vm -- $0 $*"; exit 77; }

finish()
{
	local status=$?

	rdma link delete rxe1 2>/dev/null
	ip link delete veth2 2>/dev/null
	exit "$status"
}
trap finish EXIT

ip link add veth2 mtu 9000 type veth peer name veth3 mtu 9000 &&
	ip link set veth3 up && ip link set veth2 up && ip address add 10.78.0.1/24 dev veth2 &&
	rdma link add rxe1 type rxe netdev veth2 || { echo "no second device"; exit 1; }
for try in {1..100}; do
	! grep -q ACTIVE /sys/class/infiniband/rxe1/ports/1/state || break
	sleep 0.05
done
"$1" 10.78.0.1
