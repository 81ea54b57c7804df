//! What a forked worker does from fork to `_exit`. Nothing here returns or unwinds.

use super::{Assignment, prologue};
use crate::report::{ExitInfo, WorkerReport};
use crate::sys::process::{exit_now, interrupt_blocking_calls};
use crate::work::{Finish, Work};
use crate::worker::{Seat, Worker};
use rustix::process::{Signal, set_parent_process_death_signal, setpgid};
use rustix::thread::futex;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Acquire;

/// First byte on the report pipe: the worker is at the gate.
pub(super) const READY: u8 = b'R';
const EXIT_PANICKED: i32 = 101;

/// The worker's whole life.
pub(super) fn main(seat: Seat<'_>, task: &Assignment<'_>, work: &dyn Work, pipe: OwnedFd) -> ! {
    let mut pipe = std::fs::File::from(pipe);
    report_panics(&pipe, task);
    // A worker whose parent is gone has nobody to stop it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // A group of its own, so that teardown reaches what the worker itself forks.
    let _ = setpgid(None, None);
    if let Err(errno) = interrupt_blocking_calls() {
        send(&mut pipe, failed(task, format!("sigaction failed: {errno}")));
    }
    let not_applied = prologue::apply(task);
    seat.fault_in();
    let mut worker = Worker::new(seat);
    if pipe.write_all(&[READY]).is_err() {
        exit_now(1);
    }
    pass_gate(&seat);
    worker.begin();
    let finish = work.run(&mut worker);
    let mut report = match finish {
        Finish::Reported(report) => WorkerReport { completed: true, ..*report },
        Finish::Done => WorkerReport { completed: true, ..worker.finish() },
        Finish::Failed(why) => WorkerReport { failed: Some(why), ..worker.finish() },
    };
    // The prologue's refusals came first.
    report.not_applied.splice(..0, not_applied);
    send(&mut pipe, identify(report, task))
}

fn pass_gate(seat: &Seat<'_>) {
    let gate = &seat.control.gate;
    while gate.load(Acquire) == 0 {
        // An early return for any reason looks at the word again.
        let _ = futex::wait(gate, futex::Flags::empty(), 0, None);
    }
}

/// Adds who the worker is; its own function may have set the thread id already.
fn identify(report: WorkerReport, task: &Assignment<'_>) -> WorkerReport {
    let tid = match report.tid {
        0 => rustix::thread::gettid().as_raw_nonzero().get(),
        tid => tid,
    };
    let id = task.identity;
    WorkerReport {
        tid,
        index: id.index,
        group_idx: id.group_idx,
        role: id.role.to_owned(),
        work_type: id.work_type.clone(),
        cgroup: own_cgroup(),
        ..report
    }
}

fn failed(task: &Assignment<'_>, why: String) -> WorkerReport {
    identify(WorkerReport { failed: Some(why), ..WorkerReport::default() }, task)
}

/// The path below the cgroup v2 mount, from the line `0::PATH`.
fn own_cgroup() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn send(pipe: &mut std::fs::File, report: WorkerReport) -> ! {
    let sent = serde_json::to_vec(&report).is_ok_and(|json| pipe.write_all(&json).is_ok());
    exit_now(if sent { 0 } else { 1 })
}

/// A panic becomes a report; with `panic = "abort"` and without.
fn report_panics(pipe: &std::fs::File, task: &Assignment<'_>) {
    let Ok(pipe) = pipe.try_clone() else { return };
    let id = task.identity.clone();
    std::panic::set_hook(Box::new(move |info| {
        let report = WorkerReport {
            tid: rustix::thread::gettid().as_raw_nonzero().get(),
            index: id.index,
            group_idx: id.group_idx,
            role: id.role.to_owned(),
            work_type: id.work_type.clone(),
            exit_info: Some(ExitInfo::Panicked(info.to_string())),
            ..WorkerReport::default()
        };
        // The exit status says it too, should the pipe be gone.
        let _ = serde_json::to_writer(&pipe, &report);
        exit_now(EXIT_PANICKED)
    }));
}
