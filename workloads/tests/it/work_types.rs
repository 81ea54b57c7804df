//! Each type runs, works and says what it measured, as an ordinary user too.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{Latency, SchedClass, WakeMechanism, WorkloadHandle};

const MS: Duration = Duration::from_millis(1);

fn run(work_type: WorkType) -> Vec<WorkerReport> {
    let num_workers = work_type.worker_group_size().unwrap_or(2);
    let config = WorkloadConfig { num_workers, work_type, ..WorkloadConfig::default() };
    let mut handle = WorkloadHandle::spawn(&config).unwrap();
    handle.start();
    handle.wait_until(Instant::now() + Duration::from_millis(200)).unwrap();
    handle.stop_and_collect(Duration::from_secs(5))
}

/// What the reference says that a type samples.
fn documented(name: &str) -> BTreeSet<Latency> {
    let types = WorkType::reference().unwrap();
    let of = types.iter().find(|of| of.name == name).unwrap();
    of.latency.iter().map(|sampled| sampled.kind).collect()
}

#[test]
fn every_type_works_and_its_counters_hold_together() {
    for name in WorkType::ALL_NAMES {
        let Some(mut work_type) = WorkType::from_name(name) else { continue };
        // Shorter iterations, so that some fit in on a loaded machine too.
        match &mut work_type {
            WorkType::Bursty { burst_duration, sleep_duration } => {
                (*burst_duration, *sleep_duration) = (2 * MS, 2 * MS);
            }
            WorkType::IpcVariance { period_iters, .. } => *period_iters = 2,
            _ => {}
        }
        for report in run(work_type) {
            if let Some(why) = &report.failed
                && *name == "CgroupChurn"
            {
                assert!(why.contains("cgroup"), "{why}");
                continue;
            }
            assert!(report.completed && report.iterations > 0, "{name}: {report:?}");
            assert!(report.work_units > 0, "{name}");
            assert!(
                report.cpu_time_ns.unwrap() <= crate::most_cpu_ns(&report),
                "{name}: {report:?}"
            );
            assert!(!report.cpus_used.is_empty(), "{name}");
            let named = documented(name);
            assert!(report.latency.keys().all(|kind| named.contains(kind)), "{name}: {named:?}");
            assert!(report.max_gap_ns.unwrap() <= report.wall_time_ns, "{name}");
            // An ordinary user may raise its nice value and not lower it again.
            let one_way = *name == "NiceSweep" && !rustix::process::geteuid().is_root();
            assert!(one_way || report.errors.is_empty(), "{name}: {:?}", report.errors);
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
        (WorkType::IoRandRead, Latency::Io),
        (WorkType::IoConvoy, Latency::Io),
        (WorkType::NiceSweep, Latency::Yield),
        (WorkType::policy_churn(64), Latency::Yield),
        (WorkType::affinity_churn(64), Latency::Yield),
        (WorkType::numa_migration_churn(10), Latency::Timer),
        (WorkType::idle_churn(MS, MS, true), Latency::Timer),
        (WorkType::wake_chain(3, WakeMechanism::Pipe, Duration::ZERO), Latency::Wake),
        (WorkType::wake_chain(3, WakeMechanism::Futex, Duration::ZERO), Latency::Wake),
        (WorkType::cache_yield(4, 64), Latency::Yield),
        (WorkType::cache_pipe(4, 64), Latency::Wake),
    ] {
        for report in run(work_type) {
            let kinds: Vec<_> = report.latency.keys().collect();
            assert_eq!(kinds, [&kind], "{}", report.work_type);
            assert_eq!(documented(&report.work_type), BTreeSet::from([kind]));
        }
    }
}

#[test]
fn types_that_sample_several_things_sample_what_the_reference_names() {
    let rest = vec![Phase::Yield(MS), Phase::Io(MS)];
    for work_type in [
        WorkType::futex_fan_out(3, 64),
        WorkType::fan_out_compute(3, 4, 1, 10),
        WorkType::thundering_herd(3, 2, 1),
        WorkType::mutex_contention(2, 64, 64),
        WorkType::from_name("PriorityInversion").unwrap(),
        WorkType::producer_consumer_imbalance(1, 1, 200, 1, 4),
        WorkType::epoll_storm(1, 2, 4),
        WorkType::preempt_storm(1, 64, 1000),
        WorkType::sequence(Phase::Sleep(MS), rest),
    ] {
        let named = documented(work_type.name());
        let reports = run(work_type);
        let seen: BTreeSet<_> = reports.iter().flat_map(|r| r.latency.keys().copied()).collect();
        assert_eq!(seen, named, "{}", reports[0].work_type);
    }
}

#[test]
fn a_round_wakes_everyone_once() {
    for (work_type, leader) in [
        (WorkType::futex_fan_out(3, 64), "messenger"),
        (WorkType::fan_out_compute(3, 4, 1, 10), "messenger"),
        (WorkType::thundering_herd(3, 2, 1), "waker"),
    ] {
        let reports = run(work_type);
        let rounds = reports[0].iterations;
        assert_eq!(reports[0].role, leader);
        for report in &reports[1..] {
            assert!(report.iterations.abs_diff(rounds) <= 1, "{report:?}");
            let samples = report.latency[&Latency::Wake].count;
            assert!(samples > 0 && samples <= rounds + 1, "{report:?}");
            assert!(report.work_units >= report.iterations, "{report:?}");
        }
    }
}

#[test]
fn a_class_is_set_or_said_to_be_refused() {
    for (work_type, policies) in [
        (
            WorkType::asymmetric_waker(SchedClass::Batch, SchedClass::Idle, 64),
            ["SCHED_BATCH", "SCHED_IDLE"],
        ),
        (
            WorkType::asymmetric_waker(SchedClass::Cfs, SchedClass::Rt, 64),
            ["SCHED_OTHER", "SCHED_FIFO 50"],
        ),
        (WorkType::preempt_storm(1, 64, 1000), ["SCHED_FIFO 1", "SCHED_OTHER"]),
        (WorkType::rt_starvation(1, 1, 7, 64), ["SCHED_FIFO 7", "SCHED_OTHER"]),
    ] {
        for (report, policy) in run(work_type).iter().zip(policies) {
            if policy.starts_with("SCHED_FIFO") && !report.not_applied.is_empty() {
                assert_eq!(report.not_applied[0].setting, "sched_policy", "{report:?}");
                assert_eq!(report.sched_policy.as_deref(), Some("SCHED_OTHER"), "{report:?}");
            } else {
                assert!(report.not_applied.is_empty(), "{report:?}");
                assert_eq!(report.sched_policy.as_deref(), Some(policy), "{report:?}");
            }
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

#[test]
fn a_sequence_goes_through_all_its_phases() {
    let rest = vec![Phase::Sleep(MS), Phase::Yield(MS), Phase::Io(MS)];
    for report in run(WorkType::Sequence { first: Phase::Spin(MS), rest }) {
        assert!(report.completed && report.iterations > 0, "{report:?}");
        let kinds: Vec<_> = report.latency.keys().copied().collect();
        assert_eq!(kinds, [Latency::Timer, Latency::Yield, Latency::Io]);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert!(report.io_target.unwrap().starts_with("file in"));
    }
}

#[test]
fn a_long_sleep_ends_with_the_stop() {
    let hour = Duration::from_secs(3600);
    let hour_ms = 3_600_000;
    for work_type in [
        WorkType::idle_churn(MS, hour, false),
        WorkType::idle_churn(hour, MS, false),
        WorkType::numa_migration_churn(hour_ms),
        WorkType::cgroup_churn(2, hour_ms),
        WorkType::sequence(Phase::Sleep(hour), vec![]),
        WorkType::sequence(Phase::Spin(hour), vec![]),
        WorkType::sequence(Phase::Yield(hour), vec![]),
        WorkType::sequence(Phase::Io(hour), vec![]),
    ] {
        for report in run(work_type) {
            assert!(report.completed || report.failed.is_some(), "{report:?}");
            assert!(report.wall_time_ns < 1_500_000_000, "{report:?}");
        }
    }
}
