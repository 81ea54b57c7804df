#!/usr/bin/env bash
# Writing the same value to `cpu.max` again hands out a fresh quota.
#
# Expected: a write that changes nothing does nothing; a manager that sets "10000 100000" (10 % of a CPU) every 10 ms, to
# be sure, limits a spinner to 10 %.
# So it is: each write refills the quota, so that the spinner has 99 % of the CPU on Linux 6.1, 49 % on 6.12 and 25 % on 7.3.
# The same spinner has 10 % where the value is written once. (`tg_set_cfs_bandwidth` refills, whatever was there.)
. "$(dirname "$0")/debian.bash"
init <<'C'
cgroups(); observe();
mkdir("/sys/fs/cgroup/a", 0755);
put("/sys/fs/cgroup/a/cpu.max", "10000 100000");
int pid = spinner("/sys/fs/cgroup/a", 0);
wait_for(0.5);
double begin = now(), from = used(pid);
wait_for(1);
printf("once=%.0f\n", 100 * (used(pid) - from) / (now() - begin));
begin = now(), from = used(pid);
for (int i = 0; i < 100; i++) { put("/sys/fs/cgroup/a/cpu.max", "10000 100000"); wait_for(0.01); }
printf("again=%.0f\n", 100 * (used(pid) - from) / (now() - begin));
C
while read -r name low high; do
    kernel "$name"
    said=$(boot "$name" 1)
    between "percent of a CPU, cpu.max written once" "$(sed -n s/once=//p <<<"$said")" 8 12
    between "percent of a CPU, the same cpu.max written every 10 ms" "$(sed -n s/again=//p <<<"$said")" "$low" "$high"
done <<<"6.1 85 100
6.12 40 60
7.3 20 40"
