//! What a workload is: how many workers, what they do, where and under which policy. Read from
//! JSON by `scenario`, turned into processes by `handle`.

mod affinity;
mod cpuset;
mod error;
mod memory;
mod placement;
mod policy;

pub use affinity::AffinityIntent;
pub use cpuset::CpusetSpec;
pub use error::{ConfigError, WorkTypeValidationError};
pub use memory::{MemPolicy, MpolFlags};
pub(crate) use placement::Placement;
pub(crate) use policy::{PRIORITY_RULE, lift_deadline, name as policy_name, slice_of};
pub use policy::{SchedClass, SchedPolicy};

use crate::work::WorkType;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// task->comm holds 15 bytes and a NUL; see prctl(2), PR_SET_NAME.
const COMM_BYTES: usize = 15;
/// `(uid_t)-1`, for which the kernel has no user.
const NO_ID: u32 = u32::MAX;
/// A group shares one mapping and one set of pipes; more workers than this is a mistyped number.
const MAX_WORKERS: usize = 100_000;

/// What a worker is to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CloneMode {
    /// A forked process of its own, a thread group of one.
    #[default]
    Fork,
    /// A thread of the process that starts the workload.
    Thread,
}

/// A primary set of workers and, in `composed`, secondary ones that run beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadConfig {
    /// Workers of the primary set; a multiple of the work type's group size.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub num_workers: usize,
    /// Where each worker may run.
    pub affinity: AffinityIntent,
    /// What each worker does.
    pub work_type: WorkType,
    /// The policy each worker runs under.
    pub sched_policy: SchedPolicy,
    /// Where the memory comes from that each worker allocates.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_policy: MemPolicy,
    /// Flags of `mem_policy`.
    #[serde(skip_serializing_if = "MpolFlags::is_empty")]
    pub mpol_flags: MpolFlags,
    /// Nice level, -20 to 19; inherited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -20, max = 19)))]
    pub nice: Option<i32>,
    /// Whether workers are processes or threads, those of `composed` too.
    #[serde(skip_serializing_if = "is_default")]
    pub clone_mode: CloneMode,
    /// `task->comm`, at most 15 bytes; inherited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'static, str>>,
    /// User id by setresuid(2); inherited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_294_u32)))]
    pub uid: Option<u32>,
    /// Group id by setresgid(2), set before the user id; inherited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Keeps each worker to those of its CPUs that are in this NUMA node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Secondary sets: `composed[i]` reports as `group_idx` i + 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub composed: Vec<WorkSpec>,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            num_workers: 1,
            affinity: AffinityIntent::Inherit,
            work_type: WorkType::SpinWait,
            sched_policy: SchedPolicy::Normal,
            mem_policy: MemPolicy::Default,
            mpol_flags: MpolFlags::NONE,
            nice: None,
            clone_mode: CloneMode::Fork,
            comm: None,
            uid: None,
            gid: None,
            numa_node: None,
            composed: Vec::new(),
        }
    }
}

/// One set of workers that are alike.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WorkSpec {
    /// What each worker does.
    pub work_type: WorkType,
    /// Workers of this set; must be given in `composed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub num_workers: Option<usize>,
    /// Workers as a percentage of the CPUs that the set may use, rounded up to whole groups: 100
    /// is a worker a CPU. In scenarios, instead of `num_workers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000)))]
    pub workers_pct: Option<f64>,
    /// Where each worker may run.
    pub affinity: AffinityIntent,
    /// The policy each worker runs under.
    pub sched_policy: SchedPolicy,
    /// Where the memory comes from that each worker allocates.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_policy: MemPolicy,
    /// Flags of `mem_policy`.
    #[serde(skip_serializing_if = "MpolFlags::is_empty")]
    pub mpol_flags: MpolFlags,
    /// Nice level, -20 to 19; inherited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -20, max = 19)))]
    pub nice: Option<i32>,
    /// `task->comm`, at most 15 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'static, str>>,
    /// Name of a forked process whose threads the workers are, with those of every other set of
    /// the same name; at most 15 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcomm: Option<Cow<'static, str>>,
    /// User id by setresuid(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_294_u32)))]
    pub uid: Option<u32>,
    /// Group id by setresgid(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_294_u32)))]
    pub gid: Option<u32>,
    /// Keeps each worker to those of its CPUs that are in this NUMA node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
}

fn is_default<T: PartialEq + Default>(value: &T) -> bool {
    *value == T::default()
}

impl WorkloadConfig {
    /// Everything that can be refused without running: counts, groups, parameters, names.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_in_scenario()?;
        for (group_idx, spec) in self.specs().iter().enumerate() {
            spec.validate_plain().map_err(|e| e.below(&place_of_set(group_idx)))?;
        }
        Ok(())
    }

    /// As [`Self::validate`], for a scenario, whose plan will know the machine.
    pub(crate) fn validate_in_scenario(&self) -> Result<(), ConfigError> {
        for (group_idx, spec) in self.specs().into_iter().enumerate() {
            let place = place_of_set(group_idx);
            // How many a percentage makes is for the plan to say: whole groups.
            let group = || spec.work_type.worker_group_size().unwrap_or(1);
            let num_workers = spec.num_workers.or_else(|| spec.workers_pct.map(|_| group()));
            let spec = WorkSpec { num_workers, workers_pct: None, ..spec };
            spec.validate(group_idx, self.clone_mode).map_err(|e| e.below(&place))?;
        }
        check_containers(&self.specs(), place_of_set)
    }

    /// The primary set and the composed ones, in `group_idx` order.
    pub fn specs(&self) -> Vec<WorkSpec> {
        let primary = WorkSpec {
            work_type: self.work_type.clone(),
            num_workers: Some(self.num_workers),
            workers_pct: None,
            affinity: self.affinity.clone(),
            sched_policy: self.sched_policy.clone(),
            mem_policy: self.mem_policy.clone(),
            mpol_flags: self.mpol_flags,
            nice: self.nice,
            comm: self.comm.clone(),
            pcomm: None,
            uid: self.uid,
            gid: self.gid,
            numa_node: self.numa_node,
        };
        std::iter::once(primary).chain(self.composed.iter().cloned()).collect()
    }

    /// How many workers run, and so how many reports come back.
    pub fn total_workers(&self) -> usize {
        self.specs().iter().filter_map(|spec| spec.num_workers).sum()
    }
}

impl WorkSpec {
    /// The same set with its workers as threads of one forked process called `name`.
    #[must_use]
    pub fn pcomm(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.pcomm = Some(name.into());
        self
    }

    /// How many workers in a cgroup or step, where one is enough said by nothing; `None` where a
    /// percentage says it.
    pub(crate) fn num_or_one(&self) -> Option<usize> {
        self.num_workers.or_else(|| self.workers_pct.is_none().then_some(1))
    }

    /// What needs the machine that a scenario's plan knows is refused.
    fn validate_plain(&self) -> Result<(), ConfigError> {
        if self.workers_pct.is_some() {
            return Err(ConfigError::new("workers_pct", "needs a scenario; give num_workers"));
        }
        self.affinity.validate_plain().map_err(|why| ConfigError::new("affinity", why))
    }

    /// All but what needs a machine.
    pub(crate) fn validate(
        &self,
        group_idx: usize,
        clone_mode: CloneMode,
    ) -> Result<(), ConfigError> {
        let refuse = |field: &str, why: String| Err(ConfigError::new(field, why));
        let Some(num_workers) = self.num_workers else {
            return refuse("num_workers", "must be given for a composed set".into());
        };
        if num_workers == 0 || num_workers > MAX_WORKERS {
            return refuse("num_workers", format!("is {num_workers}; 1 to {MAX_WORKERS} can run"));
        }
        self.work_type.validate(group_idx, num_workers)?;
        self.affinity.validate().map_err(|why| ConfigError::new("affinity", why))?;
        self.sched_policy.validate(group_idx)?;
        check_nice(self.nice)?;
        check_ids(self.uid, self.gid)?;
        for (field, name) in [("comm", &self.comm), ("pcomm", &self.pcomm)] {
            if let Some(name) = name.as_deref().filter(|name| !is_comm(name)) {
                let why = format!("`{name:?}` must be 1 to {COMM_BYTES} bytes without NUL");
                return refuse(field, why);
            }
        }
        match (&self.pcomm, clone_mode) {
            (Some(_), _) => self.refuse_threads("pcomm", "makes them threads of one process")?,
            (None, CloneMode::Thread) => self.refuse_threads("clone_mode", "is Thread")?,
            (None, CloneMode::Fork) => {}
        }
        self.mem_policy
            .validate(self.mpol_flags)
            .map_err(|(field, why)| ConfigError::new(field, why))
    }

    /// Refuses a type that must be a process of its own.
    fn refuse_threads(&self, field: &str, asks: &str) -> Result<(), ConfigError> {
        let name = self.work_type.name();
        match self.work_type.work().needs().own_process {
            None => Ok(()),
            Some(why) => Err(ConfigError::new(
                field,
                format!("{asks}, but a {name} worker must be a process of its own: {why}"),
            )),
        }
    }
}

/// The path of a set within a [`WorkloadConfig`].
pub(crate) fn place_of_set(group_idx: usize) -> String {
    match group_idx {
        0 => String::new(),
        composed => format!("composed[{}].", composed - 1),
    }
}

/// Refuses a nice level that the kernel would cut to one that it knows.
pub(crate) fn check_nice(nice: Option<i32>) -> Result<(), ConfigError> {
    match nice.filter(|nice| !(-20..=19).contains(nice)) {
        Some(nice) => {
            Err(ConfigError::new("nice", format!("is {nice}; the kernel knows -20 to 19")))
        }
        None => Ok(()),
    }
}

/// Refuses the id that is no id: setresuid(2) and setresgid(2) take it for "leave it as it is".
pub(crate) fn check_ids(uid: Option<u32>, gid: Option<u32>) -> Result<(), ConfigError> {
    for (field, id) in [("uid", uid), ("gid", gid)] {
        if id == Some(NO_ID) {
            let why = format!(
                "is {NO_ID}, which the kernel takes for -1 and leaves the id as it is; the highest \
                 id is {}",
                NO_ID - 1
            );
            return Err(ConfigError::new(field, why));
        }
    }
    Ok(())
}

/// Sets that share a process share its ids. `place` is the path of each set.
pub(crate) fn check_containers(
    specs: &[WorkSpec],
    place: impl Fn(usize) -> String,
) -> Result<(), ConfigError> {
    for (at, spec) in specs.iter().enumerate() {
        let same = |other: &&WorkSpec| other.pcomm.is_some() && other.pcomm == spec.pcomm;
        if let Some(first) = specs.iter().find(same)
            && (first.uid, first.gid) != (spec.uid, spec.gid)
        {
            let name = spec.pcomm.as_deref().unwrap_or_default();
            let why = format!("`{name}` is one process; give its sets the same uid and gid");
            return Err(ConfigError::new(format!("{}pcomm", place(at)), why));
        }
    }
    Ok(())
}

fn is_comm(name: &str) -> bool {
    (1..=COMM_BYTES).contains(&name.len()) && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn refusal(config: &WorkloadConfig) -> String {
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_one_valid_spinner() {
        let config = WorkloadConfig::default();
        config.validate().unwrap();
        assert_eq!(config.total_workers(), 1);
    }

    #[test]
    fn a_group_that_does_not_divide_is_refused_with_its_place() {
        let odd = WorkSpec {
            work_type: WorkType::pipe_io(0),
            num_workers: Some(3),
            ..WorkSpec::default()
        };
        let config = WorkloadConfig { composed: vec![odd], ..WorkloadConfig::default() };
        let text = refusal(&config);
        assert!(text.starts_with("composed[0].num_workers"), "{text}");
        assert!(text.contains("PipeIo") && text.contains('2') && text.contains('3'), "{text}");
    }

    #[test]
    fn a_composed_set_must_say_how_many() {
        let config =
            WorkloadConfig { composed: vec![WorkSpec::default()], ..WorkloadConfig::default() };
        assert!(refusal(&config).starts_with("composed[0].num_workers must be given"));
    }

    #[test]
    fn zero_durations_and_bad_nice_are_named() {
        let config = WorkloadConfig {
            work_type: WorkType::bursty(Duration::ZERO, Duration::from_millis(1)),
            ..WorkloadConfig::default()
        };
        assert!(refusal(&config).contains("burst_duration"));
        let config = WorkloadConfig { nice: Some(20), ..WorkloadConfig::default() };
        assert!(refusal(&config).starts_with("nice is 20"));
    }

    #[test]
    fn threads_of_a_type_that_must_be_a_process_are_refused_with_the_reason() {
        let threads = |work_type| WorkloadConfig {
            clone_mode: CloneMode::Thread,
            work_type,
            ..WorkloadConfig::default()
        };
        threads(WorkType::SpinWait).validate().unwrap();
        let text = refusal(&threads(WorkType::ForkExit));
        assert!(text.starts_with("clone_mode is Thread") && text.contains("ForkExit"), "{text}");
        let churn = WorkSpec {
            work_type: WorkType::cgroup_churn(2, 1),
            num_workers: Some(1),
            ..WorkSpec::default()
        };
        let composed = vec![churn.pcomm("java")];
        let text = refusal(&WorkloadConfig { composed, ..WorkloadConfig::default() });
        assert!(text.starts_with("composed[0].pcomm") && text.contains("CgroupChurn"), "{text}");
    }

    #[test]
    fn sets_of_one_process_have_one_user() {
        let set = |uid| WorkSpec { num_workers: Some(1), uid, ..WorkSpec::default() }.pcomm("java");
        let config = |composed| WorkloadConfig { composed, ..WorkloadConfig::default() };
        config(vec![set(Some(1)), set(Some(1))]).validate().unwrap();
        let text = refusal(&config(vec![set(Some(1)), set(None)]));
        assert!(text.starts_with("composed[1].pcomm `java`"), "{text}");
    }

    #[test]
    fn what_needs_a_topology_is_for_scenarios_only() {
        let single = WorkSpec {
            num_workers: Some(1),
            affinity: AffinityIntent::SingleCpu,
            ..WorkSpec::default()
        };
        let config = WorkloadConfig { composed: vec![single], ..WorkloadConfig::default() };
        assert!(refusal(&config).starts_with("composed[0].affinity SingleCpu needs"));
        config.validate_in_scenario().unwrap();
    }

    #[test]
    fn a_comm_the_kernel_would_cut_is_refused() {
        let config = WorkloadConfig { comm: Some("x".repeat(16).into()), ..Default::default() };
        assert!(refusal(&config).starts_with("comm"));
    }
}
