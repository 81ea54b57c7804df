//! What the kernel holds of a worker's settings when its loop is over, so that a report shows
//! whether the configured ones are back. Called by `Worker::finish`.

use crate::counters::known;
use crate::cpuset::cpus_of;
use crate::list;
use crate::report::WorkerReport;
use rustix::io::Errno;
use rustix::process::getpriority_process;
use rustix::thread::sched_getaffinity;

/// Fills in `policy`, which was read before the worker left one of its own choice, and the rest.
pub(crate) fn fill_in(report: &mut WorkerReport, policy: Result<String, Errno>) {
    let missing = &mut report.unavailable;
    report.sched_policy = known(policy, &["sched_policy"], missing);
    report.nice = known(getpriority_process(None), &["nice"], missing);
    let cpus = sched_getaffinity(None).map(|mask| list::format(cpus_of(&mask)));
    report.cpus_allowed = known(cpus, &["cpus_allowed"], missing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::sched_setaffinity;

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        let own = sched_getaffinity(None).unwrap();
        // Where CPUs are offline, the kernel's mask has them until it is set.
        sched_setaffinity(None, &own).unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let kernels = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        assert_eq!(Some(list::format(cpus_of(&own)).as_str()), kernels);
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_absent_with_its_reason() {
        let mut report = WorkerReport::default();
        fill_in(&mut report, Err(Errno::SRCH));
        assert_eq!(report.sched_policy, None);
        assert_eq!(report.unavailable["sched_policy"], Errno::SRCH.to_string());
        assert_eq!(report.nice, getpriority_process(None).ok());
        assert!(report.cpus_allowed.is_some());
    }
}
