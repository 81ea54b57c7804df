//! Types that change their own nice value, policy and CPUs all the time. What was configured
//! comes back at the end, also when the loop ends early.

use super::catalogue::params::{AffinityChurn, NiceSweep, NumaMigrationChurn, PolicyChurn};
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Work, Yields};
use crate::config::SchedPolicy;
use crate::cpuset::{cpus_of, mask_of};
use crate::nodes;
use crate::report::Latency;
use crate::sys::sched::{SchedAttr, get_attr, set_attr};
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::process::{Resource, getpriority_process, getrlimit, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, sched_yield};
use std::time::Duration;

/// Spin steps of one [`NiceSweep`] iteration.
const NICE_STEPS: u64 = 512;
/// Spin steps after each move of [`NumaMigrationChurn`].
const NODE_STEPS: u64 = 256;
const LEAST_NICE: i32 = -20;
const MOST_NICE: i32 = 19;
/// Iterations between two looks at what the kernel holds; prime to the length of every cycle
/// here, so that each value gets its turn.
const CHECK_EVERY: usize = 7;
/// SCHED_DEADLINE, the one policy whose times must come back.
const DEADLINE: u32 = 6;

impl Documented for NiceSweep {
    const FACTS: Facts = Facts {
        latency: &[(Latency::Yield, "each call")],
        privilege: Some(
            "CAP_SYS_NICE; without, it sweeps from 0 where RLIMIT_NICE is 20 or more, and \
             otherwise climbs once from the configured nice value to 19 and stays there",
        ),
        ..Facts::PLAIN
    };
}

impl Work for NiceSweep {
    fn needs(&self) -> Needs {
        Needs { restless: true, yields: Yields::Always, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let former = match Restore::new(getpriority_process(None), set_nice) {
            Ok(former) => former,
            Err(errno) => return Finish::Failed(format!("getpriority failed: {errno}")),
        };
        let sweep = Sweep::permitted(former.value);
        if matches!(sweep, Sweep::Climb(_)) {
            w.give_up_nice();
        }
        let mut round = 0;
        while w.next() {
            w.spin(NICE_STEPS);
            let nice = sweep.at(round);
            match set_nice(&nice) {
                Ok(()) if round.is_multiple_of(CHECK_EVERY) => {
                    check(w, "getpriority", getpriority_process(None), |is| *is == nice);
                }
                Ok(()) => {}
                Err(errno) => w.error("setpriority", errno),
            }
            w.timed(Latency::Yield, sched_yield);
            round += 1;
        }
        let configured = former.value;
        former.back(w, "setpriority to the configured value");
        check(w, "getpriority at the end", getpriority_process(None), |is| *is == configured);
        Finish::Done
    }
}

impl Documented for PolicyChurn {
    const FACTS: Facts = Facts {
        latency: &[(Latency::Yield, "each call")],
        privilege: Some(
            "CAP_SYS_NICE, or RLIMIT_RTPRIO for FIFO and RR and RLIMIT_NICE for IDLE; without, it \
             goes through the policies that it may take and leave again",
        ),
        ..Facts::PLAIN
    };
}

impl Work for PolicyChurn {
    fn needs(&self) -> Needs {
        Needs { restless: true, yields: Yields::Always, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let (attr, nice) = match (get_attr(None), getpriority_process(None)) {
            (Ok(attr), Ok(nice)) => (attr, nice),
            (Err(e), _) => return Finish::Failed(format!("sched_getattr failed: {e}")),
            (_, Err(e)) => return Finish::Failed(format!("getpriority failed: {e}")),
        };
        let former = Restore { value: settable(attr), set: |attr| set_attr(*attr), done: false };
        let policies: Vec<SchedAttr> =
            permitted(&former, nice).iter().map(|policy| policy.attr(nice)).collect();
        for (round, wanted) in policies.iter().cycle().enumerate() {
            if !w.next() {
                break;
            }
            w.spin(self.spin_iters);
            match set_attr(*wanted) {
                Ok(()) if round.is_multiple_of(CHECK_EVERY) => {
                    check(w, "sched_getattr", get_attr(None), |is| same_policy(is, wanted));
                }
                Ok(()) => {}
                Err(errno) => w.error("sched_setattr", errno),
            }
            w.timed(Latency::Yield, sched_yield);
        }
        former.back(w, "sched_setattr to the configured policy");
        check(w, "sched_getattr at the end", get_attr(None), |is| same_policy(is, &attr));
        Finish::Done
    }
}

impl Documented for AffinityChurn {
    const FACTS: Facts = Facts { latency: &[(Latency::Yield, "each call")], ..Facts::PLAIN };
}

impl Work for AffinityChurn {
    fn needs(&self) -> Needs {
        Needs { restless: true, chooses_cpus: true, yields: Yields::Always, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let former = match begin_at_asked(w) {
            Ok(former) => former,
            Err(errno) => return Finish::Failed(format!("sched_getaffinity failed: {errno}")),
        };
        let cpus = cpus_of(&former.value);
        while w.next() {
            w.spin(self.spin_iters);
            let cpu = cpus[w.rng().below(cpus.len())];
            if let Err(errno) = set_mask(&mask_of(&[cpu])) {
                w.error("sched_setaffinity", errno);
            }
            w.timed(Latency::Yield, sched_yield);
        }
        back_to_asked(former, w);
        Finish::Done
    }
}

impl Documented for NumaMigrationChurn {
    const FACTS: Facts = Facts { latency: &[(Latency::Timer, "each sleep")], ..Facts::PLAIN };
}

impl Work for NumaMigrationChurn {
    fn needs(&self) -> Needs {
        Needs { restless: true, chooses_cpus: true, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let former = match begin_at_asked(w) {
            Ok(former) => former,
            Err(errno) => return Finish::Failed(format!("sched_getaffinity failed: {errno}")),
        };
        let nodes = nodes::within(&cpus_of(&former.value));
        for round in 0_usize.. {
            if !w.next() {
                break;
            }
            // On one node there is nowhere to go: the rounds are counted and no more.
            if nodes.len() > 1
                && let Err(errno) = set_mask(&mask_of(&nodes[round % nodes.len()]))
            {
                w.error("sched_setaffinity", errno);
            }
            w.spin(NODE_STEPS);
            if !w.sleep_for(Duration::from_millis(self.period_ms)) {
                break;
            }
        }
        back_to_asked(former, w);
        Finish::Done
    }
}

/// A setting as it was configured; it comes back when this is dropped.
struct Restore<T> {
    value: T,
    set: fn(&T) -> Result<(), Errno>,
    done: bool,
}

impl<T> Restore<T> {
    fn new(now: Result<T, Errno>, set: fn(&T) -> Result<(), Errno>) -> Result<Self, Errno> {
        Ok(Self { value: now?, set, done: false })
    }

    /// Sets it now, so that a refusal gets into the report.
    fn back(mut self, w: &mut Worker<'_>, op: &str) {
        self.done = true;
        if let Err(errno) = (self.set)(&self.value) {
            w.error(op, errno);
        }
    }
}

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        if !self.done {
            // Nobody is left to hear of a refusal.
            let _ = (self.set)(&self.value);
        }
    }
}

/// The CPUs to choose from: those that the scenario asks for, which the kernel may have forgotten as
/// the worker came into its cgroup.
fn begin_at_asked(w: &Worker<'_>) -> Result<Restore<CpuSet>, Errno> {
    if let Some(asked) = w.asked_cpus() {
        // Where the cgroup has none of them, it is all of the cgroup.
        let _ = set_mask(&mask_of(&asked));
    }
    Restore::new(sched_getaffinity(None), set_mask)
}

/// Goes back to the CPUs that scenario and steps ask for; to all of the cgroup, as the kernel does,
/// where it has none of them.
fn back_to_asked(mut former: Restore<CpuSet>, w: &mut Worker<'_>) {
    let every: Vec<usize> = (0..CpuSet::MAX_CPU).collect();
    let asked = w.asked_cpus().map(|cpus| mask_of(&cpus));
    former.value = asked.filter(|mask| set_mask(mask).is_ok()).unwrap_or_else(|| mask_of(&every));
    former.back(w, "sched_setaffinity to the configured CPUs");
}

/// Counts an error unless the kernel holds what `expected` accepts.
fn check<T>(w: &mut Worker<'_>, op: &str, is: Result<T, Errno>, expected: impl Fn(&T) -> bool) {
    match is {
        Ok(is) if expected(&is) => {}
        Ok(_) => w.error(&format!("{op}: not what was set"), Errno::BADMSG),
        Err(errno) => w.error(op, errno),
    }
}

/// The nice values that a worker goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// From here to the top, again and again.
    Round(i32),
    /// From here to the top and no further: this task may not go down again.
    Climb(i32),
}

impl Sweep {
    fn permitted(configured: i32) -> Self {
        match least_permitted(configured) {
            LEAST_NICE => Self::Round(LEAST_NICE),
            ..=0 => Self::Round(0),
            _ => Self::Climb(configured.max(0)),
        }
    }

    fn at(self, round: usize) -> i32 {
        let (from, wraps) = match self {
            Self::Round(from) => (from, true),
            Self::Climb(from) => (from, false),
        };
        let span = usize::try_from(MOST_NICE - from + 1).unwrap_or(1);
        let step = if wraps { round % span } else { round.min(span - 1) };
        from + i32::try_from(step).unwrap_or(0)
    }
}

/// The lowest nice value that this task may take, by trying and by RLIMIT_NICE.
fn least_permitted(configured: i32) -> i32 {
    if set_nice(&LEAST_NICE).is_ok() {
        // Up is always allowed.
        let _ = set_nice(&configured);
        return LEAST_NICE;
    }
    // The limit is 20 less the nice value.
    let limit = getrlimit(Resource::Nice).current.unwrap_or(40).min(40);
    20 - i32::try_from(limit).unwrap_or(40)
}

/// The policies that this task may take and leave again.
fn permitted(former: &Restore<SchedAttr>, nice: i32) -> Vec<SchedPolicy> {
    let mut policies = vec![SchedPolicy::Normal, SchedPolicy::Batch];
    // To leave SCHED_IDLE, one must be allowed the nice value that one has.
    if least_permitted(nice) <= nice {
        policies.push(SchedPolicy::Idle);
    }
    if SchedPolicy::Fifo(1).apply(nice).is_ok() {
        let _ = (former.set)(&former.value);
        policies.extend([SchedPolicy::Fifo(1), SchedPolicy::RoundRobin(1)]);
    }
    policies
}

/// What was read, fit to be set again: newer kernels report the slice of a fair task as its
/// runtime, and setting that would fix it.
fn settable(attr: SchedAttr) -> SchedAttr {
    match attr.policy {
        DEADLINE => attr,
        _ => SchedAttr { runtime_ns: 0, deadline_ns: 0, period_ns: 0, ..attr },
    }
}

fn same_policy(a: &SchedAttr, b: &SchedAttr) -> bool {
    (a.policy, a.priority, a.nice) == (b.policy, b.priority, b.nice)
}

fn set_nice(nice: &i32) -> Result<(), Errno> {
    setpriority_process(None, *nice)
}

fn set_mask(mask: &CpuSet) -> Result<(), Errno> {
    sched_setaffinity(None, mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_goes_round_or_stays_at_the_top() {
        let nices = |sweep: Sweep| [0, 1, 19, 20, 39, 40].map(|round| sweep.at(round));
        assert_eq!(nices(Sweep::Round(-20)), [-20, -19, -1, 0, 19, -20]);
        assert_eq!(nices(Sweep::Round(0)), [0, 1, 19, 0, 19, 0]);
        assert_eq!(nices(Sweep::Climb(5)), [5, 6, 19, 19, 19, 19]);
    }

    #[test]
    fn every_value_of_a_cycle_is_checked() {
        for length in [2, 3, 5, 20, 40] {
            let checked = (0..length).map(|n| n * CHECK_EVERY % length);
            assert_eq!(checked.collect::<std::collections::BTreeSet<_>>().len(), length);
        }
    }

    #[test]
    fn a_dropped_guard_sets_what_was_configured() {
        // Nice, policy and mask are those of a thread, which ends with the test.
        let own = sched_getaffinity(None).unwrap();
        let first = cpus_of(&own)[0];
        let guard = Restore::new(Ok(own), set_mask).unwrap();
        set_mask(&mask_of(&[first])).unwrap();
        assert_eq!(cpus_of(&sched_getaffinity(None).unwrap()), [first]);
        drop(guard);
        assert_eq!(sched_getaffinity(None).unwrap(), own);
        let guard = Restore {
            value: settable(get_attr(None).unwrap()),
            set: |attr| set_attr(*attr),
            done: false,
        };
        SchedPolicy::Batch.apply(guard.value.nice).unwrap();
        drop(guard);
        assert_eq!(get_attr(None).unwrap().policy, 0);
    }

    #[test]
    fn nothing_is_left_behind_by_asking_what_is_permitted() {
        let (attr, nice) = (get_attr(None).unwrap(), getpriority_process(None).unwrap());
        let former = Restore { value: settable(attr), set: |attr| set_attr(*attr), done: false };
        assert!(permitted(&former, nice).len() >= 2);
        assert!(Sweep::permitted(nice).at(0) <= nice.max(0));
        assert!(same_policy(&get_attr(None).unwrap(), &attr));
        assert_eq!(getpriority_process(None), Ok(nice));
    }
}
