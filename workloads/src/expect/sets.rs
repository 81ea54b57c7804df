//! Workers of one set compared with each other: fairness, spread, variation of throughput; and
//! what each of them must keep to by itself. Called by `judge`.

use super::check::{Reading, float};
use super::part::{Account, Part};
use super::peers::owed_the_same;
use crate::counters::BY_LOOKING;
use std::collections::BTreeMap;

const NS_PER_S: f64 = 1e9;

/// Jain's index of CPU time in each set of two or more.
pub(super) fn fairness(part: &Part<'_>, least: f64) -> Vec<Reading> {
    owed(part, by_set(part, cpu_time, jain_index, "no CPU time"), |index| index < least)
}

/// (most - least) / mean of CPU time in each set.
pub(super) fn spread(part: &Part<'_>, most: f64) -> Vec<Reading> {
    let spread = |times: &[f64]| {
        let most = times.iter().copied().fold(f64::MIN, f64::max);
        let least = times.iter().copied().fold(f64::MAX, f64::min);
        Some(mean(times)).filter(|mean| *mean > 0.0).map(|mean| (most - least) / mean)
    };
    owed(part, by_set(part, cpu_time, spread, "no CPU time"), |spread| spread > most)
}

/// Standard deviation by mean of work units per CPU second in each set.
pub(super) fn variation(part: &Part<'_>, _: f64) -> Vec<Reading> {
    let rate = |worker: &Account<'_>| {
        let cpu_ns = cpu_time(worker)?;
        let index = worker.index();
        let rate =
            Some(float(worker.work_units) * NS_PER_S / cpu_ns).filter(|rate| rate.is_finite());
        rate.ok_or_else(|| format!("worker {index} used no CPU time, so it has no rate"))
    };
    let variation = |rates: &[f64]| {
        let mean = mean(rates);
        let squares: Vec<f64> = rates.iter().map(|rate| (rate - mean).powi(2)).collect();
        (mean > 0.0).then(|| self::mean(&squares).sqrt() / mean)
    };
    by_set(part, rate, variation, "no work units")
}

/// (sum x)^2 / (n * sum x^2): 1 is equal shares, 1/n is one taking all (Jain, Chiu, Hawe 1984).
pub fn jain_index(shares: &[f64]) -> Option<f64> {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    (shares.len() > 1 && squares > 0.0).then(|| sum * sum / (float(shares.len() as u64) * squares))
}

/// Iterations per second of wall time.
pub(super) fn throughput(part: &Part<'_>, _: f64) -> Vec<Reading> {
    part.of_free_workers(|worker| match (worker.iterations, worker.work_units) {
        (0, 1..) if worker.report.completed && part.step.is_none() => {
            Err(format!("worker {} counts work units and no iterations", worker.index()))
        }
        (iterations, _) => Ok(float(iterations) * NS_PER_S / worker.wall_ns()?),
    })
}

/// Moves of each worker between CPUs.
pub(super) fn migrations(part: &Part<'_>, most: f64) -> Vec<Reading> {
    let moves = |worker: &Account<'_>| {
        let moves = worker.known("migrations", worker.migrations)?;
        let source = worker.report.counted_by.get("migrations").filter(|_| part.step.is_none());
        match source.filter(|source| moves <= most && source.starts_with(BY_LOOKING)) {
            Some(source) => Err(format!("worker {} counted them by {source}", worker.index())),
            None => Ok(moves),
        }
    };
    part.of_free_workers(moves)
}

/// The part of wall time in which each worker waited for a CPU.
pub(super) fn run_delay(part: &Part<'_>, _: f64) -> Vec<Reading> {
    part.of_free_workers(|worker| {
        // The kernel counts a wait when it ends (`sched_info_arrive`), and so nothing is known of
        // one that ended for nobody to see.
        if worker.run_delay_ns.is_none() && worker.timeslices == Some(0) {
            let index = worker.index();
            return Err(format!("worker {index} was never put on a CPU: asleep or waiting"));
        }
        let delay_ns = worker.known("run_delay_ns", worker.run_delay_ns)?;
        Ok(delay_ns / worker.wall_ns()?)
    })
}

/// Leaves a bound open that is broken by what the kernel owes nobody.
fn owed(part: &Part<'_>, readings: Vec<Reading>, is_broken: impl Fn(f64) -> bool) -> Vec<Reading> {
    let of_one = |reading: Reading| match reading.value {
        Ok(value) if is_broken(value) => {
            let owed = owed_the_same(part, &reading.workers);
            Reading { value: owed.map(|()| value), ..reading }
        }
        _ => reading,
    };
    readings.into_iter().map(of_one).collect()
}

fn cpu_time(worker: &Account<'_>) -> Result<f64, String> {
    worker.known("cpu_time_ns", worker.cpu_time_ns)
}

/// A reading of each set whose members can be compared: what `of_all` makes of what `of_one` says
/// of them.
fn by_set(
    part: &Part<'_>,
    of_one: impl Fn(&Account<'_>) -> Result<f64, String>,
    of_all: impl Fn(&[f64]) -> Option<f64>,
    nothing: &str,
) -> Vec<Reading> {
    let mut sets: BTreeMap<usize, Vec<&Account<'_>>> = BTreeMap::new();
    for worker in part.workers.iter().filter(|worker| !part.stands(worker.crew)) {
        sets.entry(worker.report.group_idx).or_default().push(worker);
    }
    let several = sets.into_iter().filter(|(_, members)| members.len() > 1);
    several
        .map(|(set, members)| {
            let values: Result<Vec<f64>, String> = members.iter().map(|w| of_one(w)).collect();
            let nothing = || format!("set {set} has {nothing}");
            let value = values.and_then(|values| of_all(&values).ok_or_else(nothing));
            let workers = members.iter().map(|worker| worker.index()).collect();
            Reading { workers, what: format!("set {set}"), value }
        })
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / float(values.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Case;
    use super::super::{Check, Outcome};
    use crate::report::WorkerReport;

    /// Set 0 has two workers, set 1 three.
    fn case(expect: &str) -> Case {
        let json = format!(
            r#"{{"workload":{{"num_workers":2,"composed":[{{"num_workers":3}}]}},
                "expect":{{{expect}}}}}"#
        );
        Case::new(&json)
    }

    fn lost(field: fn(&mut WorkerReport) -> &mut Option<u64>, name: &str, case: Case) -> Check {
        let case = case.with(1, |r| {
            *field(r) = None;
            r.unavailable.insert(name.into(), "EPERM".into());
        });
        // Five workers with half a CPU each are more than the machine has.
        let checks = case.checks().into_iter().filter(|check| check.name != "cpu_accounting");
        let mut checks = checks.filter(|check| check.outcome == Outcome::Inconclusive);
        let open = checks.next().unwrap();
        assert!(
            open.detail.ends_with(&format!("worker 1 has no {name}: EPERM")),
            "{}",
            open.detail
        );
        open
    }

    #[test]
    fn fairness_is_jains_index_of_the_least_fair_set() {
        let case = || case(r#""fairness_min":0.9"#);
        assert_eq!(
            case().cpu_ms(&[500, 500, 100, 100, 100]).outcome("fairness_min"),
            Outcome::Pass
        );
        let check = case().cpu_ms(&[900, 100, 100, 100, 100]).check("fairness_min");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0, 1]));
        assert!((check.measured.unwrap() - 1.0 / (2.0 * 0.82)).abs() < 1e-9);
        assert!(check.detail.ends_with("set 0"), "{}", check.detail);
        lost(|r| &mut r.cpu_time_ns, "cpu_time_ns", case());
        let alone = Case::new(r#"{"workload":{},"expect":{"fairness_min":0.9}}"#);
        assert_eq!(alone.outcome("fairness_min"), Outcome::Inconclusive);
    }

    #[test]
    fn a_set_that_is_known_to_be_unfair_fails_whatever_is_not_known() {
        let case = case(r#""fairness_min":0.9"#).cpu_ms(&[500, 500, 1000, 1, 1]);
        assert_eq!(case.with(1, |r| r.cpu_time_ns = None).outcome("fairness_min"), Outcome::Fail);
    }

    #[test]
    fn spread_is_that_of_the_set_where_it_is_largest() {
        let case = || case(r#""fairness_spread_max":0.5"#);
        let even = case().cpu_ms(&[500, 500, 80, 100, 120]).check("fairness_spread_max");
        assert_eq!(even.outcome, Outcome::Pass);
        assert!((even.measured.unwrap() - 0.4).abs() < 1e-9);
        let check = case().cpu_ms(&[500, 500, 50, 100, 150]).check("fairness_spread_max");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![2, 3, 4]));
        lost(|r| &mut r.cpu_time_ns, "cpu_time_ns", case());
    }

    #[test]
    fn throughput_varies_per_cpu_second_and_not_with_the_share() {
        let case = || case(r#""throughput_cv_max":0.1"#);
        let slower =
            |r: &mut WorkerReport| (r.work_units, r.cpu_time_ns) = (500, Some(250_000_000));
        assert_eq!(case().with(0, slower).outcome("throughput_cv_max"), Outcome::Pass);
        let check = case().with(0, |r| r.work_units = 500).check("throughput_cv_max");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0, 1]));
        // 500 and 1000 are 250 off their mean of 750.
        assert!((check.measured.unwrap() - 1.0 / 3.0).abs() < 1e-9);
        lost(|r| &mut r.cpu_time_ns, "cpu_time_ns", case());
        let idle = case().with(4, |r| r.cpu_time_ns = Some(0)).check("throughput_cv_max");
        assert_eq!(idle.outcome, Outcome::Inconclusive);
    }

    #[test]
    fn throughput_is_that_of_the_slowest_worker() {
        let case = || case(r#""throughput_min":9.0"#);
        let check = case().check("throughput_min");
        assert_eq!((check.outcome, check.measured), (Outcome::Pass, Some(10.0)));
        let check = case().with(3, |r| r.iterations = 8).check("throughput_min");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![3]));
        let unknown = case().with(3, |r| r.wall_time_ns = 0);
        assert_eq!(unknown.outcome("throughput_min"), Outcome::Inconclusive);
    }

    #[test]
    fn moves_are_counted_for_each_worker() {
        let case = || case(r#""migrations_max":2"#);
        assert_eq!(
            case().with(0, |r| r.migrations = Some(2)).outcome("migrations_max"),
            Outcome::Pass
        );
        let check = case().with(0, |r| r.migrations = Some(3)).check("migrations_max");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0]));
        lost(|r| &mut r.migrations, "migrations", case());
    }

    #[test]
    fn moves_that_were_only_looked_for_can_break_a_bound_and_not_keep_it() {
        let seen = |moves| {
            let source = format!("{}, so at least as many: EPERM", super::BY_LOOKING);
            let case = case(r#""migrations_max":2"#).with(0, |r| {
                r.migrations = Some(moves);
                r.counted_by.insert("migrations".into(), source);
            });
            case.outcome("migrations_max")
        };
        assert_eq!((seen(1), seen(3)), (Outcome::Inconclusive, Outcome::Fail));
    }

    #[test]
    fn run_delay_is_a_part_of_wall_time() {
        let case = || case(r#""run_delay_max":0.5"#);
        assert_eq!(case().outcome("run_delay_max"), Outcome::Pass);
        let check = case().with(2, |r| r.run_delay_ns = Some(600_000_000)).check("run_delay_max");
        assert_eq!(
            (check.outcome, check.workers, check.measured),
            (Outcome::Fail, vec![2], Some(0.6))
        );
        lost(|r| &mut r.run_delay_ns, "run_delay_ns", case());
    }

    #[test]
    fn a_wait_that_never_ended_is_not_a_short_one() {
        let json = r#"{"workload":{"num_workers":2},"steps":[{"name":"s","expect":{"run_delay_max":0.5}}]}"#;
        let case = Case::new(json).with(1, |r| {
            let step = &mut r.steps[0];
            (step.run_delay_ns, step.timeslices, step.cpu_time_ns) = (None, Some(0), Some(0));
        });
        let check = case.check("step s: run_delay_max");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("asleep or waiting"), "{}", check.detail);
    }
}
