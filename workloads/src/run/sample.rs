//! Counters of workers read from outside, at the ends of a step: they hold for one that is
//! frozen, starved or blocked too. Called by `steps`.

use crate::clock;
use crate::counters::Sighting;
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
        let cpu_time_ns = if subject.alone { process_cpu_ns(*pid).ok() } else { on_cpu_ns };
        let at_ns = clock::monotonic_ns();
        let sched = file("sched").unwrap_or_default();
        let named = |name: &str| {
            let line = sched.lines().find(|line| line.starts_with(name))?;
            line.rsplit(':').next()?.trim().parse().ok()
        };
        Self {
            at_ns,
            iterations: subject.iterations,
            work_units: subject.work_units,
            cpu_time_ns,
            run_delay_ns,
            timeslices,
            voluntary_switches: named("nr_voluntary_switches"),
            involuntary_switches: named("nr_involuntary_switches"),
            migrations: named("se.nr_migrations"),
        }
    }

    /// For how long the worker had waited for a CPU, in the wait that it was in. The kernel counts a
    /// wait when it ends (`sched_info_arrive`). So this takes what the worker counted as it first
    /// saw the next phase: from the beginning of that wait on it either waited or ran, and the
    /// sum of both is longer than the time since the reading by what it had waited before. Who was
    /// on a CPU, or blocked, had waited for nothing.
    fn waiting_ns(&self, seen: &Sighting) -> Option<u64> {
        let waited_ns = seen.run_delay_ns.saturating_sub(self.run_delay_ns?);
        let ran_ns = seen.cpu_ns.saturating_sub(self.cpu_time_ns?);
        let passed_ns = seen.at_ns.saturating_sub(self.at_ns);
        Some((waited_ns + ran_ns).saturating_sub(passed_ns).min(waited_ns))
    }

    /// Run delay so far, the wait that is not over included; without a `sighting` of the next phase
    /// nothing is known of that.
    fn delayed_ns(&self, sighting: Option<&Sighting>) -> Option<u64> {
        let waiting_ns = sighting.and_then(|seen| self.waiting_ns(seen)).unwrap_or(0);
        Some(self.run_delay_ns? + waiting_ns)
    }
}

/// A worker in a step that was held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) step: usize,
    pub(super) begin: Sample,
    pub(super) end: Sample,
}

impl Held {
    /// What was counted in it, with what the worker itself saw of the same step.
    pub(super) fn report(&self, seen: &[StepReport]) -> StepReport {
        let Self { step, begin, end } = self;
        let seen = seen.iter().find(|seen| seen.step == *step);
        let between =
            |field: fn(&Sample) -> Option<u64>| Some(field(end)?.saturating_sub(field(begin)?));
        let wall_time_ns = end.at_ns.saturating_sub(begin.at_ns);
        let (cpu_time_ns, timeslices) = (between(|s| s.cpu_time_ns), between(|s| s.timeslices));
        let [first, last] = seen.map_or([None, None], |seen| seen.sightings);
        let run_delay_ns = end
            .delayed_ns(last.as_ref())
            .zip(begin.delayed_ns(first.as_ref()))
            // Of one that was put on no CPU and did not look either nothing is known.
            .filter(|_| last.is_some() || timeslices != Some(0) || cpu_time_ns != Some(0))
            .map(|(end, begin)| end.saturating_sub(begin))
            .map(|ns| ns.min(wall_time_ns.saturating_sub(cpu_time_ns.unwrap_or(0))));
        StepReport {
            step: *step,
            wall_time_ns,
            iterations: end.iterations.saturating_sub(begin.iterations),
            work_units: end.work_units.saturating_sub(begin.work_units),
            cpu_time_ns,
            run_delay_ns,
            timeslices,
            voluntary_switches: between(|s| s.voluntary_switches),
            involuntary_switches: between(|s| s.involuntary_switches),
            migrations: between(|s| s.migrations),
            cpus_used: seen.map(|seen| seen.cpus_used.clone()).unwrap_or_default(),
            max_gap_ns: seen.and_then(|seen| seen.max_gap_ns),
            latency: seen.map(|seen| seen.latency.clone()).unwrap_or_default(),
            sightings: [None, None],
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
        let read = |subject| read(&[subject]).remove(&3).unwrap();
        let (begin, end) = (read(subject), read(Subject { iterations: 7, ..subject }));
        let sightings = [Sighting::take(), Sighting::take()];
        let seen = StepReport { step: 1, sightings, ..StepReport::default() };
        let step = Held { step: 1, begin, end }.report(&[seen]);
        assert_eq!((step.step, step.iterations, step.work_units), (1, 2, 0));
        assert!(step.wall_time_ns > 0 && step.cpu_time_ns.is_some() && step.run_delay_ns.is_some());
    }

    const MS: u64 = 1_000_000;

    /// A step from 100 to 200 ms of a worker that had 10 ms of CPU time and 40 ms of run delay by
    /// its beginning, and has these ones at its end.
    fn held(cpu_ms: u64, delay_ms: u64, timeslices: u64) -> Held {
        let read = |at_ms: u64, cpu_ms: u64, delay_ms: u64, timeslices| Sample {
            at_ns: at_ms * MS,
            cpu_time_ns: Some(cpu_ms * MS),
            run_delay_ns: Some(delay_ms * MS),
            timeslices: Some(timeslices),
            ..Sample::default()
        };
        let begin = read(100, 10, 40, 5);
        Held { step: 0, begin, end: read(200, cpu_ms, delay_ms, 5 + timeslices) }
    }

    /// What the worker counted as it saw the step and the next one: times, CPU time, run delay.
    fn delay_ms(held: &Held, saw: [Option<(u64, u64, u64)>; 2]) -> Option<u64> {
        let sighting = |(at, cpu, delay)| Sighting {
            at_ns: at * MS,
            cpu_ns: cpu * MS,
            run_delay_ns: delay * MS,
        };
        let seen = StepReport { sightings: saw.map(|s| s.map(sighting)), ..StepReport::default() };
        held.report(&[seen]).run_delay_ns.map(|ns| ns / MS)
    }

    #[test]
    fn a_wait_is_split_where_the_step_begins_and_ends() {
        // On a CPU from 130 to 160 ms, with waits of 70 ms before that and of 90 ms after it.
        let sightings = [Some((131, 11, 110)), Some((251, 41, 200))];
        assert_eq!(delay_ms(&held(40, 110, 1), sightings), Some(30 + 40));
        // It was on no CPU at all from 60 to 250 ms.
        let sighting = Some((251, 11, 230));
        assert_eq!(delay_ms(&held(10, 40, 0), [sighting, sighting]), Some(100));
    }

    #[test]
    fn who_runs_or_sleeps_at_an_end_waits_for_nothing_there() {
        // It ran at the beginning until 110 ms, waited to 140, and slept from 150 to 230 ms.
        let sightings = [Some((101, 11, 40)), Some((231, 31, 71))];
        assert_eq!(delay_ms(&held(30, 70, 1), sightings), Some(30));
        // It slept all the time, and waited 20 ms after that.
        let sighting = Some((300, 10, 60));
        assert_eq!(delay_ms(&held(10, 40, 0), [sighting, sighting]), Some(0));
    }

    #[test]
    fn of_one_that_looked_nowhere_no_more_than_the_step_is_known() {
        assert_eq!(delay_ms(&held(40, 190, 1), [None, None]), Some(70));
        assert_eq!(delay_ms(&held(10, 40, 0), [None, None]), None);
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
