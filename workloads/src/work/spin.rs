//! CPU-bound types: spinning, yielding, both.

use super::catalogue::params::{Mixed, SpinWait, YieldHeavy};
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Work, Yields};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::thread::sched_yield;

/// Spin steps of one iteration: long enough to dwarf the bookkeeping, short enough to stop soon.
const STEPS: u64 = 1024;

impl Documented for SpinWait {}

impl Work for SpinWait {
    fn needs(&self) -> Needs {
        Needs { system_calls: false, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            w.spin(STEPS);
        }
        Finish::Done
    }
}

impl Documented for YieldHeavy {
    const FACTS: Facts = Facts { latency: &[(Latency::Yield, "each call")], ..Facts::PLAIN };
}

impl Work for YieldHeavy {
    fn needs(&self) -> Needs {
        Needs { yields: Yields::Always, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            yield_once(w);
            w.add_work(1);
        }
        Finish::Done
    }
}

impl Documented for Mixed {
    const FACTS: Facts = Facts { latency: &[(Latency::Yield, "each call")], ..Facts::PLAIN };
}

impl Work for Mixed {
    fn needs(&self) -> Needs {
        Needs { yields: Yields::Always, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            w.spin(STEPS);
            yield_once(w);
        }
        Finish::Done
    }
}

/// One timed sched_yield(2).
pub(super) fn yield_once(w: &mut Worker<'_>) {
    w.timed(Latency::Yield, sched_yield);
}
