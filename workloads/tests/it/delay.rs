//! Time that a busy machine does not count against a test: what was spent runnable, waiting for
//! a CPU.

use std::time::{Duration, Instant};
use workloads::WorkerReport;

/// How long `stop` took, less the longest time that a worker waited for a CPU in its run and less
/// that of this thread.
pub(crate) fn unhindered(
    stop: impl FnOnce() -> Vec<WorkerReport>,
) -> (Duration, Vec<WorkerReport>) {
    let (begun, waited_ns) = (Instant::now(), own_run_delay_ns());
    let reports = stop();
    let workers_ns = reports.iter().filter_map(|report| report.run_delay_ns).max().unwrap_or(0);
    let hindered = Duration::from_nanos(own_run_delay_ns() - waited_ns + workers_ns);
    (begun.elapsed().saturating_sub(hindered), reports)
}

/// The second field of schedstat: `sched_info.run_delay`.
fn own_run_delay_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}
