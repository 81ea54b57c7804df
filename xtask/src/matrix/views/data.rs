//! A table as the page has it: short JSON, in which a repeated run names the one that it equals.
//! Called by `html`, read by `map.js` and its siblings.

use super::super::summary::{Distribution, RunSummary};
use super::super::table::{Row, Table};
use super::grid::Grid;
use super::{counts_line, word};
use crate::compare::{Better, METRICS, Unit};
use crate::run::Verdict;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    name: &'a str,
    counts: String,
    axes: Vec<&'static str>,
    /// Kernel and scheduler.
    columns: Vec<(&'a str, Option<&'a str>)>,
    /// Values on the axes.
    lines: Vec<Vec<&'a str>>,
    metrics: BTreeMap<&'static str, (&'static str, &'static str, &'static str)>,
    cells: Vec<CellData<'a>>,
}

#[derive(Debug, Serialize)]
struct CellData<'a> {
    line: usize,
    column: usize,
    name: &'a str,
    standing: &'static str,
    word: &'static str,
    bad: bool,
    reason: Option<&'a str>,
    runs: Vec<RunData<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RunData<'a> {
    /// As the run of this index, but for the folder.
    Same {
        folder: &'a str,
        same: usize,
    },
    Whole(Box<Whole<'a>>),
}

#[derive(Debug, Serialize)]
struct Whole<'a> {
    folder: &'a str,
    verdict: Verdict,
    advice: Option<&'a str>,
    kernel: String,
    machine: String,
    /// Name, outcome, measured, bound, unit, workers, detail.
    checks: Vec<Value>,
    metrics: BTreeMap<String, f64>,
    latencies: BTreeMap<&'static str, LatencyData>,
    /// Index, what, iterations, CPU share, run delay share, migrations, longest gap.
    workers: Vec<Value>,
    /// Number, busy share, run delay share, time slices.
    cpus: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct LatencyData {
    count: u64,
    p50: u64,
    p99: u64,
    max: u64,
    /// Times in ns, and how many samples are at most that.
    at: Vec<u64>,
    below: Vec<u64>,
}

impl<'a> Page<'a> {
    pub(super) fn of(table: &'a Table) -> Self {
        let grid = Grid::of(table);
        let cells = grid.lines.iter().enumerate().flat_map(|(line, labelled)| {
            let cells = labelled.cells.iter().enumerate();
            cells.filter_map(move |(column, row)| Some(CellData::of(line, column, (*row)?)))
        });
        let metrics = METRICS.iter().map(|metric| {
            let unit = match metric.unit {
                Unit::Ns => "ns",
                Unit::PerSecond => "/s",
                Unit::Share => "share",
                Unit::Plain => "",
            };
            let better = match metric.better {
                Better::Lower => "lower",
                Better::Higher => "higher",
                Better::Neither => "",
            };
            (metric.name, (unit, better, metric.what))
        });
        Self {
            name: &table.name,
            counts: counts_line(table),
            cells: cells.collect(),
            metrics: metrics.collect(),
            axes: grid.axes,
            columns: grid.columns.iter().map(|of| (of.kernel, of.scheduler)).collect(),
            lines: grid.lines.into_iter().map(|line| line.labels).collect(),
        }
    }
}

impl<'a> CellData<'a> {
    fn of(line: usize, column: usize, row: &'a Row) -> Self {
        let runs = row.runs.iter().enumerate().map(|(at, run)| {
            let earlier = row.runs[..at].iter().position(|other| equal(other, run));
            match earlier {
                Some(same) => RunData::Same { folder: &run.folder, same },
                None => RunData::Whole(Box::new(Whole::of(run))),
            }
        });
        Self {
            line,
            column,
            name: &row.name,
            standing: row.standing.name(),
            word: word(row.standing),
            bad: row.standing.is_bad(),
            reason: row.reason.as_deref(),
            runs: runs.collect(),
        }
    }
}

fn equal(a: &RunSummary, b: &RunSummary) -> bool {
    *a == RunSummary { folder: a.folder.clone(), ..b.clone() }
}

impl<'a> Whole<'a> {
    fn of(run: &'a RunSummary) -> Self {
        let checks = run.checks.iter().map(|check| {
            let (measured, bound) = (check.measured.map(short), check.bound.map(short));
            let workers = &check.workers;
            json!([check.name, check.outcome, measured, bound, check.unit, workers, check.detail])
        });
        let workers = run.workers.iter().map(|worker| {
            let (cpu, delay) = (worker.cpu_share.map(short), worker.run_delay_share.map(short));
            let (migrations, gap_ns) = (worker.migrations, worker.max_gap_ns);
            json!([worker.index, worker.what, worker.iterations, cpu, delay, migrations, gap_ns])
        });
        let cpus = run.cpus.iter().map(|cpu| {
            let (busy, delay) = (short(cpu.busy_share), cpu.run_delay_share.map(short));
            json!([cpu.cpu, busy, delay, cpu.timeslices])
        });
        let metrics = run.metrics.iter().map(|(key, value)| (key.to_string(), short(*value)));
        Self {
            folder: &run.folder,
            verdict: run.verdict,
            advice: run.advice.as_deref(),
            kernel: run.linux(),
            machine: run.place(),
            checks: checks.collect(),
            metrics: metrics.collect(),
            latencies: run.latencies.iter().map(|(kind, all)| (kind.name(), all.into())).collect(),
            workers: workers.collect(),
            cpus: cpus.collect(),
        }
    }
}

impl From<&Distribution> for LatencyData {
    fn from(all: &Distribution) -> Self {
        let (at, below) = all.cdf.iter().copied().unzip();
        Self { count: all.count, p50: all.p50_ns, p99: all.p99_ns, max: all.max_ns, at, below }
    }
}

/// More digits than the page shows make it half again as large.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
