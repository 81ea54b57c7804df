//! `xtask bench work-types`: the workload library on this machine beside bare loops that make the
//! same system calls and keep no books, with nothing to do between two hops. Called by `bench`.

use super::compare::{Comparison, Spread, Verdict, exit_code};
use super::rivals::{Figures, Length, Pace, Rivals};
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::report::new_table;
use anyhow::{Context as _, Result};
use comfy_table::CellAlignment;
use std::io::Write;
use std::time::Duration;

/// One side of one round.
const SPAN: Duration = Duration::from_secs(1);
/// Rounds of a first look at how fast the other side is.
const FIRST_LOOK: u64 = 5000;

/// Rounds in which sleeps are counted.
const SLEEP_ROUNDS: u64 = 20_000;

/// A work type of the library, what it is compared with, and the ratio that it must reach.
struct Pair {
    /// The set of workers: its work type as JSON, and how many.
    work_type: &'static str,
    num_workers: usize,
    theirs: Theirs,
    cpus: usize,
    /// None on several CPUs: how often the answer is there before a side has gone to sleep, and
    /// whether both share a CPU, counts for more than what is compared. A sleep and a wake-up across
    /// CPUs cost 10 us and more; a few dozen instructions decide whether there is one.
    bound: Option<f64>,
}

/// The other side. The library runs as many iterations as it, or as long.
#[derive(Debug, Clone, Copy)]
enum Theirs {
    Perf,
    /// A program of `xtask/bench`, with so many PAUSEs before each wake-up.
    Bare(&'static str, u64),
    /// The library's own spin steps, with no look at clock, CPU and counters until the end.
    Unbroken,
}

const PIPE: &str = r#"{"PipeIo":{"burst_iters":0}}"#;
const FUTEX: &str = r#"{"FutexPingPong":{"spin_iters":0}}"#;
/// With some work before each wake-up, in which the other side has time to fall asleep.
const FUTEX_ASLEEP: &str = r#"{"FutexPingPong":{"spin_iters":64}}"#;
const PAUSES: u64 = 64;
const FORK: &str = r#""ForkExit""#;
const SPIN: &str = r#""SpinWait""#;
/// A burst that only the stop ends, before a mutex that nobody else wants.
const UNBROKEN: &str = r#"{"MutexContention":{"contenders":1,"work_iters":1000000000000000}}"#;

const PAIRS: &[Pair] = &[
    Pair { work_type: PIPE, num_workers: 2, theirs: Theirs::Perf, cpus: 1, bound: Some(0.95) },
    Pair { work_type: PIPE, num_workers: 2, theirs: Theirs::Perf, cpus: 2, bound: None },
    Pair {
        work_type: PIPE,
        num_workers: 2,
        theirs: Theirs::Bare("pipe", 0),
        cpus: 1,
        bound: Some(0.95),
    },
    Pair { work_type: PIPE, num_workers: 2, theirs: Theirs::Bare("pipe", 0), cpus: 2, bound: None },
    Pair {
        work_type: FUTEX,
        num_workers: 2,
        theirs: Theirs::Bare("futex", 0),
        cpus: 1,
        bound: Some(0.95),
    },
    Pair {
        work_type: FUTEX,
        num_workers: 2,
        theirs: Theirs::Bare("futex", 0),
        cpus: 2,
        bound: None,
    },
    Pair {
        work_type: FUTEX_ASLEEP,
        num_workers: 2,
        theirs: Theirs::Bare("futex", PAUSES),
        cpus: 2,
        bound: None,
    },
    Pair {
        work_type: FORK,
        num_workers: 1,
        theirs: Theirs::Bare("fork", 0),
        cpus: 1,
        bound: Some(0.9),
    },
    Pair { work_type: SPIN, num_workers: 1, theirs: Theirs::Unbroken, cpus: 1, bound: Some(0.98) },
];

/// The crowd: so many spinning workers, from no process to all reports.
const CROWD: usize = 1000;
const CROWD_BOUND_S: f64 = 1.0;

const HEADER: [&str; 11] = [
    "work type",
    "beside",
    "CPUs",
    "unit",
    "ours",
    "theirs",
    "ratio",
    "min",
    "max",
    "bound",
    "result",
];
/// Columns of numbers.
const NUMBERS: std::ops::Range<usize> = 4..9;

/// A line of the table.
struct Line {
    cells: Vec<String>,
    verdict: Verdict,
}

pub(super) fn run(count: u32, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let rivals = Rivals::prepare(paths, &progress)?;
    let load = std::fs::read_to_string("/proc/loadavg").context("read(/proc/loadavg) failed")?;
    let mut lines = Vec::new();
    for pair in PAIRS {
        let (name, theirs, cpus) = (pair.name(), pair.theirs.name(), pair.cpus);
        progress.step(format!("{name} beside {theirs}, CPUs: {cpus}"));
        lines.push(compare(pair, count, &rivals, &progress)?);
    }
    progress.step(format!("{CROWD} workers"));
    let (crowd, supervised) = crowd(count, &rivals)?;
    lines.push(crowd);
    let mut notes = vec![
        format!(
            "Medians; rounds: {count}, ours and theirs in turn. A ratio is taken within a round."
        ),
        memory(&rivals)?,
        sleeps(&rivals)?,
        format!("Load of this machine before: {}", load.trim()),
    ];
    if !supervised {
        notes.push("SCHED_FIFO was refused: the crowd's parent shared the CPUs with it.".into());
    }
    drop(progress);
    to_stdout(|out| print(&lines, &notes, out))?;
    Ok(exit_code(lines.iter().map(|line| &line.verdict)))
}

fn print(lines: &[Line], notes: &[String], out: &mut impl Write) -> Result<()> {
    let mut table = new_table(&HEADER);
    for line in lines {
        table.add_row(line.cells.iter().cloned().chain([line.verdict.show()]));
    }
    for column in NUMBERS {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(writeln!(out, "{table}\n\n{}", notes.join("\n"))?)
}

impl Pair {
    fn name(&self) -> &'static str {
        self.work_type.split('"').nth(1).unwrap_or(self.work_type)
    }

    /// Why this cannot be measured here.
    fn obstacle(&self, rivals: &Rivals) -> Option<String> {
        match self.theirs {
            Theirs::Perf if rivals.no_perf.is_some() => rivals.no_perf.clone(),
            _ if rivals.cpus.len() < self.cpus => Some(format!("needs {} CPUs", self.cpus)),
            _ => None,
        }
    }
}

impl Theirs {
    fn name(self) -> String {
        match self {
            Self::Perf => "perf bench sched pipe".into(),
            Self::Bare(name, 0) => format!("{name}.c"),
            Self::Bare(name, pauses) => format!("{name}.c, {pauses} PAUSEs"),
            Self::Unbroken => "an unbroken spin".into(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Perf | Self::Bare(..) => "rounds/s",
            Self::Unbroken => "steps/CPU s",
        }
    }

    fn pace(self, rivals: &Rivals, cpus: &[usize], count: u64) -> Result<Pace> {
        match self {
            Self::Perf => rivals.perf_pipe(cpus, count),
            Self::Bare(name, pauses) => Ok(rounds(&rivals.bare(name, pauses, cpus, count)?)),
            Self::Unbroken => Ok(steps(&rivals.library(UNBROKEN, 1, cpus, Length::Time(SPAN))?)),
        }
    }
}

fn rounds(figures: &Figures) -> Pace {
    Pace { count: figures.iterations, time: Duration::from_nanos(figures.wall_ns) }
}

fn steps(figures: &Figures) -> Pace {
    Pace { count: figures.work_units, time: Duration::from_nanos(figures.cpu_ns) }
}

fn compare(pair: &Pair, count: u32, rivals: &Rivals, progress: &Progress) -> Result<Line> {
    let mut cells = vec![
        pair.name().into(),
        pair.theirs.name(),
        pair.cpus.to_string(),
        pair.theirs.unit().into(),
    ];
    let bound = pair.bound.map_or_else(|| "-".into(), |bound| format!(">= {bound:.2}"));
    if let Some(why) = pair.obstacle(rivals) {
        cells.extend(["-"; 5].map(String::from));
        cells.push(bound);
        return Ok(Line { cells, verdict: Verdict::NotMeasured(why) });
    }
    let cpus = &rivals.cpus[..pair.cpus];
    let fitting = pair.theirs.pace(rivals, cpus, FIRST_LOOK)?.fit(SPAN);
    let mut paces = Vec::new();
    for round in 1..=count {
        progress.update(format!("round {round} of {count}"));
        let run = |length| rivals.library(pair.work_type, pair.num_workers, cpus, length);
        let ours = match pair.theirs {
            Theirs::Perf | Theirs::Bare(..) => rounds(&run(Length::Iterations(fitting))?),
            Theirs::Unbroken => steps(&run(Length::Time(SPAN))?),
        };
        let theirs = pair.theirs.pace(rivals, cpus, fitting)?;
        paces.push((ours.per_second(), theirs.per_second()));
    }
    let Comparison { ours, theirs, ratio } = Comparison::of(&paces);
    cells.extend([ours, theirs].map(|rate| show_rate(rate.median)));
    cells.extend([ratio.median, ratio.least, ratio.most].map(|ratio| format!("{ratio:.3}")));
    cells.push(bound);
    let verdict = match pair.bound {
        Some(bound) => Verdict::at_least(ratio.median, bound),
        None => Verdict::Shown,
    };
    Ok(Line { cells, verdict })
}

/// The line of the crowd, and whether its parent was above it.
fn crowd(count: u32, rivals: &Rivals) -> Result<(Line, bool)> {
    let (mut seconds, mut supervised) = (Vec::new(), true);
    for _ in 0..count {
        let run = rivals.library(SPIN, CROWD, &[], Length::Time(Duration::from_millis(1)))?;
        seconds.push((run.spawn_ns + run.run_ns + run.collect_ns) as f64 / 1e9);
        supervised &= run.supervised;
    }
    let Spread { median, least, most } = Spread::of(&seconds);
    let cells = vec![
        format!("{CROWD} SpinWait"),
        "spawn, start, collect".into(),
        rivals.cpus.len().to_string(),
        "s".into(),
        format!("{median:.3}"),
        "-".into(),
        "-".into(),
        format!("{least:.3}"),
        format!("{most:.3}"),
        format!("<= {CROWD_BOUND_S:.2}"),
    ];
    Ok((Line { cells, verdict: Verdict::at_most(median, CROWD_BOUND_S) }, supervised))
}

/// What each side of ForkExit has to copy.
fn memory(rivals: &Rivals) -> Result<String> {
    let ours = rivals.library(FORK, 1, &[], Length::Iterations(1))?;
    let theirs = rivals.bare("fork", 0, &[], 1)?;
    let show = |f: &Figures| format!("{} pages ({} private)", f.space_pages, f.private_pages);
    Ok(format!("ForkExit's worker is forked from {}, fork.c has {}.", show(&ours), show(&theirs)))
}

/// How often a round of FutexPingPong has a side asleep, which its ratio on two CPUs depends on.
fn sleeps(rivals: &Rivals) -> Result<String> {
    let Some(cpus) = rivals.cpus.get(..2) else { return Ok("Sleeps a round: one CPU.".into()) };
    let per_round = |figures: &Figures| figures.sleeps as f64 / figures.iterations as f64;
    let mut text = "FutexPingPong on two CPUs, sleeps a round (2 is always):".to_owned();
    for (work_type, pauses) in [(FUTEX, 0), (FUTEX_ASLEEP, PAUSES)] {
        let ours = rivals.library(work_type, 2, cpus, Length::Iterations(SLEEP_ROUNDS))?;
        let theirs = rivals.bare("futex", pauses, cpus, SLEEP_ROUNDS)?;
        let [ours, theirs] = [&ours, &theirs].map(per_round);
        text += &format!(" {ours:.2} and {theirs:.2} in futex.c with {pauses} PAUSEs;");
    }
    Ok(text.trim_end_matches(';').to_owned() + ".")
}

/// Four digits of a rate.
fn show_rate(per_second: f64) -> String {
    match per_second {
        ..1e4 => format!("{per_second:.0}"),
        ..1e6 => format!("{:.1} k", per_second / 1e3),
        _ => format!("{:.2} M", per_second / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rivals::scenario;
    use super::*;
    use workloads::Scenario;

    #[test]
    fn every_workload_of_the_table_is_one_that_the_library_takes() {
        let pairs = PAIRS.iter().map(|pair| (pair.work_type, pair.num_workers));
        for (work_type, num_workers) in pairs.chain([(UNBROKEN, 1), (SPIN, CROWD)]) {
            for length in [Length::Iterations(1), Length::Time(SPAN)] {
                let text = scenario(work_type, num_workers, &[0, 1], length).unwrap();
                let parsed = Scenario::parse(&text).unwrap();
                assert_eq!(parsed.workload.unwrap().num_workers, num_workers, "{text}");
                assert_eq!(parsed.iterations.is_some(), matches!(length, Length::Iterations(_)));
            }
        }
    }

    #[test]
    fn a_line_names_its_work_type() {
        assert_eq!(PAIRS.first().unwrap().name(), "PipeIo");
        assert_eq!(PAIRS.last().unwrap().name(), "SpinWait");
    }

    #[test]
    fn rates_keep_four_digits() {
        assert_eq!(show_rate(9876.4), "9876");
        assert_eq!(show_rate(198_543.0), "198.5 k");
        assert_eq!(show_rate(40_198_000.0), "40.20 M");
    }
}
