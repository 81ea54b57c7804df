//! Counters of workers read from outside, at the ends of a step: they hold for one that is
//! frozen, starved or blocked too. Called by `steps`.

use crate::clock;
use crate::report::StepReport;
use crate::sys::usage::process_cpu_ns;
use std::collections::BTreeMap;

/// A worker whose counters can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Index among all workers of the run.
    pub(crate) index: usize,
    pub(crate) pid: i32,
    pub(crate) tid: i32,
    /// Whether it is the only thread of its process.
    pub(crate) alone: bool,
    pub(crate) iterations: u64,
    pub(crate) work_units: u64,
}

/// One reading.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    at_ns: u64,
    iterations: u64,
    work_units: u64,
    cpu_time_ns: Option<u64>,
    run_delay_ns: Option<u64>,
    timeslices: Option<u64>,
    voluntary_switches: Option<u64>,
    involuntary_switches: Option<u64>,
    migrations: Option<u64>,
}

/// Reads the counters of `subjects` now, by their indices.
pub(super) fn read(subjects: &[Subject]) -> BTreeMap<usize, Sample> {
    subjects.iter().map(|subject| (subject.index, Sample::of(subject))).collect()
}

impl Sample {
    fn of(subject: &Subject) -> Self {
        let Subject { pid, tid, .. } = subject;
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}"));
        let stat = file("schedstat").unwrap_or_default();
        let mut stat = stat.split_whitespace().map(|field| field.parse().ok());
        let mut next = || stat.next().flatten();
        let (on_cpu_ns, run_delay_ns, timeslices) = (next(), next(), next());
        let sched = file("sched").unwrap_or_default();
        let named = |name: &str| {
            let line = sched.lines().find(|line| line.starts_with(name))?;
            line.rsplit(':').next()?.trim().parse().ok()
        };
        Self {
            at_ns: clock::monotonic_ns(),
            iterations: subject.iterations,
            work_units: subject.work_units,
            cpu_time_ns: if subject.alone { process_cpu_ns(*pid).ok() } else { on_cpu_ns },
            run_delay_ns,
            timeslices,
            voluntary_switches: named("nr_voluntary_switches"),
            involuntary_switches: named("nr_involuntary_switches"),
            migrations: named("se.nr_migrations"),
        }
    }

    /// What was counted from `self` to `end`.
    pub(super) fn until(&self, end: &Self, step: usize) -> StepReport {
        let between =
            |field: fn(&Self) -> Option<u64>| Some(field(end)?.saturating_sub(field(self)?));
        StepReport {
            step,
            wall_time_ns: end.at_ns.saturating_sub(self.at_ns),
            iterations: end.iterations.saturating_sub(self.iterations),
            work_units: end.work_units.saturating_sub(self.work_units),
            cpu_time_ns: between(|s| s.cpu_time_ns),
            run_delay_ns: between(|s| s.run_delay_ns),
            timeslices: between(|s| s.timeslices),
            voluntary_switches: between(|s| s.voluntary_switches),
            involuntary_switches: between(|s| s.involuntary_switches),
            migrations: between(|s| s.migrations),
            ..StepReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_of_this_thread_has_every_counter() {
        let pid = std::process::id().try_into().unwrap();
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let subject = Subject { index: 3, pid, tid, alone: false, iterations: 5, work_units: 9 };
        let begin = read(&[subject]);
        let end = read(&[Subject { iterations: 7, ..subject }]);
        let step = begin[&3].until(&end[&3], 1);
        assert_eq!((step.step, step.iterations, step.work_units), (1, 2, 0));
        assert!(step.wall_time_ns > 0 && step.cpu_time_ns.is_some() && step.run_delay_ns.is_some());
    }

    #[test]
    fn what_has_ended_has_no_counters_and_no_zeros() {
        let gone = Subject {
            index: 0,
            pid: 1 << 22,
            tid: 1 << 22,
            alone: true,
            iterations: 1,
            work_units: 1,
        };
        let sample = Sample::of(&gone);
        assert_eq!((sample.cpu_time_ns, sample.migrations), (None, None));
    }
}
