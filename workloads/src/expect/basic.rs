//! Whether workers ran as they were meant to: progress, standing still, ends,
//! settings. Called by `judge`.

use super::check::{Check, Outcome, Reading, float};
use super::part::{Account, Part, place};
use crate::report::WorkerReport;
use crate::scenario::Scenario;

/// Workers that ended their loop by themselves, after their iterations.
pub(super) fn completed(scenario: &Scenario, reports: &[WorkerReport]) -> Check {
    let short =
        |r: &WorkerReport| !r.served && scenario.iterations.is_some_and(|n| r.iterations < n);
    let incomplete = indices(reports, |r| !r.completed || r.failed.is_some() || short(r));
    let why =
        reports.iter().find_map(|r| Some(format!("worker {}: {}", r.index, r.failed.as_ref()?)));
    let detail = why.unwrap_or_else(|| "workers that ended their loop by themselves".into());
    Check {
        outcome: if incomplete.is_empty() { Outcome::Pass } else { Outcome::Fail },
        measured: Some(float((reports.len() - incomplete.len()) as u64)),
        bound: Some(float(reports.len() as u64)),
        workers: incomplete,
        ..Check::new("completed", "workers", &detail)
    }
}

pub(super) fn iterations(part: &Part<'_>, _: f64) -> Vec<Reading> {
    // User code may count work only.
    let done = |w: &Account<'_>| if w.iterations == 0 { w.work_units } else { w.iterations };
    part.of_free_workers(|worker| Ok(float(done(worker))))
}

/// Iterations of workers that should have none. Of one that was elsewhere too they may be from
/// there.
pub(super) fn stalled(part: &Part<'_>, _: f64) -> Vec<Reading> {
    let of_worker = |worker: &Account<'_>| {
        let scenes = part.scenes().chain(part.passing());
        let (inside, outside): (Vec<&str>, Vec<&str>) = scenes
            .filter_map(|scene| place(scene, worker.crew))
            .partition(|path| part.is_stalled(path));
        let at = inside.first()?;
        let index = worker.index();
        let value = match outside.first().filter(|_| worker.iterations > 0) {
            None => Ok(float(worker.iterations)),
            Some(other) => Err(format!("worker {index} was in `{other}` too, not only in `{at}`")),
        };
        Some(Reading::of_worker(index, value))
    };
    part.workers.iter().filter_map(of_worker).collect()
}

fn indices(reports: &[WorkerReport], broke: impl Fn(&WorkerReport) -> bool) -> Vec<usize> {
    reports.iter().filter(|r| broke(r)).map(|r| r.index).collect()
}
