//! `matrix merge`: the results of shards as one matrix, the same as if one machine had run all of
//! it. Called by `cmd::matrix`.

use super::{finish, place, today};
use crate::cli::MatrixMergeArgs;
use crate::error::Refusal;
use crate::matrix::{CellResult, PLAN, Plan, Planned, Results, kept_plan, kept_results, row};
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
        let Some((from, result)) = counted(planned, &found) else { continue };
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

/// Of a cell that several shards ran, whose runs may differ, the worst result counts.
fn counted<'a>(planned: &Planned, found: &[Found<'a>]) -> Option<Found<'a>> {
    let standing = |(_, result): &&Found<'_>| row(planned, Some(result), &today()).standing;
    match planned.cell.is_deterministic() {
        true => found.first().copied(),
        // Of equal ones `max_by_key` takes the last.
        false => found.iter().rev().max_by_key(standing).copied(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Cell, Recipe, RunSummary, a_run};
    use crate::run::Verdict;

    #[test]
    fn of_a_cell_that_two_shards_ran_the_worst_counts_whichever_is_named_first() {
        let result = |verdict| CellResult {
            cell: String::new(),
            inputs: None,
            skipped: None,
            differs: None,
            runs: vec![RunSummary { verdict, ..a_run() }],
        };
        let (pass, fail) = (result(Verdict::Pass), result(Verdict::Fail));
        let [one, other] = [Path::new("one"), Path::new("other")];
        let in_mode = |mode: &str| {
            Planned::new(Cell { mode: mode.into(), ..Cell::default() }, Recipe::default())
        };
        let of = |mode: &str, found: &[Found<'_>]| {
            counted(&in_mode(mode), found).map(|(from, result)| (from.to_owned(), result.clone()))
        };
        let failed = Some((other.to_owned(), fail.clone()));
        assert_eq!(of("default", &[(one, &pass), (other, &fail)]), failed);
        assert_eq!(of("default", &[(other, &fail), (one, &pass)]), failed);
        let equal = of("default", &[(one, &pass), (other, &pass)]).unwrap();
        assert_eq!(equal.0, one);
        // These are found to differ instead.
        assert_eq!(of("deterministic", &[(one, &pass), (other, &fail)]).unwrap().0, one);
    }
}
