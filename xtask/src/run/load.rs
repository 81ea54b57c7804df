//! What else this host did during a run, and which checks and verdicts that leaves in doubt: a
//! latency that was measured while QEMU itself waited for a CPU says nothing of the guest's
//! scheduler. Measured by `watch`, judged by `cmd::vm`.

use super::stall::Activity;
use super::verdict::Verdict;
use crate::units::float;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use workloads::{Check, Outcome};

/// How often the threads of QEMU are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// More of these than this, and checks of times are in doubt.
const MOST_STEAL: f64 = 0.02;
const MOST_WAITING: f64 = 0.05;
const MOST_STILL_S: f64 = 1.0;
/// Expectations on times and on shares of time, by the names of their checks.
const OF_TIME: &[&str] = &[
    "fairness_min",
    "fairness_spread_max",
    "max_gap",
    "quota_tolerance",
    "run_delay_max",
    "throughput_cv_max",
    "throughput_min",
    "wake_p99",
    "weight_tolerance",
    "weighted_fairness_min",
];
/// How the names of the others begin.
const LATENCIES: &str = "latency.";

/// From QEMU's start to its end, in `host.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostLoad {
    /// CPU time that the hypervisor below this host took, in that of all CPUs.
    pub(crate) steal_share: f64,
    /// CPU time that anything used, in that of all CPUs.
    pub(crate) busy_share: f64,
    /// Time that QEMU's threads waited for a CPU, in the time that they wanted one; absent where
    /// the kernel has no schedstat.
    pub(crate) qemu_waiting_share: Option<f64>,
    /// Seconds in which QEMU was stopped or got no CPU at all.
    #[serde(default)]
    pub(crate) qemu_stood_still_s: f64,
}

/// Takes the measure while QEMU runs.
#[derive(Debug)]
pub(super) struct LoadMeter {
    pid: u32,
    looked: Instant,
    begin: Option<CpuTimes>,
    /// Time run and waited, by thread.
    threads: BTreeMap<String, (u64, u64)>,
}

/// Of all CPUs together, in ticks: the first line of /proc/stat.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuTimes {
    all: u64,
    idle: u64,
    steal: u64,
}

impl HostLoad {
    /// Why times that were measured then are in doubt, if they are.
    fn disturbed(&self) -> Option<String> {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let waiting = self.qemu_waiting_share.unwrap_or_default();
        if self.qemu_stood_still_s > MOST_STILL_S {
            return Some(format!("QEMU stood still for {:.0} s", self.qemu_stood_still_s));
        }
        if self.steal_share > MOST_STEAL {
            let stolen = percent(self.steal_share);
            return Some(format!("the machine below this host took {stolen} of its CPU time"));
        }
        (waiting > MOST_WAITING)
            .then(|| format!("QEMU waited {} of its time for a CPU of this host", percent(waiting)))
    }
}

/// Makes failed checks of times inconclusive, if the host was disturbed.
pub(crate) fn doubt(load: &HostLoad, checks: &mut [Check]) {
    let Some(why) = load.disturbed() else { return };
    let failed = checks.iter_mut().filter(|check| check.outcome == Outcome::Fail);
    for check in failed.filter(|check| is_of_time(&check.name)) {
        check.outcome = Outcome::Inconclusive;
        check.detail = format!("{}; not held against the guest: {why}", check.detail);
    }
}

/// A verdict that only says that something took too long by the clock, of a guest whose clock went on
/// while QEMU stood still, says nothing of the guest. `lockups_only` is whether every splat is such.
pub(crate) fn doubt_verdict(
    load: &HostLoad,
    lockups_only: bool,
    (verdict, advice): (Verdict, Option<String>),
) -> (Verdict, Option<String>) {
    let is_of_time = match verdict {
        Verdict::Hang | Verdict::Timeout | Verdict::SchedulerEjected => true,
        Verdict::Splat => lockups_only,
        _ => false,
    };
    if !is_of_time || load.qemu_stood_still_s <= MOST_STILL_S {
        return (verdict, advice);
    }
    let (still, advice) = (load.qemu_stood_still_s, advice.unwrap_or_default());
    let why = format!(
        "{}, not held against the guest: QEMU stood still for {still:.0} s; {advice}",
        verdict.name()
    );
    (Verdict::Inconclusive, Some(why))
}

/// Names of checks of steps have the step before them.
fn is_of_time(name: &str) -> bool {
    let name = name.rsplit(": ").next().unwrap_or(name);
    name.starts_with(LATENCIES) || OF_TIME.contains(&name)
}

impl LoadMeter {
    pub(super) fn new(pid: u32) -> Self {
        let begin = std::fs::read_to_string("/proc/stat").ok().and_then(|text| CpuTimes::of(&text));
        Self { pid, looked: Instant::now(), begin, threads: BTreeMap::new() }
    }

    /// Another QEMU runs the guest from now on.
    pub(super) fn follow(&mut self, pid: u32) {
        self.pid = pid;
    }

    /// Looks again, if it is time; says what QEMU did since, where the kernel does.
    pub(super) fn tick(&mut self) -> Option<Option<Activity>> {
        (self.looked.elapsed() >= PERIOD).then(|| {
            self.looked = Instant::now();
            self.look()
        })
    }

    fn look(&mut self) -> Option<Activity> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        let before = self.ran();
        let (mut is_known, mut asleep) = (false, true);
        for task in tasks.flatten() {
            let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let times = read("schedstat");
            let mut times = times.split_whitespace().map(str::parse);
            if let (Some(Ok(run)), Some(Ok(waited))) = (times.next(), times.next()) {
                is_known = true;
                self.threads.insert(task.file_name().to_string_lossy().into_owned(), (run, waited));
            }
            asleep &= sleeps(&read("stat"));
        }
        let ran = Duration::from_nanos(self.ran().saturating_sub(before));
        is_known.then_some(Activity { ran, asleep })
    }

    /// CPU time of all threads so far.
    fn ran(&self) -> u64 {
        self.threads.values().map(|(run, _)| run).sum()
    }

    /// What was seen up to now.
    pub(super) fn load(&self, stood_still: Duration) -> HostLoad {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let (steal_share, busy_share) = match (self.begin, CpuTimes::of(&text)) {
            (Some(begin), Some(end)) => begin.until(end),
            _ => (0.0, 0.0),
        };
        let (run, waited) =
            self.threads.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let qemu_waiting_share = (run > 0).then(|| float(waited) / float(run + waited));
        let qemu_stood_still_s = stood_still.as_secs_f64();
        HostLoad { steal_share, busy_share, qemu_waiting_share, qemu_stood_still_s }
    }
}

/// Whether a thread with this `stat` waits for something of its own accord: it is neither stopped,
/// nor on a run queue, nor in the middle of an I/O.
fn sleeps(stat: &str) -> bool {
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    matches!(state, Some('S' | 'I') | None)
}

impl CpuTimes {
    /// user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
    fn of(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let fields: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let (idle, steal) = (fields.get(3)? + fields.get(4)?, *fields.get(7)?);
        Some(Self { all: fields.iter().sum(), idle, steal })
    }

    /// Stolen and used.
    fn until(self, end: Self) -> (f64, f64) {
        let between = |field: fn(&Self) -> u64| float(field(&end).saturating_sub(field(&self)));
        let all = between(|times| times.all).max(1.0);
        let (steal, idle) = (between(|times| times.steal), between(|times| times.idle));
        (steal / all, (all - steal - idle) / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str) -> Check {
        Check {
            name: name.into(),
            step: None,
            outcome: Outcome::Fail,
            measured: Some(2.0),
            bound: Some(1.0),
            unit: "ns".into(),
            workers: vec![0],
            detail: "it was late".into(),
        }
    }

    fn outcomes(load: HostLoad, names: &[&str]) -> Vec<Outcome> {
        let mut checks: Vec<_> = names.iter().map(|name| failed(name)).collect();
        doubt(&load, &mut checks);
        checks.iter().map(|check| check.outcome).collect()
    }

    const NAMES: [&str; 4] = ["wake_p99", "step busy: latency.timer.p99", "progress", "no_splat"];

    #[test]
    fn a_disturbed_host_leaves_times_in_doubt_and_nothing_else() {
        use Outcome::{Fail, Inconclusive};
        let in_doubt = [Inconclusive, Inconclusive, Fail, Fail];
        let stolen = HostLoad { steal_share: 0.1, ..HostLoad::default() };
        assert_eq!(outcomes(stolen, &NAMES), in_doubt);
        let waited = HostLoad { qemu_waiting_share: Some(0.2), ..HostLoad::default() };
        assert_eq!(outcomes(waited, &NAMES), in_doubt);
        let still = HostLoad { qemu_stood_still_s: 3.0, ..HostLoad::default() };
        assert_eq!(outcomes(still, &NAMES), in_doubt);
        let busy = HostLoad { busy_share: 1.0, ..HostLoad::default() };
        assert_eq!(outcomes(busy, &NAMES), [Fail; 4]);
    }

    #[test]
    fn every_rule_of_time_is_known_by_its_name() {
        let schema = serde_json::to_string(&workloads::schema::scenario()).unwrap();
        for name in OF_TIME {
            assert!(schema.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn ticks_are_read_as_proc_stat_has_them() {
        let begin = CpuTimes::of("cpu  100 0 50 800 50 0 0 10 5 0\ncpu0 1").unwrap();
        assert_eq!(begin, CpuTimes { all: 1010, idle: 850, steal: 10 });
        let end = CpuTimes::of("cpu  150 0 50 820 50 0 0 40 5 0").unwrap();
        assert_eq!(begin.until(end), (0.3, 0.5));
        assert_eq!(CpuTimes::of("cpu0 1 2 3"), None);
    }

    #[test]
    fn the_threads_of_a_process_are_seen_to_run() {
        let mut meter = LoadMeter::new(std::process::id());
        let seen = meter.look().unwrap();
        assert!(seen.ran > Duration::ZERO && !seen.asleep, "this thread runs: {seen:?}");
        let load = meter.load(Duration::from_secs(3));
        assert_eq!(load.qemu_stood_still_s, 3.0);
        assert!(load.qemu_waiting_share.is_some_and(|share| (0.0..=1.0).contains(&share)));
    }

    #[test]
    fn only_a_thread_that_waits_by_itself_sleeps() {
        assert!(sleeps("7 (CPU 0/TCG) S 1 7") && sleeps("8 (a) b) S) S 1") && sleeps("9 (k) I 1"));
        for state in ["T", "t", "R", "D"] {
            assert!(!sleeps(&format!("7 (S) {state} 1 7")), "{state}");
        }
    }

    #[test]
    fn what_took_too_long_while_qemu_stood_still_is_inconclusive() {
        let still = HostLoad { qemu_stood_still_s: 17.0, ..HostLoad::default() };
        let judge = |load: &HostLoad, lockups_only, verdict| {
            doubt_verdict(load, lockups_only, (verdict, Some("why".into())))
        };
        for verdict in [Verdict::Hang, Verdict::Timeout, Verdict::SchedulerEjected, Verdict::Splat]
        {
            let (then, advice) = judge(&still, true, verdict);
            assert_eq!(then, Verdict::Inconclusive, "{verdict:?}");
            let told = advice.is_some_and(|text| text.contains("17 s") && text.contains("why"));
            assert!(told, "{verdict:?}");
            assert_eq!(judge(&HostLoad::default(), true, verdict).0, verdict);
        }
        assert_eq!(judge(&still, false, Verdict::Splat).0, Verdict::Splat);
        for verdict in [Verdict::Panic, Verdict::Fail, Verdict::WorkerDied, Verdict::ReportLost] {
            assert_eq!(judge(&still, true, verdict), (verdict, Some("why".into())));
        }
    }
}
