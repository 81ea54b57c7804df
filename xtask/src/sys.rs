//! The things here that need unsafe code: what runs between fork and exec, and calls that no crate
//! of ours wraps. Called by `qemu`, `scheduler` and `cmd::bench`.
#![expect(unsafe_code, reason = "code between fork and exec, two libc calls; safe signatures out")]

use crate::qemu::Confinement;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

/// Where all threads of a program run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) cpus: CpuSet,
    /// Whether its first thread goes before the others.
    pub(crate) main_first: bool,
}

/// The program is killed when the thread that starts it ends, however it ends; it runs in `place`
/// and under `confinement`, if these are given. It has `inherits` open, which must be open until it has started.
pub(crate) fn die_with_parent<'a>(
    command: &'a mut Command,
    place: Option<Place>,
    confinement: Option<Confinement>,
    inherits: &[BorrowedFd<'_>],
) -> &'a mut Command {
    let inherits: Vec<_> = inherits.iter().map(AsRawFd::as_raw_fd).collect();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        for number in &inherits {
            // SAFETY: the child has all that was open as it was started; one that is closed by then is refused.
            fcntl_setfd(unsafe { BorrowedFd::borrow_raw(*number) }, FdFlags::empty())?;
        }
        if let Some(place) = place {
            sched_setaffinity(None, &place.cpus)?;
            if place.main_first {
                come_first()?;
            }
        }
        // Last: it takes the rights that the others need.
        confinement.as_ref().map_or(Ok(()), |confinement| confinement.enter().map(drop))
    };
    // SAFETY: between fork and exec only async-signal-safe code may run; `ask` is system calls on
    // values that it owns and allocates nothing.
    unsafe { command.pre_exec(ask) }
}

/// Puts the calling thread at SCHED_FIFO 1; threads that it makes begin as SCHED_OTHER. Needs
/// CAP_SYS_NICE or RLIMIT_RTPRIO (sched(7)).
pub(crate) fn come_first() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads `priority`, which lives until the call returns.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const priority) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Waits for a program, and gives the most memory that it or one of those it waited for had in use, in KiB (wait4(2),
/// `ru_maxrss`).
pub(crate) fn wait_with_memory(child: Child) -> io::Result<(ExitStatus, u64)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: plain numbers, of which all bits being zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes both, which live until the call returns. Dropping `child` does not wait for it again.
    match unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok((ExitStatus::from_raw(status), u64::try_from(usage.ru_maxrss).unwrap_or_default())),
    }
}
