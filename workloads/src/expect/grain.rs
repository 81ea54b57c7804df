//! Whether a part was long enough for a broken bound to mean anything. Schedulers give CPUs away in
//! turns; who has had one turn less than others in a few milliseconds was not treated unfairly.
//! Called by `rules`.

use super::check::{Check, Outcome, float};
use super::demand::is_in;
use super::part::{Account, Part, place};
use super::place::{cpus_of, listed};
use super::share::limited;
use crate::clock::to_ns;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What turns that are still to come could change about a measured value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grain {
    /// Nothing.
    None,
    /// Everything: one turn is all that is asked for.
    Turn,
    /// How far it is off, as this says, by their part of the time.
    Deviation(fn(f64) -> f64),
}

/// How far CPU times are off their mean, of which this is Jain's index.
pub(super) fn off_the_mean(jain: f64) -> f64 {
    (1.0 / jain - 1.0).max(0.0).sqrt()
}

/// `check`, or that the part was too short for it to fail.
pub(super) fn judge(check: Check, grain: Grain, part: &Part<'_>) -> Check {
    let fails = check.outcome == Outcome::Fail;
    match fails.then(|| too_short(&check, grain, part)).flatten() {
        Some(why) => check.inconclusive(&format!("too short to judge: {why}")),
        None => check,
    }
}

fn too_short(check: &Check, grain: Grain, part: &Part<'_>) -> Option<String> {
    let broke = part.workers.iter().filter(|worker| check.workers.contains(&worker.index()));
    let measured_ns = float(broke.clone().map(|worker| worker.wall_time_ns).min()?);
    let crowds = Crowds::of(part);
    let waits = broke.map(|worker| crowds.longest_wait(worker));
    let wait = waits.max_by(|a, b| a.ns.total_cmp(&b.ns)).filter(|wait| wait.ns > 0.0)?;
    let (is_too_short, enough_ns) = match grain {
        Grain::None => return None,
        Grain::Turn => (measured_ns < wait.ns, wait.ns),
        Grain::Deviation(off) => {
            let (is, allowed) = (off(check.measured?), off(check.bound?));
            // With twice the time half of a deviation that turns explain is left.
            let enough_ns = (wait.ns / allowed).max(2.0 * measured_ns);
            let enough_ns = if allowed > 0.0 { enough_ns } else { 2.0 * measured_ns };
            (is - wait.ns / measured_ns <= allowed, enough_ns)
        }
    };
    let [measured, enough] = [measured_ns, enough_ns].map(shown);
    let why = wait.why;
    is_too_short.then(|| format!("{measured} were measured, and {why}; measure for {enough}"))
}

/// How long a sound scheduler may let a worker wait for its next turn.
struct Wait {
    ns: f64,
    why: String,
}

/// Who may run where, of all that nothing holds back.
struct Crowds<'a> {
    part: &'a Part<'a>,
    by_cpus: BTreeMap<BTreeSet<usize>, u64>,
}

impl<'a> Crowds<'a> {
    fn of(part: &'a Part<'a>) -> Self {
        let mut by_cpus = BTreeMap::new();
        for worker in part.workers.iter().filter(|worker| !part.stands(worker.crew)) {
            *by_cpus.entry(cpus(part, worker)).or_insert(0) += 1;
        }
        Self { part, by_cpus }
    }

    fn longest_wait(&self, worker: &Account<'_>) -> Wait {
        let by_turns = self.for_cpus(worker);
        match self.for_quota(worker) {
            Some(by_quota) if by_quota.ns > by_turns.ns => by_quota,
            _ => by_turns,
        }
    }

    /// Until everyone who may run on its CPUs had a turn. Whoever measures runs there once too, and
    /// until tasks are spread one CPU may have one more than the others.
    fn for_cpus(&self, worker: &Account<'_>) -> Wait {
        let own = cpus(self.part, worker);
        let meet = self.by_cpus.iter().filter(|(cpus, _)| !cpus.is_disjoint(&own));
        let workers: u64 = meet.map(|(_, count)| count).sum();
        let turns = (workers + 1).div_ceil((own.len() as u64).max(1)) + 1;
        let (turn, cpus) = (shown(float(self.part.turn_ns)), listed(&own));
        Wait {
            ns: float(turns) * float(self.part.turn_ns),
            why: format!("{turns} turns of {turn} may pass on {cpus} until each worker had one"),
        }
    }

    /// Until the quota above it was enough for a turn of everyone under it.
    fn for_quota(&self, worker: &Account<'_>) -> Option<Wait> {
        let part = self.part;
        let quota = |scene| {
            let path = limited(scene, place(scene, worker.crew)?)?;
            let max = scene.cgroups.get(path)?.cpu.max?;
            let inside = |w: &&Account<'_>| place(scene, w.crew).is_some_and(|at| is_in(at, path));
            let turns = part.workers.iter().filter(inside).count() as u64;
            let asked_ns = float(turns) * float(part.turn_ns);
            let periods = (asked_ns / float(to_ns(max.quota?)).max(1.0)).ceil();
            let ns = if part.turn_ns > 0 { periods * float(to_ns(max.period)) } else { 0.0 };
            let why =
                format!("`{path}` may need {periods} periods of its quota until each had a turn");
            Some(Wait { ns, why })
        };
        part.scenes().filter_map(quota).max_by(|a, b| a.ns.total_cmp(&b.ns))
    }
}

/// The fewest CPUs that a worker may use in a scene of the part; all of them where that is not
/// known.
fn cpus(part: &Part<'_>, worker: &Account<'_>) -> BTreeSet<usize> {
    let here = part.scenes().filter(|scene| place(scene, worker.crew).is_some());
    let known = here.filter_map(|scene| cpus_of(part.plan, scene, worker).ok());
    known.min_by_key(BTreeSet::len).unwrap_or_else(|| part.plan.topology.cpus())
}

/// Rounded up, so that it is enough.
fn shown(ns: f64) -> String {
    let tenths_of_ms = (ns / 100_000.0).ceil();
    format!("{:.1?}", Duration::from_secs_f64(tenths_of_ms / 10_000.0))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, MS};
    use super::*;

    /// A run of `wall_ms` in which a turn takes 5 ms.
    fn case(json: &str, wall_ms: u64) -> Case {
        let mut case = Case::new(json);
        case.record.turn_ns = 5 * MS;
        case.reports.iter_mut().for_each(|report| report.wall_time_ns = wall_ms * MS);
        case
    }

    fn starved(json: &str, wall_ms: u64) -> Check {
        let none = |r: &mut crate::report::WorkerReport| (r.iterations, r.work_units) = (0, 0);
        case(json, wall_ms).with(1, none).check("progress")
    }

    #[test]
    fn who_may_still_be_waiting_for_its_turn_has_not_failed_to_progress() {
        let two = r#"{"num_workers":2}"#;
        // Two workers and who measures on two CPUs, and one more: three turns.
        let check = starved(two, 10);
        assert_eq!((check.outcome, check.measured), (Outcome::Inconclusive, Some(0.0)));
        let what = "too short to judge: 10.0ms were measured, and 3 turns of 5.0ms may pass on \
                    CPUs 0-1 until each worker had one; measure for 15.0ms";
        assert!(check.detail.ends_with(what), "{}", check.detail);
        assert_eq!(starved(two, 15).outcome, Outcome::Fail);
        // Nobody was starved; as long as it is short, that is well.
        assert_eq!(case(two, 1).outcome("progress"), Outcome::Pass);
        let pinned = r#"{"num_workers":2,"affinity":{"Exact":[1]}}"#;
        assert_eq!(starved(pinned, 19).outcome, Outcome::Inconclusive);
        assert_eq!(starved(pinned, 20).outcome, Outcome::Fail);
        // Older reports do not say how long a turn is.
        let mut old = case(two, 1).with(1, |r| (r.iterations, r.work_units) = (0, 0));
        old.record.turn_ns = 0;
        assert_eq!(old.outcome("progress"), Outcome::Fail);
    }

    #[test]
    fn a_quota_is_waited_for_until_it_was_enough_for_everyone() {
        let json = r#"{"cgroups":[{"name":"a","cpu":{"max":{"quota":"10ms"}},
            "works":[{"num_workers":4}]}]}"#;
        let check = starved(json, 199);
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("`a` may need 2 periods of its quota"), "{}", check.detail);
        assert_eq!(starved(json, 200).outcome, Outcome::Fail);
    }

    #[test]
    fn shares_that_one_turn_could_make_even_are_not_unfair_yet() {
        let judged = |bound: &str, wall_ms: u64, cpu_ms: [u64; 2]| {
            let json = format!(r#"{{"workload":{{"num_workers":2}},"expect":{{{bound}}}}}"#);
            let mut case = case(&json, wall_ms);
            for (report, ms) in case.reports.iter_mut().zip(cpu_ms) {
                (report.cpu_time_ns, report.run_delay_ns) =
                    (Some(ms * MS), Some((wall_ms - ms) * MS));
            }
            let name = bound.split('"').nth(1).unwrap().to_owned();
            case.check(&name)
        };
        let spread = r#""fairness_spread_max":0.1"#;
        let check = judged(spread, 100, [60, 50]);
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        assert!(check.detail.ends_with("measure for 200.0ms"), "{}", check.detail);
        // No turn explains this; nor that in ten times the time.
        assert_eq!(judged(spread, 100, [90, 10]).outcome, Outcome::Fail);
        assert_eq!(judged(spread, 1000, [600, 500]).outcome, Outcome::Fail);
        let jain = r#""fairness_min":0.999"#;
        assert_eq!(judged(jain, 100, [60, 50]).outcome, Outcome::Inconclusive);
        assert_eq!(judged(jain, 1000, [600, 500]).outcome, Outcome::Fail);
        let delay = r#""run_delay_max":0.4"#;
        assert_eq!(judged(delay, 100, [55, 50]).outcome, Outcome::Inconclusive);
        assert_eq!(judged(delay, 1000, [550, 500]).outcome, Outcome::Fail);
    }
}
