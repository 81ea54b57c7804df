//! `xtask compare`: two runs, or two sets of runs, side by side. Boots only what `--repeat` asks
//! for.

mod again;
mod recorded;
mod table;

use crate::cli::CompareArgs;
use crate::compare::{Basis, Finding, LEAST_RUNS, Side, compare};
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::{json_to_stdout, to_stdout};
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Comparison<'a> {
    comparison: u32,
    basis: Basis,
    a: &'a Side,
    b: &'a Side,
    findings: &'a [Finding],
    exceeded: Vec<String>,
}

pub(crate) fn run(args: &CompareArgs, paths: &Paths) -> Result<u8> {
    let Some(other) = &args.b else {
        save(args, &Side::load(&args.a)?)?;
        return Ok(exit::PASS);
    };
    let (a, b) = match args.repeat {
        None => (Side::load(&args.a)?, Side::load(other)?),
        Some(count) => match again::run(args, other, count, paths)? {
            Some(sides) => sides,
            None => return Ok(exit::INTERRUPTED),
        },
    };
    let (basis, findings) = compare(&a, &b, args.across_accelerators);
    let exceeded: Vec<_> = findings
        .iter()
        .filter(|finding| args.threshold.iter().any(|bound| bound.is_exceeded(finding)))
        .map(|finding| finding.key.to_string())
        .collect();
    let code = match (exceeded.is_empty(), basis) {
        (false, _) => exit::FAIL,
        (true, Basis::Accelerators) => exit::INCONCLUSIVE,
        (true, Basis::Nothing) if !args.threshold.is_empty() => exit::INCONCLUSIVE,
        (true, _) => exit::PASS,
    };
    match args.json {
        true => {
            let (a, b, findings) = (&a, &b, findings.as_slice());
            json_to_stdout(&Comparison { comparison: 1, basis, a, b, findings, exceeded })?;
        }
        false => to_stdout(|out| {
            table::print(&a, &b, basis, &findings, out)?;
            for name in &exceeded {
                writeln!(out, "worse by more than the threshold: {name}")?;
            }
            if code == exit::INCONCLUSIVE && basis == Basis::Nothing {
                writeln!(out, "the threshold needs {LEAST_RUNS} runs a side: pass --repeat")?;
            }
            Ok(())
        })?,
    }
    save(args, &a)?;
    Ok(code)
}

fn save(args: &CompareArgs, side: &Side) -> Result<()> {
    let Some(file) = &args.save else { return Ok(()) };
    file.write((serde_json::to_string_pretty(side)? + "\n").as_bytes())
}
