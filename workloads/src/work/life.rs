//! Types that create and end tasks.

use super::catalogue::params::ForkExit;
use super::reference::Documented;
use super::{Finish, Needs, Work};
use crate::sys::process::fork_to_exit;
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::nanosleep;
use rustix::time::Timespec;

/// From a fork that failed to the next attempt.
const RETRY_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

impl Documented for ForkExit {}

impl Work for ForkExit {
    fn needs(&self) -> Needs {
        Needs {
            own_process: Some("it forks and waits, which takes a process with one thread"),
            ..Needs::default()
        }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            let Some(child) = fork_one(w) else { break };
            reap(child, w);
        }
        Finish::Done
    }
}

/// A child that ends at once; `None` if the stop came while there were no processes to be had.
/// Between attempts the worker sleeps: who must end before one is free needs the CPU, and a yield
/// comes straight back from an idle one. So an iteration is a child, never a failure.
fn fork_one(w: &mut Worker<'_>) -> Option<Pid> {
    loop {
        match fork_to_exit() {
            Ok(child) => return Some(child),
            Err(errno) => w.error("fork", errno),
        }
        // Cut short by a signal, it need not be made up for.
        let _ = w.blocked(|| nanosleep(&RETRY_AFTER));
        if w.stopping() {
            return None;
        }
    }
}

/// Waits for `child` through interruptions, so that none outlives its worker.
fn reap(child: Pid, w: &mut Worker<'_>) {
    let waited = w.blocked(|| {
        loop {
            match waitpid(Some(child), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        }
    });
    match waited {
        Ok(_) => w.add_work(1),
        Err(errno) => w.error("waitpid", errno),
    }
}
