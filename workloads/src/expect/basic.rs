//! Whether workers ran as they were meant to: accounting, progress, standing still, ends,
//! settings. Called by `judge`.

use super::check::{Check, Outcome, Reading, float};
use super::part::{Account, Part, place};
use crate::report::WorkerReport;
use crate::run::RunRecord;
use crate::scenario::Scenario;

/// How much the sum of CPU times may exceed what the CPUs had to give: clocks are read apart.
const ACCOUNTING_SLACK: f64 = 1.02;

/// The numbers hold together: no more CPU time was used than there was.
pub(super) fn cpu_accounting(reports: &[WorkerReport], record: &RunRecord, cpus: usize) -> Check {
    let used_ns: u64 = reports.iter().filter_map(|r| r.cpu_time_ns).sum();
    // Of a run with steps no worker may have seen the whole.
    let longest = reports.iter().map(|r| r.wall_time_ns).max();
    let wall_ns = record.wall_time_ns.max(longest.unwrap_or(0));
    let given_ns = float(wall_ns) * float(cpus as u64);
    let plausible = float(used_ns) <= given_ns * ACCOUNTING_SLACK;
    Check {
        // A broken sum says that the measurement is wrong, not that the scheduler is.
        outcome: if plausible { Outcome::Pass } else { Outcome::Inconclusive },
        measured: Some(float(used_ns)),
        bound: Some(given_ns),
        ..Check::new("cpu_accounting", "ns", "CPU time of all workers, against wall time x CPUs")
    }
}

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
