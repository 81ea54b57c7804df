#!/usr/bin/env bash
# A task that was pinned to a CPU is not pinned any more after that CPU went off line and came back.
#
# Expected: since 6.2 the kernel keeps the mask that a task asked for (`user_cpus_ptr`) and gives it back: a cpuset that becomes
# narrow and wide again restores it. So a pinned task is back on its CPU once that CPU is back.
# So it is: `Cpus_allowed_list` is that of all CPUs, then and for good, on Linux 6.1, 6.12 and 7.3.
. "$(dirname "$0")/debian.bash"
init <<'C'
observe();
int pid = spinner(0, 0);
cpu_set_t one; CPU_ZERO(&one); CPU_SET(1, &one);
sched_setaffinity(pid, sizeof one, &one);
char file[64]; sprintf(file, "/proc/%d/status", pid);
#define ALLOWED strtok(strstr(get(file), "Cpus_allowed_list:") + 19, "\n")
printf("pinned=%s\n", ALLOWED);
put("/sys/devices/system/cpu/cpu1/online", "0");
wait_for(0.2);
put("/sys/devices/system/cpu/cpu1/online", "1");
wait_for(1);
printf("back=%s\n", ALLOWED);
C
for name in 6.1 6.12 7.3; do
    kernel "$name"
    said=$(boot "$name" 2)
    same "CPUs of the task before and after" "$(tr '\n' ' ' <<<"$said")" "pinned=1 back=0-1 "
done
