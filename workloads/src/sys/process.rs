//! fork, `_exit` and the interrupting signal. Called by `handle` to make workers and by the
//! work types that fork themselves.

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// The signal that interrupts a blocked worker. It carries no meaning of its own.
pub(crate) const INTERRUPT: Signal = Signal::USR1;

/// Which side of the fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// fork(2). The child must end by [`exit_now`] and never return from its caller's frame.
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: fork has no memory preconditions. glibc re-initialises its allocator in the
    // child, and every caller keeps to code that takes no lock another thread may have held.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(last_errno()),
        0 => Ok(Fork::Child),
        _ => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::CHILD),
    }
}

/// _exit(2): no destructors, no atexit handlers, no flushing of inherited buffers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Makes [`INTERRUPT`] end a blocking call with EINTR instead of killing the process.
pub(crate) fn interrupt_blocking_calls() -> Result<(), Errno> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: an all-zero sigaction is a valid value: empty mask, no flags, so no SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: `action` is initialised above and its handler is async-signal-safe: it does nothing.
    let rc =
        unsafe { libc::sigaction(INTERRUPT.as_raw(), &raw const action, std::ptr::null_mut()) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The calling thread's errno, as `rustix` spells it.
pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
