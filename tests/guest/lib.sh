# SPDX-License-Identifier: BSD-2-Clause
# What the scripts that run socket programs in the guest share: which libraries, which way
# the bytes went, what the programs counted. Sourced by bash scripts.
#
# Needs WSDIRECT_BUILD, and the guest that tools/vm makes: rxe0 on 10.77.0.1.

set -u
if [ -z "${WSDIRECT_GUEST:-}" ]; then
	echo "this test needs the guest: tools/vm -- $0 $*"
	exit 77
fi
build=${WSDIRECT_BUILD:?names the build directory}

address=10.77.0.1
preload=$build/src/preload/libwsdirect-preload.so
provider=$build/src/san/verbs/libwsdirect-verbs.so
wsdirect=$build/tools/wsdirect/wsdirect
module=/sys/class/misc/wsdirect
scratch=$(mktemp -d)

# The library complains about settings it does not know; these are the scripts' own.
unset WSDIRECT_BUILD WSDIRECT_CACHE WSDIRECT_GUEST WSDIRECT_OUT
export WSDIRECT_PROVIDER=$provider
export WSDIRECT_LOG_FILE=$scratch/log.%p
export WSDIRECT_STATISTICS=$scratch
export WSDIRECT_STATISTICS_KEEP=1
# An emulated machine may be slow at any time; no test but that of connecting's cost is about time.
[ "${0##*/}" = stream_connect_cost.sh ] || export WSDIRECT_CONNECT_TIMEOUT=20000
export WSDIRECT_EXIT_PATIENCE=60000
export STREAM_PRELOAD=$preload

fail()
{
	echo "$*"
	exit 1
}

# Runs at the end of every test: what the library complained of fails a test that passed,
# unless the test said that it expects that (expect_log).
expected_log=
finish()
{
	local status=$? complaints

	trap - EXIT
	complaints=$(cat "$scratch"/log.* 2>/dev/null | grep -E ' (error|warn): ')
	if [ -n "$expected_log" ]; then
		complaints=$(grep -vE -e "$expected_log" <<<"$complaints")
	fi
	if [ -n "$complaints" ]; then
		echo "the library's log:"
		echo "$complaints" | head -n 20
		[ "$status" -ne 0 ] || status=1
	fi
	[ -z "$(jobs -p)" ] || kill $(jobs -p) 2>/dev/null
	wait
	rm -rf "$scratch"
	exit "$status"
}
trap finish EXIT

expect_log()
{
	expected_log=$1
}

# ---- which way the bytes go --------------------------------------------

# Packets that the RDMA device has sent.
rdma_packets()
{
	cat /sys/class/infiniband/rxe0/ports/1/hw_counters/sent_pkts 2>/dev/null || echo 0
}

# Segments that the kernel's TCP has sent.
tcp_segments()
{
	awk '$1 == "Tcp:" { for (i = 2; i <= NF; i++) if (!names) name[i] = $i; else if (name[i] == "OutSegs") print $i; names = 1 }' \
		/proc/net/snmp
}

# What an RDMA connection costs in packets before it carries a byte, and a refused attempt:
# whatever is above it is data.
most_rdma_by_the_way=60
# Nothing of ours uses TCP beside an RDMA connection; this leaves room for a stray reset.
most_tcp_by_the_way=4

measure_way()
{
	local packets segments status

	packets=$(rdma_packets)
	segments=$(tcp_segments)
	"$@"
	status=$?
	packets_sent=$(($(rdma_packets) - packets))
	segments_sent=$(($(tcp_segments) - segments))
	return "$status"
}

# over_rdma LEAST COMMAND...: it must succeed, with at least LEAST packets of RDMA and no TCP.
over_rdma()
{
	local least=$1

	shift
	measure_way "$@" || fail "failed: $*"
	if [ "$packets_sent" -lt "$least" ] || [ "$segments_sent" -gt "$most_tcp_by_the_way" ]; then
		show_logs
		fail "not over RDMA: $packets_sent packets (at least $least), $segments_sent TCP segments: $*"
	fi
}

# over_tcp LEAST COMMAND...: it must succeed, with at least LEAST segments of TCP and no RDMA
# but vain attempts to connect.
over_tcp()
{
	local least=$1

	shift
	measure_way "$@" || fail "failed: $*"
	if [ "$segments_sent" -lt "$least" ] || [ "$packets_sent" -gt "$most_rdma_by_the_way" ]; then
		show_logs
		fail "not over TCP: $segments_sent segments (at least $least), $packets_sent RDMA packets: $*"
	fi
}

show_logs()
{
	cat "$scratch"/log.* 2>/dev/null | tail -n 20
}

# ---- programs ----------------------------------------------------------

# stream NAME ENDS [ARGUMENT...]
stream()
{
	local name=$1

	shift
	"$build/tests/guest/stream_$name" "$address" "$@"
}

# under COMMAND...: runs it under the library.
under()
{
	LD_PRELOAD=$preload "$@"
}

# await_port PORT PID: until the server listens there, over TCP and over the SAN: a client
# that comes in between is served over TCP.
await_port()
{
	local try

	for try in {1..600}; do
		[ -z "$(ss -Hltn "sport = :$1")" ] ||
			! rdma resource show cm_id | grep -qE "LISTEN .*:$1 " || return 0
		kill -0 "$2" 2>/dev/null || fail "the server ended before it listened on port $1"
		sleep 0.05
	done
	fail "nobody listens on port $1"
}

# end PID: asks it to end and waits for it, whatever status it ends with.
end()
{
	kill "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

# ---- what the programs counted -----------------------------------------

# Forget what was counted so far.
forget_statistics()
{
	rm -f "$scratch"/wsdirect-*.stat
}

# statistic WHO NAME: the sum over the pages of sender (who sent more than it received),
# receiver, or all processes since forget_statistics.
statistic()
{
	"$wsdirect" stat "$scratch"/wsdirect-*.stat | awk -v who="$1" -v name="$2" '
		function page_end() {
			if (who == "all" || (who == "sender") == (sent > received))
				total += value
			sent = received = value = 0
		}
		/^[^ ]/ { page_end() }
		$1 ~ /^bytes_sent_(message|rdma)$/ { sent += $2 }
		$1 ~ /^bytes_received_(message|rdma)$/ { received += $2 }
		$1 == name { value = $2; known = 1 }
		# Not "print": that writes what is beyond 2^31 with an exponent.
		END { page_end(); if (!known) exit 1; printf "%.0f\n", total }'
}

# expect_statistic WHO NAME (-eq|-ge|-le) VALUE
expect_statistic()
{
	local value

	value=$(statistic "$1" "$2") || fail "no statistics"
	[ "$value" "$3" "$4" ] && return
	show_statistics
	fail "$2 of the $1 is $value, expected $3 $4"
}

# expect_one_registration WHO COUNT: of COUNT look-ups of one buffer the first registered it
# and the others hit; but each time the kernel itself moved the buffer (to make a huge page of
# it, say) and the module told of it, one more may have registered it anew.
expect_one_registration()
{
	local moved misses

	moved=$(statistic "$1" callbacks) && misses=$(statistic "$1" cache_misses) ||
		fail "no statistics"
	[ "$moved" -le 5 ] || fail "the $1's buffer was moved $moved times"
	expect_statistic "$1" cache_misses -ge 1
	expect_statistic "$1" cache_misses -le $((1 + moved))
	expect_statistic "$1" cache_hits -eq $(($2 - misses))
}

show_statistics()
{
	"$wsdirect" stat "$scratch"/wsdirect-*.stat | awk '$2 != 0'
}

# ---- what is held ------------------------------------------------------

# How many objects of a kind (qp, mr, cq, pd, cm_id...) the device has.
rdma_objects()
{
	rdma resource show | awk -v kind="$1" '/rxe0/ { for (i = 1; i < NF; i++) if ($i == kind) print $(i + 1) }'
}

module_ranges()
{
	cat "$module/ranges" 2>/dev/null || echo 0
}

# eventually SECONDS CONDITION...: until the command succeeds.
eventually()
{
	local end=$((SECONDS + $1 + 1))

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}
