//! fork, `_exit` and the interrupting signal. Called by `handle` to make workers and by the
//! work types that fork themselves.

use rustix::fd::{AsFd, AsRawFd as _};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::futex;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    /// Where the handler counts what [`interrupt_thread`] sent to this thread; null for nowhere.
    static RECEIVED: Cell<*const AtomicU32> = const { Cell::new(ptr::null()) };
    /// How those wait who wait on that word.
    static WAITED_BY: Cell<futex::Flags> = const { Cell::new(futex::Flags::empty()) };
}

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

/// fork(2) whose child does nothing but `_exit(0)`.
#[inline]
pub(crate) fn fork_to_exit() -> Result<Pid, Errno> {
    match clone_alone()? {
        Fork::Child => leave(0),
        Fork::Parent(pid) => Ok(pid),
    }
}

/// fork(2) whose child executes `program`, a file; if that fails, it exits with the error.
#[inline]
pub(crate) fn fork_to_exec(program: impl AsFd) -> Result<Pid, Errno> {
    let fd = program.as_fd().as_raw_fd();
    let empty = c"".as_ptr();
    let arguments = [c"exec".as_ptr(), ptr::null()];
    let environment: [*const libc::c_char; 1] = [ptr::null()];
    match clone_alone()? {
        Fork::Child => {
            // SAFETY: the path, the arguments and the environment are strings that live as long
            // as the program, in arrays of this frame that end in null; the call only reads them.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    empty,
                    arguments.as_ptr(),
                    environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                )
            };
            leave(last_errno().raw_os_error())
        }
        Fork::Parent(pid) => Ok(pid),
    }
}

/// fork(2) as a system call alone. libc's would mend locks and thread data that such a child never
/// uses, and every page it writes is a page copied. The child must end by [`leave`].
#[inline(always)]
fn clone_alone() -> Result<Fork, Errno> {
    const FLAGS: libc::c_long = libc::SIGCHLD as libc::c_long;
    const NONE: libc::c_long = 0;
    // SAFETY: without CLONE_VM this is fork: the child has a copy of everything. Both callers are
    // in this file, and in the child they make system calls alone, which take no lock.
    match unsafe { libc::syscall(libc::SYS_clone, FLAGS, NONE, NONE, NONE, NONE) } {
        0 => Ok(Fork::Child),
        pid => match i32::try_from(pid) {
            Ok(pid @ 1..) => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::CHILD),
            _ => Err(last_errno()),
        },
    }
}

/// exit_group(2), without anything of libc's.
#[inline(always)]
fn leave(status: i32) -> ! {
    loop {
        // SAFETY: exit_group takes a status, touches no memory and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// _exit(2): no destructors, no atexit handlers, no flushing of inherited buffers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Makes [`INTERRUPT`] end a blocking call with EINTR instead of killing the process.
pub(crate) fn interrupt_blocking_calls() -> Result<(), Errno> {
    type Handler = extern "C" fn(libc::c_int, *const libc::siginfo_t, *const libc::c_void);
    // SAFETY: an all-zero sigaction is a valid value: empty mask, no flags, so no SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_sigaction = count_interrupt as Handler as libc::sighandler_t;
    // SAFETY: `action` is initialised above and its handler is async-signal-safe: a thread-local
    // without lazy initialisation or destructor, atomics, and one system call by rustix, which
    // leaves errno alone.
    let rc = unsafe { libc::sigaction(INTERRUPT.as_raw(), &raw const action, ptr::null_mut()) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Counts in its word if [`interrupt_thread`] sent the signal. The parent's stop has another
/// code, and for a process of one worker a queue of its own.
extern "C" fn count_interrupt(
    _: libc::c_int,
    info: *const libc::siginfo_t,
    _: *const libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo for the time of the handler.
    let code = unsafe { (*info).si_code };
    // SAFETY: `counting_interrupts` borrows the word for as long as the pointer is set, and the
    // pointer is that of the very thread on which the handler runs.
    let word = unsafe { RECEIVED.get().as_ref() };
    if let (libc::SI_TKILL, Some(word)) = (code, word) {
        word.fetch_add(1, Ordering::AcqRel);
        // A sender that was not woken sees the count at its next look.
        let _ = futex::wake(word, WAITED_BY.get(), 1);
    }
}

/// Runs `during` while the handler counts this thread's interrupts in `word`, and wakes who waits
/// for that with `waited_by`.
pub(crate) fn counting_interrupts<R>(
    word: &AtomicU32,
    waited_by: futex::Flags,
    during: impl FnOnce() -> R,
) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            RECEIVED.set(ptr::null());
        }
    }
    WAITED_BY.set(waited_by);
    RECEIVED.set(ptr::from_ref(word));
    let _reset = Reset;
    during()
}

/// tkill(2) with [`INTERRUPT`]: to this thread, whatever process it is in.
pub(crate) fn interrupt_thread(tid: i32) -> Result<(), Errno> {
    // SAFETY: tkill takes two integers and touches no memory of ours.
    let rc = unsafe { libc::syscall(libc::SYS_tkill, tid, INTERRUPT.as_raw()) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// rt_tgsigqueueinfo(2) with [`INTERRUPT`]: to one thread of `process`, with a code that tells it
/// from [`interrupt_thread`].
pub(crate) fn interrupt_member(process: Pid, tid: Pid) -> Result<(), Errno> {
    // SAFETY: siginfo is plain integers and pointers nobody follows; all zero is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = INTERRUPT.as_raw();
    info.si_code = libc::SI_QUEUE;
    let (process, tid) = (process.as_raw_nonzero().get(), tid.as_raw_nonzero().get());
    let signal = INTERRUPT.as_raw();
    // SAFETY: `info` lives across the call, and the kernel only reads it.
    let rc = unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, tid, signal, &raw const info)
    };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The calling thread's errno, as `rustix` spells it.
pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
