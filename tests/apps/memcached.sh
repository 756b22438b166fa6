#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# memcached, its worker threads and the tools of libmemcached, all under the library, over
# RDMA alone: files are stored, read back equal, removed; a load of mixed requests by several
# connections is all answered.

. "$(dirname -- "$0")/lib.sh"
user=
[ "$(id -u)" -ne 0 ] || user='-u root'

serve memcached -l "$address" -p "$port" -U 0 -t 4 -I 4m $user

tool()
{
	local name=$1

	shift
	under timeout 100 "memc$name" --servers="$address:$port" "$@"
}

store_and_read()
{
	local size

	for size in 10 3000 50000 1000000; do
		head -c "$size" "$scratch/random" >"$scratch/value$size"
		tool cp "$scratch/value$size" || return 1
	done
	for size in 10 3000 50000 1000000; do
		tool cat --file="$scratch/back" "value$size" || return 1
		cmp "$scratch/back" "$scratch/value$size" || return 1
	done
	tool rm value3000 || return 1
	if tool exist value3000 2>/dev/null; then
		echo "the removed value is still there"
		return 1
	fi
	tool exist value50000
}

load()
{
	tool slap --concurrency=10 --execute-number=200 --test=set >"$scratch/load" 2>&1 &&
		tool slap --concurrency=10 --execute-number=200 --test=get >>"$scratch/load" 2>&1 || {
		cat "$scratch/load"
		return 1
	}
}

make_file "$scratch/random" 1
over_rdma 400 store_and_read
over_rdma 2000 load
tool stat >"$scratch/state" || fail "no statistics of the server"
grep -E 'cmd_(get|set):' "$scratch/state"
retire
