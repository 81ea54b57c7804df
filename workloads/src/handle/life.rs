//! What a worker does from its first step to its report, be it a process or a thread. Called by
//! `host`, which gives it a place to live.

use super::host::{Host, die_with};
use super::outbox::{self, READY};
use super::{Identity, Post, prologue};
use crate::clock::{monotonic_ns, to_ns, to_timespec};
use crate::report::WorkerReport;
use crate::rng::Rng;
use crate::settings::{self, Asked};
use crate::sys::sched::get_attr;
use crate::work::Finish;
use crate::worker::{Seat, Worker};
use rustix::process::getpid;
use rustix::thread::{ClockId, clock_nanosleep_absolute, futex};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Keeps the stagger's choices apart from those of the work.
const STAGGER_STREAM: u64 = 0x5354_4147;

/// The worker's whole life; false if its report could not be sent.
pub(super) fn live(post: &Post, pipe: OwnedFd, host: Host) -> bool {
    let identity = post.identity();
    let parent = match &host {
        Host::Own { parent } => Some(*parent),
        Host::Shared(_) => None,
    };
    outbox::open(pipe, &identity, host);
    let seat = post.seat();
    seat.slot.tid.store(own_tid(), Relaxed);
    let (asked, not_applied) = prologue::apply(post);
    if let Some(parent) = parent {
        die_with(parent);
    }
    seat.fault_in();
    let mut worker = Worker::new(seat, asked.clone());
    if !outbox::say_ready() {
        return false;
    }
    pass_gate(&seat);
    worker.begin(stagger(post));
    let finish = post.work().run(&mut worker);
    let left_early = !seat.control.stop.load(Acquire);
    let mut report = match finish {
        Finish::Reported(report) => of_user_code(*report, &asked, &seat),
        Finish::Done => WorkerReport { completed: true, ..worker.finish() },
        Finish::Failed(why) => WorkerReport { failed: Some(why), ..worker.finish() },
    };
    report.left_early = left_early;
    // The loop may have changed settings too; those of the prologue came first.
    report.not_applied.splice(0..0, not_applied);
    outbox::send(&identify(report, &identity))
}

/// A report of the user's, with the settings that it says nothing of. By `failed` it says that it
/// could not go on, as the other types do.
fn of_user_code(report: WorkerReport, asked: &Asked, seat: &Seat<'_>) -> WorkerReport {
    let mut report = WorkerReport { completed: report.failed.is_none(), ..report };
    settings::fill_in(&mut report, get_attr(None), asked, seat.slot);
    report
}

/// The report of a worker that could not be given a place to live.
pub(super) fn stillborn(identity: &Identity, pipe: OwnedFd, why: String) {
    let report = WorkerReport { failed: Some(why), ..WorkerReport::default() };
    let report = WorkerReport { tid: 0, ..identify(report, identity) };
    let mut pipe = File::from(pipe);
    // Unsent, the end of the pipe says that there is no worker.
    let _ = pipe.write_all(&[READY]).map(|()| serde_json::to_writer(&mut pipe, &report));
}

/// Sleeps until the gate opens, or the stop comes first.
fn pass_gate(seat: &Seat<'_>) {
    let gate = &seat.control.gate;
    while gate.load(Acquire) == 0 && !seat.control.stop.load(Acquire) {
        // An early return for any reason looks at the word again.
        let _ = futex::wait(gate, futex::Flags::empty(), 0, None);
    }
}

/// Sleeps for the worker's part of the stagger, or until the stop, and returns when its measurement
/// begins: whoever wakes late has waited for a CPU.
fn stagger(post: &Post) -> u64 {
    let (options, seat) = (&post.common.options, post.seat());
    let opened_ns = seat.control.opened_ns.load(Relaxed);
    let most = usize::try_from(to_ns(options.stagger)).unwrap_or(usize::MAX);
    if most == 0 {
        return opened_ns;
    }
    let delay = Rng::for_worker(options.seed ^ STAGGER_STREAM, seat.index).below(most);
    let until_ns = opened_ns + delay as u64;
    while monotonic_ns() < until_ns && !seat.control.stop.load(Acquire) {
        let _ = clock_nanosleep_absolute(ClockId::Monotonic, &to_timespec(until_ns));
    }
    until_ns.min(monotonic_ns())
}

/// Adds who the worker is; its own function may have set the thread id already.
fn identify(report: WorkerReport, id: &Identity) -> WorkerReport {
    let tid = match report.tid {
        0 => own_tid(),
        tid => tid,
    };
    let report = WorkerReport {
        comm: own_line("/proc/thread-self/comm", ""),
        // `0::PATH` is the line of cgroup v2.
        cgroup: own_line("/proc/thread-self/cgroup", "0::"),
        ..report
    };
    id.sign(tid, getpid(), report)
}

/// The calling thread's id.
pub(super) fn own_tid() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// What follows `prefix` in the first line of a file that begins with it.
fn own_line(path: &str, prefix: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned)
}
