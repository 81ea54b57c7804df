#!/usr/bin/env bash
# A message of the kernel without an end of line is seen by nobody until the next message comes.
#
# Expected: a message is in the log as soon as printk() or a write to /dev/kmsg returns, with or without a "\n" at its end. So a
# program that reads /dev/kmsg to the end, or the whole log by syslog(2) as dmesg does, has all that the kernel said so far.
# So it is: since 5.10 a record that could be continued is committed and not finalized, and readers stop before it (`prb_commit`,
# `prb_final_commit`). It shows up when the next record is made, with the time at which it was written. A machine that says its last
# words without a "\n" takes them with it. Linux 6.1, 6.12, 7.3.
. "$(dirname "$0")/debian.bash"
init <<'C'
mkdir("/dev", 0755); mount("dev", "/dev", "devtmpfs", 0, 0);
/* How many records of the log have this text. */
int count(const char *text) {
    static char record[8193]; int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), found = 0; long n;
    while ((n = read(log, record, sizeof record - 1)) > 0) { record[n] = 0; found += strstr(record, text) != 0; }
    close(log); return found;
}
put("/dev/kmsg", "<7>closed\n");
printf("closed=%d\n", count("closed"));
put("/dev/kmsg", "<7>open");
wait_for(2);
printf("open=%d\n", count(";open"));
put("/dev/kmsg", "<7>next\n");
printf("later=%d\n", count(";open"));
C
for name in 6.1 6.12 7.3; do
    kernel "$name"
    said=$(boot "$name" 1)
    same "records with an end of line, without one after 2 s, and after the next message" "$(tr '\n' ' ' <<<"$said")" \
        "closed=1 open=0 later=1 "
done
