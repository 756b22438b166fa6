#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: mutation.sh provider LIBRARY
#        mutation.sh module NAME [PROGRAM]
#        mutation.sh split LIBRARY SHIM
#
# The proof that the torture test can fail: a safeguard is missing in the service provider's
# LIBRARY, or in the kernel module that is $MUTATED_MODULES/NAME/wsdirect.ko (tools/check
# builds it), and the torture test must say so, by wrong contents or by memory that is not
# given back. To crash or to take too long is not to say so. With PROGRAM, that is what must
# fail, as a program of tests/guest fails: with status 1 and a word about it.
#
# split: the same with SHIM between switch and provider, by which the switch tells of a change
# page by page (split_provider.c). With the intact provider behind it all must be well.

. "$(dirname -- "$0")/lib.sh"
# It ends as soon as it noticed.
seconds=100
# Seconds until memory that went must be given back.
held=20

program_must_fail()
{
	local output status

	output=$("$1" 2>&1)
	status=$?
	echo "$output"
	[ "$status" -eq 1 ] && [ -n "$output" ] ||
		fail "$1 must fail with status 1 and say why; its status is $status"
}

must_fail()
{
	local seed=${TORTURE_SEED:-$SRANDOM} output

	echo "without the safeguard, seed $seed"
	output=$(torture both "$seconds" "$seed" "$held" 2>&1) &&
		fail "the torture test passed without the safeguard"
	echo "$output"
	grep -qE '^torture: (wrong contents|still registered)' <<<"$output" ||
		fail "it failed, but not by what is to be noticed"
}

module_removed()
{
	rmmod wsdirect 2>/dev/null || [ ! -e /sys/module/wsdirect ]
}

# Other tests need the module as it was. What the test's programs held open may take a moment.
restore()
{
	local status=$?

	if ! eventually 10 module_removed || ! insmod "$GUEST_MODULE"; then
		echo "the module could not be put back"
		status=1
	fi
	(exit "$status")
	finish
}

# Without a safeguard the library may complain as it likes.
expect_log '.'
case $1 in
provider)
	export WSDIRECT_PROVIDER=$(realpath "$2")
	must_fail
	;;
split)
	export WSDIRECT_PROVIDER=$(realpath "$3")
	export TORTURE_PROVIDER=$provider
	held=10
	# What the mutation keeps for so long would soon be all of that small pool.
	echo 0 >/proc/sys/vm/nr_hugepages
	torture both 20 "$SRANDOM" "$held" || fail "the shim does harm"
	export TORTURE_PROVIDER=$(realpath "$2")
	must_fail
	;;
module)
	mutated=${MUTATED_MODULES:?names the directory of modules without a safeguard}/$2/wsdirect.ko
	[ -e "$mutated" ] || fail "no such module: $mutated"
	[ -e "${GUEST_MODULE:?names the module that tools/vm loaded}" ] || fail "no $GUEST_MODULE"
	rmmod wsdirect || fail "the module is in use"
	trap restore EXIT
	insmod "$mutated" || fail "cannot load $mutated"
	if [ -n "${3:-}" ]; then
		program_must_fail "$3"
	else
		must_fail
	fi
	;;
*)
	fail "no such mutation: $1"
	;;
esac
