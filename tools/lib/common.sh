# SPDX-License-Identifier: BSD-2-Clause
# What every script under tools/ shares: where things are, and how to talk.
# Sourced by bash scripts; the caller sets `program` first.

wsdirect_tools=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
wsdirect_top=$(dirname -- "$wsdirect_tools")
# Kernels live outside the tree: they are large, and all checkouts can share them.
wsdirect_cache=${WSDIRECT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/wsdirect}

# Everything a script says itself goes to standard error; standard output is for results.
say()
{
	printf '%s: %s\n' "$program" "$*" >&2
}

die()
{
	say "$@"
	exit 1
}

usage_error()
{
	say "$@"
	say "try: $program --help"
	exit 2
}

# The first comment block of a script, after the SPDX line, is its --help text.
print_help()
{
	sed -n '4,/^[^#]/{ s/^# \{0,1\}//p; }' "$1"
}

require_value()
{
	[ "$#" -ge 2 ] || usage_error "$1 needs a value"
}

require_number()
{
	require_value "$@"
	case $2 in
	''|*[!0-9]*|0*) usage_error "$1 needs a number above 0, not '$2'" ;;
	esac
}

# run COMMAND...: what takes long, in the background and in a process group of its own, so that a
# signal for us is taken at once and run_end can pass it on to all that the command started. In
# the foreground bash would first wait for the command.
run_group=
run()
{
	local status

	set -m
	"$@" </dev/null &
	run_group=$!
	set +m
	wait "$run_group"
	status=$?
	run_group=
	return "$status"
}

# Ends what run started, for a trap. TERM, since what runs in the background may ignore INT.
run_end()
{
	[ -z "$run_group" ] || { kill -- "-$run_group" && wait "$run_group"; } 2>/dev/null
}
