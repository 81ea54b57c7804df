//! `xtask host`: the same workload on this machine, without a VM. Its I/O types use temporary
//! files, never a device.

use super::input::{self, Input};
use crate::cli::HostArgs;
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use crate::progress::{json_to_stdout, to_stdout};
use crate::report::{print_checks, print_measured};
use crate::terminal::tame;
use anyhow::{Result, bail};
use std::io::Write as _;
use std::path::PathBuf;
use workloads::{Outcome, RunOptions, Scenario, Topology, become_supervisor, cgroup_root, judge};

pub(crate) fn run(args: &HostArgs, paths: &Paths) -> Result<u8> {
    let file = input::or_default(args.config.clone(), paths);
    let Input { mut scenario, source } = input::load(&file)?;
    for note in input::apply(&args.overrides, &mut scenario)? {
        writeln!(std::io::stderr(), "note: {}", tame(&note))?;
    }
    input::refuse_unlinked(&scenario, "run it in a guest: `cargo xtask vm --init PROGRAM`")?;
    refuse_machine_changes(&scenario)?;
    let topology = Topology::read().map_err(anyhow::Error::msg)?;
    let plan = source.plan(&scenario, &topology)?;
    // As the guest's runner, where the user may: a parent that waits for its turn among its own
    // workers starts and stops them late.
    let _ = become_supervisor();
    let options = RunOptions { cgroups: own_cgroup(), ..RunOptions::default() };
    let outcome = workloads::run(&scenario, &plan, &options, &mut |_| {});
    if let Some(error) = outcome.error {
        bail!("running the workload on this machine failed: {error}");
    }
    let (reports, record) = (outcome.workers, outcome.record);
    let checks = judge(&scenario, &plan, &record, &reports);
    match args.json {
        true => json_to_stdout(&serde_json::json!({
            "scenario": scenario, "checks": checks, "record": record, "workers": reports
        }))?,
        false => to_stdout(|out| {
            print_measured(&record, &reports, out)?;
            print_checks(&checks, out)
        })?,
    }
    let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
    Ok(match () {
        () if any(Outcome::Fail) => exit::FAIL,
        () if any(Outcome::Inconclusive) => exit::INCONCLUSIVE,
        () => exit::PASS,
    })
}

/// A folder of this run's own at the root of cgroup v2, where there is one.
fn own_cgroup() -> Option<PathBuf> {
    cgroup_root().ok().map(|root| root.join(format!("schedlab-{}", std::process::id())))
}

/// A guest may lose a CPU or have its knobs turned; this machine is in use.
fn refuse_machine_changes(scenario: &Scenario) -> Result<()> {
    let ops = scenario.steps.iter().flat_map(|step| &step.ops);
    match ops.into_iter().find(|op| op.changes_machine()) {
        None => Ok(()),
        Some(op) => {
            let message = format!("{op:?} would change this machine for everyone on it");
            Err(Refusal::input(message, "run it in a guest: `cargo xtask vm`").into())
        }
    }
}
