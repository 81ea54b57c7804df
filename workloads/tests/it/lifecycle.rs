//! Start gate, stop, death and teardown.

use crate::delay::unhindered;
use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{ExitInfo, SpawnError, SpawnOptions, WakeMechanism, WorkloadHandle};

const PATIENCE: Duration = Duration::from_secs(5);

fn config(num_workers: usize, work_type: WorkType) -> WorkloadConfig {
    WorkloadConfig { num_workers, work_type, ..WorkloadConfig::default() }
}

fn run_for(config: &WorkloadConfig, time: Duration) -> Vec<WorkerReport> {
    let mut handle = WorkloadHandle::spawn(config).unwrap();
    handle.start();
    handle.wait_until(Instant::now() + time).unwrap();
    handle.stop_and_collect(PATIENCE)
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn has_children() -> bool {
    let options = rustix::process::WaitOptions::NOHANG;
    !matches!(rustix::process::wait(options), Err(rustix::io::Errno::CHILD))
}

#[test]
fn nobody_runs_before_the_gate_opens() {
    let mut handle = WorkloadHandle::spawn(&config(3, WorkType::SpinWait)).unwrap();
    handle.wait_until(Instant::now() + Duration::from_millis(100)).unwrap();
    assert_eq!(handle.snapshot_iterations(), [0, 0, 0]);
    handle.start();
    let deadline = Instant::now() + PATIENCE;
    while handle.snapshot_iterations().contains(&0) {
        assert!(Instant::now() < deadline, "a worker never started");
    }
    assert_eq!(handle.stop_and_collect(PATIENCE).len(), 3);
}

#[test]
fn reports_come_in_spawn_order_with_groups_and_roles() {
    let composed = WorkSpec {
        work_type: WorkType::futex_ping_pong(0),
        num_workers: Some(2),
        ..WorkSpec::default()
    };
    let config = WorkloadConfig { composed: vec![composed], ..config(2, WorkType::SpinWait) };
    let reports = run_for(&config, Duration::from_millis(50));
    let seen: Vec<_> = reports.iter().map(|r| (r.index, r.group_idx, r.role.as_str())).collect();
    assert_eq!(seen, [(0, 0, "worker"), (1, 0, "worker"), (2, 1, "server"), (3, 1, "returner")]);
    assert!(reports.iter().all(|r| r.completed && r.iterations > 0 && r.tid > 0));
}

#[test]
fn every_blocked_worker_leaves_within_200_ms_of_the_stop() {
    let hour = Duration::from_secs(3600);
    for work_type in [
        WorkType::bursty(Duration::from_nanos(1), hour),
        // One of each pair spins for ever, its partner waits for it.
        WorkType::pipe_io(u64::MAX),
        WorkType::futex_ping_pong(u64::MAX),
        WorkType::IoSyncWrite,
        WorkType::ForkExit,
        WorkType::ForkExec,
        WorkType::futex_fan_out(1, u64::MAX),
        WorkType::fan_out_compute(1, 1 << 14, usize::MAX, 0),
        WorkType::thundering_herd(1, 1, u64::MAX),
        WorkType::wake_chain(2, WakeMechanism::Pipe, hour),
        WorkType::wake_chain(2, WakeMechanism::Futex, hour),
    ] {
        let mut handle = WorkloadHandle::spawn(&config(2, work_type.clone())).unwrap();
        handle.start();
        handle.wait_until(Instant::now() + Duration::from_millis(50)).unwrap();
        let (took, reports) = unhindered(|| handle.stop_and_collect(PATIENCE));
        assert!(took < Duration::from_millis(200), "{work_type:?}: {took:?}");
        assert!(reports.iter().all(|r| r.completed), "{work_type:?}");
    }
}

#[test]
fn a_killed_worker_leaves_a_report_that_says_so() {
    let mut handle = WorkloadHandle::spawn(&config(2, WorkType::SpinWait)).unwrap();
    handle.start();
    while handle.snapshot_iterations()[0] < 10 {}
    kill(handle.worker_pids()[0]);
    handle.wait_until(Instant::now() + Duration::from_millis(50)).unwrap();
    let reports = handle.stop_and_collect(PATIENCE);
    assert_eq!(reports[0].exit_info, Some(ExitInfo::Signaled(9)));
    assert!(!reports[0].completed && reports[0].iterations >= 10, "{:?}", reports[0]);
    assert_eq!(reports[0].cpu_time_ns, None, "a dead worker's CPU time is not known");
    assert!(reports[1].completed);
}

#[test]
fn a_worker_that_ignores_the_stop_is_killed_and_named() {
    fn deaf(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        loop {
            std::thread::park();
        }
    }
    let handle = WorkloadHandle::spawn(&config(1, WorkType::custom("deaf", deaf))).unwrap();
    let reports = handle.stop_and_collect(Duration::from_millis(100));
    assert_eq!(reports[0].exit_info, Some(ExitInfo::TimedOut));
}

#[test]
fn a_panic_in_user_code_is_reported_with_its_message() {
    fn broken(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        panic!("out of luck")
    }
    let reports = run_for(&config(1, WorkType::custom("broken", broken)), PATIENCE);
    let Some(ExitInfo::Panicked(message)) = &reports[0].exit_info else { panic!("{reports:?}") };
    assert!(message.contains("out of luck"), "{message}");
}

#[test]
fn user_code_that_says_it_failed_has_not_completed() {
    fn gave_up(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        WorkerReport { work_units: 3, failed: Some("no device".into()), ..Default::default() }
    }
    let reports = run_for(&config(1, WorkType::custom("gave_up", gave_up)), PATIENCE);
    let [report] = reports.as_slice() else { panic!("{reports:?}") };
    assert!(!report.completed, "{report:?}");
    assert_eq!((report.failed.as_deref(), report.work_units), (Some("no device"), 3));
    assert_eq!(report.exit_info, None);
}

#[test]
fn dropping_the_handle_leaves_no_process() {
    let handle = WorkloadHandle::spawn(&config(4, WorkType::SpinWait)).unwrap();
    handle.start();
    drop(handle);
    assert!(!has_children());
}

#[test]
#[expect(clippy::zombie_processes, reason = "the child is left behind on purpose")]
fn what_a_worker_forks_is_gone_after_the_collection() {
    fn litter(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        WorkerReport { work_units: u64::from(child.id()), ..WorkerReport::default() }
    }
    let reports = run_for(&config(1, WorkType::custom("litter", litter)), PATIENCE);
    let stat = format!("/proc/{}/stat", reports[0].work_units);
    let deadline = Instant::now() + PATIENCE;
    // Killed at once; whoever adopted it reaps it in their own time.
    while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
        assert!(Instant::now() < deadline, "the child still runs");
    }
}

#[test]
fn a_run_by_iterations_does_exactly_as_many() {
    for work_type in [WorkType::SpinWait, WorkType::futex_ping_pong(8), WorkType::pipe_io(8)] {
        let options = SpawnOptions { iterations: Some(123), ..SpawnOptions::default() };
        let mut handle = WorkloadHandle::spawn_with(&config(2, work_type), &options).unwrap();
        handle.start();
        assert_eq!(handle.wait_until(Instant::now() + PATIENCE).unwrap().running, 0);
        let reports = handle.stop_and_collect(PATIENCE);
        assert!(reports.iter().all(|r| r.iterations == 123 && r.completed), "{reports:?}");
    }
}

#[test]
fn a_staggered_worker_is_measured_from_its_own_beginning() {
    let stagger = Duration::from_millis(400);
    let options = SpawnOptions { iterations: Some(1), stagger, seed: 3, ..SpawnOptions::default() };
    let mut handle = WorkloadHandle::spawn_with(&config(4, WorkType::SpinWait), &options).unwrap();
    handle.start();
    let opened = Instant::now();
    assert_eq!(handle.wait_until(Instant::now() + PATIENCE).unwrap().running, 0);
    // The last of the four begins late, whatever the choices are.
    assert!(opened.elapsed() > stagger / 4, "{:?}", opened.elapsed());
    let reports = handle.stop_and_collect(PATIENCE);
    assert!(reports.iter().all(|r| r.iterations == 1 && r.completed), "{reports:?}");
    assert!(reports.iter().any(|r| r.wall_time_ns < 50_000_000), "{reports:?}");
}

#[test]
fn a_worker_that_has_not_begun_yet_hears_the_stop() {
    let stagger = Duration::from_secs(3600);
    let options = SpawnOptions { stagger, ..SpawnOptions::default() };
    let handle = WorkloadHandle::spawn_with(&config(2, WorkType::SpinWait), &options).unwrap();
    handle.start();
    let reports = handle.stop_and_collect(PATIENCE);
    assert!(reports.iter().all(|r| r.completed && r.exit_info.is_none()), "{reports:?}");
}

#[test]
fn the_warm_up_is_not_counted() {
    let mut handle = WorkloadHandle::spawn(&config(1, WorkType::SpinWait)).unwrap();
    handle.start();
    handle.wait_until(Instant::now() + Duration::from_millis(300)).unwrap();
    handle.restart_measurement();
    handle.wait_until(Instant::now() + Duration::from_millis(50)).unwrap();
    let report = handle.stop_and_collect(PATIENCE).remove(0);
    assert!(report.wall_time_ns < 250_000_000, "{}", report.wall_time_ns);
    assert!(report.cpu_time_ns.unwrap() <= crate::most_cpu_ns(&report));
}

#[test]
fn a_function_that_is_not_linked_in_is_refused_before_anything_starts() {
    let json = r#"{"work_type":{"Custom":{"name":"absent"}}}"#;
    let config: WorkloadConfig = serde_json::from_str(json).unwrap();
    let error = WorkloadHandle::spawn(&config).unwrap_err();
    assert!(matches!(error, SpawnError::Unregistered(name) if name == "absent"));
}

#[test]
fn a_refused_setting_is_recorded() {
    let config = WorkloadConfig {
        affinity: AffinityIntent::Exact([1023].into()),
        ..config(1, WorkType::SpinWait)
    };
    let report = run_for(&config, Duration::from_millis(20)).remove(0);
    assert_eq!(report.not_applied[0].setting, "affinity");
    assert!(report.iterations > 0, "it still runs");
}
