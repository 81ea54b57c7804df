//! Processes, threads and containers: every type in every mode that it allows, and what the
//! kernel shows of them.

use crate::delay::unhindered;
use crate::lifecycle::has_children;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{ExitInfo, FutexLockMode, IoPlace, SpawnOptions, WorkloadHandle};

const PATIENCE: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

/// The ways in which workers can live.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Processes,
    Threads,
    Container,
}

const MODES: [Mode; 3] = [Mode::Processes, Mode::Threads, Mode::Container];

/// `count` workers in `mode`. A container is a composed set, beside one spinner.
fn config(mode: Mode, work_type: &WorkType, count: usize) -> WorkloadConfig {
    let work_type = work_type.clone();
    match mode {
        Mode::Container => {
            let set = WorkSpec { work_type, num_workers: Some(count), ..WorkSpec::default() };
            WorkloadConfig { composed: vec![set.pcomm("crowd")], ..WorkloadConfig::default() }
        }
        _ => WorkloadConfig {
            num_workers: count,
            work_type,
            clone_mode: if mode == Mode::Threads { CloneMode::Thread } else { CloneMode::Fork },
            ..WorkloadConfig::default()
        },
    }
}

fn spawn(config: &WorkloadConfig, iterations: Option<u64>) -> WorkloadHandle {
    let options = SpawnOptions { iterations, ..SpawnOptions::default() };
    let handle = WorkloadHandle::spawn_with(config, &options).unwrap();
    handle.start();
    handle
}

/// The reports of the set under test, after `time`.
fn run_for(mode: Mode, work_type: &WorkType, count: usize, time: Duration) -> Vec<WorkerReport> {
    let mut handle = spawn(&config(mode, work_type, count), None);
    handle.wait_until(Instant::now() + time).unwrap();
    of_set(mode, handle.stop_and_collect(PATIENCE))
}

fn of_set(mode: Mode, reports: Vec<WorkerReport>) -> Vec<WorkerReport> {
    let set = usize::from(mode == Mode::Container);
    reports.into_iter().filter(|report| report.group_idx == set).collect()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn count_entries(dir: &str) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// Mappings of shared anonymous memory, which is what workers share.
fn shared_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/dev/zero")).count()
}

fn all_types() -> impl Iterator<Item = WorkType> {
    let sequence = WorkType::sequence(Phase::Spin(MS), vec![Phase::Sleep(MS), Phase::Io(MS)]);
    WorkType::ALL_NAMES.iter().filter_map(|name| WorkType::from_name(name)).chain([sequence])
}

#[test]
fn every_type_runs_and_stops_in_every_mode_and_leaves_nothing() {
    let (files, threads) = (count_entries("/proc/self/fd"), count_entries("/proc/self/task"));
    let mappings = shared_mappings();
    let dir = std::env::temp_dir().join(format!("schedlab-modes-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let options = SpawnOptions { io: IoPlace::Dir(dir.clone()), ..SpawnOptions::default() };
    for work_type in all_types() {
        for mode in MODES {
            let count = work_type.worker_group_size().unwrap_or(2);
            let wanted = config(mode, &work_type, count);
            let name = work_type.name();
            if let Err(refusal) = wanted.validate() {
                assert!(["ForkExit", "ForkExec", "CgroupChurn"].contains(&name), "{refusal}");
                assert!(mode != Mode::Processes, "{refusal}");
                continue;
            }
            let mut handle = WorkloadHandle::spawn_with(&wanted, &options).unwrap();
            handle.start();
            handle.wait_until(Instant::now() + 120 * MS).unwrap();
            let (took, reports) = unhindered(|| handle.stop_and_collect(PATIENCE));
            assert!(took < 200 * MS, "{name} {mode:?}: {took:?}");
            let reports = of_set(mode, reports);
            assert_eq!(reports.len(), count, "{name} {mode:?}");
            for report in &reports {
                let no_cgroup = name == "CgroupChurn" && report.failed.is_some();
                assert!(report.completed || no_cgroup, "{name} {mode:?}: {report:?}");
            }
        }
        assert!(!has_children(), "{work_type:?}");
        assert_eq!(count_entries("/proc/self/task"), threads, "{work_type:?}");
        assert_eq!(count_entries("/proc/self/fd"), files, "{work_type:?}");
        assert_eq!(shared_mappings(), mappings, "{work_type:?}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{work_type:?}");
    }
    std::fs::remove_dir(&dir).unwrap();
}

#[test]
fn the_kernel_sees_processes_threads_and_a_named_process_of_threads() {
    for (mode, processes, comm) in
        [(Mode::Processes, 4, None), (Mode::Threads, 1, None), (Mode::Container, 1, Some("crowd"))]
    {
        let reports = run_for(mode, &WorkType::pipe_io(8), 4, 50 * MS);
        let pids: BTreeSet<_> = reports.iter().map(|report| report.pid).collect();
        let tids: BTreeSet<_> = reports.iter().map(|report| report.tid).collect();
        assert_eq!((pids.len(), tids.len()), (processes, 4), "{mode:?}");
        assert_eq!(pids.contains(&own_pid()), mode == Mode::Threads, "{mode:?}");
        // A container has a leader that is no worker.
        assert_eq!(pids.is_disjoint(&tids), mode != Mode::Processes, "{mode:?}");
        for report in &reports {
            assert!(comm.is_none() || report.comm.as_deref() == comm, "{report:?}");
            assert!(report.iterations > 0 && report.timeslices.is_some(), "{report:?}");
        }
    }
}

#[test]
fn a_container_is_a_thread_group_whose_leader_has_its_name_and_ids() {
    let root = rustix::process::geteuid().is_root();
    let ids = root.then_some(65_534);
    let set = |work_type| {
        let spec =
            WorkSpec { work_type, num_workers: Some(2), uid: ids, gid: ids, ..WorkSpec::default() };
        spec.pcomm("java")
    };
    let composed = vec![set(WorkType::SpinWait), set(WorkType::futex_ping_pong(8))];
    let handle = spawn(&WorkloadConfig { composed, ..WorkloadConfig::default() }, None);
    let leader_of = |tid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        line.unwrap().trim().parse::<i32>().unwrap()
    };
    let leaders: BTreeSet<_> =
        handle.worker_pids()[1..].iter().map(|tid| leader_of(*tid)).collect();
    let [leader] = leaders.iter().copied().collect::<Vec<_>>()[..] else {
        panic!("two sets of one name share one process: {leaders:?}")
    };
    let status = std::fs::read_to_string(format!("/proc/{leader}/status")).unwrap();
    assert!(status.starts_with("Name:\tjava\n"), "{status}");
    if root {
        assert!(status.contains("Uid:\t65534\t65534\t65534"), "{status}");
    }
    let reports = handle.stop_and_collect(PATIENCE);
    assert_eq!(reports.len(), 5);
    for report in &reports[1..] {
        assert_eq!((report.pid, report.completed), (leader, true), "{report:?}");
        assert!(report.not_applied.is_empty(), "{report:?}");
    }
}

#[test]
fn settings_are_each_threads_own() {
    let set = |nice, comm: &'static str| WorkSpec {
        num_workers: Some(1),
        nice: Some(nice),
        comm: Some(comm.into()),
        sched_policy: SchedPolicy::Batch,
        ..WorkSpec::default()
    };
    let config = WorkloadConfig {
        clone_mode: CloneMode::Thread,
        composed: vec![set(5, "five"), set(7, "seven")],
        ..WorkloadConfig::default()
    };
    let stat = |tid: i32| std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
    // Fields 19 and 41 of proc_pid_stat(5), the third being the first after the name.
    let field = |tid, number: usize| {
        let text = stat(tid);
        let rest = text.rsplit_once(") ").unwrap().1.to_owned();
        rest.split(' ').nth(number - 3).unwrap().parse::<i32>().unwrap()
    };
    let own_nice = field(own_pid(), 19);
    let handle = spawn(&config, None);
    let tids = handle.worker_pids();
    assert_eq!(tids.iter().map(|tid| field(*tid, 19)).collect::<Vec<_>>(), [own_nice, 5, 7]);
    assert_eq!(tids.iter().map(|tid| field(*tid, 41)).collect::<Vec<_>>(), [0, 3, 3]);
    assert_eq!(field(own_pid(), 19), own_nice, "the process itself stays as it was");
    let reports = handle.stop_and_collect(PATIENCE);
    let names: Vec<_> = reports[1..].iter().map(|r| r.comm.as_deref().unwrap()).collect();
    assert_eq!(names, ["five", "seven"]);
}

#[test]
fn a_run_by_iterations_is_exact_in_every_mode() {
    for mode in MODES {
        for work_type in [WorkType::signal_storm(4, 16), WorkType::mutex_contention(2, 16, 16)] {
            let mut handle = spawn(&config(mode, &work_type, 2), Some(200));
            // The spinner beside a container has the limit too.
            assert_eq!(handle.wait_until(Instant::now() + PATIENCE).unwrap().running, 0);
            let reports = of_set(mode, handle.stop_and_collect(PATIENCE));
            for report in &reports {
                assert_eq!((report.iterations, report.completed), (200, true), "{mode:?}");
                assert!(report.errors.is_empty(), "{report:?}");
            }
            if work_type.name() == "SignalStorm" {
                let received: Vec<_> =
                    reports.iter().map(|report| report.tallies["signals_received"]).collect();
                assert_eq!(received, [800, 800], "{mode:?}");
            }
        }
    }
}

#[test]
fn signals_that_a_stop_swallows_are_accounted_for() {
    let tally = |report: &WorkerReport, what: &str| report.tallies.get(what).copied().unwrap_or(0);
    for mode in MODES {
        for _ in 0..5 {
            let reports = run_for(mode, &WorkType::signal_storm(16, 0), 2, 30 * MS);
            for (sender, receiver) in [(0, 1), (1, 0)] {
                let sent = tally(&reports[sender], "signals_sent");
                let received = tally(&reports[receiver], "signals_received");
                let merged = tally(&reports[receiver], "signals_merged");
                assert_eq!(sent, received + merged, "{mode:?}: {reports:?}");
                assert!(merged <= 1 && sent > 0, "{mode:?}: {reports:?}");
            }
        }
    }
}

#[test]
fn a_killed_container_takes_its_workers_along_and_each_says_so() {
    let work_type = WorkType::futex_ping_pong(0);
    let mut handle = spawn(&config(Mode::Container, &work_type, 4), None);
    while handle.snapshot_iterations()[1..].iter().any(|n| *n < 10) {}
    // A signal to any of its threads that kills, kills them all.
    let pid = rustix::process::Pid::from_raw(handle.worker_pids()[1]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    handle.wait_until(Instant::now() + 50 * MS).unwrap();
    let reports = handle.stop_and_collect(PATIENCE);
    assert_eq!(reports.len(), 5);
    assert!(reports[0].completed, "the spinner is elsewhere");
    for report in &reports[1..] {
        assert_eq!(report.exit_info, Some(ExitInfo::Signaled(9)), "{report:?}");
        assert!(report.iterations >= 10 && report.tid > 0 && report.pid > 0, "{report:?}");
    }
}

#[test]
fn a_panic_of_one_thread_is_its_own_report_and_spares_the_others() {
    fn broken(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        panic!("out of luck")
    }
    for mode in [Mode::Threads, Mode::Container] {
        let custom = WorkSpec {
            work_type: WorkType::custom("broken", broken),
            num_workers: Some(1),
            ..WorkSpec::default()
        };
        let custom = if mode == Mode::Container { custom.pcomm("crowd") } else { custom };
        let mut config = config(mode, &WorkType::futex_ping_pong(8), 2);
        config.composed.push(custom);
        let mut handle = spawn(&config, None);
        handle.wait_until(Instant::now() + 50 * MS).unwrap();
        let mut reports = handle.stop_and_collect(PATIENCE);
        let Some(ExitInfo::Panicked(message)) = reports.pop().unwrap().exit_info else {
            panic!("{mode:?}: {reports:?}")
        };
        assert!(message.contains("out of luck"), "{message}");
        assert!(reports.iter().all(|report| report.completed), "{mode:?}: {reports:?}");
    }
}

#[test]
fn a_thread_that_ignores_the_stop_is_named_and_left() {
    static DEAF: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    fn deaf(_: &std::sync::atomic::AtomicBool) -> WorkerReport {
        while DEAF.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::yield_now();
        }
        WorkerReport::default()
    }
    let custom = WorkType::custom("deaf", deaf);
    let handle = spawn(&config(Mode::Threads, &custom, 1), None);
    let tid = handle.worker_pids()[0];
    let reports = handle.stop_and_collect(100 * MS);
    assert_eq!(reports[0].exit_info, Some(ExitInfo::TimedOut));
    // It writes to a closed pipe, which must not kill this process, and ends.
    DEAF.store(false, std::sync::atomic::Ordering::Relaxed);
    let task = format!("/proc/self/task/{tid}");
    let deadline = Instant::now() + PATIENCE;
    while std::path::Path::new(&task).exists() {
        assert!(Instant::now() < deadline, "the thread never ended");
    }
}

#[test]
fn a_dropped_handle_ends_threads_at_the_gate_and_beyond() {
    let threads = count_entries("/proc/self/task");
    for started in [false, true] {
        let config = config(Mode::Threads, &WorkType::futex_ping_pong(u64::MAX), 2);
        let handle = WorkloadHandle::spawn(&config).unwrap();
        if started {
            handle.start();
        }
        drop(handle);
        assert_eq!(count_entries("/proc/self/task"), threads, "started: {started}");
    }
}

#[test]
fn hundreds_of_pairs_find_their_pipes_in_every_mode() {
    for mode in MODES {
        let mut handle = spawn(&config(mode, &WorkType::pipe_io(0), 600), Some(20));
        assert_eq!(handle.wait_until(Instant::now() + 4 * PATIENCE).unwrap().running, 0);
        let reports = of_set(mode, handle.stop_and_collect(PATIENCE));
        assert_eq!(reports.len(), 600);
        for report in reports {
            assert_eq!((report.iterations, report.completed), (20, true), "{mode:?}: {report:?}");
        }
    }
}

#[test]
fn a_pi_lock_knows_threads_apart() {
    for mode in MODES {
        let work_type = WorkType::priority_inversion(1, 1, 1, 512, 64, FutexLockMode::Pi);
        let reports = run_for(mode, &work_type, 3, 100 * MS);
        for report in &reports {
            assert!(report.completed && report.iterations > 0, "{mode:?}: {report:?}");
            assert!(report.errors.is_empty(), "{mode:?}: {report:?}");
        }
    }
}
