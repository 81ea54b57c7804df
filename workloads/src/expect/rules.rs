//! Every kind of check that is a bound on readings, as a table. Called by `judge`.

use super::check::{Check, Limit, Reading, float};
use super::demand::Expect;
use super::grain::{Grain, off_the_mean};
use super::part::Part;
use super::{basic, grain, latency, place, quota, sets, siblings, weight};
use crate::clock::to_ns;

/// Why nothing is known of a step that never was.
const NOT_REACHED: &str = "the run did not come so far";

/// One kind of check on a run or a step: a bound, and readings of which the worst decides.
struct Rule {
    name: &'static str,
    unit: &'static str,
    /// What is measured.
    detail: &'static str,
    limit: Limit,
    grain: Grain,
    /// The bound, if this is expected and there is something that could break it.
    bound: fn(&Expect, &Part<'_>) -> Option<f64>,
    readings: fn(&Part<'_>, f64) -> Vec<Reading>,
    /// Why there may be no reading.
    none: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "progress",
        unit: "iterations",
        detail: "fewest iterations of a worker",
        limit: Limit::AtLeast,
        grain: Grain::Turn,
        bound: |e, part| (e.progress && part.has_free_workers()).then_some(1.0),
        readings: basic::iterations,
        none: "no worker was running",
    },
    Rule {
        name: "stalled",
        unit: "iterations",
        detail: "most iterations of a worker that should stand still",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |_, part| (!part.stalled.is_empty()).then_some(0.0),
        readings: basic::stalled,
        none: "no worker was there",
    },
    Rule {
        name: "isolation",
        unit: "CPUs",
        detail: "most CPUs of a worker that its cgroup did not have",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |e, part| (e.isolation && part.has_cpusets()).then_some(0.0),
        readings: place::foreign_cpus,
        none: "no worker was running",
    },
    Rule {
        name: "max_gap",
        unit: "ns",
        detail: "longest gap of a worker that was not blocked",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |e, _| Some(float(to_ns(e.max_gap?))),
        readings: latency::gaps,
        none: "no worker was running",
    },
    Rule {
        name: "fairness_min",
        unit: "index",
        detail: "Jain's index of CPU time in the least fair set",
        limit: Limit::AtLeast,
        grain: Grain::Deviation(off_the_mean),
        bound: |e, _| e.fairness_min,
        readings: sets::fairness,
        none: "no set has two workers",
    },
    Rule {
        name: "fairness_spread_max",
        unit: "of the mean",
        detail: "(most - least) / mean of CPU time in the least fair set",
        limit: Limit::AtMost,
        grain: Grain::Deviation(|spread| spread),
        bound: |e, _| e.fairness_spread_max,
        readings: sets::spread,
        none: "no set has two workers",
    },
    Rule {
        name: "weighted_fairness_min",
        unit: "index",
        detail: "Jain's index of CPU time by what weights entitle to, all workers",
        limit: Limit::AtLeast,
        grain: Grain::Deviation(off_the_mean),
        bound: |e, _| e.weighted_fairness_min,
        readings: weight::fairness,
        none: "no worker was running",
    },
    Rule {
        name: "throughput_min",
        unit: "iterations/s",
        detail: "fewest iterations per second of a worker",
        limit: Limit::AtLeast,
        grain: Grain::Turn,
        bound: |e, _| e.throughput_min,
        readings: sets::throughput,
        none: "no worker was running",
    },
    Rule {
        name: "throughput_cv_max",
        unit: "of the mean",
        detail: "deviation of work units per CPU second in the set where it is largest",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |e, _| e.throughput_cv_max,
        readings: sets::variation,
        none: "no set has two workers",
    },
    Rule {
        name: "migrations_max",
        unit: "moves",
        detail: "most moves of a worker between CPUs",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |e, _| e.migrations_max.map(float),
        readings: sets::migrations,
        none: "no worker was running",
    },
    Rule {
        name: "run_delay_max",
        unit: "of wall time",
        detail: "longest wait of a worker for a CPU, in all",
        limit: Limit::AtMost,
        grain: Grain::Deviation(|delay| delay),
        bound: |e, _| e.run_delay_max,
        readings: sets::run_delay,
        none: "no worker was running",
    },
    Rule {
        name: "quota_tolerance",
        unit: "of the quota",
        detail: "CPU time beyond or short of a quota, one period and the burst left out",
        limit: Limit::AtMost,
        grain: Grain::None,
        bound: |e, _| e.quota_tolerance,
        readings: quota::deviations,
        none: "no running cgroup has a quota",
    },
    Rule {
        name: "weight_tolerance",
        unit: "of the share",
        detail: "deviation of a cgroup's share among its siblings from that of its weight",
        limit: Limit::AtMost,
        grain: Grain::Deviation(|off| off),
        bound: |e, _| e.weight_tolerance,
        readings: siblings::deviations,
        none: "no two cgroups with one parent had workers",
    },
    Rule {
        name: "numa_locality_min",
        unit: "of all pages",
        detail: "least part of a worker's pages that are on its nodes",
        limit: Limit::AtLeast,
        grain: Grain::None,
        bound: |e, _| e.numa_locality_min,
        readings: place::numa_locality,
        none: "no worker was running",
    },
];

/// Every check on one part that `expect` asks for.
pub(super) fn of_part(expect: &Expect, part: &Part<'_>) -> Vec<Check> {
    let reached = !part.windows.is_empty();
    let by_rule = |rule: &Rule| {
        let bound = (rule.bound)(expect, part)?;
        let check = Check::new(rule.name, rule.unit, rule.detail);
        let none = if reached { rule.none } else { NOT_REACHED };
        let check = check.by_worst(rule.limit, bound, (rule.readings)(part, bound), none);
        Some(grain::judge(check, rule.grain, part))
    };
    let checks = RULES.iter().filter_map(by_rule).chain(latency::judge(expect, part));
    match part.windows.iter().find_map(|window| window.cut.as_deref()) {
        None => checks.collect(),
        Some(why) => checks.map(|check| check.inconclusive(why)).collect(),
    }
}
