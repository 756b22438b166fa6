#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: iperf3.sh LEAST ARGUMENT...
#
# iperf3, server and client under the library, over RDMA alone. The client's ARGUMENTs say
# what; LEAST is the least number of packets that it takes. iperf3 itself fails unless its
# control connection and all of its streams end well; that every stream moved something is
# looked at here.

. "$(dirname -- "$0")/lib.sh"
least=$1
shift

client()
{
	under timeout 120 iperf3 -c "$address" -p "$port" --json "$@" >"$scratch/report" || {
		cat "$scratch/report" "$scratch/server"
		return 1
	}
}

serve iperf3 -s -1 -B "$address" -p "$port"
over_rdma "$least" client "$@"
/usr/bin/python3 - "$scratch/report" <<'END' || fail "the report is not right"
import json, sys
report = json.load(open(sys.argv[1]))
assert "error" not in report, report["error"]
end = report["end"]
for stream in end["streams"]:
    for side in stream.values():
        assert side["bytes"] > 0, side
for name, total in end.items():
    if name.startswith("sum_received"):
        print("%s: %.1f MB at %.1f Mbit/s" % (name, total["bytes"] / 1e6, total["bits_per_second"] / 1e6))
END
wait "$server" || fail "the server's status was $?: $(cat "$scratch/server")"
server=
"$wsdirect" stat "$scratch"/wsdirect-*.stat
