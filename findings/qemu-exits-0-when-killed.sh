#!/usr/bin/env bash
# QEMU that is told to end by a signal has exit code 0.
#
# Expected: a program that SIGTERM ends has a code that says so: 143 in a shell, or one of its own that is not 0. A CI job whose
# time limit kills QEMU then fails.
# So it is: exit code 0 after SIGTERM, SIGINT and SIGHUP, as after a guest that powered off. Only a line on stderr tells, and
# it names the sender. Seen with QEMU 7.2 (Debian 12) and 10.0 (Debian 13).
. "$(dirname "$0")/debian.bash"
qemu-system-x86_64 --version | head -n 1
for signal in TERM INT HUP; do
    # Its main loop answers once its handlers are there.
    coproc QEMU { exec env --default-signal qemu-system-x86_64 -nodefaults -display none -S -monitor stdio 2>"$tmp/stderr"; }
    echo "info status" >&"${QEMU[1]}"
    while read -r line <&"${QEMU[0]}" && [[ $line != *status:* ]]; do :; done
    pid=$QEMU_PID
    kill -s "$signal" "$pid"
    code=0
    wait "$pid" || code=$?
    same "exit code after SIG$signal" "$code" 0
    same "stderr" "$(sed 's/[0-9]* from pid .*/N from pid N/; s/.*: //' "$tmp/stderr")" "terminating on signal N from pid N"
done
