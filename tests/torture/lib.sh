# SPDX-License-Identifier: BSD-2-Clause
# What the torture tests share: how the program is run. Sourced by bash scripts.

. "$(dirname -- "${BASH_SOURCE[0]}")/../guest/lib.sh"

# A sender waits for its receiver, which may be busy with checking: what it sends shall go
# from its own pages.
export WSDIRECT_SEND_PATIENCE=600000
[ -e "$module" ] || fail "the module is not loaded"
# One large buffer of each end, and as many as the children of fork may need.
echo 24 >/proc/sys/vm/nr_hugepages || fail "no huge pages"

# torture ENDS SECONDS SEED [LIMIT]
torture()
{
	STREAM_LIMIT=$(($2 + 120)) "$build/tests/torture/torture" "$address" "$@"
}
