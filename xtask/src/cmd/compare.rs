//! `xtask compare`: two runs, or two sets of runs, side by side. Boots only what `--repeat` asks
//! for.

mod again;
mod recorded;
mod table;

pub(crate) use again::Repeat;

use crate::cli::CompareArgs;
use crate::compare::{Basis, Comparison, Finding, Gate, Outcome, Question, Side, compare};
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use crate::progress::{json_to_stdout, to_stdout};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    comparison: u32,
    basis: Basis,
    a: &'a Side,
    b: &'a Side,
    findings: &'a [Finding],
    /// How many metrics are judged together, and how many runs a side that surely takes.
    judged: usize,
    runs_needed: usize,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

pub(crate) fn run(args: &CompareArgs, paths: &Paths) -> Result<u8> {
    let Some(other) = &args.b else {
        save(args, &Side::load(&args.a)?)?;
        return Ok(exit::PASS);
    };
    let gates = [args.threshold.as_slice(), &args.max_change].concat();
    let recorded = (Side::load(&args.a)?, Side::load(other)?);
    check(&gates, &recorded.0)?;
    let (a, b, looks) = match args.repeat {
        None => (recorded.0, recorded.1, 1),
        Some(wanted) => {
            let looks = wanted.looks(&recorded, &gates);
            match again::run(args, other, (&gates, &looks), paths)? {
                Some((a, b)) => (a, b, looks.count()),
                None => return Ok(exit::INTERRUPTED),
            }
        }
    };
    let question = Question { gates: &gates, across: args.across_accelerators, looks };
    let comparison = compare(&a, &b, question);
    let outcome = Outcome::of(&a, &b, &comparison, &gates);
    print(args, (&a, &b), &comparison, &outcome)?;
    save(args, &a)?;
    Ok(outcome.exit_code)
}

fn print(
    args: &CompareArgs,
    (a, b): (&Side, &Side),
    comparison: &Comparison,
    outcome: &Outcome,
) -> Result<()> {
    if !args.json {
        return to_stdout(|out| table::print((a, b), comparison, outcome, out));
    }
    let Comparison { basis, findings, judged, needed, .. } = comparison;
    json_to_stdout(&Printed {
        comparison: 1,
        basis: *basis,
        a,
        b,
        findings,
        judged: *judged,
        runs_needed: *needed,
        outcome,
    })
}

/// A run without values has no names to choose from.
fn check(gates: &[Gate], a: &Side) -> Result<()> {
    match a.runs.is_empty() {
        true => Ok(()),
        false => Ok(gates.iter().try_for_each(|gate| gate.check(&a.keys()))?),
    }
}

fn save(args: &CompareArgs, side: &Side) -> Result<()> {
    let Some(file) = &args.save else { return Ok(()) };
    refuse_without_values(&args.a, side)?;
    file.write(
        (serde_json::to_string_pretty(side)?
            + "
")
        .as_bytes(),
    )
}

fn refuse_without_values(path: &Path, side: &Side) -> Result<()> {
    if !side.runs.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` has no values to be saved: {}", path.display(), side.ended());
    Err(Refusal::guest(message, "run it again, and save a run that was measured").into())
}
