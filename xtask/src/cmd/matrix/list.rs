//! `matrix --list`: the cells, which rules hold for them, and how long they took. Called by
//! `cmd::matrix`.

use super::live::about;
use super::times::Times;
use crate::cli::MatrixArgs;
use crate::error::exit;
use crate::jobs::host_cpus;
use crate::matrix::{Cell, Plan, Planned};
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::report::new_table;
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Jobs that GitHub makes of one matrix, at most.
const GITHUB_JOBS: usize = 256;

/// As `strategy.matrix` takes it: `matrix: ${{ fromJSON(..) }}`.
#[derive(Debug, Serialize)]
struct Strategy<'a> {
    include: Vec<Job<'a>>,
}

/// One job: `--filter ${{ matrix.name }}` runs it.
#[derive(Debug, Serialize)]
struct Job<'a> {
    name: String,
    #[serde(flatten)]
    cell: &'a Cell,
    runs: u32,
    /// As it took here last; absent if it was never run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_s: Option<u64>,
}

pub(super) fn run(plan: &Plan, args: &MatrixArgs, paths: &Paths) -> Result<u8> {
    let times = Times::read(paths)?;
    let cells = plan.of(args.shard);
    match args.views.json {
        true => print_jobs(&cells, &times)?,
        false => print_table(&cells, args, &times)?,
    }
    Ok(exit::PASS)
}

fn print_jobs(cells: &[&Planned], times: &Times) -> Result<()> {
    let to_run = cells.iter().filter(|planned| planned.runs > 0);
    let include: Vec<_> = to_run.map(|planned| job(planned, times)).collect();
    let progress = Progress::new();
    if include.len() > GITHUB_JOBS {
        progress.step(format!(
            "{} jobs: GitHub takes {GITHUB_JOBS} of a matrix; list a part of it by --shard or \
             --filter, or give each job a shard",
            include.len()
        ));
    }
    for planned in cells.iter().filter(|planned| planned.runs == 0) {
        let why = planned.excluded.as_deref().unwrap_or_default();
        progress.step(format!("no job for {}: {why}", planned.name()));
    }
    drop(progress);
    json_to_stdout(&Strategy { include })
}

fn job<'a>(planned: &'a Planned, times: &Times) -> Job<'a> {
    let estimate = times.estimate(planned).filter(|_| times.knows(planned));
    Job {
        name: planned.name(),
        cell: &planned.cell,
        runs: planned.runs,
        estimate_s: estimate.map(|time| time.as_secs()),
    }
}

fn print_table(cells: &[&Planned], args: &MatrixArgs, times: &Times) -> Result<()> {
    let mut table = new_table(&["cell", "runs", "estimate", "rules"]);
    for planned in cells {
        let estimate = match times.estimate(planned).filter(|_| planned.runs > 0) {
            Some(time) if times.knows(planned) => about(time),
            Some(time) => format!("{} ?", about(time)),
            None => String::new(),
        };
        table.add_row([planned.name(), planned.runs.to_string(), estimate, rules(planned)]);
    }
    let to_run: Vec<_> = cells.iter().filter(|planned| planned.runs > 0).collect();
    let jobs = args.jobs.map_or_else(host_cpus, NonZeroUsize::get);
    let total: Option<Duration> = to_run.iter().map(|planned| times.estimate(planned)).sum();
    to_stdout(|out| {
        writeln!(out, "{table}")?;
        writeln!(out, "\n{} cells, {} to be run", cells.len(), to_run.len())?;
        let unknown = to_run.iter().filter(|planned| !times.knows(planned)).count();
        match total {
            None => writeln!(out, "none of them was run on this machine: no estimate")?,
            Some(total) => {
                let by = u32::try_from(jobs).unwrap_or(1).max(1);
                let guessed = match unknown {
                    0 => String::new(),
                    n => format!(
                        "; {n} were never run here (?), and count as the same scenario on other \
                         kernels, else as the median of all"
                    ),
                };
                let (alone, beside) = (about(total), about(total / by));
                writeln!(
                    out,
                    "{alone} one after the other, {beside} at best by {jobs} jobs{guessed}"
                )?;
            }
        }
        Ok(())
    })
}

fn rules(planned: &Planned) -> String {
    let mut rules = Vec::new();
    if let Some(why) = &planned.excluded {
        rules.push(format!("excluded: {why}"));
    }
    if let Some(minimum) = &planned.minimum {
        rules.push(format!("from Linux {minimum} on"));
    }
    if let Some(known) = &planned.known_failure {
        let until = known.expires.as_ref().map(|last| format!(" until {last}")).unwrap_or_default();
        rules.push(format!("known failure{until}: {}", known.reason));
    }
    rules.join("; ")
}
