//! What the kernel counted for a cgroup, and what holds for it, for reports.

use super::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const NS_PER_US: u64 = 1000;

/// What a cgroup has used since it was made, and what its control files say. What could not be
/// read is absent, and `unavailable` says why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CgroupUsage {
    /// CPU time of all tasks that are or were in it and below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage_ns: Option<u64>,
    /// Periods of `cpu.max` in which tasks were runnable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nr_periods: Option<u64>,
    /// Periods in which they used up the quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nr_throttled: Option<u64>,
    /// How long they were kept off the CPUs for that, summed over CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttled_ns: Option<u64>,
    /// `cpu.max` as the kernel prints it: quota and period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_max: Option<String>,
    /// `cpu.weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_weight: Option<u64>,
    /// `cpuset.cpus.effective`, as `0-3,8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus_effective: Option<String>,
    /// Fields that could not be read, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unavailable: BTreeMap<String, String>,
}

/// Reads the usage of the cgroup at `dir`.
pub(super) fn of(dir: &Path) -> CgroupUsage {
    let mut reader = Reader { dir, unavailable: BTreeMap::new() };
    let stat = files::read(&dir.join("cpu.stat")).map_err(|error| error.to_string());
    let mut counted = |field, key| reader.keep(field, counter(&stat, key));
    let usage_us = counted("usage_ns", "usage_usec");
    let nr_periods = counted("nr_periods", "nr_periods");
    let nr_throttled = counted("nr_throttled", "nr_throttled");
    let throttled_us = counted("throttled_ns", "throttled_usec");
    CgroupUsage {
        usage_ns: usage_us.map(|us| us * NS_PER_US),
        nr_periods,
        nr_throttled,
        throttled_ns: throttled_us.map(|us| us * NS_PER_US),
        cpu_max: reader.text("cpu_max", "cpu.max"),
        cpu_weight: reader.number("cpu_weight", "cpu.weight"),
        cpus_effective: reader.text("cpus_effective", "cpuset.cpus.effective"),
        unavailable: reader.unavailable,
    }
}

/// Reads what is there and keeps the reasons for the rest.
struct Reader<'a> {
    dir: &'a Path,
    unavailable: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn text(&mut self, field: &str, file: &str) -> Option<String> {
        let text = files::read(&self.dir.join(file)).map_err(|error| error.to_string());
        self.keep(field, text.map(|text| text.trim_end().to_owned()))
    }

    fn number(&mut self, field: &str, file: &str) -> Option<u64> {
        let text = self.text(field, file)?;
        self.keep(field, text.parse().map_err(|_| format!("{file} says `{text}`")))
    }

    fn keep<T>(&mut self, field: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|why| self.unavailable.insert(field.into(), why)).ok()
    }
}

fn counter(stat: &Result<String, String>, key: &str) -> Result<u64, String> {
    let value = stat.as_ref().map_err(String::clone)?.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.parse().ok())?
    });
    value.ok_or_else(|| format!("cpu.stat has no {key}: the cpu controller is not enabled here"))
}
