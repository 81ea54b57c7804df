//! `vm --repeat N`: the same run several times. Deterministic ones are compared byte for byte, and
//! a difference is a broken promise of ours; of others there is a summary. Called by `cmd::vm`.

use super::input;
use super::vm::run_once;
use crate::cli::VmArgs;
use crate::error::exit;
use crate::jobs::{host_cpus, side_by_side};
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::report::RunReport;
use crate::run::{Compared, Folder, Verdict, broken_promise, compare_runs};
use crate::terminal::cleaned;
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

pub(super) fn run(args: &VmArgs, paths: &Paths) -> Result<u8> {
    let scenario = input::load(&input::or_default(args.guest.config.clone(), paths))?.scenario;
    let all = Folder::create(args.out.as_deref(), &format!("{}-repeat", scenario.name), paths)?;
    let runs = run_all(args, all.path(), paths)?;
    let code = match args.deterministic {
        true => compare(&runs, all.path())?,
        false => summarize(&runs)?,
    };
    to_stdout(|out| Ok(writeln!(out, "run folders: {}/1 and on", all.path().display())?))?;
    Ok(code)
}

/// Runs into `1`, `2` .. below `folder`. Deterministic guests run side by side, a CPU each; the
/// others would disturb each other.
fn run_all(args: &VmArgs, folder: &Path, paths: &Paths) -> Result<Vec<(u32, RunReport)>> {
    let jobs = if args.deterministic && !args.console { host_cpus() } else { 1 };
    let progress = Progress::new();
    let one = |number: &u32| {
        let out = folder.join(number.to_string());
        let retry_kvm = args.retry_kvm && *number == 1;
        // The first boots, so that the others are compared with it.
        let cold = args.cold || args.deterministic && *number == 1;
        let args = VmArgs { out: Some(out), retry_kvm, cold, unchecked: true, ..args.clone() };
        let quiet = Progress::silent();
        let progress = if jobs == 1 { &progress } else { &quiet };
        run_once(&args, paths, progress).and_then(|(report, _)| cleaned(&report))
    };
    let numbers: Vec<u32> = (1..=args.repeat).collect();
    let (mut runs, mut failure) = (Vec::new(), None);
    side_by_side(&numbers, jobs, one, |number, outcome| match outcome {
        Ok(report) => {
            progress.step(format!("run {number}: {}", describe(&report)));
            let go_on = report.verdict != Verdict::Interrupted;
            runs.push((*number, report));
            go_on
        }
        Err(error) => {
            failure.get_or_insert(error);
            false
        }
    });
    runs.sort_by_key(|(number, _)| *number);
    failure.map_or(Ok(runs), Err)
}

fn describe(report: &RunReport) -> String {
    let advice = report.advice.as_ref().map(|text| format!(", {text}")).unwrap_or_default();
    format!("{}{advice}", report.verdict.name())
}

/// The first run's verdict if all are the same.
fn compare(runs: &[(u32, RunReport)], folder: &Path) -> Result<u8> {
    let Some(((first, report), others)) = runs.split_first() else { return Ok(exit::GUEST) };
    if let Some(code) = interrupted(runs) {
        return Ok(code);
    }
    let of = |number: &u32| folder.join(number.to_string());
    for (number, other) in others {
        match compare_runs(&of(first), &of(number))? {
            Compared::Same => {}
            Compared::Differ(found) => {
                let what =
                    format!("run {number} is not run {first}: the same inputs gave other bytes");
                to_stdout(|out| Ok(writeln!(out, "{}", broken_promise(&what, &found))?))?;
                return Ok(exit::GUEST);
            }
            Compared::Not => return not_compared([(first, report), (number, other)]),
        }
    }
    to_stdout(|out| {
        let count = runs.len();
        writeln!(out, "{count} runs: the same bytes of report.json and console.log")?;
        Ok(writeln!(out, "  each: {}", describe(report))?)
    })?;
    Ok(report.verdict.exit_code())
}

/// The guest of one of these did not end it.
fn not_compared(runs: [(&u32, &RunReport); 2]) -> Result<u8> {
    let [(one, report), (other, later)] = runs;
    to_stdout(|out| {
        writeln!(out, "run {one} or {other} was lost, so the runs were not compared")?;
        writeln!(out, "  run {one}: {}", describe(report))?;
        Ok(writeln!(out, "  run {other}: {}", describe(later))?)
    })?;
    let codes = [report, later].map(|report| report.verdict.exit_code());
    Ok(codes.into_iter().find(|code| *code != exit::PASS).unwrap_or(exit::INCONCLUSIVE))
}

/// The exit code of the first run that did not pass.
fn summarize(runs: &[(u32, RunReport)]) -> Result<u8> {
    let mut verdicts = BTreeMap::new();
    for (_, report) in runs {
        *verdicts.entry(report.verdict.name()).or_insert(0) += 1;
    }
    let counts: Vec<_> = verdicts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    to_stdout(|out| {
        writeln!(out, "{} runs: {}", runs.len(), counts.join(", "))?;
        let note = "without --deterministic no two runs are the same bytes, and none were compared";
        Ok(writeln!(out, "  {note}")?)
    })?;
    let failed = runs.iter().map(|(_, report)| report.verdict.exit_code());
    let failed = failed.into_iter().find(|code| *code != exit::PASS);
    Ok(interrupted(runs).or(failed).unwrap_or(exit::PASS))
}

fn interrupted(runs: &[(u32, RunReport)]) -> Option<u8> {
    let ended = runs.iter().any(|(_, report)| report.verdict == Verdict::Interrupted);
    ended.then_some(exit::INTERRUPTED)
}
