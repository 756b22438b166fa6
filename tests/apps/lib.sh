# SPDX-License-Identifier: BSD-2-Clause
# What the tests of well-known programs share on top of those of our own.
# Sourced by bash scripts.

. "$(dirname -- "${BASH_SOURCE[0]}")/../guest/lib.sh"
port=5000

# serve COMMAND...: starts a server under the library; the caller knows the port it uses.
server=
serve()
{
	# Not through a function: $! must be the program itself.
	LD_PRELOAD=$preload "$@" >"$scratch/server" 2>&1 </dev/null &
	server=$!
	await_port "$port" "$server"
}

# retire: asks the server to end; its output is shown if it ends by a signal of its own.
retire()
{
	local status

	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	status=$?
	server=
	case $status in
	134|135|136|139)
		cat "$scratch/server"
		fail "the server died of signal $((status - 128))" ;;
	esac
}

# make_file PATH MEBIBYTES: contents that repeat nowhere.
make_file()
{
	head -c "$2M" /dev/urandom >"$1"
}
