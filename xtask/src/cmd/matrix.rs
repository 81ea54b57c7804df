//! `xtask matrix`: the cells of a file, each booted as `vm` does it, into a folder that can be gone
//! on in, and one table of them. Called by `main`.

mod budget;
mod cells;
mod list;
mod live;
mod merge;
mod place;
mod times;
mod views;

use super::vm;
use crate::cli::{MatrixArgs, MatrixCommand, ViewArgs};
use crate::error::exit;
use crate::jobs::{host_cpus, side_by_side};
use crate::matrix::{PLAN, Plan, Planned, Results, judge, mixed_accelerators, row};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run::write_json;
use anyhow::{Context as _, Result};
use cells::{Cells, Ran};
use live::Live;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::SystemTime;
use times::Times;

/// The table, in the folder of a matrix.
const TABLE: &str = "matrix.json";

pub(crate) fn run(args: &MatrixArgs, paths: &Paths) -> Result<u8> {
    if let Some(MatrixCommand::Merge(args)) = &args.command {
        return merge::run(args, paths);
    }
    let file = args.file.as_deref().context("clap asks for the file")?;
    let plan = Plan::read(file, &args.filter)?;
    if args.list {
        return list::run(&plan, args, paths);
    }
    run_plan(&plan, args, paths)
}

fn run_plan(plan: &Plan, args: &MatrixArgs, paths: &Paths) -> Result<u8> {
    vm::end_on_signals()?;
    let progress = Progress::new();
    let mine = plan.of(args.shard);
    let cells = Cells::prepare(&mine, args, paths, &progress)?;
    let folder = place::choose(args, &plan.name, paths)?;
    progress.step(format!("matrix folder: {}", folder.display()));
    let notice = kvm_notice(&mine, paths)?;
    notice.iter().for_each(|notice| progress.step(notice));
    drop(progress);
    let mut results = Results::open(&folder, plan)?;
    write_json(&folder.join(PLAN), plan)?;
    let ended = run_cells(&cells, &mine, args, &folder, &mut results, paths)?;
    // A trial of KVM in one of the cells may have failed.
    let since = kvm_notice(&mine, paths)?.filter(|_| notice.is_none());
    since.iter().for_each(|notice| Progress::new().step(notice));
    let code = finish(plan, &mine, &results, &args.views, &folder)?;
    if vm::interrupted() {
        Progress::new().step("interrupted: the same command with --resume goes on from here");
        return Ok(exit::INTERRUPTED);
    }
    ended.map_or(Ok(code), Err)
}

/// Why cells of the default mode do not get KVM, if there are any that are run.
fn kvm_notice(mine: &[&Planned], paths: &Paths) -> Result<Option<String>> {
    let mut to_run = mine.iter().filter(|planned| planned.excluded.is_none());
    match to_run.find(|planned| !planned.cell.is_deterministic()) {
        Some(planned) => vm::kvm_notice(&cells::arguments(planned)?, paths),
        None => Ok(None),
    }
}

/// The table of what there is by now, kept and shown; gives its exit code.
fn finish(
    plan: &Plan,
    cells: &[&Planned],
    results: &Results,
    views: &ViewArgs,
    folder: &Path,
) -> Result<u8> {
    let table = judge(&plan.name, cells, results.cells(), &today());
    write_json(&folder.join(TABLE), &table)?;
    mixed_accelerators(&table).iter().for_each(|mixed| Progress::new().step(mixed));
    views::show(&table, views, folder)?;
    Ok(table.exit_code())
}

/// Runs what there is no result of yet, deterministic cells first: the others then have the host
/// for themselves. Gives the error that ended it, if one did.
fn run_cells(
    cells: &Cells<'_>,
    mine: &[&Planned],
    args: &MatrixArgs,
    folder: &Path,
    results: &mut Results,
    paths: &Paths,
) -> Result<Option<anyhow::Error>> {
    let mut todo: Vec<&Planned> =
        mine.iter().copied().filter(|planned| planned.excluded.is_none()).collect();
    todo.sort_by_key(|planned| !planned.cell.is_deterministic());
    let mut times = Times::read(paths)?;
    let kept = results.cells().clone();
    // More would only wait, each with a CPU claimed for its guest.
    let jobs = args.jobs.map_or_else(host_cpus, NonZeroUsize::get).min(host_cpus());
    let live = Live::new(mine, &times, jobs);
    let mut failure = None;
    let work = |planned: &&Planned| {
        let name = planned.name();
        cells.run(planned, kept.get(&name), folder, || live.begins(&name))
    };
    side_by_side(&todo, jobs, work, |planned, ran| {
        let name = planned.name();
        let going = ran.and_then(|ran| {
            let result = match ran {
                Ran::Interrupted => return Ok(false),
                Ran::Kept(result) => result,
                Ran::New(result, wall) => {
                    results.add(result.clone())?;
                    times.add(&name, wall)?;
                    result
                }
            };
            let row = row(planned, Some(&result), &today());
            live.ends(&row);
            Ok(!(args.fail_fast && row.standing.is_bad()))
        });
        going.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            false
        })
    });
    Ok(failure)
}

/// In UTC, as `2027-03-31`.
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.chars().take("2027-03-31".len()).collect()
}
