//! `xtask hunt`: one scenario over many seeds, each run deterministic. Failures are kept and
//! grouped by signature, and the first of each group is made smaller. The results file makes it
//! go on where it was ended. Called by `main`.

mod groups;
mod replay;
mod runs;

use super::vm;
use crate::cli::HuntArgs;
use crate::error::exit;
use crate::hunt::{Cell, Store};
use crate::jobs::{host_cpus, side_by_side};
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::run::Verdict;
use anyhow::Result;
use groups::Group;
use runs::{Hunt, Ran};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::time::Instant;

/// One seed in so many is run twice, the first one always.
const SAMPLE: usize = 20;

pub(crate) fn run(args: &HuntArgs, paths: &Paths) -> Result<u8> {
    vm::end_on_signals()?;
    let progress = Progress::new();
    let hunt = Hunt::prepare(args, paths, &progress)?;
    let mut store = Store::open(&hunt.folder().join("results.jsonl"), hunt.inputs())?;
    let seeds = args.seeds.of(args.shard);
    if let Some(broken) = run_seeds(&hunt, &seeds, args.jobs, &mut store, &progress)? {
        to_stdout(|out| Ok(writeln!(out, "{broken}")?))?;
        return Ok(exit::GUEST);
    }
    if vm::interrupted() {
        progress.step("interrupted: the same command goes on from here");
        return Ok(exit::INTERRUPTED);
    }
    let cells: Vec<&Cell> = seeds.iter().filter_map(|seed| store.cells().get(seed)).collect();
    let groups = groups::reduce(&hunt, &cells, args.tries, &progress);
    if vm::interrupted() {
        progress.step("interrupted: the same command goes on from here");
        return Ok(exit::INTERRUPTED);
    }
    let groups = groups?;
    drop(progress);
    print(&hunt, &cells, &groups)?;
    Ok(exit_code(&cells))
}

/// Runs what is not in the store yet; the text says how a repeated run was another one, which
/// ends the hunt.
fn run_seeds(
    hunt: &Hunt<'_>,
    seeds: &[u64],
    jobs: Option<NonZeroUsize>,
    store: &mut Store,
    progress: &Progress,
) -> Result<Option<String>> {
    let sampled = |at: usize| at.is_multiple_of(SAMPLE);
    let todo: Vec<(u64, bool)> = (seeds.iter().enumerate())
        .filter(|(_, seed)| !store.cells().contains_key(*seed))
        .map(|(at, seed)| (*seed, sampled(at)))
        .collect();
    progress.step(format!("{} of {} seeds are to be run", todo.len(), seeds.len()));
    let began = Instant::now();
    let (mut broken, mut failure, mut count) = (None, None, 0_usize);
    let work = |(seed, again): &(u64, bool)| hunt.run_seed(*seed, *again);
    side_by_side(&todo, jobs.map_or_else(host_cpus, NonZeroUsize::get), work, |_, ran| {
        count += 1;
        let added = ran.and_then(|ran| match ran {
            Ran::Cell(cell) if cell.verdict == Verdict::Interrupted => Ok(false),
            Ran::Cell(cell) => {
                let line = describe(&cell);
                store.add(cell)?;
                let minutes = began.elapsed().as_secs_f64() / 60.0;
                progress.step(format!("{line}; {}", standing(store, seeds, count, minutes)));
                Ok(true)
            }
            Ran::Broken(text) => {
                broken = Some(text);
                Ok(false)
            }
        });
        added.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            false
        })
    });
    failure.map_or(Ok(broken), Err)
}

fn describe(cell: &Cell) -> String {
    let ended = match &cell.signature {
        Some(signature) => signature.to_string(),
        None => cell.verdict.name(),
    };
    let repeated = if cell.repeated { ", twice the same bytes" } else { "" };
    format!("seed {}: {ended}{repeated}", cell.seed)
}

/// How far the hunt is, on the line of each seed.
fn standing(store: &Store, seeds: &[u64], count: usize, minutes: f64) -> String {
    let cells: Vec<_> = seeds.iter().filter_map(|seed| store.cells().get(seed)).collect();
    let failed = cells.iter().filter(|cell| cell.signature.is_some()).count();
    #[expect(clippy::cast_precision_loss, reason = "nobody runs 2^53 seeds")]
    let rate = count as f64 / minutes;
    let (done, all, schedules) = (cells.len(), seeds.len(), schedules(&cells));
    let schedules = schedules.map(|seen| format!(", {seen} schedules")).unwrap_or_default();
    format!("{done} of {all}, {rate:.1} a minute, {failed} failed{schedules}")
}

/// How many different ones were seen; none if no run has a hash, of which nothing is known.
fn schedules(cells: &[&Cell]) -> Option<usize> {
    let seen: BTreeSet<_> = cells.iter().filter_map(|cell| cell.order_hash.as_ref()).collect();
    (!seen.is_empty()).then_some(seen.len())
}

/// Of `cells`, as a sentence.
fn told_schedules(cells: &[&Cell]) -> String {
    let unhashed = cells.iter().filter(|cell| cell.order_hash.is_none()).count();
    let why = "`record.schedule` of a run says why";
    match (schedules(cells), unhashed) {
        (None, _) => format!("different schedules: not known, as no run has a hash; {why}"),
        (Some(seen), 0) => {
            format!("{seen} different schedules, by the order of their context switches")
        }
        (Some(seen), n) => format!(
            "at least {seen} different schedules, by the order of their context switches; {n} runs \
             have no hash, {why}"
        ),
    }
}

fn print(hunt: &Hunt<'_>, cells: &[&Cell], groups: &[Group]) -> Result<()> {
    let failed = cells.iter().filter(|cell| cell.signature.is_some()).count();
    let repeated = cells.iter().filter(|cell| cell.repeated).count();
    to_stdout(|out| {
        let groups_text = if groups.len() == 1 { "group" } else { "groups" };
        let (all, kinds) = (cells.len(), groups.len());
        writeln!(out, "{all} seeds run, {failed} failed in {kinds} {groups_text}")?;
        writeln!(out, "{}", told_schedules(cells))?;
        writeln!(out, "run twice, with the same bytes: {repeated}")?;
        groups.iter().try_for_each(|group| group.print(out))?;
        Ok(writeln!(out, "\nhunt folder: {}", hunt.folder().display())?)
    })
}

/// That of the worst verdict: a failed expectation before a lost guest before a doubt.
fn exit_code(cells: &[&Cell]) -> u8 {
    let codes: BTreeSet<u8> = cells.iter().map(|cell| cell.verdict.exit_code()).collect();
    let worst = [exit::FAIL, exit::GUEST, exit::INCONCLUSIVE];
    worst.into_iter().find(|code| codes.contains(code)).unwrap_or(exit::PASS)
}
