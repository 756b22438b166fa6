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
