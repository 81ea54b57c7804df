//! What goes wrong around workers: killed, out of processes, out of memory. The handle still
//! returns one report a worker. As root and as an ordinary user.

use crate::delay::unhindered;
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, geteuid, getrlimit, getuid, kill_process, prlimit,
    setrlimit, wait, waitpid,
};
use rustix::thread::{Uid, set_thread_res_uid};
use std::any::Any;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::panic::catch_unwind;
use std::time::{Duration, Instant};
use workloads::prelude::*;
use workloads::{ExitInfo, FutexLockMode, WakeMechanism, fork_child};

const PATIENCE: Duration = Duration::from_secs(5);
/// After the stop everybody leaves within this.
const SOON: Duration = Duration::from_millis(200);

fn config(num_workers: usize, work_type: WorkType) -> WorkloadConfig {
    WorkloadConfig { num_workers, work_type, ..WorkloadConfig::default() }
}

fn pids(handle: &WorkloadHandle) -> Vec<Pid> {
    handle.worker_pids().into_iter().filter_map(Pid::from_raw).collect()
}

fn run_on(handle: &mut WorkloadHandle, ms: u64) {
    handle.wait_until(Instant::now() + Duration::from_millis(ms)).unwrap();
}

/// Every type whose workers need each other, and kinds of it that wait in another way.
fn grouped() -> Vec<WorkType> {
    let by_name = WorkType::ALL_NAMES.iter().filter_map(|name| WorkType::from_name(name));
    let mut types: Vec<_> = by_name.filter(|t| t.worker_group_size().is_some()).collect();
    types.extend([
        WorkType::wake_chain(3, WakeMechanism::Futex, Duration::ZERO),
        WorkType::priority_inversion(1, 1, 2, 4096, 1024, FutexLockMode::Pi),
        // The last one dies as the holder of the lock.
        WorkType::priority_inversion(2, 1, 1, u64::MAX, 1, FutexLockMode::Plain),
        WorkType::priority_inversion(2, 1, 1, u64::MAX, 1, FutexLockMode::Pi),
        WorkType::mutex_contention(2, u64::MAX, 0),
        WorkType::producer_consumer_imbalance(2, 2, 1_000_000, 1, 1),
        WorkType::epoll_storm(2, 2, 1),
    ]);
    types
}

#[test]
fn whoever_dies_in_a_group_the_others_leave_at_the_stop() {
    for work_type in grouped() {
        let size = work_type.worker_group_size().unwrap();
        for victim in [0, size - 1] {
            let mut handle = WorkloadHandle::spawn(&config(size, work_type.clone())).unwrap();
            handle.start();
            run_on(&mut handle, 30);
            kill_process(pids(&handle)[victim], Signal::KILL).unwrap();
            run_on(&mut handle, 50);
            let (took, reports) = unhindered(|| handle.stop_and_collect(PATIENCE));
            let what = format!("{work_type:?} without {victim}");
            assert!(took < SOON, "{what}: {took:?}");
            assert_eq!(reports.len(), size, "{what}");
            for (index, report) in reports.iter().enumerate() {
                assert_eq!(report.index, index, "{what}");
                if index == victim {
                    assert_eq!(report.exit_info, Some(ExitInfo::Signaled(9)), "{what}");
                    assert!(!report.completed, "{what}: {report:?}");
                } else {
                    assert_eq!(report.exit_info, None, "{what}");
                    assert!(report.completed || report.failed.is_some(), "{what}: {report:?}");
                    let alone = report.errors.keys().all(|error| !error.contains("two holders"));
                    assert!(alone, "{what}: {report:?}");
                }
            }
        }
    }
}

/// An id that nobody uses, so that the limits of its user are this test's alone.
const NOBODYS_UID: u32 = 1_222_333_444;

/// Calls `body` in a child, which may change its ids and limits and is an ordinary user's if this
/// process is root's: root has no limit on processes. A failed assertion there fails here.
fn as_an_ordinary_user(body: fn()) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let child = fork_child(|| {
        // A panic must not leave this frame: the child would go on as a second test program.
        let said = catch_unwind(|| {
            if geteuid().is_root() {
                let nobody = Uid::from_raw(NOBODYS_UID);
                set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            body();
        });
        let said = said.map_or_else(|why| panic_message(&*why), |()| "it holds".into());
        i32::from(File::from(writer).write_all(said.as_bytes()).is_err())
    });
    let mut said = String::new();
    File::from(reader).read_to_string(&mut said).unwrap();
    waitpid(Some(child.unwrap()), WaitOptions::empty()).unwrap();
    assert_eq!(said, "it holds");
}

fn panic_message(why: &dyn Any) -> String {
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(|s| (*s).into())).unwrap_or_default()
}

/// Sets the soft limit of a worker.
fn limit(worker: Pid, resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    prlimit(Some(worker), resource, Rlimit { current, maximum }).unwrap();
}

#[test]
fn a_fork_that_fails_is_counted_retried_and_gives_way() {
    as_an_ordinary_user(|| {
        let mut handle = WorkloadHandle::spawn(&config(1, WorkType::ForkExit)).unwrap();
        let worker = pids(&handle)[0];
        limit(worker, Resource::Nproc, Some(0));
        handle.start();
        run_on(&mut handle, 100);
        assert_eq!(handle.snapshot_iterations(), [0], "nothing was forked");
        limit(worker, Resource::Nproc, getrlimit(Resource::Nproc).maximum);
        let deadline = Instant::now() + PATIENCE;
        while handle.snapshot_iterations() == [0] {
            assert!(Instant::now() < deadline, "it never tried again");
        }
        limit(worker, Resource::Nproc, Some(0));
        run_on(&mut handle, 100);
        let stop = Instant::now();
        let report = handle.stop_and_collect(PATIENCE).remove(0);
        assert!(stop.elapsed() < SOON, "{:?}", stop.elapsed());
        assert!(report.completed && report.not_applied.is_empty(), "{report:?}");
        assert_eq!(report.iterations, report.work_units, "an iteration is a child");
        assert!(report.errors.keys().all(|error| error.starts_with("fork: ")), "{report:?}");
        // It sleeps 1 ms after each, which only the interruptions of the stop cut short.
        let failed: u64 = report.errors.values().sum();
        let at_most = report.wall_time_ns / 1_000_000 + 3;
        assert!((1..=at_most).contains(&failed), "{failed} failed forks, {at_most} ms");
    });
}

/// Processes and threads of the calling user.
fn tasks_of_this_user() -> u64 {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let tasks = entries.filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
    let statuses = tasks.filter_map(|e| std::fs::read_to_string(e.path().join("status")).ok());
    let ours = statuses.filter(|status| field(status, "Uid:") == u64::from(getuid().as_raw()));
    ours.map(|status| field(&status, "Threads:")).sum()
}

/// The first number of a line of /proc/PID/status.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_spawn_that_runs_out_of_processes_names_the_fix_and_leaves_nobody() {
    as_an_ordinary_user(|| {
        let current = Some(tasks_of_this_user() + 3);
        let maximum = getrlimit(Resource::Nproc).maximum;
        setrlimit(Resource::Nproc, Rlimit { current, maximum }).unwrap();
        let error = WorkloadHandle::spawn(&config(8, WorkType::SpinWait)).unwrap_err();
        let text = error.to_string();
        // The fourth; another one if this user's other processes begin or end just then.
        let which = if getuid().as_raw() == NOBODYS_UID { "3 failed" } else { "" };
        assert!(text.starts_with(&format!("fork of worker {which}")), "{text}");
        assert!(text.contains("os error 11") && text.contains("ulimit -u"), "{text}");
        assert_eq!(wait(WaitOptions::NOHANG).err(), Some(Errno::CHILD), "nobody is left");
    });
}

#[test]
fn a_buffer_that_does_not_fit_is_named_with_its_size() {
    const GIB_IN_KIB: usize = 1 << 20;
    for (work_type, owners) in [
        (WorkType::page_fault_churn(GIB_IN_KIB, 1, 1), 0..1),
        (WorkType::cache_pressure(GIB_IN_KIB, 64), 0..1),
        (WorkType::cache_yield(GIB_IN_KIB, 64), 0..1),
        (WorkType::cache_pipe(GIB_IN_KIB, 1), 0..2),
        (WorkType::fan_out_compute(2, GIB_IN_KIB, 1, 0), 1..3),
    ] {
        let config = config(owners.end, work_type.clone());
        let mut handle = WorkloadHandle::spawn(&config).unwrap();
        for worker in pids(&handle) {
            limit(worker, Resource::As, Some(256 << 20));
        }
        handle.start();
        run_on(&mut handle, 50);
        let reports = handle.stop_and_collect(PATIENCE);
        assert_eq!(reports.len(), owners.end, "{work_type:?}");
        for report in &reports[owners] {
            let why = report.failed.as_deref().unwrap_or_default();
            assert!(why.contains("1048576 KiB"), "{work_type:?}: {report:?}");
            assert_eq!((&report.exit_info, report.completed), (&None, false), "{report:?}");
            assert!(report.cpu_time_ns.is_some(), "the rest of the report is there: {report:?}");
        }
    }
}

/// Root's workers change their ids, which makes the kernel forget whom to die with.
#[test]
fn workers_of_a_killed_parent_die_with_it_whatever_their_ids() {
    let ids = geteuid().is_root().then_some(NOBODYS_UID);
    let set = || WorkSpec { num_workers: Some(1), uid: ids, gid: ids, ..WorkSpec::default() };
    let config = WorkloadConfig {
        composed: vec![set(), set().pcomm("crowd")],
        ..config(1, WorkType::SpinWait)
    };
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let parent = fork_child(|| {
        let handle = WorkloadHandle::spawn(&config).unwrap();
        let pids = handle.worker_pids().iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
        File::from(writer.try_clone().unwrap()).write_all(format!("{pids}\n").as_bytes()).unwrap();
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    let mut line = [0; 64];
    let length = File::from(reader).read(&mut line).unwrap();
    kill_process(parent, Signal::KILL).unwrap();
    waitpid(Some(parent), WaitOptions::empty()).unwrap();
    let pids = std::str::from_utf8(&line[..length]).unwrap().trim();
    assert_eq!(pids.split(' ').count(), 3, "{pids}");
    let deadline = Instant::now() + PATIENCE;
    for pid in pids.split(' ') {
        let stat = format!("/proc/{pid}/stat");
        // Dead at once; whoever adopted it reaps it in their own time.
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(Instant::now() < deadline, "{pid} outlives its parent");
        }
    }
}
