//! Processes around a workload: whoever starts and stops one must not be starved by it, and
//! must not share a fate with it. Called by `guest-init`.

use crate::sys::process::{Fork, exit_now, fork};
use crate::sys::sched::{SchedAttr, set_attr};
use rustix::io::Errno;
use rustix::process::Pid;

const SCHED_FIFO: u32 = 1;
/// Workers stay below it: what has the same priority and never sleeps would starve the supervisor.
const SUPERVISOR_PRIORITY: u32 = 99;
/// The highest real-time priority of a worker.
pub(crate) const MAX_PRIORITY: u32 = SUPERVISOR_PRIORITY - 1;
/// Children begin as SCHED_OTHER with nice 0: sched(7), SCHED_FLAG_RESET_ON_FORK.
const RESET_ON_FORK: u64 = 1;

/// Puts the calling thread above every workload: SCHED_FIFO 99, which its children do not
/// inherit. It sleeps nearly always, so it takes no time from them.
pub fn become_supervisor() -> Result<(), Errno> {
    set_attr(SchedAttr {
        policy: SCHED_FIFO,
        priority: SUPERVISOR_PRIORITY,
        flags: RESET_ON_FORK,
        ..SchedAttr::default()
    })
}

/// Forks a child that runs `body` and exits with what it returns. The process must have one
/// thread.
pub fn fork_child(body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    match fork()? {
        Fork::Child => exit_now(body()),
        Fork::Parent(pid) => Ok(pid),
    }
}
