#!/usr/bin/env bash
# A cgroup's weight does not survive `cpu.idle`.
#
# Expected: `cpu.idle` is a switch. A cgroup with cpu.weight 500 that is made idle (1) and then is not (0) has weight 500 again.
# So it is: cpu.weight is 100 afterwards, the default, on Linux 6.1, 6.12 and 7.3. Who sets idle and clears it writes the
# weight once more. (`sched_group_set_idle` sets the shares of SCHED_IDLE or those of nice 0, and keeps no other.)
. "$(dirname "$0")/debian.bash"
init <<'C'
cgroups();
mkdir("/sys/fs/cgroup/a", 0755);
put("/sys/fs/cgroup/a/cpu.weight", "500");
printf("before=%s", get("/sys/fs/cgroup/a/cpu.weight"));
put("/sys/fs/cgroup/a/cpu.idle", "1");
put("/sys/fs/cgroup/a/cpu.idle", "0");
printf("after=%s", get("/sys/fs/cgroup/a/cpu.weight"));
C
for name in 6.1 6.12 7.3; do
    kernel "$name"
    said=$(boot "$name" 1)
    same "cpu.weight before and after cpu.idle" "$(tr '\n' ' ' <<<"$said")" "before=500 after=100 "
done
