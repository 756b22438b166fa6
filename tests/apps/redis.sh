#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: redis.sh benchmark|large|contents
#
# redis-server with its own client programs, all under the library, over RDMA alone.
#   benchmark  redis-benchmark: set, get and lrange by 10 clients, with and without pipelining
#   large      redis-benchmark with values of 1 MB
#   contents   values of many sizes are read back by another connection as they were written

. "$(dirname -- "$0")/lib.sh"

serve redis-server --bind "$address" --port "$port" --protected-mode no --save '' \
	--appendonly no --dir "$scratch" --daemonize no

cli()
{
	under timeout 60 redis-cli -h "$address" -p "$port" "$@"
}

benchmark()
{
	under timeout 200 redis-benchmark -h "$address" -p "$port" -q "$@" >"$scratch/benchmark" 2>&1 || {
		cat "$scratch/benchmark"
		return 1
	}
	tr '\r' '\n' <"$scratch/benchmark" | grep 'requests per second'
	# It says so and goes on when a reply is wrong.
	! grep -iE 'error|warn' "$scratch/benchmark"
}

check_contents()
{
	local size sum

	for size in 1 100 2000 5000 40000 100000 1000000 5000000; do
		head -c "$size" "$scratch/random" >"$scratch/value"
		sum=$(sha256sum <"$scratch/value")
		[ "$(cli -x set "key$size" <"$scratch/value")" = OK ] || return 1
		# redis-cli ends its raw output with a line feed.
		[ "$(cli --raw get "key$size" | head -c "$size" | sha256sum)" = "$sum" ] || {
			echo "a value of $size bytes came back changed"
			return 1
		}
		[ "$(cli strlen "key$size")" = "$size" ] || return 1
	done
	cli rpush list {1..500} >"$scratch/reply" || return 1
	[ "$(cli lrange list 0 -1 | paste -s -d ' ')" = "$(echo {1..500})" ]
}

case $1 in
benchmark)
	over_rdma 2000 benchmark -c 10 -n 1000 -t set,get,lrange_100
	over_rdma 1000 benchmark -c 10 -n 2000 -P 16 -t set,get
	;;
large)
	over_rdma 20000 benchmark -c 10 -n 50 -d 1000000 -t set,get
	;;
contents)
	make_file "$scratch/random" 5
	over_rdma 1500 check_contents
	;;
*)
	fail "no case '$1'"
	;;
esac
[ "$(cli ping)" = PONG ] || fail "the server does not answer any more"
cli shutdown nosave
wait "$server" || fail "the server's status was $?"
server=
