//! A work function that runs many scenarios one after another in one guest, so that a test can try
//! hundreds. They are the lines of a file on the workload's disk.

use std::sync::atomic::AtomicBool;
use workloads::{
    CustomFn, RunOptions, Scenario, Topology, WorkerReport, become_supervisor, cgroup_root, run,
};

const LIST: &str = "/mnt/vda/scenarios";

pub(crate) const FUNCTIONS: &[(&str, CustomFn)] = &[("run-many", run_many)];

/// Counts scenarios that ran to their end; the first that did not is why it failed.
fn run_many(_: &AtomicBool) -> WorkerReport {
    // As the runner that this stands for.
    let _ = become_supervisor();
    let text = match std::fs::read_to_string(LIST) {
        Ok(text) => text,
        Err(error) => return failed(0, format!("read({LIST}) failed: {error}")),
    };
    let mut done = 0;
    for line in text.lines() {
        if let Err(why) = run_one(line) {
            return failed(done, format!("{why}; in {line}"));
        }
        done += 1;
    }
    WorkerReport { work_units: done, iterations: done, ..WorkerReport::default() }
}

fn failed(done: u64, why: String) -> WorkerReport {
    WorkerReport { work_units: done, failed: Some(why), ..WorkerReport::default() }
}

fn run_one(line: &str) -> Result<(), String> {
    let scenario = Scenario::parse_again(line).map_err(|error| error.to_string())?;
    let plan = scenario.plan(&Topology::read()?).map_err(|error| error.to_string())?;
    let options = RunOptions { cgroups: cgroup_root().ok(), ..RunOptions::default() };
    let outcome = run(&scenario, &plan, &options, &mut |_| ());
    if let Some(error) = outcome.error {
        return Err(error);
    }
    if outcome.workers.len() != plan.total_workers() {
        return Err(format!("{} of {} reports", outcome.workers.len(), plan.total_workers()));
    }
    match outcome.workers.iter().find(|worker| worker.exit_info.is_some()) {
        Some(dead) => Err(format!("worker {}: {:?}", dead.index, dead.exit_info)),
        None => Ok(()),
    }
}
