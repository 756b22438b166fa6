# SPDX-License-Identifier: BSD-2-Clause
# What the torture tests share: how the program is run. Sourced by bash scripts.

. "$(dirname -- "${BASH_SOURCE[0]}")/../guest/lib.sh"

# Smaller than usual, so that more of what goes by RDMA meets more changes.
export WSDIRECT_RDMA_THRESHOLD=32768
# A sender waits for its receiver, which may be busy with checking: what it sends shall go
# from its own pages.
export WSDIRECT_SEND_PATIENCE=600000
[ -e "$module" ] || fail "the module is not loaded"
# For one large buffer of each end and the copies that forks make of it. Where memory is too
# scattered for that, the test says that it goes without.
echo 1 >/proc/sys/vm/compact_memory
echo 32 >/proc/sys/vm/nr_hugepages
[ "$(</proc/sys/vm/nr_hugepages)" -eq 32 ] || echo 0 >/proc/sys/vm/nr_hugepages

# torture ENDS SECONDS SEED [LIMIT]
torture()
{
	STREAM_LIMIT=$(($2 + 120)) "$build/tests/torture/torture" "$address" "$@"
}
