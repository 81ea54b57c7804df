//! The one thing here that the standard library calls unsafe. Called by `qemu::process`.
#![expect(unsafe_code, reason = "code between fork and exec; safe signature out")]

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The program is killed when the thread that starts it ends, however it ends; all its threads
/// run on `cpus`, if they are given.
pub(crate) fn die_with_parent(command: &mut Command, cpus: Option<CpuSet>) -> &mut Command {
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        cpus.map_or(Ok(()), |cpus| Ok(sched_setaffinity(None, &cpus)?))
    };
    // SAFETY: between fork and exec only async-signal-safe code may run; `ask` is two system
    // calls on values that it owns and allocates nothing.
    unsafe { command.pre_exec(ask) }
}
