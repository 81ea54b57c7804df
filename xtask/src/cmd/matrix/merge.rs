//! `matrix merge`: the results of shards as one matrix, the same as if one machine had run all of
//! it. Called by `cmd::matrix`.

use super::{finish, place};
use crate::cli::MatrixMergeArgs;
use crate::error::Refusal;
use crate::matrix::{CellResult, PLAN, Plan, Results, kept_plan, kept_results};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run::{Folder, copy_folder, write_json};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A result and the folder of the shard that it is from.
type Found<'a> = (&'a Path, &'a CellResult);

pub(super) fn run(args: &MatrixMergeArgs, paths: &Paths) -> Result<u8> {
    let plan = common_plan(&args.folders)?;
    let parts: Vec<(&PathBuf, BTreeMap<String, CellResult>)> = args
        .folders
        .iter()
        .map(|folder| Ok((folder, kept_results(folder, &plan)?)))
        .collect::<Result<_>>()?;
    let progress = Progress::new();
    let folder = Folder::create_in(args.out.as_deref(), &plan.name, &place::all(paths))?;
    write_json(&folder.path().join(PLAN), &plan)?;
    let mut results = Results::open(folder.path(), &plan)?;
    for planned in &plan.cells {
        let name = planned.name();
        let found: Vec<Found<'_>> = parts
            .iter()
            .filter_map(|(folder, part)| Some((folder.as_path(), part.get(&name)?)))
            .collect();
        let Some((from, result)) = found.first() else { continue };
        let merged = agreed(result, &found, planned.cell.is_deterministic());
        copy_runs(&merged, from, folder.path())?;
        results.add(merged)?;
    }
    moved_kernels(&plan, results.cells()).iter().for_each(|moved| progress.step(moved));
    progress.step(format!("matrix folder: {}", folder.path().display()));
    drop(progress);
    finish(&plan, &plan.of(None), &results, &args.views, folder.path())
}

/// Shards of different plans are not parts of one matrix.
fn common_plan(folders: &[PathBuf]) -> Result<Plan> {
    let (first, others) = folders.split_first().context("clap asks for a folder")?;
    let plan = kept_plan(first)?;
    for folder in others {
        if kept_plan(folder)? != plan {
            let message = format!(
                "`{}` and `{}` are shards of different matrices",
                first.display(),
                folder.display()
            );
            return Err(Refusal::input(message, "run them with the same file and --filter").into());
        }
    }
    Ok(plan)
}

/// A cell that several shards ran is a deterministic run on several machines.
fn agreed(first: &CellResult, found: &[Found<'_>], deterministic: bool) -> CellResult {
    let mut merged = first.clone();
    let other = found.iter().find(|(_, other)| *other != first).filter(|_| deterministic);
    if let Some((folder, other)) = other {
        let same = other.inputs == first.inputs;
        let why = match same {
            true => "of the same inputs: this is a bug of schedlab's; please report it",
            false => "of another kernel, image or QEMU: run all shards with the same",
        };
        let (one, other) = (found[0].0.display(), folder.display());
        let text = format!("`{one}` and `{other}` hold different results {why}");
        merged.differs.get_or_insert(text);
    }
    merged
}

fn copy_runs(result: &CellResult, from: &Path, to: &Path) -> Result<()> {
    for run in &result.runs {
        let (from, to) = (from.join(&run.folder), to.join(&run.folder));
        // Whoever brings results from elsewhere may leave the runs behind.
        if from.is_dir() {
            copy_folder(&from, &to)?;
        }
    }
    Ok(())
}

/// A suite that moved while the shards ran makes two kernels of one name.
fn moved_kernels(plan: &Plan, results: &BTreeMap<String, CellResult>) -> Vec<String> {
    let mut releases: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for planned in &plan.cells {
        let runs = results.get(&planned.name()).into_iter().flat_map(|result| &result.runs);
        let of = releases.entry(&planned.cell.kernel).or_default();
        of.extend(runs.map(|run| run.kernel.as_str()));
    }
    let moved = releases.into_iter().filter(|(_, releases)| releases.len() > 1);
    let text = |(name, releases): (&str, BTreeSet<&str>)| {
        let releases: Vec<_> = releases.into_iter().collect();
        format!("`{name}` is not one kernel in these shards: {}", releases.join(", "))
    };
    moved.map(text).collect()
}
