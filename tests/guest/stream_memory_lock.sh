#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stream_memory_lock.sh bounded|evict|copy|receiver|little
#
# Programs that may lock little memory: the cache keeps less, or lets go of what it keeps, or
# all that is large is copied; the bytes arrive whatever happens.
#   bounded   the cache's own bound follows the limit: the device never runs out
#   evict     the cache may keep more than the limit: what makes it let go is the device
#   copy      no buffer fits the limit as a whole: copied at both ends
#   receiver  the same, of the receiving end alone, which has to take what is advertised
#   little    hardly the message buffers fit

. "$(dirname -- "$0")/lib.sh"
export STREAM_LIMIT=250
export WSDIRECT_SEND_PATIENCE=600000
export WSDIRECT_LOG=info
what=$1

# run SERVER CLIENT COUNT BYTES ROUNDS: limits in KiB
run()
{
	over_tcp 1 stream memory_lock none "$@"
	forget_statistics
	over_rdma 100 stream memory_lock both "$@"
	show_statistics
	total=$(($3 * $4 * $5 * 2))
}

moved()
{
	echo $(($(statistic all bytes_sent_message) + $(statistic all bytes_sent_rdma)))
}

case $what in
bounded)
	run 8192 8192 8 1048576 2
	expect_statistic all cache_evictions -ge 8
	expect_statistic all bytes_sent_staged -eq 0
	;;
evict)
	export WSDIRECT_CACHE_BYTES=1g
	run 8192 8192 12 1048576 2
	expect_statistic all cache_evictions -ge 8
	expect_statistic all bytes_sent_staged -eq 0
	;;
copy)
	run 2048 2048 3 4194304 1
	copied=$(($(statistic all bytes_sent_staged) + $(statistic all bytes_sent_message)))
	# But for the end of a buffer, which may fit.
	[ "$copied" -ge $((total / 2)) ] || fail "$copied bytes of $total were copied"
	;;
receiver)
	# Not even 256 KiB at the server, so that it has nothing but its message buffers; only the
	# end of a buffer may be small enough to be registered.
	run 200 0 3 1048576 1
	expect_statistic all bytes_received_spilled -ge 2000000
	;;
little)
	run 96 96 3 300000 1
	expect_statistic all bytes_sent_message -ge 1000000
	;;
*)
	fail "no case '$what'"
	;;
esac
[ "$(moved)" -eq "$total" ] || fail "$(moved) bytes of $total were counted"
