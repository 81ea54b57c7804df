//! The hint that workers prepare themselves in the measured time. Made for `RunReport`.

use crate::units::sum_of;
use crate::units::{float, show_ns};
use workloads::{Scenario, WorkerReport};

/// Part of a worker's wall time from which on its start counts.
const COUNTS: f64 = 0.01;
const MS: u64 = 1_000_000;

/// What to change where the start-up work of a worker is a part of what was measured.
pub(super) fn hint(scenario: &Scenario, workers: &[WorkerReport]) -> Option<String> {
    // A run by iterations has no warm-up.
    if scenario.iterations.is_some() {
        return None;
    }
    let counted = workers.iter().filter_map(|worker| {
        let part = float(worker.startup_cpu_ns?) / float(worker.wall_time_ns);
        (part >= COUNTS).then_some((part, worker))
    });
    let largest = counted.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let (part, worker) = largest?;
    // One after the other on one CPU they need as long as that.
    let all_ns = sum_of(workers.iter().filter_map(|worker| worker.startup_cpu_ns));
    let so_far_ms = u64::try_from(scenario.warmup.as_millis()).unwrap_or(0);
    let enough_ms = so_far_ms + (2 * all_ns).div_ceil(10 * MS) * 10;
    Some(format!(
        "worker {} used {} of CPU time before its first iteration, {:.1} % of its measured time; \
         `\"warmup\": \"{enough_ms}ms\"` in the scenario leaves start-up out",
        worker.index,
        show_ns(float(worker.startup_cpu_ns.unwrap_or(0))),
        part * 100.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(index: usize, startup_ms: u64) -> WorkerReport {
        WorkerReport {
            index,
            wall_time_ns: 100 * MS,
            startup_cpu_ns: Some(startup_ms * MS),
            ..WorkerReport::default()
        }
    }

    #[test]
    fn who_prepares_for_long_is_named_with_a_warm_up_that_is_long_enough() {
        let scenario = Scenario::default();
        let hint = hint(&scenario, &[worker(0, 0), worker(1, 2), worker(2, 12)]).unwrap();
        for part in ["worker 2", "12.0 ms", "12.0 %", r#""warmup": "30ms""#] {
            assert!(hint.contains(part), "{hint}");
        }
    }

    #[test]
    fn who_prepares_shortly_or_cannot_have_a_warm_up_is_not() {
        let scenario = Scenario::default();
        assert_eq!(hint(&scenario, &[worker(0, 0), WorkerReport::default()]), None);
        let counted = Scenario { iterations: Some(3), ..Scenario::default() };
        assert_eq!(hint(&counted, &[worker(0, 12)]), None);
    }
}
