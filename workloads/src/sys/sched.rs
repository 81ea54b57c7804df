//! sched_setattr(2) and sched_getattr(2). Called by the worker prologue and by work types through
//! `SchedPolicy::apply`, at the end of the loop, and by the parent at the stop.

use super::process::last_errno;
use rustix::io::Errno;
use rustix::process::Pid;

/// `struct sched_attr` of sched_setattr(2), first version.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime_ns: u64,
    pub(crate) deadline_ns: u64,
    pub(crate) period_ns: u64,
}

const ATTR_SIZE: u32 = 48;
const _: () = assert!(size_of::<SchedAttr>() == ATTR_SIZE as usize);

/// Sets policy and parameters of the calling thread.
pub(crate) fn set_attr(attr: SchedAttr) -> Result<(), Errno> {
    set_attr_of(None, attr)
}

/// Sets policy and parameters of the main thread of `pid`, `None` for the calling thread.
pub(crate) fn set_attr_of(pid: Option<Pid>, attr: SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: ATTR_SIZE, ..attr };
    let pid = Pid::as_raw(pid);
    // SAFETY: `attr` lives across the call, is as long as its `size` says, and the kernel only
    // reads it. Pid 0 is the calling thread.
    let rc = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Policy and parameters of the main thread of `pid`, `None` for the calling thread.
pub(crate) fn get_attr(pid: Option<Pid>) -> Result<SchedAttr, Errno> {
    let mut attr = SchedAttr::default();
    let pid = Pid::as_raw(pid);
    // SAFETY: the pointer is to a live struct, and the kernel writes at most `ATTR_SIZE` bytes,
    // which it has. Pid 0 is the calling thread.
    let rc = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut attr, ATTR_SIZE, 0) };
    if rc == 0 { Ok(attr) } else { Err(last_errno()) }
}
