//! Tables for the tests of the views.

use super::super::cell::Cell;
use super::super::summary::{CpuLine, Distribution, RunSummary, WorkerLine};
use super::super::table::{FORMAT, Row, Standing, Table};
use crate::run::Verdict;
use anyhow::Result;
use std::collections::BTreeMap;
use workloads::{Check, Latency, Outcome};

/// What each of the formats would take for its own.
const HOSTILE: &str = "50 % | <script>alert(1)</script> ]]> `a` *b*\n::error::x,\r\u{1b}[31m";

pub(super) fn shown(view: fn(&Table, &mut Vec<u8>) -> Result<()>, table: &Table) -> String {
    let mut out = Vec::new();
    view(table, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn row(standing: Standing, kernel: &str, scheduler: &str, scenario: &str, seed: &str) -> Row {
    let cell = Cell {
        kernel: kernel.into(),
        scheduler: scheduler.into(),
        scenario: scenario.into(),
        topology: "own".into(),
        seed: seed.into(),
        mode: "deterministic".into(),
        kernel_args: "own".into(),
    };
    Row { name: cell.name(), cell, standing, reason: None, runs: Vec::new() }
}

fn run(row: &Row, verdict: Verdict) -> RunSummary {
    RunSummary {
        folder: format!("cells/{}/1", row.name),
        verdict,
        advice: None,
        kernel: "6.12.0-amd64".into(),
        kernel_args: Vec::new(),
        machine: "4 CPUs (1s4c1t), 1024 MiB".into(),
        accel: "tcg".into(),
        cpu_model: "max".into(),
        checks: vec![
            check("completed", Outcome::Pass, (8.0, 8.0), "workers"),
            check("latency.wake.p99", Outcome::Fail, (3_210_000.0, 2e6), "ns"),
        ],
        metrics: BTreeMap::new(),
        latencies: BTreeMap::new(),
        workers: Vec::new(),
        cpus: Vec::new(),
    }
}

fn check(name: &str, outcome: Outcome, (measured, bound): (f64, f64), unit: &str) -> Check {
    Check {
        name: name.into(),
        step: None,
        outcome,
        measured: Some(measured),
        bound: Some(bound),
        unit: unit.into(),
        workers: vec![3],
        detail: "99th percentile of wake-ups | all".into(),
    }
}

/// A run of some cell.
pub(crate) fn a_run() -> RunSummary {
    run(&row(Standing::Pass, "k", "none", "wake", "own"), Verdict::Pass)
}

/// Two scenarios that pass on `kernels` kernels.
pub(super) fn small(kernels: usize) -> Table {
    let rows = ["idle-placement", "wake"].iter().flat_map(|scenario| {
        (1..=kernels).map(move |kernel| {
            row(Standing::Pass, &format!("linux-6.{kernel}"), "none", scenario, "own")
        })
    });
    Table { matrix: FORMAT, name: "small".into(), rows: rows.collect() }
}

const STANDINGS: [Standing; 9] = [
    Standing::Pass,
    Standing::KnownFailure,
    Standing::UnexpectedPass,
    Standing::Skipped,
    Standing::Inconclusive,
    Standing::Missing,
    Standing::Fail,
    Standing::GuestFailed,
    Standing::Unrepeatable,
];

/// A cell of each standing, with reasons that mean harm.
pub(super) fn hostile() -> Table {
    let rows = STANDINGS.iter().enumerate().map(|(at, standing)| {
        let kernel = ["bookworm", "trixie"][at % 2];
        let scheduler = ["none", "scx_a"][at / 2 % 2];
        let mut row =
            row(*standing, kernel, scheduler, ["wake", "quota"][at / 4 % 2], ["1", "2"][at / 8]);
        row.reason = (*standing != Standing::Pass).then(|| HOSTILE.to_owned());
        let verdict = match standing {
            Standing::Skipped | Standing::Missing => return row,
            Standing::Fail | Standing::KnownFailure => Verdict::Fail,
            Standing::Inconclusive => Verdict::Inconclusive,
            Standing::GuestFailed => Verdict::Panic,
            _ => Verdict::Pass,
        };
        let mut run = run(&row, verdict);
        match verdict {
            Verdict::Fail => {}
            Verdict::Inconclusive => run.checks[1].outcome = Outcome::Inconclusive,
            _ => run.checks.truncate(1),
        }
        row.runs.push(run);
        row
    });
    Table { matrix: FORMAT, name: "all|kinds".into(), rows: rows.collect() }
}

/// As a real matrix would be: `cells` of 16 workers and eight checks, two runs of every twentieth;
/// random by `seed`.
pub(super) fn synthetic(cells: usize, seed: u64) -> Table {
    let mut random = fastrand::Rng::with_seed(seed);
    let kernels = ["bookworm", "trixie", "trixie-backports", "base", "patched"];
    let rows = (0..cells).map(|at| {
        let scheduler = ["none", "scx_simple"][at / kernels.len() % 2];
        let scenario = format!("scenario-{:02}", at / (2 * kernels.len()));
        let kernel = kernels[at % kernels.len()];
        let standing = *random.choice([[Standing::Pass; 9], STANDINGS].concat().iter()).unwrap();
        let mut row = row(standing, kernel, scheduler, &scenario, "own");
        row.reason = (standing != Standing::Pass).then(|| "latency.wake.p99 does not hold".into());
        if !matches!(standing, Standing::Skipped | Standing::Missing) {
            let verdict = if standing == Standing::Pass { Verdict::Pass } else { Verdict::Fail };
            let run = full(run(&row, verdict), &mut random);
            row.runs.push(run.clone());
            if at % 20 == 0 {
                row.runs.push(RunSummary { folder: format!("cells/{}/2", row.name), ..run });
            }
        }
        row
    });
    Table { matrix: FORMAT, name: "synthetic".into(), rows: rows.collect() }
}

fn full(mut run: RunSummary, random: &mut fastrand::Rng) -> RunSummary {
    let fails = run.verdict == Verdict::Fail;
    run.checks = (0..8)
        .map(|at| {
            let outcome = if fails && at == 7 { Outcome::Fail } else { Outcome::Pass };
            let name = if at == 7 { "latency.wake.p99".into() } else { format!("check-{at}") };
            check(&name, outcome, (3e6 * random.f64(), 2e6), "ns")
        })
        .collect();
    for kind in [Latency::Wake, Latency::Timer, Latency::Lock] {
        let all = distribution(random);
        for (part, value) in [("p50", all.p50_ns), ("p99", all.p99_ns)] {
            let key = format!("{}_{part}", kind.name());
            run.metrics.insert(key.into(), crate::units::float(value));
        }
        run.latencies.insert(kind, all);
    }
    run.metrics.insert("throughput".to_owned().into(), 1e6 * random.f64());
    run.metrics.insert("run_delay".to_owned().into(), random.f64());
    run.workers = (0..16)
        .map(|index| WorkerLine {
            index,
            what: ["PipeIo server", "PipeIo returner"][index % 2].into(),
            iterations: random.u64(1_000..1_000_000),
            cpu_share: (index != 5).then(|| random.f64()),
            run_delay_share: Some(random.f64() / 2.0),
            migrations: Some(random.u64(0..5_000)),
            max_gap_ns: Some(random.u64(10_000..30_000_000)),
        })
        .collect();
    run.cpus = (0..4)
        .map(|cpu| CpuLine {
            cpu,
            busy_share: random.f64(),
            run_delay_share: Some(3.0 * random.f64()),
            timeslices: Some(random.u64(100..90_000)),
        })
        .collect();
    run
}

/// Of 48 points, from some microseconds to some milliseconds.
fn distribution(random: &mut fastrand::Rng) -> Distribution {
    let (mut edge_ns, mut below) = (random.u64(2_000..9_000), 0);
    let cdf: Vec<_> = (0..48_u64)
        .map(|at| {
            edge_ns += edge_ns / random.u64(4..12);
            below += random.u64(1..20_000) / (1 + at * at / 4) + 1;
            (edge_ns, below)
        })
        .collect();
    Distribution { count: below, p50_ns: cdf[3].0, p99_ns: cdf[30].0, max_ns: edge_ns, cdf }
}
