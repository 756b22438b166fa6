#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A file of 32 MiB from python3 -m http.server to curl arrives with its checksum over RDMA,
# and so do the listing of the directory and an error page on a connection each.

. "$(dirname -- "$0")/lib.sh"
mkdir "$scratch/files"
make_file "$scratch/files/large" 32
expected=$(sha256sum <"$scratch/files/large")

# Debian's own: what else is called python3 may be a script around it.
serve /usr/bin/python3 -m http.server --bind "$address" --directory "$scratch/files" "$port"

get()
{
	under curl --silent --show-error --noproxy '*' --max-time 120 "$@"
}
fetch_large()
{
	get --fail -o "$scratch/large" "http://$address:$port/large"
}

fetch_small()
{
	get --fail -o "$scratch/listing" "http://$address:$port/" &&
		get -o /dev/null -w '%{http_code}' "http://$address:$port/none" >"$scratch/code"
}

over_rdma 8000 fetch_large
[ "$(sha256sum <"$scratch/large")" = "$expected" ] || fail "the file's checksum is another"
over_rdma 10 fetch_small
grep -q '>large<' "$scratch/listing" || fail "no listing"
[ "$(<"$scratch/code")" = 404 ] || fail "no 404"
retire
