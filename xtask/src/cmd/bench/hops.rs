//! `bench hops`: what the library's bookkeeping costs, as instructions of one hop of each work type
//! that blocks or wakes beside a bare loop that makes the same system calls. Both run in one
//! deterministic guest with one CPU. Called by `bench`.

use super::compare::{Verdict, exit_code};
use super::guest::{self, DISK, Guest};
use super::hop_table::{BOUND, Clock, HOPS, Hop};
use super::rivals::{Figures, loops, nothing};
use crate::image::Programs;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::report::new_table;
use anyhow::{Context as _, Result};
use comfy_table::CellAlignment;
use guest_init::proto::programs::FOLDER;
use std::io::Write;

const HEADER: [&str; 7] = ["work type", "bare loop", "a hop", "theirs", "more", "share", "result"];
/// Columns of numbers.
const NUMBERS: std::ops::Range<usize> = 2..6;
/// The init, which is the workload library beside it.
const RATE: &str = "/init";
/// Runs of a hop: each of [`Cost`] with so many rounds, and with twice as many.
const RUNS: usize = 6;

/// Instructions of one iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    /// Under SCHED_FIFO.
    ours: f64,
    /// The bare loop likewise.
    theirs: f64,
    /// The bare loop under SCHED_OTHER, where most runs are.
    hop: f64,
}

pub(super) fn run(kernel: Option<&str>, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    progress.step("building the library and the bare loops");
    let outputs = guest::outputs(programs(paths)?, &Guest { kernel, cpus: 1 }, paths, &progress)?;
    let costs: Vec<Cost> = HOPS
        .iter()
        .zip(outputs.chunks(RUNS))
        .map(|(hop, lines)| cost(hop, lines))
        .collect::<Result<_>>()?;
    drop(progress);
    to_stdout(|out| print(&costs, out))?;
    let verdicts: Vec<Verdict> =
        HOPS.iter().zip(&costs).map(|(hop, cost)| cost.verdict(hop)).collect();
    Ok(exit_code(&verdicts))
}

/// Every program of the table with its commands, [`RUNS`] for a hop.
fn programs(paths: &Paths) -> Result<Programs> {
    let mut programs = Programs::default();
    for (name, file) in [("loops", loops(paths)?), ("nothing", nothing(paths)?)] {
        programs.files.insert(place(name), file);
    }
    for hop in HOPS {
        for rounds in [hop.rounds, 2 * hop.rounds] {
            programs.commands.push(ours(hop, rounds)?);
            programs.commands.push(theirs(hop, rounds));
            programs.commands.push([theirs(hop, rounds), vec!["fair".into()]].concat());
        }
    }
    Ok(programs)
}

fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Under SCHED_FIFO: fair tasks that wake each other preempt each other by what each has used, and a
/// hop with one switch more would count as bookkeeping.
fn ours(hop: &Hop, rounds: u64) -> Result<Vec<String>> {
    let work_type: serde_json::Value = serde_json::from_str(hop.work_type)
        .with_context(|| format!("`{}` is no JSON", hop.work_type))?;
    let scenario = serde_json::json!({ "iterations": rounds, "workload": {
        "num_workers": hop.num_workers, "work_type": work_type, "sched_policy": { "Fifo": 50 },
    } });
    Ok(vec![RATE.into(), scenario.to_string(), DISK.into()])
}

fn theirs(hop: &Hop, rounds: u64) -> Vec<String> {
    let (name, parts, argument) = hop.theirs;
    let argument = match argument {
        "nothing" => place(argument),
        other => other.into(),
    };
    vec![place("loops"), name.into(), rounds.to_string(), parts.to_string(), argument]
}

/// What the second runs had more, so that beginnings and ends count for nothing.
fn cost(hop: &Hop, lines: &[Vec<String>]) -> Result<Cost> {
    let mut instructions = [0.0; RUNS];
    for (value, lines) in instructions.iter_mut().zip(lines) {
        let text = lines.first().context("a program printed nothing")?;
        let figures: Figures =
            serde_json::from_str(text).with_context(|| format!("a program printed `{text}`"))?;
        *value = match hop.clock {
            Clock::Wall => figures.wall_ns,
            Clock::Cpu => figures.cpu_ns,
        } as f64;
    }
    let more = |at: usize| (instructions[at + RUNS / 2] - instructions[at]) / hop.rounds as f64;
    Ok(Cost { ours: more(0), theirs: more(1), hop: more(2) })
}

impl Cost {
    fn share(self) -> f64 {
        (self.ours - self.theirs) / self.hop
    }

    fn verdict(self, hop: &Hop) -> Verdict {
        if hop.bounded { Verdict::at_most(self.share(), BOUND) } else { Verdict::Shown }
    }
}

fn print(costs: &[Cost], out: &mut impl Write) -> Result<()> {
    let mut table = new_table(&HEADER);
    for (hop, cost) in HOPS.iter().zip(costs) {
        let count = |instructions: f64| format!("{instructions:.0}");
        table.add_row([
            hop.name.to_owned(),
            hop.theirs.0.to_owned(),
            count(cost.hop),
            count(cost.theirs),
            count(cost.ours - cost.theirs),
            format!("{:.1} %", 100.0 * cost.share()),
            cost.verdict(hop).show(),
        ]);
    }
    for column in NUMBERS {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let bound = 100.0 * BOUND;
    Ok(writeln!(
        out,
        "{table}\n\nInstructions of an iteration, all workers together, kernel included: the bare loop under SCHED_OTHER and\n\
         under SCHED_FIFO, and what a worker does more under SCHED_FIFO. That may be {bound:.0} % of the hop."
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use workloads::Scenario;

    #[test]
    fn every_workload_of_the_table_is_one_that_the_library_takes() {
        for hop in HOPS {
            let words = ours(hop, 7).unwrap();
            let scenario = Scenario::parse(&words[1]).unwrap();
            assert_eq!(scenario.workload.unwrap().num_workers, hop.num_workers, "{words:?}");
        }
    }

    #[test]
    fn a_cost_is_what_twice_the_rounds_take_more() {
        let hop = &Hop { rounds: 100, clock: Clock::Wall, ..HOPS[0] };
        let line = |wall_ns: u64| vec![format!("{{\"wall_ns\":{wall_ns},\"cpu_ns\":1}}")];
        let lines = [5_000, 4_000, 1_000, 8_030, 7_000, 5_000].map(line);
        let cost = cost(hop, &lines).unwrap();
        assert_eq!(cost, Cost { ours: 30.3, theirs: 30.0, hop: 40.0 });
        assert_eq!(cost.verdict(hop), Verdict::Ok);
        assert_eq!(Cost { ours: 31.3, ..cost }.verdict(hop), Verdict::Short);
        assert_eq!(Cost { hop: 0.0, ..cost }.verdict(hop), Verdict::Short);
    }
}
