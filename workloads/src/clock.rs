//! Clocks in nanoseconds. Used by `Worker`, `counters` and `handle`.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::time::Duration;

const NS_PER_S: u64 = 1_000_000_000;

/// CLOCK_MONOTONIC, comparable between the workers of a run.
#[inline]
pub fn monotonic_ns() -> u64 {
    ns(clock_gettime(ClockId::Monotonic))
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    ns(clock_gettime(ClockId::ThreadCPUTime))
}

/// From one tick of the kernel to the next.
pub(crate) fn tick_ns() -> u64 {
    ns(clock_getres(ClockId::MonotonicCoarse))
}

/// A duration in nanoseconds; over 584 years it saturates.
pub fn to_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A point in time as system calls take it.
pub(crate) fn to_timespec(at_ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(at_ns / NS_PER_S).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(at_ns % NS_PER_S).unwrap_or(0),
    }
}

#[inline]
fn ns(time: Timespec) -> u64 {
    // Neither is ever negative, and only the right sign is worth instructions in every hop.
    time.tv_sec.cast_unsigned() * NS_PER_S + time.tv_nsec.cast_unsigned()
}
