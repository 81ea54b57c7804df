//! Readings of cgroups, and what was used between two of them. Called by `stage` and `steps`.

use super::record::CgroupUse;
use crate::cgroup::{CgroupUsage, Cgroups};
use crate::clock::monotonic_ns;
use std::collections::{BTreeMap, BTreeSet};

/// A cgroup at one time.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    at_ns: u64,
    usage: CgroupUsage,
}

pub(super) type Readings = BTreeMap<String, Reading>;

pub(super) fn read_all(cgroups: &Cgroups, paths: &BTreeSet<String>) -> Readings {
    let reading = |path: &String| Reading { at_ns: monotonic_ns(), usage: cgroups.usage(path) };
    paths.iter().map(|path| (path.clone(), reading(path))).collect()
}

/// What was used between two readings, by path, of those that were there at both.
pub(super) fn between(begin: &Readings, end: &Readings) -> BTreeMap<String, CgroupUse> {
    let of = |(path, end): (&String, &Reading)| Some((path.clone(), begin.get(path)?.until(end)));
    end.iter().filter_map(of).collect()
}

impl Reading {
    fn until(&self, end: &Self) -> CgroupUse {
        let between = |field: fn(&CgroupUsage) -> Option<u64>| {
            Some(field(&end.usage)?.saturating_sub(field(&self.usage)?))
        };
        let CgroupUsage { cpu_max, cpu_weight, cpus_effective, unavailable, .. } =
            end.usage.clone();
        CgroupUse {
            wall_time_ns: end.at_ns.saturating_sub(self.at_ns),
            cpu_time_ns: between(|usage| usage.usage_ns),
            periods: between(|usage| usage.nr_periods),
            throttled_periods: between(|usage| usage.nr_throttled),
            throttled_ns: between(|usage| usage.throttled_ns),
            cpu_max,
            cpu_weight,
            cpus_effective,
            unavailable,
        }
    }
}
