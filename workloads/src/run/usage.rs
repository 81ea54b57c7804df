//! Readings of cgroups, and what was used between two of them. Called by `stage` and `steps`.

use super::record::CgroupUse;
use crate::cgroup::{CgroupUsage, Cgroups};
use crate::clock::monotonic_ns;
use std::collections::BTreeMap;

/// A cgroup at one time.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Tells it from another one that had the path before.
    made: usize,
    at_ns: u64,
    usage: CgroupUsage,
}

pub(super) type Readings = BTreeMap<String, Reading>;

/// Reads the cgroups at `paths`, each with what tells it from others there.
pub(super) fn read_all(cgroups: &Cgroups, paths: &BTreeMap<String, usize>) -> Readings {
    let reading = |(path, made): (&String, &usize)| {
        let (made, at_ns, usage) = (*made, monotonic_ns(), cgroups.usage(path));
        (path.clone(), Reading { made, at_ns, usage })
    };
    paths.iter().map(reading).collect()
}

/// What was used between two readings, by path, of those that were there all the time.
pub(super) fn between(begin: &Readings, end: &Readings) -> BTreeMap<String, CgroupUse> {
    let of = |(path, end): (&String, &Reading)| {
        let begin = begin.get(path).filter(|begin| begin.made == end.made)?;
        Some((path.clone(), begin.until(end)))
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_was_made_anew_has_used_nothing_that_could_be_told() {
        let reading = |made, ns| {
            let usage = CgroupUsage { usage_ns: Some(ns), ..CgroupUsage::default() };
            Readings::from([("a".to_owned(), Reading { made, at_ns: ns, usage })])
        };
        assert_eq!(between(&reading(1, 5), &reading(1, 7))["a"].cpu_time_ns, Some(2));
        assert!(between(&reading(1, 5), &reading(2, 7)).is_empty());
    }
}
