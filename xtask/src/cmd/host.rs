//! `xtask host`: the same workload on this machine, without a VM. Its I/O types use temporary
//! files, never a device.

use super::input;
use crate::cli::HostArgs;
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::to_stdout;
use crate::report::{print_checks, print_workers};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use workloads::{Outcome, RunOptions, become_supervisor, judge};

pub(crate) fn run(args: &HostArgs, paths: &Paths) -> Result<u8> {
    let mut scenario = input::load(&input::or_default(args.config.clone(), paths))?;
    input::apply(&args.overrides, &mut scenario)?;
    input::refuse_unlinked(&scenario, "run it in a guest: `cargo xtask vm --init PROGRAM`")?;
    // As the guest's runner, where the user may: a parent that waits for its turn among its own
    // workers starts and stops them late.
    let _ = become_supervisor();
    let reports = workloads::run(&scenario, &RunOptions::default(), &mut |_| {})
        .context("running the workload on this machine failed")?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checks = judge(&scenario, &reports, cpus);
    to_stdout(|out| {
        if args.json {
            let document =
                serde_json::json!({ "scenario": scenario, "checks": checks, "workers": reports });
            writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
        } else {
            print_workers(&reports, out)?;
            print_checks(&checks, out)?;
        }
        Ok(())
    })?;
    let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
    Ok(match () {
        () if any(Outcome::Fail) => exit::FAIL,
        () if any(Outcome::Inconclusive) => exit::INCONCLUSIVE,
        () => exit::PASS,
    })
}
