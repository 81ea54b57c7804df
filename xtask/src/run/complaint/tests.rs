//! Lines as kernels print them: one at least for every entry of the table, and those of sound
//! kernels that look like one.

use super::*;
use std::collections::BTreeSet;

/// A name, and lines that have it.
const GOLDEN: &[(&str, &[&str])] = &[
    (
        "lockup",
        &[
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [worker:77]",
            "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!",
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1",
            "smp: csd: Detected non-responsive CSD lock (#1) on CPU#0, waiting 5000000012 ns for \
             CPU#01 do_nothing+0x0/0x10(0x0).",
        ],
    ),
    ("kasan", &["BUG: KASAN: slab-use-after-free in enqueue_entity+0x1f/0x20"]),
    (
        "bug",
        &[
            "BUG: scheduling while atomic: worker/77/0x00000002",
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
            "BUG: using smp_processor_id() in preemptible [00000000] code: worker/77",
            "BUG: spinlock bad magic on CPU#0, swapper/0/1",
            "kernel BUG at kernel/sched/rt.c:1500!",
            "BUG kmalloc-64 (Not tainted): Poison overwritten",
            "BUG task_struct (Tainted: G        W         ): Redzone overwritten",
        ],
    ),
    (
        "oops",
        &[
            "Oops: int3: 0000 [#1] PREEMPT SMP",
            "Oops: divide error: 0000 [#1] SMP NOPTI",
            "divide error: 0000 [#1] PREEMPT SMP NOPTI",
            "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
            "stack segment: 0000 [#1] PREEMPT SMP NOPTI",
            "int3: 0000 [#1] PREEMPT SMP NOPTI",
            "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        ],
    ),
    (
        "rcu-stall",
        &[
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 22 jiffies",
            "INFO: rcu_tasks detected stalls on tasks:",
            "INFO: rcu_tasks_trace detected stalls? (Late IPI?)",
        ],
    ),
    (
        "rcu-starvation",
        &[
            "rcu: rcu_preempt kthread starved for 5252 jiffies! g1277 f0x0 RCU_GP_WAIT_FQS(5) \
             ->state=0x0 ->cpu=1",
            "rcu: rcu_preempt kthread starved for 5252 jiffies! g1277 f0x0 RCU_GP_WAIT_FQS(5) \
             ->state=R ->cpu=1",
            "rcu: rcu_sched kthread timer wakeup didn't happen for 5251 jiffies! g-1199 f0x0 \
             RCU_GP_WAIT_FQS(5) ->state=0x402",
        ],
    ),
    (
        "rcu",
        &[
            "rcu: call_rcu(): Double-freed CB 00000000a1b2c3d4->f+0x0/0x10()!!!",
            "rcu_tasks_wait_gp: rcu_tasks grace period number 9 (since boot) is 2502 jiffies old.",
        ],
    ),
    (
        "hung-task",
        &[
            "INFO: task worker:77 blocked for more than 120 seconds.",
            "INFO: task worker:77 blocked in I/O wait for more than 120 seconds.",
        ],
    ),
    ("ubsan", &["UBSAN: shift-out-of-bounds in kernel/sched/fair.c:99:9"]),
    (
        "warning",
        &[
            "WARNING: CPU: 1 PID: 7 at kernel/sched/core.c:99 f+0x1/0x2",
            "WARNING: kernel/sched/core.c:99 at f+0x1/0x2, CPU#1: a/7",
            "WARNING: possible circular locking dependency detected",
            "WARNING: suspicious RCU usage",
        ],
    ),
    ("lockdep", &["[ BUG: Invalid wait context ]", "INFO: trying to register non-static key."]),
    ("rtmutex", &["Maximum lock depth 1024 reached task: worker (77)"]),
    (
        "psi",
        &[
            "psi: inconsistent task state! task=77:worker cpu=1 psi_flags=4 clear=0 set=4",
            "psi: task underflow! cpu=1 t=2 tasks=[0 0 0 0] clear=4 set=0",
        ],
    ),
    ("eevdf", &["EEVDF scheduling fail, picking leftmost"]),
    ("idle", &["bad: scheduling from the idle thread!"]),
    ("deadline-lag", &["sched: DL replenish lagged too much"]),
    ("deadline", &["sched: DL de-boosted task PID 77: REPLENISH flag missing"]),
    (
        "resched-latency",
        &["sched: CPU 1 need_resched set for > 100015000 ns (25 ticks) without schedule"],
    ),
    (
        "topology",
        &[
            "ERROR: domain->span does not contain CPU1",
            "ERROR: domain->groups does not match domain->child",
            "ERROR: groups don't span domain->span",
            "ERROR: parent span is not a superset of domain->span",
            "ERROR: flag SD_SHARE_LLC set here but not in child",
            "ERROR: group is NULL",
            "ERROR: empty group",
            "ERROR: repeated CPUs",
            "ERROR: Invalid distance value range",
            "ERROR: Node-distance not symmetric",
        ],
    ),
    (
        "cpuset",
        &[
            "rebuild_sched_domains confused: nslot 1, ndoms 1, csn 3, i 0, apn 1",
            "cpuset: failed to transfer tasks out of empty cpuset /a",
        ],
    ),
    (
        "sched-ext",
        &[
            "sched_ext: worker[77] has zero slice in pick_task_scx()",
            "sched_ext: worker[77] has zero slice in do_pick_task_scx()",
            "sched_ext: ops error detected without ops (runtime error)",
            "sched_ext: Soft lockup - CPU 1 stuck for 12s, disabling BPF scheduler",
            "sched_ext: Hard lockup - CPU 1, disabling BPF scheduler",
            "sched_ext: Failed to register struct_ops (-22)",
            "sched_ext: \"simple\" does not implement cgroup cpu.weight",
            "sched_ext: \"simple\" does not implement cgroup cpu.idle",
        ],
    ),
    ("nohz", &["NOHZ tick-stop error: local softirq work is pending, handler #80!!!"]),
    (
        "timer",
        &[
            "CE: Reprogramming failure. Giving up",
            "Failed to broadcast timer tick. Some CPUs may be unresponsive.",
            "schedule_timeout: wrong timeout value ffffffffffffffff",
            "CE: lapic-deadline increased min_delta_ns to 4000 nsec",
            "hrtimer: interrupt took 12345678 ns",
            "Could not switch to high resolution mode on CPU 1",
            "Clockevents: could not switch to one-shot mode: pit is not functional.",
        ],
    ),
    (
        "softirq",
        &["softirq: huh, entered softirq 7 SCHED 0000000012345678 with preempt_count 00000101, \
           exited with 00000100?"],
    ),
    ("rt-throttling", &["sched: RT throttling activated"]),
    (
        "fair-server",
        &[
            "Fair server disabled in CPU 1, system may crash due to starvation.",
            "Fair server disabled on CPU 1, system may malfunction due to starvation.",
            "failed to re-attach fair_server on CPU 1",
            "sched_ext: failed to attach ext_server on CPU 1 (-16)",
        ],
    ),
    ("affinity", &["process 77 (worker) no longer affine to cpu1"]),
    (
        "quota",
        &[
            "cfs_period_timer[cpu1]: period too short, scaling up (new cfs_period_us = 2000, \
             cfs_quota_us = 1000)",
            "cfs_period_timer[cpu1]: period too short, but cannot scale up without losing \
             precision (cfs_period_us = 1000000, cfs_quota_us = 500000)",
        ],
    ),
    ("numa", &["Failed to find a NUMA topology type, defaulting to DIRECT"]),
    (
        "clock",
        &[
            "TSC found unstable after boot, most likely due to broken BIOS. Use 'tsc=unstable'.",
            "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable \
             because the skew is too large:",
            "clocksource: timekeeping watchdog on CPU1: wd-tsc-wd excessive read-back delay of \
             900000ns vs. limit of 50000ns, wd-wd read-back delay only 9000ns, attempt 3, marking \
             tsc unstable",
            "clocksource: Marking clocksource tsc unstable due to frequency skew",
            "clocksource: Marking clocksource tsc unstable due to inter CPU skew",
        ],
    ),
    ("fork", &["cgroup: fork rejected by pids controller in /schedlab/a"]),
    (
        "arguments",
        &[
            "Housekeeping: nohz_full= must match isolcpus=",
            "isolcpus: Invalid flag x,1",
            "NO_HZ: Clearing 0 from nohz_full range for timekeeping",
            "NO_HZ: Can't run full dynticks because arch doesn't support IRQ work self-IPIs",
            "Dynamic Preempt: unsupported mode: lazy",
        ],
    ),
    ("lost", &["** 12 printk messages dropped **"]),
];

/// What sound kernels print.
const ORDINARY: &[&str] = &[
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible",
    "DEBUG: nothing",
    "INFO: lockdep is off",
    "sched_ext: BPF scheduler \"simple\" enabled",
    "sched_ext: BPF scheduler \"simple\" enabled (partial)",
    "sched_ext: BPF scheduler \"simple\" disabled (unregistered from user space)",
    "sched_ext: BPF schedulers not loaded",
    "Sched_ext: simple (enabled+all), task: runnable_at=-4ms",
    "clocksource: Switched to clocksource tsc",
    "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1cd42c7a813",
    "tsc: Marking TSC unstable due to TSCs unsynchronized",
    "sched_clock: Marking stable (3428089009, 18070732)->(3101537672, 344622069)",
    "rcu: Preemptible hierarchical RCU implementation.",
    "rcu: \tRCU restricting CPUs from NR_CPUS=512 to nr_cpu_ids=2.",
    "rcu: Hierarchical SRCU implementation.",
    "rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
    "rcu: \tUnless rcu_preempt kthread gets sufficient CPU time, OOM is now expected behavior.",
    "rcu_tasks_wait_gp: rcu_tasks_trace: Setting shift to 1 and lim to 1 rcu_task_cb_adjust=1.",
    "RCU Tasks Rude: Setting shift to 1 and lim to 1 rcu_task_cb_adjust=1 rcu_task_cpu_ids=2.",
    "NMI watchdog: Perf NMI watchdog permanently disabled",
    "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
    "Dynamic Preempt: lazy",
    "NO_HZ: Full dynticks CPUs: 1.",
    "NOHZ: local_softirq_pending 80",
    "psi: duplicate enqueue",
    "Fair server enabled on CPU 1.",
    "Timer migration: 1 hierarchy levels; 8 children per group; 1 crossnode level",
    "traps: worker[77] divide error ip:401000 sp:7ffc0000 error:0 in init[401000+1000]",
    "worker[77]: segfault at 0 ip 0000000000401000 sp 00007ffc00000000 error 4 in init",
    "Memory cgroup out of memory: Killed process 77 (worker) total-vm:1000kB",
    "x86: Booting SMP configuration:",
    "smpboot: CPU 1 is now offline",
    "root domain span: 0-1",
    "cgroup: Disabling memory control group subsystem",
    "workqueue: round-robin CPU selection forced, expect performance impact",
    "printk: console [ttyS0] enabled",
    "Error: Driver 'x' is already registered, aborting...",
    "ERROR: nothing of the scheduler's",
];

fn name(line: &str) -> Option<&'static str> {
    Complaint::of(line).map(|complaint| complaint.name)
}

#[test]
fn every_line_that_a_kernel_complains_by_has_its_name() {
    for (wanted, lines) in GOLDEN {
        for line in *lines {
            assert_eq!(name(line), Some(*wanted), "{line}");
            let stamped = format!("init said [    1.234567][    T7] {line}");
            assert_eq!(name(&stamped), Some(*wanted), "{stamped}");
        }
    }
}

#[test]
fn every_entry_of_the_table_has_a_line() {
    let lines = GOLDEN.iter().flat_map(|(_, lines)| *lines);
    let seen: BTreeSet<_> =
        lines.filter_map(|line| Complaint::of(line)).map(|c| c.begins).collect();
    let all: BTreeSet<_> = COMPLAINTS.iter().map(|complaint| complaint.begins).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn ordinary_lines_are_neither_complaints_nor_remarks() {
    for line in ORDINARY {
        assert_eq!(name(line), None, "{line}");
    }
}

#[test]
fn what_is_no_fault_is_a_note() {
    for line in [
        "sched: RT throttling activated",
        "process 77 (worker) no longer affine to cpu1",
        "sched_ext: \"simple\" does not implement cgroup cpu.weight",
        "hrtimer: interrupt took 12345678 ns",
    ] {
        assert_eq!(Complaint::of(line).map(|complaint| complaint.kind), Some(Kind::Note), "{line}");
    }
}

#[test]
fn a_star_is_anything_and_all_parts_count() {
    assert!(is_begun("a b", "a b"));
    assert!(is_begun("rcu: rcu_sched kthread starved for 9", "rcu: * kthread starved for "));
    assert!(!is_begun("rcu: rcu_sched kthread", "rcu: * kthread starved for "));
    assert!(!is_begun("x rcu: a kthread starved for ", "rcu: * kthread starved for "));
    assert!(is_begun("ab", "a*b") && !is_begun("ba", "a*b") && !is_begun("aba", "a*ba*b"));
}

#[test]
fn the_table_is_fit_for_a_page() {
    for complaint in COMPLAINTS {
        let Complaint { begins, function, meaning, name, .. } = complaint;
        assert!(!name.is_empty() && !function.is_empty() && !meaning.is_empty(), "{begins}");
        assert!(!begins.contains('|') && !meaning.contains('|'), "{begins}");
    }
}
