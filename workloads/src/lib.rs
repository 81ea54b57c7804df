//! Scheduler workloads: a configuration becomes workers, workers become reports, reports are
//! judged against expectations. Knows nothing of virtual machines: `guest-init` runs it as the
//! guest's PID 1, `xtask` reads its types on the host.
//!
//! ```
//! use std::time::Duration;
//! use workloads::prelude::*;
//!
//! let config = WorkloadConfig {
//!     num_workers: 2,
//!     work_type: WorkType::bursty(Duration::from_millis(5), Duration::from_millis(10)),
//!     ..WorkloadConfig::default()
//! };
//! config.validate().unwrap();
//! ```

mod config;
mod plan;
mod scenario;
mod work;

mod run;

mod handle;
mod worker;

mod cgroup;
mod clock;
mod counters;
mod cpuset;
mod histogram;
mod human;
mod list;
mod nodes;
mod release;
mod rng;
mod settings;
mod sys;
mod topology;

mod expect;
mod report;

#[cfg(feature = "schema")]
pub mod schema;

mod suggest;
mod supervisor;

pub use cgroup::{CgroupError, root as cgroup_root};
pub use clock::{monotonic_ns, to_ns};
pub use config::{
    AffinityIntent, CloneMode, ConfigError, CpusetSpec, MemPolicy, MpolFlags, SchedClass,
    SchedPolicy, WorkSpec, WorkTypeValidationError, WorkloadConfig,
};
pub use expect::{Check, Expect, LatencyBounds, Outcome, StepExpect, jain_index, judge};
pub use handle::{Census, IoPlace, SpawnError, SpawnOptions, WorkloadHandle};
pub use histogram::LatencySummary;
pub use list::{format as list_text, parse as parse_list};
pub use plan::{Crew, Plan, PlannedCgroup, PlannedOp, PlannedSet, PlannedStep, Round, Scene};
pub use release::{EEVDF_SINCE, KernelVersion, kernel_version};
pub use report::{ExitInfo, Latency, NotApplied, StepReport, WorkerReport};
pub use rng::splitmix64;
pub use run::{
    CgroupUse, CpuUse, Event, RunOptions, RunOutcome, RunRecord, ScheduleRecord, SchedulerKeeper,
    StepRecord, SwapRecord, run, run_under,
};
pub use scenario::{
    CgroupDef, CpuKnobs, CpuMax, Hold, Machine, MemoryKnobs, Op, Scenario, ScenarioError,
    SchedulerChoice, Size, Step,
};
pub use suggest::nearest;
pub use supervisor::{become_supervisor, fork_child};
pub use sys::cpu::hypervisor;
pub use topology::{Cpu, Topology};
pub use work::{
    AluWidth, CustomFn, FutexLockMode, Parameter, Phase, RENAMED, Reference, Role, Sampled,
    WakeMechanism, WorkType, register,
};

/// What a user of the library writes workloads and work functions with.
pub mod prelude {
    pub use crate::{
        AffinityIntent, CloneMode, CustomFn, MemPolicy, MpolFlags, Phase, SchedPolicy, WorkSpec,
        WorkType, WorkerReport, WorkloadConfig, WorkloadHandle, register,
    };
}
