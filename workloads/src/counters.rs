//! What the kernel counts for a worker: read when the measurement begins and when it ends.
//! Called by `Worker`.

use crate::clock;
use crate::report::WorkerReport;
use crate::sys::perf::Migrations;
use crate::sys::usage::{ThreadUsage, thread_usage};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where moves between CPUs are counted, as `set_task_cpu` does, at no cost while the worker runs.
const SCHED: &str = "/proc/thread-self/sched";
const SWITCHES: &str = "getrusage(RUSAGE_THREAD)";
const USAGE_FIELDS: [&str; 4] =
    ["voluntary_switches", "involuntary_switches", "minor_faults", "major_faults"];

/// How a source begins that may have missed some.
pub(crate) const BY_LOOKING: &str = "looking once an iteration";

/// Baselines, each with the reason where it could not be read.
#[derive(Debug)]
pub(crate) struct Counters {
    cpu_ns: u64,
    usage: Result<ThreadUsage, Errno>,
    schedstat: Result<SchedStat, String>,
    migrations: Result<Moves, String>,
}

/// Where migrations are counted. /proc costs nothing while the worker runs; a perf event, for
/// kernels without that file, adds to every switch of it.
#[derive(Debug)]
enum Moves {
    /// `se.nr_migrations` of /proc/PID/task/TID/sched.
    Proc(u64),
    Perf(Migrations),
}

/// What is read before the wall clock at the end, so that it is within the wall time, whatever
/// comes between.
#[derive(Debug)]
pub(crate) struct Now {
    cpu_ns: u64,
    schedstat: Result<SchedStat, String>,
}

/// The clocks of a worker that runs, counted from its birth. Compared with a reading from outside,
/// they tell for how long it had waited for a CPU by then: the kernel counts a wait when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub(crate) at_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) run_delay_ns: u64,
}

/// `sched_info` of /proc/PID/task/TID/schedstat.
#[derive(Debug, Clone, Copy)]
struct SchedStat {
    run_delay_ns: u64,
    timeslices: u64,
}

impl Counters {
    pub(crate) fn begin() -> Self {
        Self {
            migrations: Moves::begin(),
            schedstat: SchedStat::read(),
            usage: thread_usage(),
            cpu_ns: clock::thread_cpu_ns(),
        }
    }

    /// Leaves out what came before the start gate opened at `opened_ns`; the wait for a CPU after
    /// that stays in.
    pub(crate) fn forget_the_gate(&mut self, opened_ns: u64) {
        self.usage = thread_usage();
        self.schedstat = both(self.schedstat.clone(), SchedStat::read()).map(|(was, is)| {
            let passed_ns = clock::monotonic_ns().saturating_sub(opened_ns);
            was.at_the_gate(is, passed_ns)
        });
        self.cpu_ns = clock::thread_cpu_ns();
    }

    /// CPU time since [`Self::begin`].
    pub(crate) fn cpu_since(&self) -> u64 {
        clock::thread_cpu_ns().saturating_sub(self.cpu_ns)
    }

    /// Takes in a wait for a CPU that has just ended, up to `off_cpu_ns` of it, and says how much
    /// that was. `earlier` is from before the wait.
    pub(crate) fn reach_back(&mut self, earlier: &Self, off_cpu_ns: u64) -> u64 {
        let (Ok(was), Ok(is)) = (&earlier.schedstat, &mut self.schedstat) else { return 0 };
        let waited_ns = is.run_delay_ns;
        *is = was.at_the_gate(*is, off_cpu_ns);
        waited_ns - is.run_delay_ns
    }

    /// Fills in what has been counted since [`Self::begin`]. `moves_seen` are the moves between
    /// CPUs that the worker itself came across, for kernels that count none for it.
    pub(crate) fn end(&self, now: Now, moves_seen: u64, report: &mut WorkerReport) {
        let cpu_ns = now.cpu_ns.saturating_sub(self.cpu_ns);
        report.cpu_time_ns = Some(cpu_ns);
        report.off_cpu_ns = Some(report.wall_time_ns.saturating_sub(cpu_ns));
        let missing = &mut report.unavailable;
        let usage = both(self.usage, thread_usage());
        if let Some((was, is)) = known(usage, &USAGE_FIELDS, missing) {
            report.voluntary_switches = Some(is.voluntary_switches - was.voluntary_switches);
            report.involuntary_switches = Some(is.involuntary_switches - was.involuntary_switches);
            report.minor_faults = Some(is.minor_faults - was.minor_faults);
            report.major_faults = Some(is.major_faults - was.major_faults);
        }
        let stat = both(self.schedstat.clone(), now.schedstat);
        if let Some((was, is)) = known(stat, &["run_delay_ns", "timeslices"], missing) {
            report.run_delay_ns = Some(is.run_delay_ns - was.run_delay_ns);
            report.timeslices = Some(is.timeslices - was.timeslices);
        }
        let source = match &self.migrations {
            Ok(moves) => moves.source().to_owned(),
            Err(why) => format!("{BY_LOOKING}, so at least as many: {why}"),
        };
        let migrations = self.migrations.as_ref().map_or(Ok(moves_seen), Moves::end);
        report.migrations = known(migrations, &["migrations"], missing);
        report.counted_by = [("switches", SWITCHES.into()), ("migrations", source)]
            .map(|(counter, by)| (counter.to_owned(), by))
            .into();
    }
}

impl Sighting {
    /// Now; none where the kernel does not count.
    pub(crate) fn take() -> Option<Self> {
        let mut stat = SchedStat::read().ok()?;
        loop {
            let (at_ns, cpu_ns) = (clock::monotonic_ns(), clock::thread_cpu_ns());
            let again = SchedStat::read().ok()?;
            if again.timeslices == stat.timeslices {
                return Some(Self { at_ns, cpu_ns, run_delay_ns: stat.run_delay_ns });
            }
            // It was kept from its CPU in between.
            stat = again;
        }
    }
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { cpu_ns: clock::thread_cpu_ns(), schedstat: SchedStat::read() }
    }
}

impl Moves {
    fn source(&self) -> &'static str {
        match self {
            Self::Proc(_) => SCHED,
            Self::Perf(_) => "perf_event_open(cpu-migrations)",
        }
    }

    fn begin() -> Result<Self, String> {
        nr_migrations().map(Self::Proc).or_else(|no_proc| {
            let perf = Migrations::open();
            perf.map(Self::Perf).map_err(|e| format!("{no_proc}; perf_event_open failed: {e}"))
        })
    }

    fn end(&self) -> Result<u64, String> {
        match self {
            Self::Proc(was) => Ok(nr_migrations()?.saturating_sub(*was)),
            Self::Perf(event) => event.read().map_err(|e| format!("read(perf event) failed: {e}")),
        }
    }
}

/// Moves of this thread between CPUs since it began, as `set_task_cpu` counts them.
fn nr_migrations() -> Result<u64, String> {
    let text = std::fs::read_to_string(SCHED).map_err(|e| format!("read({SCHED}) failed: {e}"))?;
    parse_nr_migrations(&text).ok_or_else(|| format!("{SCHED} has no nr_migrations"))
}

fn parse_nr_migrations(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("se.nr_migrations"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

impl SchedStat {
    fn read() -> Result<Self, String> {
        const PATH: &str = "/proc/thread-self/schedstat";
        let text =
            std::fs::read_to_string(PATH).map_err(|e| format!("read({PATH}) failed: {e}"))?;
        Self::parse(&text).ok_or_else(|| format!("{PATH} holds `{}`", text.trim()))
    }

    /// The baseline of one that read `self` before the gate and `is` in its first turn after it,
    /// `passed_ns` after it opened: it may have waited for a CPU on the way to the gate too.
    fn at_the_gate(self, is: Self, passed_ns: u64) -> Self {
        let waited_ns = is.run_delay_ns.saturating_sub(self.run_delay_ns).min(passed_ns);
        Self {
            run_delay_ns: is.run_delay_ns - waited_ns,
            timeslices: is.timeslices.saturating_sub(1).max(self.timeslices),
        }
    }

    /// Three numbers: time on a CPU, time waiting for one, times put on one.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace().skip(1).map(str::parse);
        Some(Self { run_delay_ns: fields.next()?.ok()?, timeslices: fields.next()?.ok()? })
    }
}

fn both<T, E>(was: Result<T, E>, is: Result<T, E>) -> Result<(T, T), E> {
    Ok((was?, is?))
}

/// The value, or a note under each of `names` about why there is none.
pub(crate) fn known<T, E: ToString>(
    value: Result<T, E>,
    names: &[&str],
    missing: &mut BTreeMap<String, String>,
) -> Option<T> {
    let why = match value {
        Ok(value) => return Some(value),
        Err(why) => why.to_string(),
    };
    missing.extend(names.iter().map(|name| ((*name).to_owned(), why.clone())));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_run_delay_and_timeslices() {
        let stat = SchedStat::parse("101 202 303\n").unwrap();
        assert_eq!((stat.run_delay_ns, stat.timeslices), (202, 303));
        assert!(SchedStat::parse("0").is_none());
    }

    #[test]
    fn only_the_wait_after_the_gate_is_counted() {
        let stat = |run_delay_ns, timeslices| SchedStat { run_delay_ns, timeslices };
        let at_the_gate = |passed_ns| {
            let base = stat(100, 2).at_the_gate(stat(160, 5), passed_ns);
            (base.run_delay_ns, base.timeslices)
        };
        // 60 ns of waiting since the first reading, in a gate that opened 1,000 or 40 ns ago.
        assert_eq!(at_the_gate(1_000), (100, 4));
        assert_eq!(at_the_gate(40), (120, 4));
        let unmoved = stat(100, 2).at_the_gate(stat(100, 2), 40);
        assert_eq!((unmoved.run_delay_ns, unmoved.timeslices), (100, 2));
    }

    #[test]
    fn migrations_are_found_in_the_sched_file() {
        let text = "init (1, #threads: 1)\n---\nse.sum_exec_runtime   :   12.5\n\
                    se.nr_migrations                             :                   42\n";
        assert_eq!(parse_nr_migrations(text), Some(42));
        assert_eq!(parse_nr_migrations("nothing"), None);
    }

    #[test]
    fn a_counter_that_cannot_be_read_is_absent_with_its_reason() {
        let counters = Counters {
            cpu_ns: 0,
            usage: Err(Errno::PERM),
            schedstat: Err("no schedstat".into()),
            migrations: Err("perf_event_open failed: EACCES".into()),
        };
        let mut report = WorkerReport::default();
        counters.end(Now::read(), 3, &mut report);
        assert_eq!((report.voluntary_switches, report.run_delay_ns), (None, None));
        assert_eq!(report.unavailable["run_delay_ns"], "no schedstat");
        assert_eq!(report.unavailable["involuntary_switches"], Errno::PERM.to_string());
        // What the worker saw by itself stands in, and says so.
        assert_eq!(report.migrations, Some(3));
        let by = &report.counted_by["migrations"];
        assert!(by.contains("at least") && by.contains("perf_event_open"), "{by}");
    }
}
