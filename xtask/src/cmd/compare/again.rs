//! `compare --repeat`: both sides once more, in turn, so that what changes on the host while they
//! run changes for both. Called by `cmd::compare`.

use crate::cli::{CompareArgs, VmArgs};
use crate::cmd::vm;
use crate::compare::{Side, folders};
use crate::error::Refusal;
use crate::files::Kind;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::report::RunReport;
use crate::run::{Folder, Verdict};
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::ffi::OsStr;
use std::path::Path;

/// Of `host.json`.
#[derive(Debug, Deserialize)]
struct Recorded {
    command: Vec<String>,
}

/// Boots `count` runs of each side; none if it was interrupted.
pub(super) fn run(
    args: &CompareArgs,
    other: &Path,
    count: u32,
    paths: &Paths,
) -> Result<Option<(Side, Side)>> {
    vm::end_on_signals()?;
    let sides = [recorded(&args.a)?, recorded(other)?];
    let all = Folder::create(args.out.as_deref(), "compare", paths)?;
    let progress = Progress::new();
    let notices = [&sides[0], &sides[1]].map(|side| vm::kvm_notice(side, paths));
    let mut notices: Vec<_> =
        notices.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    notices.dedup();
    notices.iter().for_each(|notice| progress.step(notice));
    let mut reports: [Vec<RunReport>; 2] = Default::default();
    for number in 1..=count {
        for (side, name) in [(0, "a"), (1, "b")] {
            let out = all.path().join(name).join(number.to_string());
            let args = numbered(&sides[side], number, &out);
            let (report, _) = vm::run_once(&args, paths, &Progress::silent())?;
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

/// What `vm` was told for the first run of `path`, with the scenario as it was resolved.
fn recorded(path: &Path) -> Result<VmArgs> {
    let fix = "pass the folder of a run of `vm`; a baseline cannot be run again";
    let refusal = |what: String| Refusal::input(what, fix);
    if path.is_file() {
        return Err(refusal(format!("`{}` is no folder", path.display())).into());
    }
    let folder = folders(path)?.swap_remove(0);
    let file = folder.join("host.json");
    let text = Kind::OF_RUN.read(&file)?;
    let Recorded { command } = serde_json::from_slice(&text)
        .with_context(|| refusal(format!("parse(`{}`) failed", file.display())))?;
    let words = command.iter().skip_while(|word| *word != "vm").skip(1).map(OsStr::new);
    let mut args = VmArgs::of(words)
        .with_context(|| refusal(format!("`{}` is the command of no `vm`", file.display())))?;
    args.guest.config = Some(folder.join("scenario.json"));
    (args.overrides.duration, args.overrides.work_type) = (None, None);
    (args.repeat, args.json, args.out, args.retry_kvm) = (1, false, None, false);
    Ok(args)
}

/// Deterministic runs would all be the same: each pair has a seed of its own.
fn numbered(args: &VmArgs, number: u32, out: &Path) -> VmArgs {
    let mut args = VmArgs { out: Some(out.to_owned()), ..args.clone() };
    if args.deterministic {
        args.overrides.seed = Some(number.into());
    }
    args
}
