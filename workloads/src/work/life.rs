//! Types that create and end tasks.

use super::catalogue::params::ForkExit;
use super::reference::Documented;
use super::{Finish, Needs, Work};
use crate::sys::process::{Fork, exit_now, fork};
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

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
            match fork() {
                Ok(Fork::Child) => exit_now(0),
                Ok(Fork::Parent(child)) => reap(child, w),
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
