# SPDX-License-Identifier: BSD-2-Clause
# What the tests of the wsdirect command share. Sourced by bash scripts; their first
# argument is the command.

set -u
wsdirect=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The caller's settings are not ours, and the file of this host neither.
for name in "${!WSDIRECT_@}"; do
	unset "$name"
done
unset LD_PRELOAD
export WSDIRECT_CONFIG=

fail()
{
	echo "$*"
	exit 1
}

# expect_status STATUS COMMAND...: its output is in $scratch/out and $scratch/err.
expect_status()
{
	local wanted=$1 status

	shift
	"$@" >"$scratch/out" 2>"$scratch/err" </dev/null
	status=$?
	[ "$status" -eq "$wanted" ] || {
		cat "$scratch/out" "$scratch/err"
		fail "status $status, not $wanted: $*"
	}
}

# expect_line FILE PATTERN
expect_line()
{
	grep -qE -e "$2" "$scratch/$1" || {
		cat "$scratch/$1"
		fail "no line of $1 matches '$2'"
	}
}
