//! Each type runs, works and says what it measured, as an ordinary user too.

use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{Latency, WorkloadHandle};

fn run(work_type: WorkType) -> Vec<WorkerReport> {
    let config = WorkloadConfig { num_workers: 2, work_type, ..WorkloadConfig::default() };
    let mut handle = WorkloadHandle::spawn(&config).unwrap();
    handle.start();
    handle.wait_until(Instant::now() + Duration::from_millis(200)).unwrap();
    handle.stop_and_collect(Duration::from_secs(5))
}

#[test]
fn every_type_works_and_its_counters_hold_together() {
    for name in WorkType::ALL_NAMES {
        let Some(mut work_type) = WorkType::from_name(name) else { continue };
        if let WorkType::Bursty { burst_duration, sleep_duration } = &mut work_type {
            (*burst_duration, *sleep_duration) =
                (Duration::from_millis(2), Duration::from_millis(2));
        }
        for report in run(work_type) {
            assert!(report.completed && report.iterations > 0, "{name}: {report:?}");
            assert!(report.work_units > 0, "{name}");
            assert!(report.cpu_time_ns.unwrap() <= report.wall_time_ns, "{name}");
            assert!(!report.cpus_used.is_empty(), "{name}");
            assert!(report.max_gap_ns.unwrap() <= report.wall_time_ns, "{name}");
            assert!(report.errors.is_empty(), "{name}: {:?}", report.errors);
            assert!(report.timeslices.is_some(), "{name}: {:?}", report.unavailable);
        }
    }
}

#[test]
fn each_type_samples_the_latency_it_is_about() {
    let bursty = WorkType::bursty(Duration::from_millis(1), Duration::from_millis(1));
    for (work_type, kind) in [
        (WorkType::YieldHeavy, Latency::Yield),
        (WorkType::Mixed, Latency::Yield),
        (bursty, Latency::Timer),
        (WorkType::pipe_io(64), Latency::Wake),
        (WorkType::futex_ping_pong(64), Latency::Wake),
        (WorkType::IoSyncWrite, Latency::Io),
        (WorkType::cache_yield(4, 64), Latency::Yield),
        (WorkType::cache_pipe(4, 64), Latency::Wake),
    ] {
        for report in run(work_type) {
            let kinds: Vec<_> = report.latency.keys().collect();
            assert_eq!(kinds, [&kind], "{}", report.work_type);
        }
    }
}

#[test]
fn io_outside_a_guest_never_touches_a_device() {
    let report = run(WorkType::IoSyncWrite).remove(0);
    assert!(report.io_target.unwrap().starts_with("file in"));
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let ours = left.filter(|e| e.file_name().to_string_lossy().starts_with("schedlab-io-"));
    assert_eq!(ours.count(), 0, "the temporary file has no name left");
}
