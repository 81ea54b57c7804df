//! What a user of the library writes: every variant, field and constructor by its public name.
//! That this compiles is the test; a renamed field or a new obligatory one breaks users.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use workloads::prelude::*;
use workloads::*;

const MS: Duration = Duration::from_millis(1);

fn my_workload(stop: &AtomicBool) -> WorkerReport {
    let tid: i32 = std::process::id() as i32;
    let start = std::time::Instant::now();
    let mut work_units = 0u64;
    while !stop.load(Ordering::Relaxed) {
        work_units += 1;
    }
    let wall_time_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    WorkerReport {
        tid,
        work_units,
        wall_time_ns,
        iterations: work_units,
        ..WorkerReport::default()
    }
}

fn primitives() -> Vec<WorkType> {
    vec![
        WorkType::SpinWait,
        WorkType::YieldHeavy,
        WorkType::Mixed,
        WorkType::AluHot { width: AluWidth::Widest },
        WorkType::SmtSiblingSpin,
        WorkType::IpcVariance { hot_iters: 1, cold_iters: 1, period_iters: 1 },
        WorkType::IoSyncWrite,
        WorkType::IoRandRead,
        WorkType::IoConvoy,
        WorkType::Bursty { burst_duration: MS, sleep_duration: MS },
        WorkType::IdleChurn { burst_duration: MS, sleep_duration: MS, precise_timing: true },
        WorkType::CachePressure { size_kb: 32, stride: 64 },
        WorkType::CacheYield { size_kb: 32, stride: 64 },
        WorkType::Sequence { first: Phase::Spin(MS), rest: vec![Phase::Sleep(MS)] },
        WorkType::ForkExit,
        WorkType::ForkExec,
        WorkType::NiceSweep,
        WorkType::AffinityChurn { spin_iters: 1 },
        WorkType::PolicyChurn { spin_iters: 1 },
        WorkType::NumaMigrationChurn { period_ms: 1 },
        WorkType::CgroupChurn { groups: 2, cycle_ms: 1 },
        WorkType::PageFaultChurn { region_kb: 4096, touches_per_cycle: 256, spin_iters: 64 },
        WorkType::NumaWorkingSetSweep { region_kb: 4, sweep_period_ms: 1, target_nodes: vec![0] },
        WorkType::Custom { name: "my_workload".to_owned(), run: my_workload },
    ]
}

fn grouped() -> Vec<(WorkType, usize)> {
    vec![
        (WorkType::PipeIo { burst_iters: 1 }, 2),
        (WorkType::FutexPingPong { spin_iters: 1 }, 2),
        (WorkType::CachePipe { size_kb: 32, burst_iters: 1 }, 2),
        (WorkType::FutexFanOut { fan_out: 4, spin_iters: 1 }, 5),
        (
            WorkType::FanOutCompute {
                fan_out: 4,
                cache_footprint_kb: 256,
                operations: 5,
                sleep_usec: 100,
            },
            5,
        ),
        (
            WorkType::AsymmetricWaker {
                waker_class: SchedClass::Cfs,
                wakee_class: SchedClass::Rt,
                burst_iters: 1,
            },
            2,
        ),
        (WorkType::WakeChain { depth: 4, wake: WakeMechanism::Pipe, work_per_hop: MS }, 4),
        (WorkType::EpollStorm { producers: 1, consumers: 2, events_per_burst: 32 }, 3),
        (WorkType::ThunderingHerd { waiters: 7, batches: 1000, inter_batch_ms: 5 }, 8),
        (WorkType::MutexContention { contenders: 4, hold_iters: 256, work_iters: 1024 }, 4),
        (
            WorkType::PriorityInversion {
                high_count: 1,
                medium_count: 2,
                low_count: 3,
                hold_iters: 1,
                work_iters: 1,
                pi_mode: FutexLockMode::Pi,
            },
            6,
        ),
        (
            WorkType::ProducerConsumerImbalance {
                producers: 2,
                consumers: 1,
                produce_rate_hz: 1000,
                consume_iters: 4096,
                queue_depth_target: 1024,
            },
            3,
        ),
        (WorkType::SignalStorm { signals_per_iter: 16, work_iters: 1024 }, 2),
        (WorkType::PreemptStorm { cfs_workers: 2, rt_burst_iters: 1024, rt_sleep_us: 1000 }, 3),
        (
            WorkType::RtStarvation {
                rt_workers: 1,
                cfs_workers: 1,
                rt_priority: 50,
                burst_iters: 1,
            },
            2,
        ),
    ]
}

#[test]
fn every_variant_is_written_with_its_documented_fields() {
    let (primitives, grouped) = (primitives(), grouped());
    let written = primitives.iter().chain(grouped.iter().map(|(work_type, _)| work_type));
    let mut names: Vec<_> = written.map(WorkType::name).collect();
    names.sort_unstable();
    let mut known: Vec<_> = WorkType::ALL_NAMES.to_vec();
    known.retain(|name| *name != "Custom");
    known.push("my_workload");
    known.sort_unstable();
    assert_eq!(names, known);
    assert_eq!(known.len(), 39);
    // Two spinning siblings are a pair as well.
    for work_type in primitives.iter().filter(|t| t.name() != "SmtSiblingSpin") {
        assert_eq!(work_type.worker_group_size(), None, "{work_type:?}");
    }
    for (work_type, size) in grouped {
        assert_eq!(work_type.worker_group_size(), Some(size), "{work_type:?}");
    }
}

#[test]
fn constructors_take_the_parameters_in_their_order() {
    for (made, written) in [
        (
            WorkType::bursty(MS, 2 * MS),
            WorkType::Bursty { burst_duration: MS, sleep_duration: 2 * MS },
        ),
        (WorkType::pipe_io(7), WorkType::PipeIo { burst_iters: 7 }),
        (WorkType::cache_pressure(7, 8), WorkType::CachePressure { size_kb: 7, stride: 8 }),
        (
            WorkType::page_fault_churn(7, 8, 9),
            WorkType::PageFaultChurn { region_kb: 7, touches_per_cycle: 8, spin_iters: 9 },
        ),
        (
            WorkType::mutex_contention(7, 8, 9),
            WorkType::MutexContention { contenders: 7, hold_iters: 8, work_iters: 9 },
        ),
        (
            WorkType::priority_inversion(1, 2, 3, 4, 5, FutexLockMode::Plain),
            WorkType::PriorityInversion {
                high_count: 1,
                medium_count: 2,
                low_count: 3,
                hold_iters: 4,
                work_iters: 5,
                pi_mode: FutexLockMode::Plain,
            },
        ),
        (
            WorkType::wake_chain(7, WakeMechanism::Futex, MS),
            WorkType::WakeChain { depth: 7, wake: WakeMechanism::Futex, work_per_hop: MS },
        ),
        (
            WorkType::custom("my_workload", my_workload),
            WorkType::Custom { name: "my_workload".into(), run: my_workload },
        ),
    ] {
        assert_eq!(made, written);
    }
}

#[test]
fn a_config_has_just_its_documented_fields() {
    let config = WorkloadConfig {
        num_workers: 1,
        affinity: AffinityIntent::Inherit,
        work_type: WorkType::SpinWait,
        sched_policy: SchedPolicy::Normal,
        mem_policy: MemPolicy::Default,
        mpol_flags: MpolFlags::default(),
        nice: None,
        clone_mode: CloneMode::Fork,
        comm: Some(Cow::Borrowed("worker")),
        uid: None,
        gid: None,
        numa_node: None,
        composed: vec![WorkSpec { num_workers: Some(2), ..WorkSpec::default() }.pcomm("java")],
    };
    assert_eq!(
        WorkloadConfig { comm: None, composed: Vec::new(), ..config },
        WorkloadConfig::default()
    );
    let policies = [
        SchedPolicy::Normal,
        SchedPolicy::Batch,
        SchedPolicy::Idle,
        SchedPolicy::Fifo(1),
        SchedPolicy::RoundRobin(98),
        SchedPolicy::Deadline { runtime: MS, deadline: MS, period: Duration::ZERO },
        SchedPolicy::Ext,
    ];
    for policy in policies {
        WorkloadConfig { sched_policy: policy, ..WorkloadConfig::default() }.validate().unwrap();
    }
}

#[test]
fn a_validation_error_is_typed_and_names_field_value_and_rule() {
    let error = SchedPolicy::deadline(2 * MS, MS, MS).unwrap_err();
    assert!(matches!(error, WorkTypeValidationError::DeadlineOrder { .. }), "{error}");
    let config = WorkloadConfig {
        work_type: WorkType::FutexFanOut { fan_out: 4, spin_iters: 1 },
        num_workers: 6,
        ..WorkloadConfig::default()
    };
    let error = config.validate().unwrap_err();
    let text = error.to_string();
    assert!(
        ["num_workers", "6", "FutexFanOut", "5"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    let Some(WorkTypeValidationError::NonDivisibleWorkerCount { group_size: 5, .. }) = error.source
    else {
        panic!("{error:?}")
    };
}
