//! Types that create and end tasks.

use super::catalogue::params::ForkExit;
use super::{Finish, Work};
use crate::sys::process::fork_to_exit;
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

impl Work for ForkExit {
    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            match fork_to_exit() {
                Ok(child) => reap(child, w),
                // Out of processes: say so, and leave the CPU to whoever will free one.
                Err(errno) => w.error("fork", errno),
            }
        }
        Finish::Done
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
