#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: doctor.sh WSDIRECT
#
# wsdirect doctor: a verdict a line, a remedy after each that is not ok, and a status that
# tells whether any is a fail.

. "$(dirname -- "$0")/lib.sh"

"$wsdirect" doctor >"$scratch/out" 2>"$scratch/err"
status=$?
fails=$(grep -c '^fail' "$scratch/out")
[ "$status" -eq $((fails > 0)) ] || fail "status $status with $fails lines of fail"
! grep -vE '^(ok|warn|fail) +[a-z_]+ |^ +-> ' "$scratch/out" || fail "these lines have another form"
for subject in library provider memlock rdma_cm module statistics; do
	expect_line out "^(ok|warn|fail) +$subject "
done
[ "$(grep -cE '^(warn|fail)' "$scratch/out")" -le "$(grep -c '^ *-> ' "$scratch/out")" ] ||
	fail "$(cat "$scratch/out")"
# The guest's device.
if [ -d /sys/class/infiniband/rxe0 ]; then
	expect_line out '^ok +address +10\.77\.0\.1 on veth0, by rxe0$'
	expect_line out '^ok +address +fd77::1 on veth0, by rxe0$'
fi

WSDIRECT_PROVIDER=/usr/lib/x86_64-linux-gnu/libm.so.6 expect_status 1 "$wsdirect" doctor
expect_line out '^fail +provider +.*WSPStartupEx'
WSDIRECT_PROVIDER=/nowhere.so expect_status 1 "$wsdirect" doctor
expect_line out '^fail +provider +/nowhere.so'
expect_status 2 "$wsdirect" doctor nonsense
