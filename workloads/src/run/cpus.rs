//! What each CPU did between the ends of the measurement, as the kernel counts it. Called by
//! `stage`, before the measurement begins and after it has ended.

use super::record::{CpuUse, RunRecord};
use crate::clock::monotonic_ns;
use std::collections::{BTreeMap, BTreeSet};

/// Of `/proc/stat`, whatever the kernel's own tick.
const NS_PER_TICK: u64 = 10_000_000;

/// The CPUs at the beginning, and those that were off line at a time since.
#[derive(Debug)]
pub(super) struct Watch {
    begin: Reading,
    off_line: BTreeSet<usize>,
}

/// All CPUs that are on line at one time.
#[derive(Debug)]
struct Reading {
    at_ns: u64,
    idle_ns: Result<BTreeMap<usize, u64>, String>,
    queues: Result<BTreeMap<usize, Queue>, String>,
}

/// A line of `/proc/schedstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queue {
    run_delay_ns: u64,
    timeslices: u64,
}

impl Watch {
    pub(super) fn begin() -> Self {
        Self { begin: Reading::now(), off_line: BTreeSet::new() }
    }

    /// The counters of a CPU do not go on where they were.
    pub(super) fn took_off_line(&mut self, cpu: usize) {
        self.off_line.insert(cpu);
    }

    pub(super) fn end(self, record: &mut RunRecord) {
        let Self { begin, off_line } = self;
        begin.until(&Reading::now(), record);
        record.cpus.retain(|used| !off_line.contains(&used.cpu));
    }
}

impl Reading {
    fn now() -> Self {
        let at_ns = monotonic_ns();
        Self { at_ns, idle_ns: read("/proc/stat", idle), queues: read("/proc/schedstat", queue) }
    }

    fn until(&self, end: &Self, record: &mut RunRecord) {
        let (idle_ns, at_end) = match (&self.idle_ns, &end.idle_ns) {
            (Ok(begin), Ok(end)) => (begin, end),
            (Err(why), _) | (_, Err(why)) => {
                record.cpus_unavailable.insert("cpus".into(), why.clone());
                return;
            }
        };
        if let (Err(why), _) | (_, Err(why)) = (&self.queues, &end.queues) {
            for field in ["run_delay_ns", "timeslices"] {
                record.cpus_unavailable.insert(field.into(), why.clone());
            }
        }
        let wall_ns = end.at_ns.saturating_sub(self.at_ns);
        let queue = |cpu: &usize, field: fn(&Queue) -> u64| {
            let of = |at: &Self| Some(field(at.queues.as_ref().ok()?.get(cpu)?));
            Some(of(end)?.saturating_sub(of(self)?))
        };
        let used = |(cpu, begin): (&usize, &u64)| {
            Some(CpuUse {
                cpu: *cpu,
                busy_ns: wall_ns.saturating_sub(at_end.get(cpu)?.saturating_sub(*begin)),
                run_delay_ns: queue(cpu, |queue| queue.run_delay_ns),
                timeslices: queue(cpu, |queue| queue.timeslices),
            })
        };
        record.cpus = idle_ns.iter().filter_map(used).collect();
    }
}

/// The values of the CPUs in `path`, or why there are none.
fn read<T>(path: &str, parse: fn(&[u64]) -> Option<T>) -> Result<BTreeMap<usize, T>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("this kernel has no {path}"),
        _ => format!("read({path}) failed: {error}"),
    })?;
    parse_cpus(&text, parse).ok_or_else(|| format!("{path} has no values of CPUs"))
}

fn parse_cpus<T>(text: &str, parse: fn(&[u64]) -> Option<T>) -> Option<BTreeMap<usize, T>> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next().and_then(|word| word.strip_prefix("cpu")?.parse().ok());
        if let Some(cpu) = cpu {
            let values: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            found.insert(cpu, parse(&values)?);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Of `show_stat`: user, nice, system, idle, waiting for I/O.
fn idle(values: &[u64]) -> Option<u64> {
    Some((values.get(3)? + values.get(4)?) * NS_PER_TICK)
}

/// Of `show_schedstat`: the last two of nine. The one before them, `rq_cpu_time`, lacks the time of
/// a task that has not been switched away from.
fn queue(values: &[u64]) -> Option<Queue> {
    Some(Queue { run_delay_ns: *values.get(7)?, timeslices: *values.get(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ns: u64, stat: &str, schedstat: Result<&str, &str>) -> Reading {
        Reading {
            at_ns,
            idle_ns: Ok(parse_cpus(stat, idle).unwrap()),
            queues: schedstat.map(|text| parse_cpus(text, queue).unwrap()).map_err(str::to_owned),
        }
    }

    const STAT: [&str; 2] = [
        "cpu  9 9 9 9 9 0 0 0 0 0\ncpu0 1 0 1 100 5 0 0 0 0 0\ncpu1 0 0 0 90 0 0 0\nctxt 5\n",
        "cpu  9 9 9 9 9 0 0 0 0 0\ncpu0 1 0 1 194 6 0 0 0 0 0\ncpu1 99 0 0 90 0 0 0\n",
    ];
    const SCHEDSTAT: [&str; 2] = [
        "version 15\ncpu0 0 0 9 9 9 9 1000 200 30\ndomain0 3 1\ncpu1 0 0 9 9 9 9 1 2 3\n",
        "version 15\ncpu0 0 0 9 9 9 9 1100 250 37\ncpu1 0 0 9 9 9 9 1 2 3\n",
    ];

    #[test]
    fn what_is_not_idle_is_busy() {
        let mut record = RunRecord::default();
        let begin = reading(0, STAT[0], Ok(SCHEDSTAT[0]));
        let end = reading(1_000_000_000, STAT[1], Ok(SCHEDSTAT[1]));
        begin.until(&end, &mut record);
        let used = |cpu, busy_ns, delay, slices| CpuUse {
            cpu,
            busy_ns,
            run_delay_ns: Some(delay),
            timeslices: Some(slices),
        };
        assert_eq!(record.cpus, [used(0, 50_000_000, 50, 7), used(1, 1_000_000_000, 0, 0)]);
        assert!(record.cpus_unavailable.is_empty());
    }

    #[test]
    fn a_kernel_without_schedstat_says_so_and_has_the_rest() {
        let mut record = RunRecord::default();
        let end = reading(1, STAT[1], Err("this kernel has no /proc/schedstat"));
        reading(0, STAT[0], Ok(SCHEDSTAT[0])).until(&end, &mut record);
        assert_eq!((record.cpus.len(), record.cpus[0].timeslices), (2, None));
        assert_eq!(record.cpus_unavailable["timeslices"], "this kernel has no /proc/schedstat");
    }

    #[test]
    fn a_cpu_that_was_off_line_is_left_out() {
        let mut record = RunRecord::default();
        let mut watch = Watch::begin();
        watch.took_off_line(0);
        watch.end(&mut record);
        assert!(record.cpus.iter().all(|used| used.cpu != 0), "{record:?}");
    }
}
