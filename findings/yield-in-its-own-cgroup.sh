#!/usr/bin/env bash
# A task that yields and is alone in its cgroup loses its cgroup's share from EEVDF on.
#
# Expected: `sched_yield` gives way to tasks of one's own run queue. A yielder that is alone in a cgroup has nobody to give way
# to there, so its cgroup has half of the CPU beside a cgroup of the same weight with a spinner.
# So it is on Linux 6.1. On 6.12 it has 30 % or less, on 7.3 1 %.
. "$(dirname "$0")/debian.bash"
init <<'C'
cgroups(); observe();
mkdir("/sys/fs/cgroup/a", 0755); mkdir("/sys/fs/cgroup/b", 0755);
int yielder = spinner("/sys/fs/cgroup/a", 1);
spinner("/sys/fs/cgroup/b", 0);
wait_for(0.5);
double begin = now(), from = used(yielder);
wait_for(2);
printf("yielder=%.0f\n", 100 * (used(yielder) - from) / (now() - begin));
C
while read -r name low high; do
    kernel "$name"
    between "percent of the CPU of the yielder" "$(boot "$name" 1 | sed -n s/yielder=//p)" "$low" "$high"
done <<<"6.1 45 55
6.12 15 45
7.3 0 5"
