//! `xtask host`: the same workload on this machine, without a VM. Its I/O types use temporary
//! files, never a device.

use super::input;
use crate::cli::HostArgs;
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use crate::report::{print_checks, print_workers};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use workloads::{Outcome, RunOptions, judge};

pub(crate) fn run(args: &HostArgs, paths: &Paths) -> Result<u8> {
    let mut scenario = input::load(&input::or_default(args.config.clone(), paths))?;
    input::apply(&args.overrides, &mut scenario)?;
    let reports = workloads::run(&scenario, &RunOptions::default(), &mut |_| {}).context(
        Refusal::host("running the workload failed", "see the message for what it needs"),
    )?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checks = judge(&scenario, &reports, cpus);
    let mut out = std::io::stdout().lock();
    if args.json {
        let document =
            serde_json::json!({ "scenario": scenario, "checks": checks, "workers": reports });
        writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    } else {
        print_workers(&reports, &mut out)?;
        print_checks(&checks, &mut out)?;
    }
    let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
    Ok(match () {
        () if any(Outcome::Fail) => exit::FAIL,
        () if any(Outcome::Inconclusive) => exit::INCONCLUSIVE,
        () => exit::PASS,
    })
}
