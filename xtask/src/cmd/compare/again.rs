//! `compare --repeat`: both sides once more, in turn, so that what changes on the host while they
//! run changes for both. Called by `cmd::compare`.

use super::recorded::Recorded;
use crate::cli::CompareArgs;
use crate::cmd::vm;
use crate::compare::Side;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu;
use crate::report::RunReport;
use crate::run::{Folder, Verdict};
use anyhow::Result;
use std::path::Path;

/// Boots `count` runs of each side; none if it was interrupted.
pub(super) fn run(
    args: &CompareArgs,
    other: &Path,
    count: u32,
    paths: &Paths,
) -> Result<Option<(Side, Side)>> {
    let interrupted = vm::end_on_signals()?;
    let sides = [Recorded::open(&args.a)?, Recorded::open(other)?];
    let qemu = qemu::version()?;
    let all = Folder::create(args.out.as_deref(), "compare", paths)?;
    let progress = Progress::new();
    let mut remarks: Vec<_> = sides.iter().filter_map(|side| side.remark(&qemu)).collect();
    remarks.dedup();
    remarks.iter().for_each(|remark| progress.step(remark));
    let mut reports: [Vec<RunReport>; 2] = Default::default();
    for number in 1..=count {
        for (side, name) in [(0, "a"), (1, "b")] {
            let out = all.path().join(name).join(number.to_string());
            // Deterministic runs would all be the same: each pair has a seed of its own.
            let seed = sides[side].is_deterministic().then_some(number.into());
            let report = sides[side].run(seed, &out, &qemu, interrupted, paths)?;
            progress.step(format!("{name} {number} of {count}: {}", report.verdict.name()));
            if report.verdict == Verdict::Interrupted {
                return Ok(None);
            }
            reports[side].push(report);
        }
    }
    progress.step(format!("run folders: {}", all.path().display()));
    let [a, b] = reports.map(|reports| Side::of(&reports));
    Ok(Some((a, b)))
}
