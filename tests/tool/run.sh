#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh WSDIRECT
#
# wsdirect run: the program takes over with our library first in LD_PRELOAD, settings and
# environment as asked for; its status is ours; failures of our own have env(1)'s statuses.

. "$(dirname -- "$0")/lib.sh"

expect_status 0 "$wsdirect" run sh -c 'echo "$LD_PRELOAD"'
expect_line out '^[^:]*/libwsdirect-preload\.so$'
LD_PRELOAD=libm.so.6 expect_status 0 "$wsdirect" run sh -c 'echo "$LD_PRELOAD"'
expect_line out '^[^:]*/libwsdirect-preload\.so:libm\.so\.6$'

# The same process, and the program's own options untouched.
expect_status 0 sh -c 'echo $$; exec "$0" run sh -c "echo \$\$"' "$wsdirect"
[ "$(sort -u "$scratch/out" | wc -l)" -eq 1 ] || fail "the program is another process"
expect_status 7 "$wsdirect" run sh -c 'exit 7' --log nonsense
expect_status 0 "$wsdirect" run -- env -i -- true

expect_status 0 "$wsdirect" run --log info -s tcp_memory=5 --env ONE=two=three \
	sh -c 'echo "$WSDIRECT_LOG $WSDIRECT_TCP_MEMORY $ONE"'
expect_line out '^info 5 two=three$'
expect_status 0 "$wsdirect" run -p /some/where sh -c 'echo "$WSDIRECT_PROVIDER"'
expect_line out '^/some/where$'

# What is wrong with a setting is said once, by the library.
WSDIRECT_POLL_TIME=soon expect_status 0 "$wsdirect" run true
[ "$(grep -c POLL_TIME "$scratch/err")" -eq 1 ] || fail "not one line: $(cat "$scratch/err")"

expect_status 125 "$wsdirect" run
expect_line err 'no program given'
expect_status 125 "$wsdirect" run --nonsense true
expect_status 125 "$wsdirect" run -s nonsense=1 true
expect_line err "no setting 'nonsense'"
expect_status 125 "$wsdirect" run -e nonsense true
expect_line err "'nonsense' is not NAME=VALUE"
expect_status 126 "$wsdirect" run /etc/passwd
expect_line err 'Permission denied'
expect_status 127 "$wsdirect" run no-such-program
expect_line err 'No such file'
