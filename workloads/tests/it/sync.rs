//! Locks, queues, events and signals: what their counters prove.

use crate::delay::unhindered;
use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{FutexLockMode, Latency, SpawnOptions, WorkloadHandle};

const PATIENCE: Duration = Duration::from_secs(5);

fn spawn(work_type: &WorkType, iterations: Option<u64>) -> WorkloadHandle {
    let num_workers = work_type.worker_group_size().unwrap();
    let work_type = work_type.clone();
    let config = WorkloadConfig { num_workers, work_type, ..WorkloadConfig::default() };
    let options = SpawnOptions { iterations, ..SpawnOptions::default() };
    let handle = WorkloadHandle::spawn_with(&config, &options).unwrap();
    handle.start();
    handle
}

/// Runs until every worker has left by itself.
fn run(work_type: &WorkType, iterations: u64) -> Vec<WorkerReport> {
    let mut handle = spawn(work_type, Some(iterations));
    let census = handle.wait_until(Instant::now() + Duration::from_secs(20)).unwrap();
    let reports = handle.stop_and_collect(PATIENCE);
    assert_eq!(census.running, 0, "{reports:?}");
    for report in &reports {
        let healthy = report.completed && report.failed.is_none() && report.errors.is_empty();
        assert!(healthy, "{report:?}");
    }
    reports
}

fn sum(reports: &[WorkerReport], role: &str) -> u64 {
    reports.iter().filter(|r| r.role == role).map(|r| r.iterations).sum()
}

fn tally(reports: &[WorkerReport], what: &str) -> u64 {
    reports.iter().filter_map(|r| r.tallies.get(what)).sum()
}

#[test]
fn a_mutex_has_one_holder_and_each_turn_is_a_sample() {
    for report in run(&WorkType::mutex_contention(4, 512, 8), 5000) {
        assert_eq!((report.iterations, report.latency[&Latency::Lock].count), (5000, 5000));
    }
}

#[test]
fn tiers_share_both_kinds_of_lock() {
    for mode in [FutexLockMode::Plain, FutexLockMode::Pi] {
        let reports = run(&WorkType::priority_inversion(2, 1, 2, 512, 512, mode), 200);
        assert_eq!(sum(&reports, "low"), 400);
        // A round for each time that a low one has the lock.
        assert_eq!((sum(&reports, "high"), sum(&reports, "medium")), (800, 400));
        for report in reports.iter().filter(|r| r.role != "medium") {
            let samples = report.latency[&Latency::Lock].count;
            assert_eq!(samples, report.iterations, "{mode:?}: {report:?}");
            assert!(samples > 0, "{mode:?}");
        }
    }
}

#[test]
fn each_item_is_consumed_once_through_queues_of_any_depth() {
    for (producers, consumers, depth) in [(2, 1, 1024), (3, 2, 1), (1, 4, 2), (4, 4, 7)] {
        let work_type =
            WorkType::producer_consumer_imbalance(producers, consumers, 1_000_000, 16, depth);
        let reports = run(&work_type, 2000);
        let made = sum(&reports, "producer");
        assert_eq!(made, 2000 * producers as u64);
        assert_eq!(sum(&reports, "consumer"), made);
    }
}

#[test]
fn each_event_is_read_once() {
    for (producers, consumers) in [(1, 2), (3, 1), (2, 4)] {
        let reports = run(&WorkType::epoll_storm(producers, consumers, 8), 300);
        let written = tally(&reports, "events_written");
        assert_eq!(written, 300 * 8 * producers as u64);
        assert_eq!(tally(&reports, "events_read"), written);
        assert_eq!(sum(&reports, "consumer"), written);
    }
}

#[test]
fn each_signal_is_handled() {
    let reports = run(&WorkType::signal_storm(16, 256), 500);
    for report in &reports {
        assert_eq!((report.tallies["signals_sent"], report.iterations), (8000, 500));
        assert_eq!(report.tallies["signals_received"], 8000);
    }
}

#[test]
fn who_waits_for_a_partner_leaves_within_200_ms_of_the_stop() {
    for work_type in [
        WorkType::mutex_contention(3, u64::MAX, 0),
        WorkType::priority_inversion(1, 1, 1, u64::MAX, 1, FutexLockMode::Plain),
        WorkType::priority_inversion(1, 1, 1, u64::MAX, 1, FutexLockMode::Pi),
        WorkType::producer_consumer_imbalance(2, 1, 1_000_000, u64::MAX, 1),
        WorkType::producer_consumer_imbalance(1, 2, 1, 1, 1),
        WorkType::epoll_storm(1, 2, 1 << 40),
        WorkType::signal_storm(0, u64::MAX),
    ] {
        let mut handle = spawn(&work_type, None);
        handle.wait_until(Instant::now() + Duration::from_millis(50)).unwrap();
        let (took, reports) = unhindered(|| handle.stop_and_collect(PATIENCE));
        assert!(took < Duration::from_millis(200), "{work_type:?}: {took:?}");
        for report in reports {
            assert!(report.completed && report.errors.is_empty(), "{work_type:?}: {report:?}");
            assert_eq!(report.failed, None, "{work_type:?}");
        }
    }
}
