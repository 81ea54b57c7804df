//! Workers of different scheduling classes. Each sets its own class when its loop begins; what
//! the kernel refuses is in the report, and the worker goes on as what it was.

use super::catalogue::params::{AsymmetricWaker, PreemptStorm, RtStarvation};
use super::fan::{LINES, done, follow, lead, rounds};
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Rules, Work};
use crate::config::{PRIORITY_RULE, SchedClass, SchedPolicy};
use crate::report::Latency;
use crate::supervisor::MAX_PRIORITY;
use crate::worker::Worker;
use rustix::io::Errno;
use std::time::Duration;

/// The lowest real-time priority preempts every fair task as well as the highest does.
const STORM_PRIORITY: u32 = 1;
/// Long enough for a preempted wakee to get from its last call to its sleep.
const LET_SLEEP: Duration = Duration::from_micros(100);

impl Documented for AsymmetricWaker {
    const FACTS: Facts = Facts {
        group: "2",
        latency: &[
            (Latency::Wake, "the wakee"),
            (Latency::Timer, "the waker's sleeps, if its class preempts the wakee's"),
        ],
        privilege: Some(
            "CAP_SYS_NICE for `Deadline`, that or RLIMIT_RTPRIO for `Rt`; without, the worker \
             keeps the workload's policy, and the report says so",
        ),
        ..Facts::PLAIN
    };
}

impl Work for AsymmetricWaker {
    fn needs(&self) -> Needs {
        let role = |position| if position == 0 { "waker" } else { "wakee" };
        Needs { group_size: 2, lines: LINES, role, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() == 0 {
            w.set_policy(&self.waker_class.policy());
            // A waker that the wakee itself wakes preempts it before it sleeps, if it may, and
            // would then never find it asleep.
            let preempts = rank(self.waker_class) > rank(self.wakee_class);
            return rounds(w, |w| {
                if preempts && !w.sleep_for(LET_SLEEP) {
                    return Err(Errno::CANCELED);
                }
                w.spin(self.burst_iters);
                lead(w, 1)
            });
        }
        w.set_policy(&self.wakee_class.policy());
        let mut seen = 0;
        rounds(w, |w| {
            follow(w, &mut seen)?;
            w.spin(self.burst_iters);
            done(w, 1)
        })
    }
}

/// Who preempts whom at a wake-up: a higher rank a lower one, always.
fn rank(class: SchedClass) -> u8 {
    match class {
        SchedClass::Idle => 0,
        SchedClass::Cfs | SchedClass::Batch | SchedClass::Ext => 1,
        SchedClass::Rt => 2,
        SchedClass::Deadline => 3,
    }
}

impl Documented for PreemptStorm {
    const FACTS: Facts = Facts {
        group: "cfs_workers + 1",
        latency: &[(Latency::Timer, "the preemptor's sleeps")],
        privilege: Some(
            "CAP_SYS_NICE or RLIMIT_RTPRIO; without, the preemptor keeps the workload's policy, \
             and the report says so",
        ),
        ..Facts::PLAIN
    };
}

impl Work for PreemptStorm {
    fn needs(&self) -> Needs {
        let role = |position| if position == 0 { "preemptor" } else { "spinner" };
        Needs { group_size: self.cfs_workers.saturating_add(1), role, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("cfs_workers", &self.cfs_workers, "somebody to preempt");
        rules.not_zero("rt_burst_iters", &self.rt_burst_iters, "a burst");
        rules.not_zero("rt_sleep_us", &self.rt_sleep_us, "a sleep to come back from");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() != 0 {
            return spin(w, self.rt_burst_iters);
        }
        w.set_policy(&SchedPolicy::Fifo(STORM_PRIORITY));
        let pause = Duration::from_micros(self.rt_sleep_us);
        while w.next() {
            w.spin(self.rt_burst_iters);
            if !w.sleep_for(pause) {
                break;
            }
        }
        Finish::Done
    }
}

impl Documented for RtStarvation {
    const FACTS: Facts = Facts {
        group: "rt_workers + cfs_workers",
        privilege: Some(
            "CAP_SYS_NICE or RLIMIT_RTPRIO; without, nobody becomes SCHED_FIFO, and the report \
             says so",
        ),
        ..Facts::PLAIN
    };
}

impl Work for RtStarvation {
    fn needs(&self) -> Needs {
        let group_size = self.rt_workers.saturating_add(self.cfs_workers);
        Needs { group_size, role: |_| "spinner", ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("rt_workers", &self.rt_workers, "somebody who starves the others");
        rules.not_zero("cfs_workers", &self.cfs_workers, "somebody to starve");
        let holds = (1..=MAX_PRIORITY).contains(&u32::try_from(self.rt_priority).unwrap_or(0));
        let value = u64::try_from(self.rt_priority).unwrap_or(0);
        rules.require("rt_priority", holds, value, PRIORITY_RULE);
        rules.not_zero("burst_iters", &self.burst_iters, "work to do");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        w.set_policy(&if w.position() < self.rt_workers {
            SchedPolicy::Fifo(self.rt_priority.unsigned_abs())
        } else {
            SchedPolicy::Normal
        });
        spin(w, self.burst_iters)
    }
}

fn spin(w: &mut Worker<'_>, steps: u64) -> Finish {
    while w.next() {
        w.spin(steps);
    }
    Finish::Done
}

#[cfg(test)]
mod tests {
    use crate::work::WorkType;

    #[test]
    fn counts_and_priorities_that_make_no_sense_are_refused() {
        for (work_type, field) in [
            (WorkType::preempt_storm(0, 1, 1), "cfs_workers"),
            (WorkType::preempt_storm(1, 0, 1), "rt_burst_iters"),
            (WorkType::preempt_storm(1, 1, 0), "rt_sleep_us"),
            (WorkType::rt_starvation(0, 1, 1, 1), "rt_workers"),
            (WorkType::rt_starvation(1, 0, 1, 1), "cfs_workers"),
            (WorkType::rt_starvation(1, 1, 0, 1), "rt_priority"),
            (WorkType::rt_starvation(1, 1, -1, 1), "rt_priority"),
            (WorkType::rt_starvation(1, 1, 99, 1), "rt_priority"),
            (WorkType::rt_starvation(1, 1, 100, 1), "rt_priority"),
            (WorkType::rt_starvation(1, 1, 1, 0), "burst_iters"),
            // The group is larger than a count can say.
            (WorkType::preempt_storm(usize::MAX, 1, 1), "num_workers"),
            (WorkType::rt_starvation(usize::MAX, 2, 1, 1), "num_workers"),
        ] {
            let error = work_type.validate(0, 1).unwrap_err();
            assert!(error.path.ends_with(field), "{error}");
        }
    }
}
