#!/usr/bin/env bash
# QEMU drops bytes of a `-serial file:` that cannot be written, and goes on as if nothing was.
#
# Expected: on a full disk, or at a limit of file sizes, QEMU complains on stderr, stops the guest, or ends with an error.
# So it is: the guest runs to its end, exit code 0, stderr is empty, and the file lacks what did not fit. A CI job that looks for
# warnings of the kernel in such a file finds none. Seen with QEMU 7.2 (Debian 12).
. "$(dirname "$0")/debian.bash"
qemu-system-x86_64 --version | head -n 1
kernel 6.1
init <<'C'
for (int i = 0; i < 1000; i++) printf("line=%d\n", i);
C
# LIMIT: kilobytes of a file.
run() {
    rm --force "$tmp/console"
    code=0
    (
        ulimit -f "$1"
        exec timeout 300 qemu-system-x86_64 -accel tcg -m 512 -nodefaults -display none -no-reboot -kernel "$tmp/6.1" \
            -initrd "$tmp/initramfs" -append "console=ttyS0 quiet panic=-1" -serial "file:$tmp/console"
    ) </dev/null 2>"$tmp/stderr" || code=$?
}
run unlimited
same "lines of the guest without a limit" "$(grep -c '^line=' "$tmp/console")" 1000
run 4
same "bytes with a limit of 4 KB" "$(stat --format=%s "$tmp/console")" 4096
same "exit code" "$code" 0
same "stderr" "$(cat "$tmp/stderr")" ""
