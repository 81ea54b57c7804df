//! What two runs are compared by, as a table: each metric of the workers of a run, all together
//! and by set. Called by `side` and `finding`.

use crate::report::RunReport;
use crate::units::{float, sum_of, sum_of_known};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use workloads::{Latency, LatencySummary, WorkerReport, jain_index};

const NS_PER_S: f64 = 1e9;
/// Samples that a percentile needs: fewer do not have one in a thousand.
const SAMPLES_OF_P999: u64 = 1000;
const SAMPLES_OF_P99: u64 = 100;

/// Between a metric and its set.
const OF: &str = " of ";

/// Which way is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
    /// It says what happened, not how well.
    Neither,
}

/// How values are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Ns,
    PerSecond,
    /// A part of 1, shown in percent.
    Share,
    /// A number by itself.
    Plain,
}

/// The workers that one value is of.
type Workers<'a> = [&'a WorkerReport];

impl Unit {
    /// From `a` to `b`: in parts of `a`, or for parts of 1 and indices the difference itself.
    pub(crate) fn change(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Share | Self::Plain => b - a,
            Self::Ns | Self::PerSecond if a == b => 0.0,
            Self::Ns | Self::PerSecond => (b - a) / a,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) better: Better,
    pub(crate) unit: Unit,
    pub(crate) what: &'static str,
    read: fn(&Workers<'_>) -> Option<f64>,
}

const fn metric(
    name: &'static str,
    better: Better,
    unit: Unit,
    what: &'static str,
    read: fn(&Workers<'_>) -> Option<f64>,
) -> Metric {
    Metric { name, better, unit, what, read }
}

use Better::{Higher, Lower, Neither};
use Unit::{Ns, PerSecond, Plain, Share};

/// Every metric, in the order in which it is shown.
pub(crate) const METRICS: &[Metric] = &[
    metric("throughput", Higher, PerSecond, "iterations of all workers", |w| {
        rate(w, |worker| Some(worker.iterations))
    }),
    metric("wake_p50", Lower, Ns, "latency of wake-ups", |w| latency(w, Latency::Wake, P50)),
    metric("wake_p99", Lower, Ns, "latency of wake-ups", |w| latency(w, Latency::Wake, P99)),
    metric("wake_p999", Lower, Ns, "latency of wake-ups", |w| latency(w, Latency::Wake, P999)),
    metric("timer_p50", Lower, Ns, "lateness of sleeps", |w| latency(w, Latency::Timer, P50)),
    metric("timer_p99", Lower, Ns, "lateness of sleeps", |w| latency(w, Latency::Timer, P99)),
    metric("timer_p999", Lower, Ns, "lateness of sleeps", |w| latency(w, Latency::Timer, P999)),
    metric("yield_p99", Lower, Ns, "time off the CPU by sched_yield", |w| {
        latency(w, Latency::Yield, P99)
    }),
    metric("lock_p99", Lower, Ns, "time to a lock", |w| latency(w, Latency::Lock, P99)),
    metric("io_p99", Lower, Ns, "time of an I/O", |w| latency(w, Latency::Io, P99)),
    metric("run_delay", Lower, Share, "runnable and waiting, of wall time", |w| {
        share(w, |worker| worker.run_delay_ns)
    }),
    metric("max_gap", Lower, Ns, "longest time between two checkpoints", |w| {
        w.iter().filter_map(|worker| worker.max_gap_ns).max().map(float)
    }),
    metric(
        "fairness",
        Higher,
        Plain,
        "Jain's index of CPU time, least of sets and roles",
        fairness,
    ),
    metric("cpu", Neither, Share, "CPU time in wall time, mean", |w| {
        share(w, |worker| worker.cpu_time_ns)
    }),
    metric("migrations", Neither, PerSecond, "moves between CPUs", |w| {
        rate(w, |worker| worker.migrations)
    }),
    metric("voluntary_switches", Neither, PerSecond, "switches by blocking or yielding", |w| {
        rate(w, |worker| worker.voluntary_switches)
    }),
    metric("involuntary_switches", Neither, PerSecond, "preemptions", |w| {
        rate(w, |worker| worker.involuntary_switches)
    }),
];

/// A percentile, and the samples without which it says nothing.
type Percentile = (fn(&LatencySummary) -> u64, u64);
const P50: Percentile = (|all| all.p50_ns, 1);
const P99: Percentile = (|all| all.p99_ns, SAMPLES_OF_P99);
const P999: Percentile = (|all| all.p999_ns, SAMPLES_OF_P999);

/// A value's name: the metric, and the set of workers unless it is of all: `wake_p99 of PipeIo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct Key {
    pub(crate) set: String,
    pub(crate) metric: String,
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        let (metric, set) = text.split_once(OF).unwrap_or((&text, ""));
        Self { set: set.to_owned(), metric: metric.to_owned() }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.set.as_str() {
            "" => f.write_str(&self.metric),
            set => write!(f, "{}{OF}{set}", self.metric),
        }
    }
}

impl Key {
    /// The line of the table; none for a name of a baseline that this version does not know.
    pub(crate) fn metric(&self) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == self.metric)
    }
}

/// Every value that `report` has. With several sets of workers each has values of its own too.
pub(crate) fn values(report: &RunReport) -> BTreeMap<Key, f64> {
    let mut found = BTreeMap::new();
    let mut add = |set: &str, workers: &Workers<'_>| {
        for metric in METRICS {
            let value = (metric.read)(workers).filter(|value| value.is_finite());
            let key = Key { set: set.to_owned(), metric: metric.name.to_owned() };
            found.extend(value.map(|value| (key, value)));
        }
    };
    let all: Vec<_> = report.workers.iter().collect();
    add("", &all);
    let sets = sets(&all);
    if sets.len() > 1 {
        sets.iter().for_each(|(name, workers)| add(name, workers));
    }
    found
}

/// The sets by name: the work type, and what tells it from another set of that type.
fn sets<'a>(all: &[&'a WorkerReport]) -> Vec<(String, Vec<&'a WorkerReport>)> {
    let mut sets: BTreeMap<usize, Vec<&WorkerReport>> = BTreeMap::new();
    for worker in all {
        sets.entry(worker.group_idx).or_default().push(worker);
    }
    let name = |workers: &[&WorkerReport]| match workers[0].cgroup.as_deref() {
        None | Some("/") => workers[0].work_type.clone(),
        Some(cgroup) => format!("{} in {cgroup}", workers[0].work_type),
    };
    let names: Vec<_> = sets.values().map(|workers| name(workers)).collect();
    let named = sets.into_iter().zip(&names).map(|((index, workers), name)| {
        let alone = names.iter().filter(|other| *other == name).count() == 1;
        let name = if alone { name.clone() } else { format!("{name}, set {index}") };
        (name, workers)
    });
    named.collect()
}

fn latency(workers: &Workers<'_>, kind: Latency, (read, least): Percentile) -> Option<f64> {
    let parts = workers.iter().filter_map(|worker| worker.latency.get(&kind));
    let all = LatencySummary::merged(parts)?;
    (all.count >= least).then(|| float(read(&all)))
}

/// Events of all workers by the second, each in its own wall time.
fn rate(workers: &Workers<'_>, count: fn(&WorkerReport) -> Option<u64>) -> Option<f64> {
    workers.iter().map(|w| Some(float(count(w)?) * NS_PER_S / float(w.wall_time_ns))).sum()
}

fn share(workers: &Workers<'_>, part_ns: fn(&WorkerReport) -> Option<u64>) -> Option<f64> {
    let part = sum_of_known(workers.iter().map(|worker| part_ns(worker)))?;
    let wall = sum_of(workers.iter().map(|worker| worker.wall_time_ns));
    Some(float(part) / float(wall))
}

/// Of the set and role that is least fair.
fn fairness(workers: &Workers<'_>) -> Option<f64> {
    let mut times: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    for worker in workers {
        let peers = times.entry((worker.group_idx, &worker.role)).or_default();
        peers.push(float(worker.cpu_time_ns?));
    }
    times.values().filter_map(|times| jain_index(times)).min_by(f64::total_cmp)
}
