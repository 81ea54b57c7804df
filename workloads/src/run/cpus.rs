//! What each CPU did between the ends of the measurement, as the kernel counts it. Called by
//! `stage`, before the measurement begins and after it has ended.

use super::record::{CpuUse, RunRecord};
use crate::clock::monotonic_ns;
use crate::list;
use crate::release::{IDLE_IS_SAMPLED_SINCE, kernel_version};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Of `/proc/stat`, whatever the kernel's own tick.
const NS_PER_TICK: u64 = 10_000_000;
const CPUS: &str = "/sys/devices/system/cpu";

/// The CPUs at the beginning, and those that were off line at a time since.
#[derive(Debug)]
pub(super) struct Watch {
    source: Source,
    begin: Reading,
    off_line: BTreeSet<usize>,
}

/// What says how long CPUs were busy. The run time in `/proc/schedstat` does not: it lacks that of
/// a task that has not been switched away from (`sched_info_depart`).
#[derive(Debug)]
enum Source {
    /// The time that the kernel has charged to tasks (`cpuacct_charge`), in this file. A running
    /// task is charged at every tick, and nobody need be interrupted for the reading.
    Charged(PathBuf),
    /// Time in the idle loop, in `/proc/stat`.
    Idle,
    /// Neither, and why.
    Unknown(String),
}

/// All CPUs that are on line at one time.
#[derive(Debug)]
struct Reading {
    at_ns: u64,
    /// What `Source` counts.
    time_ns: Result<BTreeMap<usize, u64>, String>,
    queues: Result<BTreeMap<usize, Queue>, String>,
}

/// A line of `/proc/schedstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queue {
    run_delay_ns: u64,
    timeslices: u64,
}

impl Watch {
    /// `charged` is the file of [`super::RunOptions::cpu_time`], `release` that of this kernel.
    pub(super) fn begin(charged: Option<&Path>, release: &str) -> Self {
        let source = Source::of(charged, release);
        Self { begin: Reading::now(&source), source, off_line: BTreeSet::new() }
    }

    /// The counters of a CPU do not go on where they were.
    pub(super) fn took_off_line(&mut self, cpu: usize) {
        self.off_line.insert(cpu);
    }

    pub(super) fn end(self, record: &mut RunRecord) {
        let Self { source, begin, off_line } = self;
        begin.until(&Reading::now(&source), &source, record);
        record.cpus.retain(|used| !off_line.contains(&used.cpu));
        if matches!(source, Source::Charged(_)) {
            leave_out(&listed("nohz_full").unwrap_or_default(), record);
        }
    }
}

/// Those that stop their tick while a task runs, and so charge it once a second only.
fn leave_out(without_tick: &BTreeSet<usize>, record: &mut RunRecord) {
    let is_one = |used: &CpuUse| without_tick.contains(&used.cpu);
    if record.cpus.iter().any(is_one) {
        record.cpus.retain(|used| !is_one(used));
        let cpus = list::format(without_tick.iter().copied());
        let why = format!("nohz_full={cpus}: the kernel charges tasks on these once a second");
        record.cpus_unavailable.insert("cpus".into(), why);
    }
}

impl Source {
    fn of(charged: Option<&Path>, release: &str) -> Self {
        match charged {
            Some(path) if path.exists() => Self::Charged(path.to_owned()),
            _ if kernel_version(release).is_some_and(|v| v < IDLE_IS_SAMPLED_SINCE) => Self::Idle,
            Some(_) => Self::Unknown(format!(
                "Linux {release} has no cpuacct controller, and its /proc/stat samples idle time; \
                 build it with CONFIG_CGROUP_CPUACCT"
            )),
            None => Self::Unknown(format!(
                "/proc/stat of Linux {release} samples idle time; in a guest it is known"
            )),
        }
    }

    fn read(&self) -> Result<BTreeMap<usize, u64>, String> {
        match self {
            Self::Charged(path) => {
                let path = path.display().to_string();
                charged(&text(&path)?, &listed("possible")?, &listed("online")?)
                    .ok_or_else(|| format!("{path} has another number of CPUs than are possible"))
            }
            Self::Idle => read("/proc/stat", idle),
            Self::Unknown(why) => Err(why.clone()),
        }
    }

    /// In `wall_ns`, from what it counted. A CPU was charged up to its last tick at both ends.
    fn busy_ns(&self, counted_ns: u64, wall_ns: u64) -> u64 {
        match self {
            Self::Charged(_) | Self::Unknown(_) => counted_ns.min(wall_ns),
            Self::Idle => wall_ns.saturating_sub(counted_ns),
        }
    }
}

impl Reading {
    fn now(source: &Source) -> Self {
        let at_ns = monotonic_ns();
        Self { at_ns, time_ns: source.read(), queues: read("/proc/schedstat", queue) }
    }

    fn until(&self, end: &Self, source: &Source, record: &mut RunRecord) {
        let (time_ns, at_end) = match (&self.time_ns, &end.time_ns) {
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
                busy_ns: source.busy_ns(at_end.get(cpu)?.saturating_sub(*begin), wall_ns),
                run_delay_ns: queue(cpu, |queue| queue.run_delay_ns),
                timeslices: queue(cpu, |queue| queue.timeslices),
            })
        };
        record.cpus = time_ns.iter().filter_map(used).collect();
    }
}

/// A list of CPUs in sysfs; that of a kernel without the file, or without such CPUs, is empty.
fn listed(name: &str) -> Result<BTreeSet<usize>, String> {
    let text = text(&format!("{CPUS}/{name}"))?;
    match text.trim() {
        "(null)" => Ok(BTreeSet::new()),
        list => list::parse(list),
    }
}

fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("this kernel has no {path}"),
        _ => format!("read({path}) failed: {error}"),
    })
}

/// Of `cpuacct_percpu_seq_show`: a number for each CPU that is possible. Those that are on line.
fn charged(
    text: &str,
    possible: &BTreeSet<usize>,
    online: &BTreeSet<usize>,
) -> Option<BTreeMap<usize, u64>> {
    let values: Result<Vec<u64>, _> = text.split_ascii_whitespace().map(str::parse).collect();
    let values = values.ok().filter(|values| values.len() == possible.len())?;
    let each = possible.iter().copied().zip(values);
    Some(each.filter(|(cpu, _)| online.contains(cpu)).collect())
}

/// The values of the CPUs in `path`, or why there are none.
fn read<T>(path: &str, parse: fn(&[u64]) -> Option<T>) -> Result<BTreeMap<usize, T>, String> {
    parse_cpus(&text(path)?, parse).ok_or_else(|| format!("{path} has no values of CPUs"))
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

/// Of `show_schedstat`: the last two of nine.
fn queue(values: &[u64]) -> Option<Queue> {
    Some(Queue { run_delay_ns: *values.get(7)?, timeslices: *values.get(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ns: u64, stat: &str, schedstat: Result<&str, &str>) -> Reading {
        Reading {
            at_ns,
            time_ns: Ok(parse_cpus(stat, idle).unwrap()),
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
    fn what_is_not_idle_is_busy_where_the_kernel_counts_idle_time() {
        let mut record = RunRecord::default();
        let begin = reading(0, STAT[0], Ok(SCHEDSTAT[0]));
        let end = reading(1_000_000_000, STAT[1], Ok(SCHEDSTAT[1]));
        begin.until(&end, &Source::Idle, &mut record);
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
    fn what_is_charged_is_busy_and_never_more_than_there_was() {
        let source = Source::Charged("cpuacct.usage_percpu".into());
        let at = |at_ns, text| Reading {
            at_ns,
            time_ns: Ok(charged(text, &[0, 1, 3].into(), &[0, 3].into()).unwrap()),
            queues: Err("none".into()),
        };
        let mut record = RunRecord::default();
        at(100, "5 70 900 \n").until(&at(1100, "30 80 1920 \n"), &source, &mut record);
        let busy: Vec<_> = record.cpus.iter().map(|used| (used.cpu, used.busy_ns)).collect();
        assert_eq!(busy, [(0, 25), (3, 1000)]);
        // Whose numbers they are is not known.
        assert_eq!(charged("5 70 \n", &[0, 1, 3].into(), &[0].into()), None);
        assert_eq!(charged("5 70 x\n", &[0, 1, 3].into(), &[0].into()), None);
    }

    #[test]
    fn idle_time_that_is_sampled_is_never_taken() {
        let here = Path::new("/proc/stat");
        let gone = Path::new("/proc/no/such");
        assert!(matches!(Source::of(Some(here), "7.3.4"), Source::Charged(_)));
        assert!(matches!(Source::of(Some(gone), "6.19.2"), Source::Idle));
        assert!(matches!(Source::of(None, "6.1.0-50"), Source::Idle));
        for (charged, release, why) in [
            (Some(gone), "7.3.4", "CONFIG_CGROUP_CPUACCT"),
            (None, "7.0.0", "/proc/stat of Linux 7.0.0 samples idle time"),
            (None, "unheard-of", "samples idle time"),
        ] {
            let source = Source::of(charged, release);
            let mut record = RunRecord::default();
            Reading::now(&source).until(&Reading::now(&source), &source, &mut record);
            assert!(record.cpus.is_empty(), "{record:?}");
            assert!(record.cpus_unavailable["cpus"].contains(why), "{record:?}");
        }
    }

    #[test]
    fn a_kernel_without_schedstat_says_so_and_has_the_rest() {
        let mut record = RunRecord::default();
        let end = reading(1, STAT[1], Err("this kernel has no /proc/schedstat"));
        reading(0, STAT[0], Ok(SCHEDSTAT[0])).until(&end, &Source::Idle, &mut record);
        assert_eq!((record.cpus.len(), record.cpus[0].timeslices), (2, None));
        assert_eq!(record.cpus_unavailable["timeslices"], "this kernel has no /proc/schedstat");
    }

    #[test]
    fn a_cpu_that_was_off_line_or_has_no_tick_is_left_out() {
        let mut record = RunRecord::default();
        // Whatever this kernel is, its idle time is there to be read.
        let mut watch = Watch::begin(None, "6.1.0");
        watch.took_off_line(0);
        watch.end(&mut record);
        assert!(record.cpus.iter().all(|used| used.cpu != 0), "{record:?}");
        let used = |cpu| CpuUse { cpu, ..CpuUse::default() };
        let mut record = RunRecord { cpus: vec![used(0), used(1)], ..RunRecord::default() };
        leave_out(&BTreeSet::new(), &mut record);
        assert_eq!((record.cpus.len(), record.cpus_unavailable.len()), (2, 0));
        leave_out(&[1, 2].into(), &mut record);
        assert_eq!(record.cpus, [used(0)]);
        assert!(record.cpus_unavailable["cpus"].starts_with("nohz_full=1-2"), "{record:?}");
    }
}
