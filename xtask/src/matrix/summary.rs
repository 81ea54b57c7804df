//! What a table keeps of a run: all that its views show, and no fact of the host. Made of a run's
//! report by `cmd::matrix`, read by `table` and `views`.

use crate::compare::{Key, values};
use crate::report::RunReport;
use crate::run::Verdict;
use crate::units::float;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use workloads::{Check, CpuUse, Latency, LatencySummary, RunRecord, WorkerReport};

/// Points of a distribution that are kept: enough for a line of a few hundred pixels.
const POINTS: usize = 48;

/// One run of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunSummary {
    /// Its folder below that of the matrix.
    pub(crate) folder: String,
    pub(crate) verdict: Verdict,
    /// What to do about it, unless it passed.
    pub(crate) advice: Option<String>,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// Arguments that the file, the scenario and the cell gave it.
    #[serde(default)]
    pub(crate) kernel_args: Vec<String>,
    /// As `report` shows it: `4 CPUs (1s4c1t), 1024 MiB`.
    pub(crate) machine: String,
    /// `kvm` or `tcg`; none in results of older versions, as the next one.
    #[serde(default)]
    pub(crate) accel: String,
    /// As QEMU's `-cpu` takes it.
    #[serde(default)]
    pub(crate) cpu_model: String,
    pub(crate) checks: Vec<Check>,
    /// As `compare` names them.
    pub(crate) metrics: BTreeMap<Key, f64>,
    /// Samples of all workers by meaning.
    pub(crate) latencies: BTreeMap<Latency, Distribution>,
    pub(crate) workers: Vec<WorkerLine>,
    /// None where the guest's kernel does not count them.
    #[serde(default)]
    pub(crate) cpus: Vec<CpuLine>,
}

/// The distribution function of latency samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
    /// A time in ns, and how many of the samples are at most that; ascending.
    pub(crate) cdf: Vec<(u64, u64)>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerLine {
    pub(crate) index: usize,
    /// Its work type, with its role where the type has several.
    pub(crate) what: String,
    pub(crate) iterations: u64,
    /// CPU time in wall time; absent where the counter is.
    pub(crate) cpu_share: Option<f64>,
    /// Runnable and waiting for a CPU, in wall time.
    pub(crate) run_delay_share: Option<f64>,
    pub(crate) migrations: Option<u64>,
    pub(crate) max_gap_ns: Option<u64>,
}

/// One CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CpuLine {
    pub(crate) cpu: usize,
    /// Time that it was not idle, in wall time.
    pub(crate) busy_share: f64,
    /// Time that its tasks waited to run, in wall time: how many waited on the average.
    pub(crate) run_delay_share: Option<f64>,
    pub(crate) timeslices: Option<u64>,
}

impl RunSummary {
    pub(crate) fn of(report: &RunReport, folder: String) -> Self {
        let distribution = |(kind, all): (&Latency, &LatencySummary)| (*kind, all.into());
        Self {
            folder,
            verdict: report.verdict,
            advice: report.advice.clone(),
            kernel: report.kernel.release.clone(),
            kernel_args: report.kernel.args.clone().unwrap_or_default(),
            machine: report.machine.shape(),
            accel: report.machine.accel.clone(),
            cpu_model: report.machine.cpu_model.clone().unwrap_or_default(),
            checks: report.checks.clone(),
            metrics: values(report),
            latencies: report.totals.latency.iter().map(distribution).collect(),
            workers: report.workers.iter().map(WorkerLine::of).collect(),
            cpus: CpuLine::all(&report.record),
        }
    }

    /// Which kernel it was: `7.3.4-amd64 with preempt=lazy`.
    pub(crate) fn linux(&self) -> String {
        match self.kernel_args.as_slice() {
            [] => self.kernel.clone(),
            args => format!("{} with {}", self.kernel, args.join(" ")),
        }
    }

    /// What it ran on: `4 CPUs (1s4c1t), 1024 MiB, tcg`.
    pub(super) fn place(&self) -> String {
        match self.accel.as_str() {
            "" => self.machine.clone(),
            accel => format!("{}, {accel}", self.machine),
        }
    }
}

impl From<&LatencySummary> for Distribution {
    fn from(all: &LatencySummary) -> Self {
        let mut below = 0;
        let mut cdf: Vec<_> = all
            .histogram
            .iter()
            .map(|(edge_ns, count)| {
                below = u64::saturating_add(below, *count);
                (*edge_ns, below)
            })
            .collect();
        thin(&mut cdf, all.count);
        Self { count: all.count, p50_ns: all.p50_ns, p99_ns: all.p99_ns, max_ns: all.max_ns, cdf }
    }
}

/// Leaves about [`POINTS`] points: those at which the part of the samples, or the logarithm of the
/// time, has grown by a fair step, so that the tail keeps its shape.
fn thin(cdf: &mut Vec<(u64, u64)>, count: u64) {
    let (Some(first), Some(last)) = (cdf.first().copied(), cdf.last().copied()) else { return };
    let log = |edge_ns: u64| float(edge_ns.max(1)).ln();
    let width = (log(last.0) - log(first.0)).max(f64::MIN_POSITIVE);
    let step = 2.0 / float(u64::try_from(POINTS).unwrap_or(1));
    let mut kept = first;
    cdf.retain(|point| {
        let risen = float(point.1 - kept.1) / float(count.max(1));
        let moved = (log(point.0) - log(kept.0)) / width;
        let keep = *point == first || *point == last || risen >= step || moved >= step;
        if keep {
            kept = *point;
        }
        keep
    });
}

impl WorkerLine {
    fn of(worker: &WorkerReport) -> Self {
        let share = |part_ns: Option<u64>| {
            part_ns
                .filter(|_| worker.wall_time_ns > 0)
                .map(|ns| float(ns) / float(worker.wall_time_ns))
        };
        let what = match worker.role.as_str() {
            "" | "worker" => worker.work_type.clone(),
            role => format!("{} {role}", worker.work_type),
        };
        Self {
            index: worker.index,
            what,
            iterations: worker.iterations,
            cpu_share: share(worker.cpu_time_ns),
            run_delay_share: share(worker.run_delay_ns),
            migrations: worker.migrations,
            max_gap_ns: worker.max_gap_ns,
        }
    }
}

impl CpuLine {
    fn all(record: &RunRecord) -> Vec<Self> {
        let wall_ns = float(record.wall_time_ns.max(1));
        let line = |used: &CpuUse| Self {
            cpu: used.cpu,
            // The readings are around the measurement.
            busy_share: (float(used.busy_ns) / wall_ns).min(1.0),
            run_delay_share: used.run_delay_ns.map(|ns| float(ns) / wall_ns),
            timeslices: used.timeslices,
        };
        record.cpus.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_distribution_keeps_its_ends_and_is_short() {
        let histogram: Vec<_> = (1..=5000_u64).map(|n| (n * n, 1 + n % 7)).collect();
        let count = histogram.iter().map(|(_, n)| n).sum();
        let all = LatencySummary {
            count,
            p50_ns: 1,
            p90_ns: 2,
            p99_ns: 3,
            p999_ns: 4,
            max_ns: 25_000_000,
            histogram,
        };
        let cdf = Distribution::from(&all).cdf;
        assert!((POINTS / 2..=POINTS + 2).contains(&cdf.len()), "{} points", cdf.len());
        assert_eq!((cdf[0], cdf[cdf.len() - 1]), ((1, 2), (25_000_000, count)));
        assert!(cdf.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    }
}
