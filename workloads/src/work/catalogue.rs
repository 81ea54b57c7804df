//! The catalogue: every work type once, with its parameters, units and defaults. The macro
//! turns each line into a variant of [`WorkType`], a struct in [`params`], a constructor, the
//! JSON shape and the dispatch, which the family files rely on.

use super::Work;
use super::alu::AluWidth;
use super::chain::WakeMechanism;
use super::custom::{Custom, CustomFn};
use super::lock::FutexLockMode;
use super::sequence::{Phase, Sequence};
use crate::config::SchedClass;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

macro_rules! catalogue {
    ($(
        $(#[doc = $doc:literal])+
        $Name:ident = $snake:ident $({$(
            $(#[doc = $field_doc:literal])+ $(#[serde($($serde:tt)+)])?
            $field:ident: $ty:ty = $default:expr
        ),+ $(,)?})?;
    )+) => {
        /// What one worker does. Defaults are those of [`WorkType::from_name`].
        #[derive(Debug, Clone)]
        pub enum WorkType {
            $( $(#[doc = $doc])+ $Name $({ $( $(#[doc = $field_doc])+ $field: $ty ),+ })?, )+
            /// Goes through its phases in order, again and again. It has no default.
            Sequence {
                /// The first phase: a sequence is never empty.
                first: Phase,
                /// The phases after it.
                rest: Vec<Phase>,
            },
            /// A function of the user's, linked into their own guest-init.
            Custom {
                /// What the function was registered as.
                name: String,
                /// The loop: runs until the flag is true, then returns its report.
                run: CustomFn,
            },
        }

        impl WorkType {
            /// Every name that a scenario may use.
            pub const ALL_NAMES: &'static [&'static str] = &[$(stringify!($Name),)+ "Sequence", "Custom"];

            /// The name in scenarios and reports; for `Custom` the user's own.
            pub fn name(&self) -> &str {
                match self {
                    $( Self::$Name $({ $($field: _),+ })? => stringify!($Name), )+
                    Self::Sequence { .. } => "Sequence",
                    Self::Custom { name, .. } => name,
                }
            }

            /// The type with default parameters; `None` for `Sequence`, `Custom` and unknown names.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( stringify!($Name) => Some(params::$Name::default().into()), )+
                    _ => None,
                }
            }

            $($(
                #[doc = concat!("[`WorkType::", stringify!($Name), "`] with these parameters.")]
                pub fn $snake($($field: $ty),+) -> Self {
                    Self::$Name { $($field),+ }
                }
            )?)+

            /// The one place that tells the variants apart: the loop and the facts of this type.
            pub(crate) fn work(&self) -> Box<dyn Work> {
                match self.clone() {
                    $( Self::$Name $({ $($field),+ })? =>
                        Box::new(params::$Name { $($($field),+)? }), )+
                    Self::Sequence { first, rest } => Box::new(Sequence { first, rest }),
                    Self::Custom { run, .. } => Box::new(Custom(run)),
                }
            }
        }

        /// The parameters of each type; family files implement [`Work`] for them.
        pub(crate) mod params {
            use super::*;
            $(
                #[derive(Debug, Clone, Serialize, Deserialize)]
                #[serde(default, deny_unknown_fields)]
                pub(crate) struct $Name {
                    $($( $(#[serde($($serde)+)])? pub(crate) $field: $ty, )+)?
                }

                impl Default for $Name {
                    fn default() -> Self {
                        Self { $($($field: $default),+)? }
                    }
                }

                impl From<$Name> for WorkType {
                    fn from(_params: $Name) -> Self {
                        Self::$Name $({ $($field: _params.$field),+ })?
                    }
                }
            )+
        }

        impl Serialize for WorkType {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.clone() {
                    $( Self::$Name $({ $($field),+ })? => {
                        let params = params::$Name { $($($field),+)? };
                        if size_of_val(&params) == 0 {
                            return serializer.serialize_str(stringify!($Name));
                        }
                        serializer.serialize_newtype_variant("WorkType", 0, stringify!($Name), &params)
                    } )+
                    Self::Sequence { first, rest } => serializer.serialize_newtype_variant(
                        "WorkType", 0, "Sequence", &Sequence { first, rest }),
                    Self::Custom { name, .. } => serializer.serialize_newtype_variant(
                        "WorkType", 0, "Custom", &CustomName { name }),
                }
            }
        }

        impl<'de> Visitor<'de> for WorkTypeVisitor {
            type Value = WorkType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a work type, or one name with its parameters")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<WorkType, E> {
                WorkType::from_name(name).ok_or_else(|| E::custom(unknown(name)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WorkType, A::Error> {
                let name = map.next_key::<String>()?.ok_or_else(|| A::Error::custom("names no work type"))?;
                let value = match name.as_str() {
                    $( stringify!($Name) => map.next_value::<params::$Name>()?.into(), )+
                    "Sequence" => map.next_value::<Sequence>()?.into(),
                    "Custom" => Custom::named(map.next_value::<CustomName>()?.name),
                    _ => return Err(A::Error::custom(unknown(&name))),
                };
                match map.next_key::<String>()? {
                    None => Ok(value),
                    Some(second) => Err(A::Error::custom(format!("`{name}` and `{second}`: a worker does one thing"))),
                }
            }
        }
    };
}

catalogue! {
    /// Spins with PAUSE (without, under TCG) and never blocks: load balancing, tick preemption, fairness.
    SpinWait = spin_wait;

    /// Calls sched_yield(2) on every iteration: `do_sched_yield`, requeueing without sleep.
    YieldHeavy = yield_heavy;

    /// 1024 spin steps, then sched_yield(2): CPU demand mixed with voluntary preemption.
    Mixed = mixed;

    /// 16 writes of 4 KiB and an fdatasync(2) on the workload's disk, opened O_SYNC: sleeps in D
    /// state, woken from block completion.
    IoSyncWrite = io_sync_write;

    /// Spins until a deadline, then sleeps: idle entry, timer wake-up, borrowed CPU time.
    Bursty = bursty {
        /// How long to spin, in wall time: time lost to preemption counts.
        #[serde(with = "humantime_serde")]
        burst_duration: Duration = Duration::from_millis(50),
        /// How long to sleep after each burst.
        #[serde(with = "humantime_serde")]
        sleep_duration: Duration = Duration::from_millis(100),
    };

    /// Two workers pass one byte to and fro through pipes, one runnable at a time:
    /// `anon_pipe_write` wakes with WF_SYNC.
    PipeIo = pipe_io {
        /// Spin steps before each write.
        burst_iters: u64 = 1024,
    };

    /// Two workers wake each other through futexes, one runnable at a time: `futex_wake`,
    /// `try_to_wake_up` without WF_SYNC.
    FutexPingPong = futex_ping_pong {
        /// Spin steps before each wake-up.
        spin_iters: u64 = 1024,
    };

    /// Forks a child that exits at once and waits for it: `wake_up_new_task`, `do_exit`,
    /// `wait_task_zombie`.
    ForkExit = fork_exit;

    /// Several workers take turns at one futex mutex: `futex_wait`, `futex_wake`, convoys,
    /// preempted holders.
    MutexContention = mutex_contention {
        /// Workers of a group, all at the same mutex.
        contenders: usize = 4,
        /// Spin steps while holding the mutex.
        hold_iters: u64 = 256,
        /// Spin steps between two turns.
        work_iters: u64 = 1024,
    };

    /// Low takes a lock, then wakes high, which wants it, and medium, which only spins:
    /// SCHED_FIFO 70, 50 and 30. With `Pi`: `futex_lock_pi`, `rt_mutex_setprio`.
    PriorityInversion = priority_inversion {
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
        /// The kind of lock.
        pi_mode: FutexLockMode = FutexLockMode::Plain,
    };

    /// Producers fill a bounded queue at a rate, consumers empty it at their own: futex waits on
    /// the empty and on the full side, back-pressure.
    ProducerConsumerImbalance = producer_consumer_imbalance {
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

    /// Producers write bursts of events to an eventfd, consumers share one epoll and read one
    /// event at a time: `ep_poll_callback`, exclusive waits, `ep_autoremove_wake_function`.
    EpollStorm = epoll_storm {
        /// Workers that write. An iteration is a burst.
        producers: usize = 1,
        /// Workers that wait and read. An iteration is an event.
        consumers: usize = 2,
        /// Events in a burst. A producer waits while more than this are unread.
        events_per_burst: u64 = 32,
    };

    /// Two workers send each other signals with tkill(2) between bursts of work:
    /// `send_signal_locked`, `signal_wake_up_state`, kicks of a running task.
    SignalStorm = signal_storm {
        /// Signals in an iteration; each has been handled before the next is sent.
        signals_per_iter: u64 = 16,
        /// Spin steps after them.
        work_iters: u64 = 1024,
    };

    /// A short burst, then a short sleep: idle entry, hrtimer wake-up, `pick_task_idle`.
    IdleChurn = idle_churn {
        /// How long to spin, in wall time.
        #[serde(with = "humantime_serde")]
        burst_duration: Duration = Duration::from_millis(1),
        /// How long to sleep after each burst.
        #[serde(with = "humantime_serde")]
        sleep_duration: Duration = Duration::from_millis(5),
        /// Whether the sleep has 1 ns of timer slack instead of what the task has, mostly 50 us.
        precise_timing: bool = false,
    };

    /// Reads 4 KiB at a random sector of the workload's disk, opened O_DIRECT: many short sleeps
    /// in D state.
    IoRandRead = io_rand_read;

    /// Writes 4 KiB in sequence and reads 4 KiB at random, O_DIRECT, with an fdatasync(2) every
    /// 16 iterations: reads that wait behind writes and flushes.
    IoConvoy = io_convoy;

    /// 512 spin steps, setpriority(2) to the next nice value of -20 to 19, then sched_yield(2):
    /// `set_user_nice`, `reweight_task`. Without CAP_SYS_NICE from 0.
    NiceSweep = nice_sweep;

    /// Takes the next of SCHED_OTHER, BATCH, IDLE and, where permitted, FIFO and RR, then yields:
    /// `__sched_setscheduler`, changes of the scheduling class.
    PolicyChurn = policy_churn {
        /// Spin steps before each change.
        spin_iters: u64 = 1024,
    };

    /// Binds itself to a random CPU of its mask, then yields: `affine_move_task`,
    /// `migration_cpu_stop`.
    AffinityChurn = affinity_churn {
        /// Spin steps before each move.
        spin_iters: u64 = 1024,
    };

    /// Binds itself to the CPUs of one NUMA node after the other; on one node it stays as it is.
    NumaMigrationChurn = numa_migration_churn {
        /// How long to sleep on each node, in ms.
        period_ms: u64 = 100,
    };

    /// Moves itself round cgroups of its own below the cgroup it began in: `cgroup_attach_task`,
    /// and `sched_move_task` where the cpu controller is on.
    CgroupChurn = cgroup_churn {
        /// How many cgroups to go round.
        groups: usize = 2,
        /// How long to sleep in each, in ms.
        cycle_ms: u64 = 100,
    };

    /// A messenger wakes all its receivers with one FUTEX_WAKE, each of them spins, and the last to
    /// be done wakes the messenger: `futex_wake`, a `wake_q` of many tasks.
    FutexFanOut = futex_fan_out {
        /// Receivers of one messenger; the group has one worker more.
        fan_out: usize = 4,
        /// Spin steps of the messenger before a round, and of each receiver in it.
        spin_iters: u64 = 1024,
    };

    /// As FutexFanOut, but receivers sleep and then multiply matrices: wake-ups that land on cold
    /// or warm caches.
    FanOutCompute = fan_out_compute {
        /// Receivers of one messenger; the group has one worker more.
        fan_out: usize = 4,
        /// KiB that the three square matrices of a receiver fit into.
        cache_footprint_kb: usize = 256,
        /// Matrix multiplications a round.
        operations: usize = 5,
        /// Microseconds that a receiver sleeps before it multiplies.
        sleep_usec: u64 = 100,
    };

    /// Waiters sleep on one futex word and a waker rouses all of them at once, batch by batch: a
    /// long `wake_q`, many tasks placed in one go.
    ThunderingHerd = thundering_herd {
        /// Waiters of one waker; the group has one worker more.
        waiters: usize = 7,
        /// Batches of a series. Series follow each other while the run lasts, so this ends nothing:
        /// the waker counts a work unit a batch, and one more when a series is complete.
        batches: u64 = 1000,
        /// Milliseconds that the waker sleeps before each batch.
        inter_batch_ms: u64 = 5,
    };

    /// A ring of workers that hand one token on, so that one of them is runnable at any time: wake
    /// placement along a chain of hops, with WF_SYNC through pipes, without through futexes.
    WakeChain = wake_chain {
        /// Workers of a ring, at least 2.
        depth: usize = 4,
        /// How a stage wakes the next one.
        wake: WakeMechanism = WakeMechanism::default(),
        /// Wall time that a stage spins before it hands on; zero is allowed.
        #[serde(with = "humantime_serde")]
        work_per_hop: Duration = Duration::from_micros(100),
    };

    /// Two workers of different scheduling classes, one wakes the other and waits until it is done:
    /// `wakeup_preempt` across classes. Their classes replace the workload's `sched_policy`.
    AsymmetricWaker = asymmetric_waker {
        /// Class of the worker that wakes.
        waker_class: SchedClass = SchedClass::default(),
        /// Class of the worker that is woken.
        wakee_class: SchedClass = SchedClass::default(),
        /// Spin steps of each before it wakes the other.
        burst_iters: u64 = 1024,
    };

    /// One SCHED_FIFO worker that bursts and sleeps preempts fair spinners at about 1 kHz, wherever
    /// they share a CPU with it: give the guest one, or the workload an affinity.
    PreemptStorm = preempt_storm {
        /// Spinners, which stay under the workload's own policy.
        cfs_workers: usize = 2,
        /// Spin steps of a burst, and of an iteration of the spinners.
        rt_burst_iters: u64 = 1024,
        /// Microseconds that the SCHED_FIFO worker sleeps after a burst.
        rt_sleep_us: u64 = 1000,
    };

    /// SCHED_FIFO spinners leave fair ones what RT throttling or the fair server saves for them,
    /// 5 % with the kernel's defaults, wherever they share a CPU.
    RtStarvation = rt_starvation {
        /// Workers under SCHED_FIFO.
        rt_workers: usize = 1,
        /// Workers under SCHED_OTHER.
        cfs_workers: usize = 1,
        /// Priority of the former, 1 to 99.
        rt_priority: i32 = 50,
        /// Spin steps of an iteration.
        burst_iters: u64 = 1024,
    };

    /// 1024 strided read-modify-writes on a private buffer: CPU demand whose worth lies in the
    /// cache that a migration leaves behind.
    CachePressure = cache_pressure {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Bytes from one access to the next.
        stride: usize = 64,
    };

    /// The burst of `CachePressure`, then sched_yield(2): placement of a yielder with a hot cache.
    CacheYield = cache_yield {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Bytes from one access to the next.
        stride: usize = 64,
    };

    /// Two workers pass one byte to and fro through pipes, each after a burst on a buffer of its
    /// own: where `select_task_rq` puts a wakee whose cache is hot elsewhere.
    CachePipe = cache_pipe {
        /// Size of the worker's own buffer in KiB.
        size_kb: usize = 32,
        /// Accesses, one a cache line, before each write.
        burst_iters: u64 = 1024,
    };

    /// Writes to random pages of a private region without huge pages, then MADV_DONTNEED:
    /// `do_anonymous_page`, `zap_page_range_single`, TLB flushes.
    PageFaultChurn = page_fault_churn {
        /// Size of the region in KiB, rounded up to whole pages.
        region_kb: usize = 4096,
        /// Writes before the region is given back; one page may be hit twice.
        touches_per_cycle: usize = 256,
        /// Spin steps after it.
        spin_iters: u64 = 64,
    };

    /// Moves a region of its own from NUMA node to NUMA node, touches every page, and sleeps:
    /// `do_mbind`, `migrate_pages`, memory that is remote to whoever uses it.
    NumaWorkingSetSweep = numa_working_set_sweep {
        /// Size of the region in KiB, rounded up to whole pages.
        region_kb: usize = 4096,
        /// Milliseconds that the worker sleeps after each sweep.
        sweep_period_ms: u64 = 100,
        /// The nodes to go round, in this order; empty for all that have memory.
        target_nodes: Vec<usize> = Vec::new(),
    };

    /// 1024 steps of several independent chains of integer multiplies: a CPU-bound task of high
    /// IPC, with vector state for `switch_fpu`.
    AluHot = alu_hot {
        /// The registers to multiply in; the report says which were used.
        width: AluWidth = AluWidth::Widest,
    };

    /// Two workers spin with PAUSE, for two siblings of one core; where they run is up to the
    /// affinity.
    SmtSiblingSpin = smt_sibling_spin;

    /// Alternates multiplies at high IPC with random touches of 512 KiB at low IPC, for schedulers
    /// that look at IPC. An iteration is one period.
    IpcVariance = ipc_variance {
        /// Multiply steps of a hot phase.
        hot_iters: u64 = 100_000,
        /// Memory touches of a cold phase.
        cold_iters: u64 = 1024,
        /// Hot and cold phases of an iteration.
        period_iters: u64 = 64,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomName {
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
