//! What the kernel says on its console when something is wrong, as a table: complaints that spoil
//! a run, remarks that explain one, and the gap that leaves both unknown. `console` matches lines,
//! `docs` makes a page of it.

/// What a line does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The kernel found a fault of its own: the verdict is `splat`.
    Splat,
    /// It works as it says it does, and the numbers are to be read with that: a note.
    Note,
    /// Lines are missing, so that nobody knows what they said.
    Loss,
}

/// A line of the kernel's.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) kind: Kind,
    /// For the report.
    pub(crate) name: &'static str,
    /// How the message begins; `*` is what the kernel fills in.
    pub(crate) begins: &'static str,
    /// Who prints it.
    pub(crate) function: &'static str,
    pub(crate) meaning: &'static str,
}

impl Complaint {
    /// The first of the table that `message` is, wherever in it: the console is shared.
    pub(super) fn of(message: &str) -> Option<&'static Self> {
        COMPLAINTS.iter().find(|complaint| {
            starts(message).any(|start| is_begun(&message[start..], complaint.begins))
        })
    }
}

/// Where a message may begin: at once, and after the stamp of a line that another one is before.
fn starts(message: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(message.match_indices("] ").map(|(at, stamp)| at + stamp.len()))
}

fn is_begun(text: &str, begins: &str) -> bool {
    let (first, rest) = begins.split_once('*').unwrap_or((begins, ""));
    let Some(mut text) = text.strip_prefix(first) else { return false };
    rest.split('*').all(|part| {
        let found = text.find(part);
        text = found.map_or("", |at| &text[at + part.len()..]);
        found.is_some()
    })
}

const fn splat(
    name: &'static str,
    begins: &'static str,
    function: &'static str,
    meaning: &'static str,
) -> Complaint {
    Complaint { kind: Kind::Splat, name, begins, function, meaning }
}

const fn note(
    name: &'static str,
    begins: &'static str,
    function: &'static str,
    meaning: &'static str,
) -> Complaint {
    Complaint { kind: Kind::Note, name, begins, function, meaning }
}

/// Of Linux 6.1, 6.12 and 7.3, special ones first. WARN needs no line of its own: each has a
/// header that begins with `WARNING: `.
pub(crate) const COMPLAINTS: &[Complaint] = &[
    splat(
        "lockup",
        "watchdog: BUG: soft lockup",
        "watchdog_timer_fn",
        "a CPU has scheduled nobody for 20 s and more",
    ),
    splat(
        "lockup",
        "BUG: workqueue lockup",
        "wq_watchdog_timer_fn",
        "a worker pool has finished nothing for 30 s",
    ),
    splat(
        "lockup",
        "NMI watchdog: Watchdog detected hard LOCKUP",
        "watchdog_overflow_callback",
        "a CPU has taken no timer interrupt for 10 s (Linux 6.1)",
    ),
    splat(
        "lockup",
        "watchdog: *Watchdog detected hard LOCKUP",
        "watchdog_hardlockup_check",
        "a CPU has taken no timer interrupt for 10 s",
    ),
    splat(
        "lockup",
        "smp: csd: * non-responsive CSD lock",
        "csd_lock_wait_toolong",
        "a CPU has not answered a function call from another one for 5 s",
    ),
    splat("kasan", "BUG: KASAN:", "kasan_report", "memory is used that is not there any more"),
    splat(
        "lockdep",
        "[ BUG: ",
        "print_lock_invalid_wait_context",
        "a lock is taken where it may not be waited for",
    ),
    splat(
        "bug",
        "BUG: ",
        "`__schedule_bug`, `__might_resched` and others",
        "the kernel is at fault",
    ),
    splat("bug", "BUG * (Not tainted): ", "slab_bug", "memory of the slab allocator is damaged"),
    splat("bug", "BUG * (Tainted: ", "slab_bug", "memory of the slab allocator is damaged"),
    splat("bug", "kernel BUG at ", "report_bug", "a BUG_ON holds"),
    splat("oops", "Oops: ", "__die_header", "the kernel's own code took an exception"),
    splat("oops", "general protection fault", "__die_header", "an oops (Linux 6.1)"),
    splat("oops", "divide error: * [#", "__die_header", "an oops: a division by zero (Linux 6.1)"),
    splat("oops", "invalid opcode: * [#", "__die_header", "an oops (Linux 6.1)"),
    splat("oops", "stack segment: * [#", "__die_header", "an oops (Linux 6.1)"),
    splat("oops", "int3: * [#", "__die_header", "an oops (Linux 6.1)"),
    splat(
        "rcu-stall",
        "rcu: INFO: ",
        "`print_cpu_stall`, `print_other_cpu_stall` and others",
        "a CPU or a task has kept a grace period from its end, by default for 21 s",
    ),
    splat(
        "rcu-stall",
        "INFO: rcu_",
        "`check_holdout_task`, `show_stalled_task_trace`",
        "a task has kept a grace period of RCU Tasks from its end, by default for 10 min",
    ),
    splat(
        "rcu-starvation",
        "rcu: * kthread starved for ",
        "rcu_check_gp_kthread_starvation",
        "the grace-period kthread of RCU gets no CPU",
    ),
    splat(
        "rcu-starvation",
        "rcu: * kthread timer wakeup didn't happen for ",
        "rcu_check_gp_kthread_expired_fqs_timer",
        "the grace-period kthread of RCU was not woken by its timer",
    ),
    splat(
        "rcu",
        "rcu: *: Double-freed CB ",
        "__call_rcu_common",
        "a callback of RCU was queued twice",
    ),
    splat(
        "hung-task",
        "INFO: task ",
        "`hung_task_info`, before 7.3 `check_hung_task`",
        "a task has been in uninterruptible sleep for 120 s",
    ),
    splat("ubsan", "UBSAN: ", "ubsan_prologue", "code relies on what C leaves undefined"),
    splat("warning", "WARNING: ", "`__warn`, `print_circular_bug` and others", "WARN, or lockdep"),
    splat(
        "lockdep",
        "INFO: trying to register non-static key",
        "assign_lock_key",
        "a lock was not initialised; lockdep is off from here on",
    ),
    splat(
        "rtmutex",
        "Maximum lock depth * reached task",
        "rt_mutex_adjust_prio_chain",
        "a chain of PI waiters is too long: priority is not passed on",
    ),
    splat(
        "psi",
        "psi: inconsistent task state!",
        "psi_flags_change",
        "a task was enqueued, dequeued or switched out of order",
    ),
    splat(
        "psi",
        "psi: task underflow!",
        "psi_group_change",
        "more tasks left a CPU or a cgroup than came",
    ),
    splat(
        "eevdf",
        "EEVDF scheduling fail",
        "pick_eevdf",
        "no fair task was eligible: a run queue's average is wrong (kernels before 6.12)",
    ),
    splat(
        "idle",
        "bad: scheduling from the idle thread!",
        "dequeue_task_idle",
        "the idle task went to sleep",
    ),
    splat(
        "deadline-lag",
        "sched: DL replenish lagged too much",
        "replenish_dl_entity",
        "a deadline task or a server had its budget more than a period late; a guest that stood \
         still says it too; once a boot",
    ),
    splat(
        "deadline",
        "sched: DL de-boosted task PID ",
        "enqueue_task_dl",
        "a throttled task lost its inherited deadline without new budget; once a boot",
    ),
    splat(
        "resched-latency",
        "sched: CPU * need_resched set for > ",
        "resched_latency_warn",
        "a CPU was told to schedule and did not; needs the feature LATENCY_WARN",
    ),
    splat(
        "topology",
        "ERROR: domain->",
        "sched_domain_debug_one",
        "a scheduling domain is wrong; needs sched_verbose",
    ),
    splat(
        "topology",
        "ERROR: groups don't span domain->span",
        "sched_domain_debug_one",
        "the same",
    ),
    splat("topology", "ERROR: parent span is not a superset", "sched_domain_debug_one", "the same"),
    splat("topology", "ERROR: flag * set here but not in ", "sched_domain_debug_one", "the same"),
    splat("topology", "ERROR: group is NULL", "sched_domain_debug_one", "the same"),
    splat("topology", "ERROR: empty group", "sched_domain_debug_one", "the same"),
    splat("topology", "ERROR: repeated CPUs", "sched_domain_debug_one", "the same"),
    splat(
        "topology",
        "ERROR: Invalid distance value range",
        "sched_numa_warn",
        "the firmware's table of distances between NUMA nodes is wrong",
    ),
    splat(
        "topology",
        "ERROR: Node-distance not symmetric",
        "sched_numa_warn",
        "a NUMA node is farther from another one than that is from it",
    ),
    splat(
        "cpuset",
        "rebuild_sched_domains confused",
        "generate_sched_domains",
        "cpusets and scheduling domains do not fit together (Linux 6.1)",
    ),
    splat(
        "cpuset",
        "cpuset: failed to transfer tasks out of empty cpuset",
        "remove_tasks_in_empty_cpuset",
        "tasks are in a cpuset without CPUs",
    ),
    splat(
        "sched-ext",
        "sched_ext: * has zero slice in ",
        "`do_pick_task_scx`, before 7.3 `pick_task_scx`",
        "a task was picked that has no slice left; once a scheduler",
    ),
    splat(
        "sched-ext",
        "sched_ext: ops error detected without ops",
        "`scx_root_disable`, before 7.3 `scx_ops_disable_workfn`",
        "a scheduler failed that is not there",
    ),
    splat(
        "sched-ext",
        "sched_ext: Soft lockup - CPU ",
        "scx_softlockup",
        "the scheduler was disabled because a CPU scheduled nobody",
    ),
    splat(
        "sched-ext",
        "sched_ext: Hard lockup - CPU ",
        "scx_hardlockup",
        "the scheduler was disabled because a CPU took no interrupts",
    ),
    splat(
        "sched-ext",
        "sched_ext: Failed to ",
        "scx_init",
        "sched_ext could not be set up at boot",
    ),
    splat(
        "nohz",
        "NOHZ tick-stop error",
        "report_idle_softirq",
        "a CPU goes idle while a softirq waits",
    ),
    splat(
        "timer",
        "CE: Reprogramming failure. Giving up",
        "clockevents_increase_min_delta",
        "the timer of a CPU could not be set",
    ),
    splat("timer", "Failed to broadcast timer tick", "err_broadcast", "idle CPUs may not wake"),
    splat(
        "timer",
        "schedule_timeout: wrong timeout value",
        "schedule_timeout",
        "a task sleeps for a time that is none",
    ),
    splat(
        "softirq",
        "softirq: huh, entered softirq",
        "handle_softirqs",
        "a softirq left preemption as it should not be",
    ),
    note(
        "rt-throttling",
        "sched: RT throttling activated",
        "sched_rt_runtime_exceeded",
        "SCHED_FIFO and SCHED_RR tasks used up sched_rt_runtime_us: they stop until the next \
         period, PID 1 too; once a boot",
    ),
    note(
        "fair-server",
        "Fair server disabled in CPU ",
        "sched_fair_server_write",
        "fair tasks are not protected from real-time ones there",
    ),
    note(
        "fair-server",
        "* server disabled on CPU ",
        "sched_server_write_common",
        "its tasks are not protected from real-time ones there",
    ),
    note(
        "fair-server",
        "failed to re-attach fair_server on CPU ",
        "scx_root_disable",
        "fair tasks are not protected from real-time ones there",
    ),
    note(
        "fair-server",
        "sched_ext: failed to attach ext_server on CPU ",
        "scx_root_enable_workfn",
        "SCHED_DEADLINE has no bandwidth left for the server of sched_ext",
    ),
    note(
        "affinity",
        "process * no longer affine to cpu",
        "select_fallback_rq",
        "a task was moved off the CPUs of its affinity because none of them is on line",
    ),
    note(
        "quota",
        "cfs_period_timer[cpu*]: period too short",
        "sched_cfs_period_timer",
        "the period of a quota passes faster than its timer is served: the kernel doubles both, \
         or cannot",
    ),
    note(
        "sched-ext",
        "sched_ext: * does not implement cgroup ",
        "scx_cgroup_warn_missing_weight",
        "the scheduler ignores cpu.weight or cpu.idle (Linux 6.12)",
    ),
    note(
        "numa",
        "Failed to find a NUMA topology type",
        "init_numa_topology_type",
        "the kernel takes all NUMA nodes for neighbours",
    ),
    note(
        "clock",
        "TSC found unstable after boot",
        "__sched_clock_work",
        "the scheduler's clock is corrected on each CPU from here on",
    ),
    note(
        "clock",
        "clocksource: timekeeping watchdog on CPU*arking *unstable",
        "`cs_watchdog_read`, `clocksource_watchdog`",
        "the clock behind all times was found wrong and is replaced; a slow host does that too",
    ),
    note(
        "clock",
        "clocksource: Marking clocksource ",
        "`watchdog_print_freq_skew`, `watchdog_print_remote_skew`",
        "the same (Linux 7.3)",
    ),
    note(
        "timer",
        "CE: * increased min_delta_ns to ",
        "clockevents_increase_min_delta",
        "the timer of a CPU is served too slowly: timers are coarser from here on",
    ),
    note(
        "timer",
        "hrtimer: interrupt took ",
        "hrtimer_interrupt",
        "timers were due faster than they could be served; once a boot",
    ),
    note(
        "timer",
        "Could not switch to high resolution mode on CPU ",
        "hrtimer_switch_to_hres",
        "timers there are due at ticks only",
    ),
    note(
        "timer",
        "Clockevents: could not switch to one-shot mode",
        "tick_switch_to_oneshot",
        "timers are due at ticks only, and idle CPUs tick",
    ),
    note(
        "rcu",
        "rcu_tasks*: rcu_tasks* grace period number ",
        "rcu_tasks_wait_gp",
        "a grace period of RCU Tasks is old, which may become a stall",
    ),
    note(
        "fork",
        "cgroup: fork rejected by pids controller in ",
        "`pids_event`, in 6.1 `pids_can_fork`",
        "a worker could not make a task; once a cgroup",
    ),
    note(
        "arguments",
        "Housekeeping: ",
        "housekeeping_setup",
        "the kernel does not take `nohz_full=` or `isolcpus=` as it was given",
    ),
    note("arguments", "isolcpus: ", "housekeeping_isolcpus_setup", "the same, of `isolcpus=`"),
    note(
        "arguments",
        "NO_HZ: Can't run full dynticks",
        "tick_nohz_init",
        "`nohz_full=` holds for no CPU",
    ),
    note(
        "arguments",
        "NO_HZ: Clearing ",
        "tick_nohz_init",
        "`nohz_full=` does not hold for the CPU that keeps the time",
    ),
    note(
        "arguments",
        "Dynamic Preempt: unsupported mode: ",
        "setup_preempt_mode",
        "this kernel has no such `preempt=` and keeps its own",
    ),
    Complaint {
        kind: Kind::Loss,
        name: "lost",
        begins: "** * printk messages dropped **",
        function: "`console_prepend_dropped`, in 6.1 `call_console_driver`",
        meaning: "the console was too slow: whether the kernel complained is not known",
    },
];

#[cfg(test)]
mod tests;
