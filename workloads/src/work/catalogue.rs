//! The catalogue: every work type once, with what it does, which kernel functions it drives, what
//! it is for, its parameters, units and defaults. `generate` makes of each entry what the family
//! files, scenarios and the reference rely on.

use super::Work;
use super::alu::AluWidth;
use super::chain::WakeMechanism;
use super::custom::{Custom, CustomFn};
use super::generate::catalogue;
use super::lock::FutexLockMode;
use super::parameter::Parameter;
use super::reference::{Documented, Family, Line};
use super::sequence::{Phase, Sequence};
use crate::config::SchedClass;
use crate::human::HumanTime;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

catalogue! {
    /// Spins with PAUSE (without, under TCG) and never blocks.
    ///
    /// Its slice ends at a tick on Linux 6.1 and 6.12; on 7.3 a timer of its own ends it (HRTICK).
    SpinWait = spin_wait in Compute,
        kernel: "`task_tick_fair`, `update_curr`; balancing by `sched_balance_rq`, \
            `can_migrate_task`",
        choose: "load balancing, preemption at the end of a slice, fairness of tasks that never sleep";

    /// Calls sched_yield(2) on every iteration and never blocks.
    YieldHeavy = yield_heavy in Compute,
        kernel: "`do_sched_yield`, `yield_task_fair`",
        choose: "requeueing without sleep: what a yield costs and who runs after it";

    /// Spins 1024 steps, then calls sched_yield(2).
    Mixed = mixed in Compute,
        kernel: "`do_sched_yield`, `yield_task_fair`, `task_tick_fair`",
        choose: "CPU demand with voluntary preemption";

    /// Writes 16 blocks of 4 KiB to the workload's disk, opened O_SYNC, then calls fdatasync(2).
    ///
    /// Without a disk it uses a file of its own, and the file system decides what the kernel does.
    IoSyncWrite = io_sync_write in Disk,
        kernel: "`blkdev_fsync`, `blkdev_issue_flush`, sleep in D state by `io_schedule` and \
            `io_schedule_timeout`; `folio_end_writeback` and `bio_endio` wake",
        choose: "sleep in D state, wake-ups from block completion, flushes";

    /// Spins until a deadline, then sleeps.
    Bursty = bursty in Sleep,
        kernel: "`hrtimer_nanosleep`, `hrtimer_wakeup`, `try_to_wake_up`, `select_task_rq_fair`, \
            `do_idle`",
        choose: "idle balancing, and CPU time that others borrow while it sleeps"
    {
        /// How long to spin, in wall time: time lost to preemption counts.
        #[serde(with = "HumanTime")]
        burst_duration: Duration = Duration::from_millis(50),
        /// How long to sleep after each burst.
        #[serde(with = "HumanTime")]
        sleep_duration: Duration = Duration::from_millis(100),
    };

    /// Two workers pass one byte to and fro through pipes, one runnable at a time.
    PipeIo = pipe_io in Wake,
        kernel: "`anon_pipe_write`, `__wake_up_sync_key`, `try_to_wake_up` with WF_SYNC, \
            `select_task_rq_fair`",
        choose: "latency and placement of wake-ups by a waker that is about to sleep"
    {
        /// Spin steps before each write.
        burst_iters: u64 = 1024,
    };

    /// Two workers wake each other through futexes, one runnable at a time.
    FutexPingPong = futex_ping_pong in Wake,
        kernel: "`futex_wait`, `futex_wake`, `wake_up_q`, `try_to_wake_up` without WF_SYNC, \
            `select_task_rq_fair`",
        choose: "latency and placement of wake-ups without the hint that the waker will sleep"
    {
        /// Spin steps before each wake-up.
        spin_iters: u64 = 1024,
    };

    /// Forks a child that exits at once and waits for it.
    ForkExit = fork_exit in Churn,
        kernel: "`kernel_clone`, `sched_fork`, `wake_up_new_task`, `do_exit`, `do_wait`, \
            `release_task`",
        choose: "creation and end of tasks, placement of new ones";

    /// Forks a child that executes a tiny program, which exits at once, and waits for it.
    ///
    /// The program is a static ELF of some hundred bytes in memory, so no file system is in the way.
    /// It is refused where `vm.memfd_noexec` is 2.
    ForkExec = fork_exec in Churn,
        kernel: "`kernel_clone`, `wake_up_new_task`, `bprm_execve`, `sched_exec`, \
            `begin_new_exec`, `do_exit`, `do_wait`",
        choose: "exec: placement of a task that begins anew, a storm of short programs";

    /// Several workers take turns at one futex mutex.
    MutexContention = mutex_contention in Contend,
        kernel: "`futex_wait`, `futex_wake`, `wake_up_q`",
        choose: "lock convoys and preempted lock holders"
    {
        /// Workers of a group, all at the same mutex.
        contenders: usize = 4,
        /// Spin steps while holding the mutex.
        hold_iters: u64 = 256,
        /// Spin steps between two turns.
        work_iters: u64 = 1024,
    };

    /// A low worker takes a lock, then wakes a high one, which wants it, and a medium one, which
    /// only spins.
    ///
    /// They are SCHED_FIFO 30, 70 and 50 in place of the workload's `sched_policy`. Medium keeps
    /// low from the CPU where they share one: give the guest one, or the workload an affinity.
    PriorityInversion = priority_inversion in Contend,
        kernel: "`futex_wait`, `futex_wake`; with `Pi` `futex_lock_pi`, `rt_mutex_setprio`, \
            `futex_unlock_pi`",
        choose: "priority inversion and what inheritance does about it"
    {
        /// Workers at SCHED_FIFO 70, who wait for the lock.
        high_count: usize = 1,
        /// Workers at SCHED_FIFO 50, who never touch the lock.
        medium_count: usize = 1,
        /// Workers at SCHED_FIFO 30; each time one of them has the lock, a round begins.
        low_count: usize = 1,
        /// Spin steps while holding the lock.
        hold_iters: u64 = 4096,
        /// Spin steps of each medium worker in a round. It then waits for the next one.
        work_iters: u64 = 1024,
        /// The kind of lock: the holder of a `Pi` one inherits the priority of its highest waiter.
        pi_mode: FutexLockMode = FutexLockMode::Plain,
    };

    /// Producers fill a bounded queue at a rate, consumers empty it at their own.
    ProducerConsumerImbalance = producer_consumer_imbalance in Contend,
        kernel: "`futex_wait`, `futex_wake`, `wake_up_q`; `hrtimer_nanosleep`, `hrtimer_wakeup`",
        choose: "back-pressure: sleep on the full and on the empty side of a queue"
    {
        /// Workers that put in. An iteration is an item.
        producers: usize = 2,
        /// Workers that take out. An iteration is an item.
        consumers: usize = 1,
        /// Items a second that each producer puts in while there is room.
        produce_rate_hz: u64 = 1000,
        /// Spin steps that a consumer spends on an item.
        consume_iters: u64 = 4096,
        /// Items that the queue holds, at most 65536.
        queue_depth_target: u64 = 1024,
    };

    /// Producers write bursts of events to an eventfd, consumers share one epoll and read one event
    /// at a time.
    EpollStorm = epoll_storm in Contend,
        kernel: "`eventfd_write`, `ep_poll_callback`, exclusive waits ended by \
            `ep_autoremove_wake_function`",
        choose: "event loops: one of several waiters is woken for each event"
    {
        /// Workers that write. An iteration is a burst.
        producers: usize = 1,
        /// Workers that wait and read. An iteration is an event.
        consumers: usize = 2,
        /// Events in a burst. A producer waits while more than this are unread.
        events_per_burst: u64 = 32,
    };

    /// Two workers send each other signals with tkill(2) between bursts of work.
    SignalStorm = signal_storm in Contend,
        kernel: "`send_signal_locked`, `complete_signal`, `wake_up_state`, `kick_process` where \
            the target runs, `get_signal`",
        choose: "delivery of signals: kicks of a running task, wake-ups of a sleeping one"
    {
        /// Signals in an iteration; each has been handled before the next is sent.
        signals_per_iter: u64 = 16,
        /// Spin steps after them.
        work_iters: u64 = 1024,
    };

    /// Alternates a short burst with a short sleep, with or without timer slack.
    IdleChurn = idle_churn in Sleep,
        kernel: "`do_idle`, `tick_nohz_idle_enter`, `set_next_task_idle`; `hrtimer_wakeup`, \
            `try_to_wake_up`",
        choose: "entry and exit of idle, lateness of timers"
    {
        /// How long to spin, in wall time.
        #[serde(with = "HumanTime")]
        burst_duration: Duration = Duration::from_millis(1),
        /// How long to sleep after each burst.
        #[serde(with = "HumanTime")]
        sleep_duration: Duration = Duration::from_millis(5),
        /// Whether the sleep has 1 ns of timer slack instead of what the task has, mostly 50 us.
        precise_timing: bool = false,
    };

    /// Reads 4 KiB at a random sector of the workload's disk, opened O_DIRECT.
    ///
    /// Without a disk it uses a file of its own, and the file system decides what the kernel does.
    IoRandRead = io_rand_read in Disk,
        kernel: "`__blkdev_direct_IO_simple`, sleep in D state, `blk_mq_complete_request`, \
            `bio_endio` wakes",
        choose: "many short sleeps in D state";

    /// Writes 4 KiB in sequence and reads 4 KiB at random, O_DIRECT, with an fdatasync(2) every 16
    /// iterations.
    ///
    /// Without a disk it uses a file of its own, and the file system decides what the kernel does.
    IoConvoy = io_convoy in Disk,
        kernel: "`__blkdev_direct_IO_simple`, `blkdev_fsync`, `blkdev_issue_flush`, sleep in D \
            state, `bio_endio` wakes",
        choose: "reads that wait behind writes and flushes";

    /// Spins 512 steps, takes the next nice value of -20 to 19, then calls sched_yield(2).
    NiceSweep = nice_sweep in Churn,
        kernel: "`set_user_nice`, `reweight_task_fair`, `do_sched_yield`",
        choose: "changes of weight while tasks run";

    /// Takes the next of SCHED_OTHER, BATCH, IDLE and, where permitted, FIFO and RR, then calls
    /// sched_yield(2).
    PolicyChurn = policy_churn in Churn,
        kernel: "`__sched_setscheduler`, `switched_from_fair`, `switched_to_rt`, \
            `switched_from_rt`, `switched_to_fair`",
        choose: "changes of policy and of scheduling class"
    {
        /// Spin steps before each change.
        spin_iters: u64 = 1024,
    };

    /// Binds itself to a random CPU of its mask, then calls sched_yield(2).
    AffinityChurn = affinity_churn in Churn,
        kernel: "`__set_cpus_allowed_ptr`, `affine_move_task`, `migration_cpu_stop`",
        choose: "forced migration of a running task"
    {
        /// Spin steps before each move.
        spin_iters: u64 = 1024,
    };

    /// Binds itself to the CPUs of one NUMA node after the other and sleeps on each.
    ///
    /// On a machine with one node it stays as it is. Its memory stays where it was first touched,
    /// unless the kernel moves it.
    NumaMigrationChurn = numa_migration_churn in Churn,
        kernel: "`__set_cpus_allowed_ptr`, `affine_move_task`, `migration_cpu_stop`",
        choose: "migration between NUMA nodes"
    {
        /// How long to sleep on each node, in ms.
        period_ms: u64 = 100,
    };

    /// Moves itself round cgroups of its own below the cgroup it began in.
    CgroupChurn = cgroup_churn in Churn,
        kernel: "`cgroup_attach_task`, `cgroup_migrate`; where the cpu controller is on \
            `cpu_cgroup_attach`, `sched_move_task`",
        choose: "moves between cgroups and their run queues"
    {
        /// How many cgroups to go round.
        groups: usize = 2,
        /// How long to sleep in each, in ms.
        cycle_ms: u64 = 100,
    };

    /// A messenger wakes all its receivers with one FUTEX_WAKE, each of them spins, and the last to
    /// be done wakes the messenger.
    FutexFanOut = futex_fan_out in Wake,
        kernel: "`futex_wake`, `wake_up_q` with many tasks, `try_to_wake_up`, \
            `select_task_rq_fair`",
        choose: "fan-out of one to many: placement of many wakees at once"
    {
        /// Receivers of one messenger; the group has one worker more.
        fan_out: usize = 4,
        /// Spin steps of the messenger before a round, and of each receiver in it.
        spin_iters: u64 = 1024,
    };

    /// A messenger wakes all its receivers, each of them sleeps and then multiplies matrices, and
    /// the last to be done wakes the messenger.
    ///
    /// It is not schbench. Here all receivers sleep when a round begins. schbench wakes a worker
    /// while others still compute, so that its latency holds the wait for a busy CPU. With four
    /// workers in one guest the 99th percentile was 3.5 ms in schbench and 185 us here.
    FanOutCompute = fan_out_compute in Wake,
        kernel: "`futex_wake`, `wake_up_q` with many tasks, `select_task_rq_fair`; \
            `hrtimer_nanosleep`, `hrtimer_wakeup`",
        choose: "fan-out of requests that compute: wake-ups that land on cold or warm caches"
    {
        /// Receivers of one messenger; the group has one worker more.
        fan_out: usize = 4,
        /// KiB that the three square matrices of a receiver fit into.
        cache_footprint_kb: usize = 256,
        /// Matrix multiplications a round.
        operations: usize = 5,
        /// Microseconds that a receiver sleeps before it multiplies.
        sleep_usec: u64 = 100,
    };

    /// A waker rouses all sleepers of one futex word at once, batch by batch.
    ThunderingHerd = thundering_herd in Wake,
        kernel: "`futex_wake`, `wake_up_q` with many tasks, `try_to_wake_up`, \
            `select_task_rq_fair`",
        choose: "a herd: many idle tasks placed in one go"
    {
        /// Waiters of one waker; the group has one worker more.
        waiters: usize = 7,
        /// Batches of a series. Series follow each other while the run lasts, so this ends nothing:
        /// the waker counts a work unit a batch, and one more when a series is complete.
        batches: u64 = 1000,
        /// Milliseconds that the waker sleeps before each batch.
        inter_batch_ms: u64 = 5,
    };

    /// A ring of workers hands one token on, so that one of them is runnable at any time.
    WakeChain = wake_chain in Wake,
        kernel: "with `Pipe` `anon_pipe_write`, `__wake_up_sync_key`, WF_SYNC; with `Futex` \
            `futex_wake`, `wake_up_q`; `select_task_rq_fair`",
        choose: "placement along a chain of wake-ups, hop by hop"
    {
        /// Workers of a ring, at least 2.
        depth: usize = 4,
        /// How a stage wakes the next one: by a byte through a pipe or by a futex of its own.
        wake: WakeMechanism = WakeMechanism::default(),
        /// Wall time that a stage spins before it hands on; zero is allowed.
        #[serde(with = "HumanTime")]
        work_per_hop: Duration = Duration::from_micros(100),
    };

    /// Two workers of different scheduling classes take turns: one wakes the other and waits until
    /// it is done.
    ///
    /// Their classes replace the workload's `sched_policy`. A waker whose class preempts the
    /// wakee's sleeps 100 us before it wakes, so that it finds the wakee asleep.
    AsymmetricWaker = asymmetric_waker in Wake,
        kernel: "`futex_wake`, `try_to_wake_up`, `wakeup_preempt`",
        choose: "wake-ups across scheduling classes: who preempts whom, and how soon"
    {
        /// Class of the worker that wakes: `Cfs` is SCHED_OTHER, `Rt` SCHED_FIFO 50, `Deadline` 2 us
        /// in 1 ms of each 10 ms.
        waker_class: SchedClass = SchedClass::default(),
        /// Class of the worker that is woken, likewise.
        wakee_class: SchedClass = SchedClass::default(),
        /// Spin steps of each before it wakes the other.
        burst_iters: u64 = 1024,
    };

    /// One SCHED_FIFO worker that bursts and sleeps preempts fair spinners, at about 1 kHz by
    /// default.
    ///
    /// It does so wherever they share a CPU with it: give the guest one, or the workload an
    /// affinity.
    PreemptStorm = preempt_storm in RealTime,
        kernel: "`hrtimer_wakeup`, `enqueue_task_rt`, `wakeup_preempt`, `select_task_rq_rt`, \
            `push_rt_task`",
        choose: "preemption of fair tasks by a real-time one, and what they lose by it"
    {
        /// Spinners, which stay under the workload's own policy.
        cfs_workers: usize = 2,
        /// Spin steps of a burst, and of an iteration of the spinners.
        rt_burst_iters: u64 = 1024,
        /// Microseconds that the SCHED_FIFO worker sleeps after a burst.
        rt_sleep_us: u64 = 1000,
    };

    /// SCHED_FIFO spinners leave fair ones what RT throttling or the fair server saves for them.
    ///
    /// That is 5 % of each second with the kernel's defaults, for fair tasks that spin or wait for a
    /// CPU. A fair task that sleeps is woken by its timer and then shares in it. With PREEMPT_RT it
    /// is not woken: the timer of a fair task expires in the kernel thread `ktimers/N`, SCHED_FIFO 1,
    /// which the spinners keep from its CPU as they keep everything below their priority.
    RtStarvation = rt_starvation in RealTime,
        kernel: "`update_curr_rt`; the fair server `dl_server_start`, `dl_server_update`, before \
            6.12 `sched_rt_period_timer`",
        choose: "starvation of fair tasks by real-time ones"
    {
        /// Workers under SCHED_FIFO.
        rt_workers: usize = 1,
        /// Workers under SCHED_OTHER.
        cfs_workers: usize = 1,
        /// Priority of the former, 1 to 98; 99 is the bench's own.
        rt_priority: i32 = 50,
        /// Spin steps of an iteration.
        burst_iters: u64 = 1024,
    };

    /// Reads, changes and writes a private buffer in strides, 1024 accesses an iteration.
    CachePressure = cache_pressure in Memory,
        kernel: "`task_tick_fair`; balancing by `sched_balance_rq`, `can_migrate_task`",
        choose: "what a migration costs a task whose worth lies in a hot cache"
    {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Bytes from one access to the next.
        stride: usize = 64,
    };

    /// Does the burst of `CachePressure`, then calls sched_yield(2).
    CacheYield = cache_yield in Memory,
        kernel: "`do_sched_yield`, `yield_task_fair`, `can_migrate_task`",
        choose: "whether a yielder stays where its cache is hot"
    {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Bytes from one access to the next.
        stride: usize = 64,
    };

    /// Two workers pass one byte to and fro through pipes, each after a burst on a buffer of its
    /// own.
    CachePipe = cache_pipe in Wake,
        kernel: "`anon_pipe_write`, `__wake_up_sync_key`, `try_to_wake_up` with WF_SYNC, \
            `select_task_rq_fair`",
        choose: "where a wakee is put whose cache is hot on another CPU than the waker's"
    {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Accesses, one a cache line, before each write.
        burst_iters: u64 = 1024,
    };

    /// Writes to random pages of a private region without huge pages, then gives them back with
    /// MADV_DONTNEED.
    ///
    /// As threads the workers share an address space: each flush then interrupts the CPUs that run
    /// the others.
    PageFaultChurn = page_fault_churn in Memory,
        kernel: "`handle_mm_fault`, `do_anonymous_page`; `do_madvise`, `tlb_finish_mmu`, \
            `flush_tlb_mm_range`",
        choose: "page faults and TLB flushes beside scheduling"
    {
        /// Size of the region in KiB, rounded up to whole pages.
        region_kb: usize = 4096,
        /// Writes before the region is given back; one page may be hit twice.
        touches_per_cycle: usize = 256,
        /// Spin steps after it.
        spin_iters: u64 = 64,
    };

    /// Moves a region of its own from NUMA node to NUMA node, touches every page, and sleeps.
    ///
    /// Worker i begins at the i-th node, so that the regions of several workers pass each other.
    NumaWorkingSetSweep = numa_working_set_sweep in Memory,
        kernel: "`do_mbind`, `migrate_pages`; `do_anonymous_page` on the first sweep",
        choose: "memory that moves away from the CPU that uses it"
    {
        /// Size of the region in KiB, rounded up to whole pages.
        region_kb: usize = 4096,
        /// Milliseconds that the worker sleeps after each sweep.
        sweep_period_ms: u64 = 100,
        /// The nodes to go round, in this order; empty for all that have memory.
        target_nodes: Vec<usize> = Vec::new(),
    };

    /// Multiplies in several independent chains, 1024 steps an iteration, at high IPC.
    AluHot = alu_hot in Compute,
        kernel: "`task_tick_fair`; at each switch `save_fpregs_to_fpstate` and \
            `switch_fpu_return` with the vector state",
        choose: "a task of high IPC, and vector state that a switch must save"
    {
        /// The registers to multiply in; the report says which were used. `amx` stands for the
        /// widest vector.
        width: AluWidth = AluWidth::Widest,
    };

    /// Two workers spin with PAUSE (without, under TCG), for the two siblings of a core.
    ///
    /// It binds nobody: where the two run is up to the workload's `affinity`.
    SmtSiblingSpin = smt_sibling_spin in Compute,
        kernel: "`task_tick_fair`; where they are free to move `sched_balance_rq`, \
            `active_load_balance_cpu_stop`",
        choose: "contention of SMT siblings, and balancing that prefers idle cores";

    /// Alternates multiplies at high IPC with dependent random touches of 512 KiB at low IPC.
    ///
    /// An iteration is one period.
    IpcVariance = ipc_variance in Compute,
        kernel: "`task_tick_fair`, `update_curr`; the phases differ in hardware counters only",
        choose: "schedulers and frequency governors that look at IPC"
    {
        /// Multiply steps of a hot phase.
        hot_iters: u64 = 100_000,
        /// Memory touches of a cold phase.
        cold_iters: u64 = 1024,
        /// Hot and cold phases of an iteration.
        period_iters: u64 = 64,
    };

    without defaults:

    /// Goes through its phases in order, again and again.
    Sequence in Sleep,
        kernel: "that of its phases: `task_tick_fair` (Spin), `hrtimer_nanosleep` (Sleep), \
            `do_sched_yield` (Yield), `generic_perform_write` and `hrtimer_nanosleep` (Io)",
        choose: "mixtures of work and sleep, as real programs have them"
    {
        /// The first phase, with its length in wall time: a sequence is never empty. `Spin` spins,
        /// `Sleep` sleeps once, `Yield` calls sched_yield(2) again and again, `Io` again and again
        /// writes 64 KiB to a temporary file and sleeps 100 us.
        first: Phase,
        /// The phases after it, an empty list if there are none.
        rest: Vec<Phase>,
    };

    /// Runs a function of the user's, linked into their own guest-init.
    ///
    /// The report is the function's own: only who the worker is and that it completed is added. A
    /// function that could not go on says why in `failed`; the worker has not completed then, and
    /// the run fails by the check `completed`.
    Custom in Own,
        kernel: "whatever the function calls",
        choose: "what no other type does"
    {
        /// What the function was registered as.
        name: String,
        /// The loop: runs until the flag is true, then returns its report.
        run: CustomFn,
    };
}

#[expect(clippy::derivable_impls, reason = "the macro writes the enum")]
impl Default for WorkType {
    fn default() -> Self {
        Self::SpinWait
    }
}

/// Types are equal when their JSON is; two `Custom` ones when name and function are.
impl PartialEq for WorkType {
    fn eq(&self, other: &Self) -> bool {
        if let (Self::Custom { run: a, .. }, Self::Custom { run: b, .. }) = (self, other)
            && !std::ptr::fn_addr_eq(*a, *b)
        {
            return false;
        }
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

/// The function of a `Custom`, as JSON has it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Custom"))]
#[serde(deny_unknown_fields)]
pub(super) struct CustomName {
    /// What the function was registered as.
    name: String,
}

struct WorkTypeVisitor;

impl<'de> Deserialize<'de> for WorkType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WorkTypeVisitor)
    }
}

fn unknown(name: &str) -> String {
    if name == "Custom" {
        return "`Custom` needs a name: {\"Custom\": {\"name\": ..}}".into();
    }
    if name == "Sequence" {
        return "`Sequence` needs its phases: {\"Sequence\": {\"first\": {\"Spin\": \"1ms\"}, \"rest\": []}}".into();
    }
    let hint = WorkType::suggest(name).map_or_else(
        || "`cargo xtask list` shows them".into(),
        |near| format!("did you mean `{near}`?"),
    );
    format!("no work type `{name}`; {hint}")
}
