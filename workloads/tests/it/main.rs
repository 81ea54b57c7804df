//! The life of workers on this machine: forked for real, stopped, killed, counted. What they do
//! to a scheduler is asserted in guests, where counts are exact.

mod delay;

mod faults;
mod lifecycle;
mod literals;
mod modes;
mod steps;
mod sync;
mod work_types;

/// The most CPU time of a worker: adjtimex(2) slews the wall clock by up to 500 ppm, and not the
/// scheduler's clock.
fn most_cpu_ns(report: &workloads::WorkerReport) -> u64 {
    report.wall_time_ns + report.wall_time_ns / 2000
}
