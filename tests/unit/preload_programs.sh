#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Ordinary programs under the preload library where there is no SAN: they must do
# what they do without it, and say nothing. The library is in PRELOAD_LIBRARY.
set -eu

work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || :; fi; rm -rf "$work"' EXIT
export WSDIRECT_STATISTICS="$work"
ran=0

under() {
	LD_PRELOAD=$PRELOAD_LIBRARY "$@"
}

fail() {
	echo "FAILED: $1" >&2
	if [ -s "$work/errors" ]; then
		cat "$work/errors" >&2
	fi
	exit 1
}

# expect NAME WANTED COMMAND...: its output is what is wanted, its error output empty.
expect() {
	name=$1 wanted=$2
	shift 2
	got=$(under "$@" 2>"$work/errors") || fail "$name: exit status $?"
	[ "$got" = "$wanted" ] || fail "$name: $got"
	[ ! -s "$work/errors" ] || fail "$name: error output"
	ran=$((ran + 1))
}

# Shells end by _exit().
expect 'the end of a shell' 'no page left' sh -c 'echo no page left'
left=$(find "$work" -name 'wsdirect-*.stat')
[ -z "$left" ] || fail "left behind: $left"

expect 'shell pipes' 3 sh -c 'printf "a\nb\nc\n" | sort | cat | wc -l'
expect 'stdin and here documents' hello sh -c 'cat <<.
hello
.'
expect 'descriptors moved about' 'to three' \
	bash -c 'exec 3>&1 4>/dev/null; echo "to three" >&3; exec 3>&- 4>&-; exec 9</dev/null'

if command -v python3 >/dev/null; then
	expect 'children by fork, vfork and exec' 'x y z' python3 -c '
import os, subprocess
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, b"x"); os._exit(0)
os.wait()
out = [os.read(r, 1).decode()]
out.append(subprocess.run(["echo", "y"], capture_output=True, text=True).stdout.strip())
out.append(subprocess.check_output("echo z", shell=True, close_fds=True).decode().strip())
print(*out)'
	expect 'blocking sockets' 200000 python3 -c '
import socket, threading
s = socket.create_server(("127.0.0.1", 0))
def serve():
    c, _ = s.accept()
    with c, c.makefile("rwb") as f:
        f.write(f.readline() * 1000); f.flush()
t = threading.Thread(target=serve); t.start()
with socket.create_connection(s.getsockname()) as c:
    c.sendall(b"x" * 199 + b"\n")
    print(sum(iter(lambda: len(c.recv(65536)), 0)))
t.join()'
	for selector in SelectSelector PollSelector EpollSelector; do
		expect "asyncio, $selector" '50 True' python3 -c '
import asyncio, selectors, sys
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data); await writer.drain()
    writer.close()
async def client(port, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    message = bytes([n]) * 300000
    writer.write(message); writer.write_eof()
    ok = await reader.read() == message
    writer.close()
    return ok
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    done = await asyncio.gather(*(client(port, n) for n in range(50)))
    print(len(done), all(done))
asyncio.set_event_loop(asyncio.SelectorEventLoop(getattr(selectors, sys.argv[1])()))
asyncio.get_event_loop().run_until_complete(main())' "$selector"
	done
	expect 'UDP, unix sockets, sendfile, sendmsg' 'ok' python3 -c '
import array, os, socket, tempfile
a, b = socket.socketpair()
f = tempfile.TemporaryFile(); f.write(b"data"); f.flush()
socket.send_fds(a, [b"m"], [f.fileno()])
m, fds, _, _ = socket.recv_fds(b, 10, 1)
assert m == b"m" and os.pread(fds[0], 4, 0) == b"data"
f.seek(0); assert a.sendfile(f) == 4 and b.recv(10) == b"data"
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v.sendto(b"hello", u.getsockname()); assert u.recvfrom(10)[0] == b"hello"
v.connect(u.getsockname()); v.send(b"again"); assert u.recvmsg(10)[0] == b"again"
v6 = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
try: v6.connect(("::1", 1))
except ConnectionRefusedError: print("ok")'

	if command -v curl >/dev/null; then
		head -c 5000000 /dev/urandom >"$work/file"
		(cd "$work" && LD_PRELOAD=$PRELOAD_LIBRARY exec python3 -u -m http.server \
			--bind 127.0.0.1 0 >"$work/server" 2>&1) &
		server=$!
		tries=0
		until port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$work/server") && [ -n "$port" ]; do
			tries=$((tries + 1))
			[ $tries -lt 300 ] || fail 'http.server did not start'
			sleep 0.1
		done
		expect 'curl and http.server' "$(sha256sum <"$work/file")" \
			sh -c "curl -sS http://127.0.0.1:$port/file | sha256sum"
		kill "$server"
		wait "$server" || :
		server=
	fi
fi

if command -v perl >/dev/null; then
	expect 'stdio on a socket, perl' 'hello' perl -MIO::Socket -e '
my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
if (!fork) { my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $l->sockport);
	print $c "hello\n"; exit }
my $s = $l->accept; print scalar <$s>; wait'
fi

[ "$ran" -ge 5 ] || fail "only $ran programs were there to be run"
echo "$ran programs ran as without the library"
