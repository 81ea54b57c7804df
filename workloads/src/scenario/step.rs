//! Steps of a scenario: what changes while it runs, and how long each state is held. Read from
//! JSON, judged by `plan`, done by `run`.

use super::cgroup::{CgroupDef, CpuKnobs};
use super::scheduler::SchedulerChoice;
use crate::config::{AffinityIntent, CpusetSpec, WorkSpec};
use crate::expect::StepExpect;
use crate::human::{HumanTime, OptionalTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Operations, then a time in which nothing changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Names the step in the report.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What is done at its beginning, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
    /// How long it is held once they are done.
    pub hold: Hold,
    /// What must hold within it, beside what is expected of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<StepExpect>,
}

/// How long a step is held: from the end of its operations to those of the next step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub enum Hold {
    /// What is left of the duration; for the last step.
    #[default]
    Rest,
    /// This time.
    Time(#[serde(with = "HumanTime")] Duration),
    /// This part of the duration, above 0 and at most 1.
    Fraction(
        #[cfg_attr(feature = "schema", schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
        f64,
    ),
    /// The operations are done again and again.
    Loop {
        /// How long the outcome of each round is held: from the end of its operations to the
        /// beginning of those of the next. The period is longer by what the operations take.
        #[serde(with = "HumanTime")]
        interval: Duration,
        /// How long all rounds are held together; `null` is what is left of the duration.
        #[serde(with = "OptionalTime", default, skip_serializing_if = "Option::is_none")]
        time: Option<Duration>,
    },
}

/// One change. Cgroups are named by their path; `/` is the root, where `workload` runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub enum Op {
    /// Makes a cgroup and starts its workers.
    AddCgroup(Box<CgroupDef>),
    /// Stops the workers in a cgroup and removes it.
    RemoveCgroup(String),
    /// Freezes what is in a cgroup and below; done when the kernel says that it is frozen.
    Freeze(String),
    /// Lets it run again.
    Thaw(String),
    /// Changes the CPUs of a cgroup, and its NUMA nodes if they are given.
    SetCpuset {
        /// Whose.
        cgroup: String,
        /// Its new CPUs.
        cpus: CpusetSpec,
        /// Its new nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mems: Option<BTreeSet<usize>>,
    },
    /// Gives a cgroup all CPUs of its parent again.
    ClearCpuset(String),
    /// Exchanges the CPUs of two cgroups.
    SwapCpusets([String; 2]),
    /// Changes weight, quota, burst or idleness; what is absent stays.
    SetCpu {
        /// Whose.
        cgroup: String,
        /// What changes.
        cpu: CpuKnobs,
    },
    /// Starts more workers in a cgroup.
    Spawn {
        /// Where.
        #[serde(default = "root")]
        cgroup: String,
        /// Who.
        work: Box<WorkSpec>,
    },
    /// Stops the workers in a cgroup, which stays.
    Stop(String),
    /// Moves every task of one cgroup into another.
    MoveAllTasks {
        /// From where.
        from: String,
        /// Where to.
        to: String,
    },
    /// Changes the affinity of all workers in a cgroup; it takes the place of `affinity` and of
    /// `numa_node`.
    SetAffinity {
        /// Whose.
        #[serde(default = "root")]
        cgroup: String,
        /// Where each of them may run from now on.
        affinity: AffinityIntent,
    },
    /// Takes a CPU off line.
    CpuOffline(usize),
    /// Takes it on line again.
    CpuOnline(usize),
    /// Writes /proc/sys/NAME, where dots in the name are slashes.
    Sysctl {
        /// As `kernel.sched_autogroup_enabled`.
        name: String,
        /// What is written.
        value: String,
    },
    /// Writes /sys/kernel/debug/sched/NAME.
    SchedKnob {
        /// As `base_slice_ns`, or `features`.
        name: String,
        /// What is written.
        value: String,
    },
    /// Stops the sched_ext scheduler; the fair class takes over.
    StopScheduler,
    /// Starts a sched_ext scheduler where none runs, and waits until it is attached.
    StartScheduler(SchedulerChoice),
    /// Stops the sched_ext scheduler and starts another one.
    ReplaceScheduler(SchedulerChoice),
}

fn root() -> String {
    "/".into()
}

impl Op {
    /// The name of the variant, as scenarios spell it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::AddCgroup(_) => "AddCgroup",
            Self::RemoveCgroup(_) => "RemoveCgroup",
            Self::Freeze(_) => "Freeze",
            Self::Thaw(_) => "Thaw",
            Self::SetCpuset { .. } => "SetCpuset",
            Self::ClearCpuset(_) => "ClearCpuset",
            Self::SwapCpusets(_) => "SwapCpusets",
            Self::SetCpu { .. } => "SetCpu",
            Self::Spawn { .. } => "Spawn",
            Self::Stop(_) => "Stop",
            Self::MoveAllTasks { .. } => "MoveAllTasks",
            Self::SetAffinity { .. } => "SetAffinity",
            Self::CpuOffline(_) => "CpuOffline",
            Self::CpuOnline(_) => "CpuOnline",
            Self::Sysctl { .. } => "Sysctl",
            Self::SchedKnob { .. } => "SchedKnob",
            Self::StopScheduler => "StopScheduler",
            Self::StartScheduler(_) => "StartScheduler",
            Self::ReplaceScheduler(_) => "ReplaceScheduler",
        }
    }

    /// Whether it changes the machine beyond the run's own cgroups and workers.
    pub fn changes_machine(&self) -> bool {
        matches!(
            self,
            Self::CpuOffline(_)
                | Self::CpuOnline(_)
                | Self::Sysctl { .. }
                | Self::SchedKnob { .. }
                | Self::StopScheduler
                | Self::StartScheduler(_)
                | Self::ReplaceScheduler(_)
        )
    }
}
