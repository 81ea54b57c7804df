//! Cgroups of a scenario: names, limits, and the workers that they hold. Read from JSON, judged
//! by `plan`, written to cgroup v2 by `run`.

use super::size::Size;
use crate::config::{ConfigError, CpusetSpec, WorkSpec, check_ids, check_nice};
use crate::human::{HumanTime, OptionalTime};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

/// `min_cfs_quota_period` and `max_cfs_quota_period` of the kernel.
const PERIODS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];
const DEFAULT_PERIOD: Duration = Duration::from_millis(100);
/// CGROUP_WEIGHT_MIN and CGROUP_WEIGHT_MAX, for CPU time and for I/O.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;
/// The weight of a cgroup that nobody gave one: CGROUP_WEIGHT_DFL.
pub(crate) const DEFAULT_WEIGHT: u64 = 100;
/// A worker does not begin in less.
const MIN_MEMORY: Size = Size(1 << 20);
/// PID_MAX_LIMIT: `pids_max_write` refuses more.
const MAX_PIDS: u64 = 4_194_304;
const NAME_BYTES: usize = 64;
const MAX_DEPTH: usize = 16;

/// A cgroup, what it limits, and who is in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CgroupDef {
    /// Path below the root, as `web/front`; parents that are not defined are made plain.
    pub name: String,
    /// `cpuset.cpus`: CPUs of the parent that it may use; none leaves it those of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<CpusetSpec>,
    /// `cpuset.mems`: NUMA nodes that its memory may come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<BTreeSet<usize>>,
    /// CPU time.
    #[serde(skip_serializing_if = "CpuKnobs::is_empty")]
    pub cpu: CpuKnobs,
    /// Memory.
    #[serde(skip_serializing_if = "MemoryKnobs::is_empty")]
    pub memory: MemoryKnobs,
    /// `io.weight`, 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10_000)))]
    pub io_weight: Option<u64>,
    /// `pids.max`: tasks that may be in it and below.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4_194_304)))]
    pub pids_max: Option<u64>,
    /// Whether `--work-type` replaces what its workers do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub swappable: bool,
    /// Nice level of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -20, max = 19)))]
    pub nice: Option<i32>,
    /// `task->comm` of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'static, str>>,
    /// `pcomm` of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcomm: Option<Cow<'static, str>>,
    /// User id of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_294_u32)))]
    pub uid: Option<u32>,
    /// Group id of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_294_u32)))]
    pub gid: Option<u32>,
    /// NUMA node of every set that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Sets of workers; one without a number is one worker. Cgroups with workers have no cgroups
    /// below them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub works: Vec<WorkSpec>,
}

/// What the cpu controller is told. What is absent is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CpuKnobs {
    /// `cpu.weight`, 1 to 10000; the kernel's own is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10_000)))]
    pub weight: Option<u64>,
    /// `cpu.max`: CPU time in each period, on all CPUs together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<CpuMax>,
    /// `cpu.max.burst`: unused quota that may be used later, at most the quota; Linux 5.14.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub burst: Option<Duration>,
    /// `cpu.idle`: runs only when nothing else wants the CPU; not with a weight; Linux 5.15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
}

/// A quota and its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CpuMax {
    /// CPU time in each period, at least 1 ms; `null` is no limit.
    #[serde(with = "OptionalTime")]
    pub quota: Option<Duration>,
    /// 1 ms to 1 s; the kernel's own is 100 ms.
    #[serde(with = "HumanTime", default = "default_period")]
    pub period: Duration,
}

/// What the memory controller is told. What is absent is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct MemoryKnobs {
    /// `memory.max`: beyond it tasks are killed; at least 1M.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Size>,
    /// `memory.high`: beyond it tasks are slowed down; at least 1M.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Size>,
    /// `memory.low`: memory that is not reclaimed while others have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Size>,
}

fn default_period() -> Duration {
    DEFAULT_PERIOD
}

impl CgroupDef {
    /// The sets with the defaults of the group in them.
    pub(crate) fn specs(&self) -> impl Iterator<Item = WorkSpec> + '_ {
        self.works.iter().map(|work| WorkSpec {
            num_workers: work.num_or_one(),
            nice: work.nice.or(self.nice),
            comm: work.comm.clone().or_else(|| self.comm.clone()),
            pcomm: work.pcomm.clone().or_else(|| self.pcomm.clone()),
            uid: work.uid.or(self.uid),
            gid: work.gid.or(self.gid),
            numa_node: work.numa_node.or(self.numa_node),
            ..work.clone()
        })
    }

    /// What can be refused without a machine; workers are looked at by the plan.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_name(&self.name).map_err(|why| ConfigError::new("name", why))?;
        if let Some(cpuset) = &self.cpuset {
            cpuset.validate().map_err(|why| ConfigError::new("cpuset", why))?;
        }
        if self.mems.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(ConfigError::new("mems", "names no node"));
        }
        self.cpu.validate().map_err(|e| e.below("cpu."))?;
        self.memory.validate().map_err(|e| e.below("memory."))?;
        check_weight("io_weight", self.io_weight)?;
        check_nice(self.nice)?;
        check_ids(self.uid, self.gid)?;
        self.check_defaults()?;
        match self.pids_max {
            Some(0) => Err(ConfigError::new("pids_max", "is zero; no task could be in it")),
            Some(max) if max > MAX_PIDS => {
                let why = format!("is {max}; the kernel knows 1 to {MAX_PIDS}");
                Err(ConfigError::new("pids_max", why))
            }
            _ => Ok(()),
        }
    }
}

impl CgroupDef {
    /// A default that no set takes would do nothing.
    fn check_defaults(&self) -> Result<(), ConfigError> {
        let none = |has: fn(&WorkSpec) -> bool| self.works.iter().all(has);
        let defaults = [
            ("nice", self.nice.is_some(), none(|work| work.nice.is_some())),
            ("comm", self.comm.is_some(), none(|work| work.comm.is_some())),
            ("pcomm", self.pcomm.is_some(), none(|work| work.pcomm.is_some())),
            ("uid", self.uid.is_some(), none(|work| work.uid.is_some())),
            ("gid", self.gid.is_some(), none(|work| work.gid.is_some())),
            ("numa_node", self.numa_node.is_some(), none(|work| work.numa_node.is_some())),
        ];
        match defaults
            .into_iter()
            .find(|(_, is_given, is_taken_by_none)| *is_given && *is_taken_by_none)
        {
            Some((field, ..)) => {
                Err(ConfigError::new(field, "does nothing: each set in `works` has its own"))
            }
            None => Ok(()),
        }
    }
}

impl CpuKnobs {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_weight("weight", self.weight)?;
        if self.idle == Some(true) && self.weight.is_some() {
            return Err(ConfigError::new(
                "idle",
                "takes the weight's place; leave one of them out",
            ));
        }
        if let Some(CpuMax { quota, period }) = self.max {
            if !(PERIODS[0]..=PERIODS[1]).contains(&period) {
                return Err(ConfigError::new(
                    "max.period",
                    format!("is {period:?}; the kernel takes 1 ms to 1 s"),
                ));
            }
            if let Some(quota) = quota.filter(|quota| *quota < PERIODS[0]) {
                let why = format!("is {quota:?}; the kernel takes 1 ms or more, null for no limit");
                return Err(ConfigError::new("max.quota", why));
            }
        }
        let quota = self.max.and_then(|max| max.quota);
        match (self.burst, quota) {
            (Some(burst), Some(quota)) if burst > quota => {
                Err(ConfigError::new("burst", format!("is {burst:?}, more than the quota")))
            }
            (Some(_), None) => Err(ConfigError::new("burst", "has no meaning without a quota")),
            _ => Ok(()),
        }
    }

    /// Control files with their values, in the order in which the kernel takes them.
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let max = self.max.map(|CpuMax { quota, period }| {
            let quota = quota.map_or_else(|| "max".into(), |quota| quota.as_micros().to_string());
            ("cpu.max", format!("{quota} {}", period.as_micros()))
        });
        let idle = self.idle.map(|idle| ("cpu.idle", u8::from(idle).to_string()));
        let weight = self.weight.map(|weight| ("cpu.weight", weight.to_string()));
        let burst = self.burst.map(|burst| ("cpu.max.burst", burst.as_micros().to_string()));
        // A weight is refused while the group is idle, a burst above the quota.
        [idle, weight, max, burst].into_iter().flatten().collect()
    }

    /// What holds after `change` was written over it.
    pub(crate) fn changed_by(&self, change: &Self) -> Self {
        let kept = self.weight.filter(|_| change.idle != Some(true));
        Self {
            // Whoever is given a weight is not idle any more, and the other way round.
            weight: change.weight.or(kept),
            idle: change.idle.or(self.idle),
            max: change.max.or(self.max),
            burst: change.burst.or(self.burst),
        }
    }
}

impl MemoryKnobs {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (field, size) in [("max", self.max), ("high", self.high)] {
            if let Some(size) = size.filter(|size| *size < MIN_MEMORY) {
                let why = format!("is {size}; a worker does not begin in less than {MIN_MEMORY}");
                return Err(ConfigError::new(field, why));
            }
        }
        Ok(())
    }

    /// Control files with their values.
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let files =
            [("memory.low", self.low), ("memory.high", self.high), ("memory.max", self.max)];
        let given = files.into_iter().filter_map(|(file, size)| Some((file, size?.0.to_string())));
        given.collect()
    }
}

fn check_weight(field: &str, weight: Option<u64>) -> Result<(), ConfigError> {
    match weight.filter(|weight| !WEIGHTS.contains(weight)) {
        Some(weight) => {
            Err(ConfigError::new(field, format!("is {weight}; the kernel knows 1 to 10000")))
        }
        None => Ok(()),
    }
}

/// Parts are plain words, so that none is taken for a control file or leads out of the tree.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let parts = || name.split('/');
    match () {
        () if name.is_empty() => Err("must be given".into()),
        () if parts().any(|part| part.is_empty() || part.len() > NAME_BYTES) => {
            Err(format!("`{name}` must be parts of 1 to {NAME_BYTES} bytes between slashes"))
        }
        () if !parts().all(|part| part.chars().all(plain)) => {
            Err(format!("`{name}` may have letters, digits, `-` and `_` between slashes"))
        }
        () if parts().count() > MAX_DEPTH => {
            Err(format!("`{name}` is nested deeper than {MAX_DEPTH}"))
        }
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<CgroupDef>(json).unwrap().validate().unwrap_err().to_string()
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["", "/a", "a/", "a//b", "..", "a/../b", "cpu.max", "a b"] {
            let def = CgroupDef { name: name.into(), ..CgroupDef::default() };
            assert!(def.validate().unwrap_err().to_string().starts_with("name "), "{name}");
        }
        let def = CgroupDef { name: "web/front-1".into(), ..CgroupDef::default() };
        def.validate().unwrap();
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_here() {
        for (json, path) in [
            (r#"{"name":"a","cpu":{"weight":0}}"#, "cpu.weight is 0"),
            (r#"{"name":"a","cpu":{"weight":1,"idle":true}}"#, "cpu.idle"),
            (r#"{"name":"a","cpu":{"max":{"quota":"1us"}}}"#, "cpu.max.quota"),
            (r#"{"name":"a","cpu":{"max":{"quota":"5ms","period":"2s"}}}"#, "cpu.max.period"),
            (r#"{"name":"a","cpu":{"max":{"quota":"5ms"},"burst":"6ms"}}"#, "cpu.burst"),
            (r#"{"name":"a","cpu":{"burst":"6ms"}}"#, "cpu.burst"),
            (r#"{"name":"a","memory":{"max":"4K"}}"#, "memory.max"),
            (r#"{"name":"a","io_weight":10001}"#, "io_weight"),
            (r#"{"name":"a","pids_max":0}"#, "pids_max"),
            (r#"{"name":"a","pids_max":4194305}"#, "pids_max is 4194305"),
            (r#"{"name":"a","nice":20}"#, "nice is 20"),
            (r#"{"name":"a","uid":4294967295}"#, "uid is 4294967295"),
            (r#"{"name":"a","gid":4294967295}"#, "gid is 4294967295"),
            (r#"{"name":"a","mems":[]}"#, "mems"),
            (r#"{"name":"a","nice":1}"#, "nice does nothing"),
            (r#"{"name":"a","uid":1,"works":[{"uid":2}]}"#, "uid does nothing"),
        ] {
            let text = refusal(json);
            assert!(text.starts_with(path), "{json}: {text}");
        }
    }

    #[test]
    fn knobs_are_written_as_the_kernel_reads_them() {
        let json = r#"{"weight":200,"max":{"quota":"50ms"},"burst":"10ms"}"#;
        let knobs: CpuKnobs = serde_json::from_str(json).unwrap();
        let files: Vec<_> = knobs.files().into_iter().map(|(f, v)| format!("{f}={v}")).collect();
        assert_eq!(files, ["cpu.weight=200", "cpu.max=50000 100000", "cpu.max.burst=10000"]);
        let unlimited: CpuKnobs = serde_json::from_str(r#"{"max":{"quota":null}}"#).unwrap();
        assert_eq!(unlimited.files()[0].1, "max 100000");
    }

    #[test]
    fn sets_take_the_groups_defaults() {
        let json = r#"{"name":"a","nice":5,"comm":"web","works":[{"nice":1},{"num_workers":3}]}"#;
        let def: CgroupDef = serde_json::from_str(json).unwrap();
        let specs: Vec<_> = def.specs().collect();
        assert_eq!((specs[0].nice, specs[0].num_workers), (Some(1), Some(1)));
        assert_eq!((specs[1].nice, specs[1].num_workers), (Some(5), Some(3)));
        assert_eq!(specs[1].comm.as_deref(), Some("web"));
    }
}
