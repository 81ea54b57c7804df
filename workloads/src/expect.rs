//! Expectations and how reports are judged against them: pass, fail, or inconclusive where
//! nothing was measured. Called by the host on the reports of a run.

use crate::histogram::LatencySummary;
use crate::report::{Latency, WorkerReport};
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much the sum of CPU times may exceed what the CPUs had to give: clocks are read apart.
const ACCOUNTING_SLACK: f64 = 1.02;

/// What a scenario demands of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Every worker gets something done.
    pub progress: bool,
    /// Every worker ends its loop by itself, after its iterations if they are given.
    pub completed: bool,
    /// The kernel accepts every policy, affinity and id that the workload asks for.
    pub applied: bool,
    /// Upper bound on the 99th percentile of all wake-up latencies.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub wake_p99: Option<Duration>,
    /// Lower bound on Jain's index of CPU time among the workers of each set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_min: Option<f64>,
    /// Upper bound on the longest gap of any worker.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_gap: Option<Duration>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            progress: true,
            completed: true,
            applied: true,
            wake_p99: None,
            fairness_min: None,
            max_gap: None,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bound holds.
    Pass,
    /// The bound is broken.
    Fail,
    /// There was nothing to compare with the bound.
    Inconclusive,
}

/// One expectation, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the expectation.
    pub name: String,
    /// What was found.
    pub outcome: Outcome,
    /// The value that was compared.
    pub measured: Option<f64>,
    /// What it was compared with.
    pub bound: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// Indices of the workers that broke the bound.
    pub workers: Vec<usize>,
    /// What was compared, or why it could not be.
    pub detail: String,
}

/// Judges `reports` against what `scenario` expects, on a machine with `cpus` CPUs. Without any
/// report there is nothing to judge and no check.
pub fn judge(scenario: &Scenario, reports: &[WorkerReport], cpus: usize) -> Vec<Check> {
    if reports.is_empty() {
        return Vec::new();
    }
    let expect = &scenario.expect;
    let mut checks = vec![cpu_accounting(reports, cpus)];
    checks.extend(expect.progress.then(|| progress(reports)));
    checks.extend(expect.completed.then(|| completed(scenario, reports)));
    checks.extend(expect.applied.then(|| applied(reports)));
    checks.extend(expect.wake_p99.map(|bound| wake_p99(reports, bound)));
    checks.extend(expect.fairness_min.map(|bound| fairness(reports, bound)));
    checks.extend(expect.max_gap.map(|bound| max_gap(reports, bound)));
    checks
}

/// The numbers hold together: no more CPU time was used than there was.
fn cpu_accounting(reports: &[WorkerReport], cpus: usize) -> Check {
    let used_ns: u64 = reports.iter().filter_map(|r| r.cpu_time_ns).sum();
    let wall_ns = reports.iter().map(|r| r.wall_time_ns).max().unwrap_or(0);
    let given_ns = float(wall_ns) * float(cpus as u64);
    let plausible = float(used_ns) <= given_ns * ACCOUNTING_SLACK;
    Check {
        // A broken sum says that the measurement is wrong, not that the scheduler is.
        outcome: if plausible { Outcome::Pass } else { Outcome::Inconclusive },
        measured: Some(float(used_ns)),
        bound: Some(given_ns),
        ..check("cpu_accounting", "ns", "CPU time of all workers, against wall time x CPUs")
    }
}

fn progress(reports: &[WorkerReport]) -> Check {
    // User code may count work only.
    let done = |r: &WorkerReport| if r.iterations == 0 { r.work_units } else { r.iterations };
    let stuck = indices(reports, |r| done(r) == 0);
    Check {
        measured: reports.iter().map(done).min().map(float),
        bound: Some(1.0),
        ..by_workers("progress", "iterations", "fewest iterations of a worker", stuck)
    }
}

fn completed(scenario: &Scenario, reports: &[WorkerReport]) -> Check {
    let short =
        |r: &WorkerReport| !r.served && scenario.iterations.is_some_and(|n| r.iterations < n);
    let incomplete = indices(reports, |r| !r.completed || short(r));
    let why =
        reports.iter().find_map(|r| Some(format!("worker {}: {}", r.index, r.failed.as_ref()?)));
    let detail = why.unwrap_or_else(|| "workers that ended their loop by themselves".into());
    Check {
        measured: Some(float((reports.len() - incomplete.len()) as u64)),
        bound: Some(float(reports.len() as u64)),
        ..by_workers("completed", "workers", &detail, incomplete)
    }
}

fn applied(reports: &[WorkerReport]) -> Check {
    let refused = indices(reports, |r| !r.not_applied.is_empty());
    let reasons = reports.iter().flat_map(|r| &r.not_applied);
    let detail = match reasons.map(|n| format!("{} {}: {}", n.setting, n.wanted, n.error)).next() {
        Some(first) => format!("refused by the kernel: {first}"),
        None => "workers whose settings the kernel refused".into(),
    };
    Check {
        measured: Some(float(refused.len() as u64)),
        bound: Some(0.0),
        ..by_workers("applied", "workers", &detail, refused)
    }
}

fn wake_p99(reports: &[WorkerReport], bound: Duration) -> Check {
    let wakes = |r: &WorkerReport| r.latency.get(&Latency::Wake).map(|wake| wake.p99_ns);
    let all = LatencySummary::merged(reports.iter().filter_map(|r| r.latency.get(&Latency::Wake)));
    let bound_ns = float(crate::clock::to_ns(bound));
    let measured = all.map(|all| float(all.p99_ns));
    let slow = indices(reports, |r| wakes(r).is_some_and(|p99| float(p99) > bound_ns));
    at_most("wake_p99", measured, bound_ns, slow, "99th percentile of wake-up latency, all workers")
}

fn max_gap(reports: &[WorkerReport], bound: Duration) -> Check {
    let bound_ns = float(crate::clock::to_ns(bound));
    let measured = reports.iter().filter_map(|r| r.max_gap_ns).max().map(float);
    let over = indices(reports, |r| r.max_gap_ns.is_some_and(|gap| float(gap) > bound_ns));
    at_most("max_gap", measured, bound_ns, over, "longest gap of a worker that was not blocked")
}

/// The least fair set decides. Sets of one worker have nobody to be fair to.
fn fairness(reports: &[WorkerReport], bound: f64) -> Check {
    let sets = reports.iter().map(|r| r.group_idx).max().map_or(0, |last| last + 1);
    let index_of = |set: usize| {
        let members = reports.iter().filter(|r| r.group_idx == set);
        let times: Vec<f64> = members.filter_map(|r| r.cpu_time_ns).map(float).collect();
        jain(&times)
    };
    let worst =
        (0..sets).filter_map(|set| Some((index_of(set)?, set))).min_by(|a, b| a.0.total_cmp(&b.0));
    let base = check("fairness_min", "index", "Jain's index of CPU time in the least fair set");
    match worst {
        None => Check {
            bound: Some(bound),
            ..inconclusive(base, "no set has two workers with CPU time")
        },
        Some((index, set)) => {
            let unfair =
                if index < bound { indices(reports, |r| r.group_idx == set) } else { Vec::new() };
            Check {
                outcome: if index < bound { Outcome::Fail } else { Outcome::Pass },
                measured: Some(index),
                bound: Some(bound),
                workers: unfair,
                ..base
            }
        }
    }
}

/// (sum x)^2 / (n * sum x^2): 1 is equal shares, 1/n is one taking all (Jain, Chiu, Hawe 1984).
fn jain(shares: &[f64]) -> Option<f64> {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    (shares.len() > 1 && squares > 0.0).then(|| sum * sum / (float(shares.len() as u64) * squares))
}

fn at_most(
    name: &str,
    measured: Option<f64>,
    bound: f64,
    workers: Vec<usize>,
    detail: &str,
) -> Check {
    let base = Check { measured, bound: Some(bound), ..check(name, "ns", detail) };
    match measured {
        None => inconclusive(base, "no samples"),
        Some(value) if value > bound => Check { outcome: Outcome::Fail, workers, ..base },
        Some(_) => base,
    }
}

fn by_workers(name: &str, unit: &str, detail: &str, workers: Vec<usize>) -> Check {
    let outcome = if workers.is_empty() { Outcome::Pass } else { Outcome::Fail };
    Check { outcome, workers, ..check(name, unit, detail) }
}

fn check(name: &str, unit: &str, detail: &str) -> Check {
    Check {
        name: name.into(),
        outcome: Outcome::Pass,
        measured: None,
        bound: None,
        unit: unit.into(),
        workers: Vec::new(),
        detail: detail.into(),
    }
}

fn inconclusive(base: Check, why: &str) -> Check {
    Check { outcome: Outcome::Inconclusive, detail: format!("{}: {why}", base.detail), ..base }
}

fn indices(reports: &[WorkerReport], broke: impl Fn(&WorkerReport) -> bool) -> Vec<usize> {
    reports.iter().filter(|r| broke(r)).map(|r| r.index).collect()
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53 ns, which is 104 days")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(index: usize, cpu_ms: u64) -> WorkerReport {
        WorkerReport {
            index,
            iterations: 1,
            completed: true,
            wall_time_ns: 1_000_000_000,
            cpu_time_ns: Some(cpu_ms * 1_000_000),
            max_gap_ns: Some(3_000_000),
            ..WorkerReport::default()
        }
    }

    fn outcome(expect: Expect, reports: &[WorkerReport], name: &str) -> Check {
        let scenario = Scenario { expect, ..Scenario::default() };
        judge(&scenario, reports, 2).into_iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn a_starved_worker_fails_progress_and_is_named() {
        let reports = [worker(0, 500), WorkerReport { iterations: 0, ..worker(1, 0) }];
        let check = outcome(Expect::default(), &reports, "progress");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
    }

    #[test]
    fn fairness_is_jains_index_of_the_least_fair_set() {
        let expect = Expect { fairness_min: Some(0.9), ..Expect::default() };
        let equal = [worker(0, 500), worker(1, 500)];
        assert_eq!(outcome(expect.clone(), &equal, "fairness_min").outcome, Outcome::Pass);
        let unequal = [worker(0, 900), worker(1, 100)];
        let check = outcome(expect.clone(), &unequal, "fairness_min");
        assert_eq!(check.outcome, Outcome::Fail);
        assert!((check.measured.unwrap() - 1.0 / (2.0 * 0.82)).abs() < 1e-9);
        assert_eq!(outcome(expect, &equal[..1], "fairness_min").outcome, Outcome::Inconclusive);
    }

    #[test]
    fn no_wake_ups_are_inconclusive_not_passed() {
        let expect = Expect { wake_p99: Some(Duration::from_millis(1)), ..Expect::default() };
        assert_eq!(outcome(expect, &[worker(0, 1)], "wake_p99").outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_gap_over_the_bound_fails() {
        let expect = |ms| Expect { max_gap: Some(Duration::from_millis(ms)), ..Expect::default() };
        assert_eq!(outcome(expect(2), &[worker(0, 1)], "max_gap").outcome, Outcome::Fail);
        assert_eq!(outcome(expect(3), &[worker(0, 1)], "max_gap").outcome, Outcome::Pass);
    }

    #[test]
    fn no_reports_are_no_passed_checks() {
        assert_eq!(judge(&Scenario::default(), &[], 2), []);
    }

    #[test]
    fn more_cpu_time_than_the_machine_has_is_not_believed() {
        let reports = [worker(0, 1000), worker(1, 1000), worker(2, 1000)];
        let check = outcome(Expect::default(), &reports, "cpu_accounting");
        assert_eq!(check.outcome, Outcome::Inconclusive);
    }
}
