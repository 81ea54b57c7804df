//! The catalogue: every work type once, with its parameters, units and defaults. The macro
//! turns each line into a variant of [`WorkType`], a struct in [`params`], a constructor, the
//! JSON shape and the dispatch, which the family files rely on.

use super::Work;
use super::alu::AluWidth;
use super::custom::{Custom, CustomFn};
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
            pub const ALL_NAMES: &'static [&'static str] = &[$(stringify!($Name),)+ "Custom"];

            /// The name in scenarios and reports; for `Custom` the user's own.
            pub fn name(&self) -> &str {
                match self {
                    $( Self::$Name $({ $($field: _),+ })? => stringify!($Name), )+
                    Self::Custom { name, .. } => name,
                }
            }

            /// The type with default parameters; `None` for `Custom` and for unknown names.
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
    let hint = WorkType::suggest(name).map_or_else(
        || "`cargo xtask list` shows them".into(),
        |near| format!("did you mean `{near}`?"),
    );
    format!("no work type `{name}`; {hint}")
}
