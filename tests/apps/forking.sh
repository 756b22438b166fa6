#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: forking.sh fork|exec
#
# A server that leaves each connection to a child, or to a program that the child becomes: the
# first one fails, all others are served over TCP. One that a rule keeps on TCP loses none.

. "$(dirname -- "$0")/../apps/lib.sh"
make_file "$scratch/sent" 1

# Answers with what it is sent.
cat >"$scratch/echo.py" <<'END'
import os, socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        if sys.argv[2] == "exec":
            os.dup2(self.request.fileno(), 0)
            os.dup2(0, 1)
            os.execvp("cat", ["cat"])
        while data := self.request.recv(65536):
            self.request.sendall(data)
socketserver.ForkingTCPServer.request_queue_size = 64
socketserver.ForkingTCPServer(("10.77.0.1", int(sys.argv[1])), Echo).serve_forever()
END
cat >"$scratch/ask.py" <<'END'
import socket, sys, threading
sent = open(sys.argv[2], "rb").read()
with socket.create_connection(("10.77.0.1", int(sys.argv[1])), 60) as s:
    def send():
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    received = bytearray()
    while data := s.recv(65536):
        received += data
    sender.join()
sys.exit(received != sent)
END

ask()
{
	under /usr/bin/python3 "$scratch/ask.py" "$port" "$scratch/sent" 2>"$scratch/ask"
}

ask_often()
{
	local i

	for i in 1 2 3; do
		ask || fail "request $i failed: $(cat "$scratch/ask")"
	done
}

expect_log 'a connection over the SAN was left to a child process'
serve /usr/bin/python3 "$scratch/echo.py" "$port" "$1"
ask && fail "a child served a connection over the SAN"
eventually 10 grep -q 'left to a child process' "$scratch"/log.* ||
	fail "nobody said that the connection was left to a child"
over_tcp 100 ask_often
retire

port=$((port + 1))
export WSDIRECT_RULES="listen :$port tcp"
/usr/bin/env LD_PRELOAD="$preload" /usr/bin/python3 "$scratch/echo.py" "$port" "$1" \
	>"$scratch/server" 2>&1 </dev/null &
server=$!
eventually 30 sh -c "ss -Hltn 'sport = :$port' | grep -q ." || fail "the server does not listen"
over_tcp 100 ask_often
retire
