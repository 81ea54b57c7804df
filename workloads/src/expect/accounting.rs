//! Whether the numbers of a run hold together. Where they do not, the measurement is wrong and not
//! the scheduler: the checks are made in every run, and never fail. Called by `judge`.

use super::check::{Check, Outcome, float};
use super::part::{Account, place};
use super::place::{listed, may_use};
use crate::plan::Plan;
use crate::report::WorkerReport;
use crate::run::RunRecord;
use std::collections::BTreeSet;

/// How much the sum of CPU times may exceed what the CPUs had to give: clocks are read apart.
const SLACK: f64 = 1.02;
/// How much of a CPU's busy time may not be in the record yet: the longest tick of a kernel.
const TICK_NS: f64 = 10e6;

/// No more CPU time was used than there was.
pub(super) fn total(reports: &[WorkerReport], record: &RunRecord, cpus: usize) -> Check {
    let used_ns: f64 = reports.iter().filter_map(|r| r.cpu_time_ns).map(float).sum();
    // Of a run with steps no worker may have seen the whole.
    let longest = reports.iter().map(|r| r.wall_time_ns).max();
    let wall_ns = record.wall_time_ns.max(longest.unwrap_or(0));
    let given_ns = float(wall_ns) * float(cpus as u64);
    let plausible = used_ns <= given_ns * SLACK;
    Check {
        outcome: if plausible { Outcome::Pass } else { Outcome::Inconclusive },
        measured: Some(used_ns),
        bound: Some(given_ns),
        ..Check::new("cpu_accounting", "ns", "CPU time of all workers, against wall time x CPUs")
    }
}

/// No CPU was busy for less time than those had who can have run nowhere else. There is no such
/// check where the busy time of CPUs is not known.
pub(super) fn of_cpus(plan: &Plan, record: &RunRecord, reports: &[WorkerReport]) -> Option<Check> {
    let all: BTreeSet<usize> = plan.topology.cpus().iter().copied().collect();
    let used = |report| Used::of(plan, record, &all, report);
    let used: Vec<Used> = reports.iter().filter_map(used).collect();
    let places: BTreeSet<_> = used.iter().map(|used| &used.cpus).chain([&all]).collect();
    let sums = places.into_iter().filter_map(|cpus| Sum::of(cpus, &used, record));
    let worst = sums.max_by(|a, b| a.missing_ns().total_cmp(&b.missing_ns()))?;
    let detail = format!(
        "CPU time of workers that may use no other than {}, against the time that these were busy",
        listed(worst.cpus)
    );
    let plausible = worst.missing_ns() <= 0.0;
    Some(Check {
        outcome: if plausible { Outcome::Pass } else { Outcome::Inconclusive },
        measured: Some(worst.used_ns),
        bound: Some(worst.busy_ns),
        workers: if plausible { Vec::new() } else { worst.workers },
        ..Check::new("busy_accounting", "ns", &detail)
    })
}

/// What a worker used, and on which CPUs that can have been.
struct Used {
    worker: usize,
    cpus: BTreeSet<usize>,
    cpu_ns: f64,
    /// How much of that it may have used outside of the measurement: workers begin before it and
    /// notice its end later.
    outside_ns: f64,
}

impl Used {
    fn of(
        plan: &Plan,
        record: &RunRecord,
        all: &BTreeSet<usize>,
        report: &WorkerReport,
    ) -> Option<Self> {
        let account = Account::of_run(plan, report);
        // When one began that a step spawned, and so what it used after the end, is not known.
        place(&plan.opening, account.crew)?;
        let planned = may_use(plan, &account);
        // A worker that broke out of its CPUs is the business of `isolation`.
        let cpus = planned.map_or_else(|| all.clone(), |cpus| &cpus | &report.cpus_used);
        let outside_ns = float(report.wall_time_ns.saturating_sub(record.wall_time_ns));
        Some(Self { worker: report.index, cpus, cpu_ns: float(report.cpu_time_ns?), outside_ns })
    }
}

/// Some CPUs, with those who can have run nowhere else.
struct Sum<'a> {
    cpus: &'a BTreeSet<usize>,
    workers: Vec<usize>,
    used_ns: f64,
    busy_ns: f64,
    slack_ns: f64,
}

impl<'a> Sum<'a> {
    /// `None` if the busy time of one of them is not known.
    fn of(cpus: &'a BTreeSet<usize>, used: &[Used], record: &RunRecord) -> Option<Self> {
        let busy = |cpu: &usize| record.cpus.iter().find(|used| used.cpu == *cpu);
        let busy = cpus.iter().map(|cpu| Some(float(busy(cpu)?.busy_ns)));
        let here = || used.iter().filter(|used| used.cpus.is_subset(cpus));
        Some(Self {
            cpus,
            workers: here().map(|used| used.worker).collect(),
            used_ns: here().map(|used| used.cpu_ns).sum(),
            busy_ns: busy.sum::<Option<f64>>()?,
            slack_ns: TICK_NS * float(cpus.len() as u64)
                + here().map(|used| used.outside_ns).sum::<f64>(),
        })
    }

    /// What was used beyond the busy time and the slack of both.
    fn missing_ns(&self) -> f64 {
        self.used_ns - self.busy_ns * SLACK - self.slack_ns
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, MS};
    use super::super::{Check, Outcome};
    use crate::run::CpuUse;

    /// What the CPUs were busy, in ms.
    fn busy(mut case: Case, ms: &[u64]) -> Case {
        let used = ms.iter().enumerate();
        let used = used.map(|(cpu, ms)| CpuUse { cpu, busy_ns: ms * MS, ..CpuUse::default() });
        case.record.cpus = used.collect();
        case
    }

    fn judged(workload: &str, cpu_ms: &[u64], busy_ms: &[u64]) -> Option<Check> {
        let case = busy(Case::new(&format!("{{{workload}}}")).cpu_ms(cpu_ms), busy_ms);
        case.checks().into_iter().find(|check| check.name == "busy_accounting")
    }

    const TWO: &str = r#""workload":{"num_workers":2}"#;
    /// Worker 0 on CPU 0, worker 1 on CPU 1.
    const PINNED: &str = r#""workload":{"affinity":{"Exact":[0]},
        "composed":[{"num_workers":1,"affinity":{"Exact":[1]}}]}"#;

    #[test]
    fn cpus_that_were_busy_for_less_than_their_tasks_ran_make_a_run_inconclusive() {
        assert_eq!(judged(TWO, &[180, 180], &[200, 160]).unwrap().outcome, Outcome::Pass);
        // Two ticks are missing at most.
        assert_eq!(judged(TWO, &[180, 180], &[170, 170]).unwrap().outcome, Outcome::Pass);
        let check = judged(TWO, &[179, 179], &[80, 81]).unwrap();
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Inconclusive, &[0, 1][..]));
        assert_eq!((check.measured, check.bound), (Some(358e6), Some(161e6)));
        assert!(check.detail.contains("no other than CPUs 0-1"), "{check:?}");
    }

    #[test]
    fn each_cpu_is_compared_with_those_who_may_use_no_other() {
        let check = judged(PINNED, &[500, 100], &[550, 550]).unwrap();
        assert_eq!(check.outcome, Outcome::Pass);
        // The sum is right, and both CPUs are wrong.
        let check = judged(PINNED, &[500, 100], &[100, 500]).unwrap();
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Inconclusive, &[0][..]));
        assert!(check.detail.contains("no other than CPU 0,"), "{check:?}");
        // Who moves by itself can have run anywhere.
        let moves =
            PINNED.replace(r#""affinity":{"Exact":[0]},"#, r#""work_type":"AffinityChurn","#);
        let check = judged(&moves, &[500, 100], &[100, 510]).unwrap();
        assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
    }

    #[test]
    fn what_steps_let_a_worker_use_is_all_that_it_may_have_used() {
        let json = r#""workload":{"affinity":{"Exact":[0]}},"steps":[{"hold":{"Time":"1s"}},
            {"ops":[{"SetAffinity":{"affinity":{"Exact":[1]}}}],"hold":{"Time":"1s"}}]"#;
        assert_eq!(judged(json, &[900], &[450, 450]).unwrap().outcome, Outcome::Pass);
        assert_eq!(judged(json, &[900], &[200, 200]).unwrap().outcome, Outcome::Inconclusive);
    }

    #[test]
    fn time_outside_of_the_measurement_is_not_missing() {
        let case = || busy(Case::new(&format!("{{{TWO}}}")).cpu_ms(&[900, 900]), &[850, 850]);
        assert_eq!(case().outcome("busy_accounting"), Outcome::Inconclusive);
        let late = case().with(0, |report| report.wall_time_ns += 50 * MS);
        assert_eq!(late.outcome("busy_accounting"), Outcome::Pass);
    }

    #[test]
    fn where_the_busy_time_is_not_known_there_is_no_check() {
        assert_eq!(judged(TWO, &[500, 500], &[]), None);
        // CPU 1 was off line at a time; what ran on CPU 0 alone is still known.
        assert_eq!(judged(TWO, &[500, 500], &[100]), None);
        let check = judged(PINNED, &[500, 100], &[100]).unwrap();
        assert_eq!(check.outcome, Outcome::Inconclusive);
    }
}
