//! The one thing here that the standard library calls unsafe. Called by `qemu::process`.
#![expect(unsafe_code, reason = "code between fork and exec; safe signature out")]

use rustix::process::{Signal, set_parent_process_death_signal};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The program is killed when the thread that starts it ends, however it ends.
pub(crate) fn die_with_parent(command: &mut Command) -> &mut Command {
    let ask = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec only async-signal-safe code may run; `ask` is one prctl
    // system call and allocates nothing.
    unsafe { command.pre_exec(ask) }
}
