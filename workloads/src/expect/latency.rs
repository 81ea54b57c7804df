//! Latencies by their merged histograms, and gaps. Called by `judge`.

use super::check::{Check, Outcome, Reading, float};
use super::demand::Expect;
use super::part::{Account, Part};
use crate::clock::to_ns;
use crate::histogram::LatencySummary;
use crate::report::Latency;
use std::time::Duration;

type Percentile = fn(&LatencySummary) -> u64;

const PERCENTILES: [(&str, &str, Percentile); 5] = [
    ("p50", "median", |all| all.p50_ns),
    ("p90", "90th percentile", |all| all.p90_ns),
    ("p99", "99th percentile", |all| all.p99_ns),
    ("p999", "99.9th percentile", |all| all.p999_ns),
    ("max", "longest", |all| all.max_ns),
];

/// A check for each bound on latencies.
pub(super) fn judge(expect: &Expect, part: &Part<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(bound) = expect.wake_p99 {
        checks.push(Check { name: "wake_p99".into(), ..of(part, Latency::Wake, "p99", bound) });
    }
    for (kind, bounds) in &expect.latency {
        let given = bounds.all().into_iter().filter_map(|(name, bound)| Some((name, bound?)));
        checks.extend(given.map(|(name, bound)| of(part, *kind, name, bound)));
    }
    checks
}

/// All samples together decide; those are named whose own samples exceed the bound.
fn of(part: &Part<'_>, kind: Latency, percentile: &str, bound: Duration) -> Check {
    let known = PERCENTILES.iter().find(|(name, ..)| *name == percentile);
    let Some((name, words, read)) = known else {
        unreachable!("{percentile} is bounded and not measured")
    };
    let bound_ns = to_ns(bound);
    let own = |worker: &&Account<'_>| worker.latency.get(&kind).is_some_and(|l| read(l) > bound_ns);
    let all = LatencySummary::merged(part.workers.iter().filter_map(|w| w.latency.get(&kind)));
    let kind = kind.name();
    let check = Check {
        measured: all.as_ref().map(|all| float(read(all))),
        bound: Some(float(bound_ns)),
        ..Check::new(
            &format!("latency.{kind}.{name}"),
            "ns",
            &format!("{words} of {kind} latency, all workers"),
        )
    };
    match all {
        None => check.inconclusive("no samples"),
        Some(all) if read(&all) > bound_ns => Check {
            outcome: Outcome::Fail,
            workers: part.workers.iter().filter(own).map(Account::index).collect(),
            ..check
        },
        Some(_) => check,
    }
}

/// The longest gap of each worker while it was not frozen.
pub(super) fn gaps(part: &Part<'_>, _: f64) -> Vec<Reading> {
    let free = part.workers.iter().filter(|worker| !part.stands(worker.crew));
    free.filter_map(|worker| {
        let value = match part.windows.iter().any(|window| window.freezes(worker.crew)) {
            false => worker.known("max_gap_ns", worker.max_gap_ns),
            true => unfrozen_gap(part, worker)?,
        };
        Some(Reading::of_worker(worker.index(), value))
    })
    .collect()
}

/// The longest gap in steps in which the worker is not frozen, if there are any.
fn unfrozen_gap(part: &Part<'_>, worker: &Account<'_>) -> Option<Result<f64, String>> {
    let windows = part.windows.iter().filter(|window| !window.freezes(worker.crew));
    let accounts = windows.flat_map(|window| &window.workers);
    let own = accounts.filter(|account| account.index() == worker.index());
    let gaps = own.map(|account| account.known("max_gap_ns", account.max_gap_ns));
    gaps.reduce(|longest, gap| Ok(longest?.max(gap?)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, MS};
    use super::*;
    use crate::histogram::Samples;
    use crate::report::WorkerReport;

    fn took(report: &mut WorkerReport, kind: Latency, times_ns: impl IntoIterator<Item = u64>) {
        let mut samples = Samples::new();
        times_ns.into_iter().for_each(|ns| samples.record(ns));
        report.latency.insert(kind, samples.summary().unwrap());
    }

    /// Two workers with 99 samples of 1 ms each; the second has one of 9 ms too.
    fn case(expect: &str) -> Case {
        let json = format!(r#"{{"workload":{{"num_workers":2}},"expect":{expect}}}"#);
        let quick = || std::iter::repeat_n(MS, 99);
        Case::new(&json)
            .with(0, |r| took(r, Latency::Timer, quick()))
            .with(1, |r| took(r, Latency::Timer, quick().chain([9 * MS])))
    }

    #[test]
    fn percentiles_are_those_of_all_samples_together() {
        let expect = r#"{"latency":{"timer":{"p50":"2ms","p99":"2ms","p999":"2ms","max":"9ms"}}}"#;
        let outcome = |name: &str| case(expect).outcome(&format!("latency.timer.{name}"));
        assert_eq!(outcome("p50"), Outcome::Pass);
        // 1 of 199 is slow.
        assert_eq!(outcome("p99"), Outcome::Pass);
        assert_eq!(outcome("max"), Outcome::Pass);
        let check = case(expect).check("latency.timer.p999");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
        assert_eq!((check.measured, check.bound), (Some(9e6), Some(2e6)));
    }

    #[test]
    fn no_samples_are_inconclusive_not_passed() {
        let case = case(r#"{"wake_p99":"1ms","latency":{"io":{"p50":"1s"}}}"#);
        assert_eq!(case.outcome("wake_p99"), Outcome::Inconclusive);
        assert_eq!(case.outcome("latency.io.p50"), Outcome::Inconclusive);
    }

    #[test]
    fn wake_p99_is_that_of_wake_ups() {
        let case = case(r#"{"wake_p99":"1ms"}"#);
        let wakes = |ns: u64| {
            Case {
                reports: case.reports.clone(),
                ..Case::new(r#"{"workload":{"num_workers":2},"expect":{"wake_p99":"1ms"}}"#)
            }
            .with(0, |r| took(r, Latency::Wake, [ns; 3]))
            .outcome("wake_p99")
        };
        assert_eq!((wakes(MS), wakes(2 * MS)), (Outcome::Pass, Outcome::Fail));
    }

    #[test]
    fn a_gap_over_the_bound_fails_and_an_unknown_one_leaves_it_open() {
        let case = || Case::new(r#"{"workload":{"num_workers":2},"expect":{"max_gap":"3ms"}}"#);
        assert_eq!(case().outcome("max_gap"), Outcome::Pass);
        let check = case().with(1, |r| r.max_gap_ns = Some(4 * MS)).check("max_gap");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
        let check = case().with(1, |r| r.max_gap_ns = None).check("max_gap");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("worker 1 has no max_gap_ns"), "{}", check.detail);
    }

    #[test]
    fn a_step_without_a_checkpoint_is_a_gap_as_long_as_it() {
        let json =
            r#"{"workload":{"num_workers":2},"steps":[{"name":"s","expect":{"max_gap":"900ms"}}]}"#;
        let starved = || Case::new(json).with(1, |r| r.steps[0].max_gap_ns = None);
        let check = starved().check("step s: max_gap");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
        let died = starved().with(1, |r| r.exit_info = Some(crate::report::ExitInfo::Signaled(9)));
        assert_eq!(died.outcome("step s: max_gap"), Outcome::Inconclusive);
    }
}
