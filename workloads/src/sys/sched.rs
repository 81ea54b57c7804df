//! sched_setattr(2) for the calling thread. Called by the worker prologue through
//! `SchedPolicy::apply`.

use super::process::last_errno;
use rustix::io::Errno;

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
    let attr = SchedAttr { size: ATTR_SIZE, ..attr };
    // SAFETY: `attr` lives across the call, is as long as its `size` says, and the kernel only
    // reads it. Pid 0 is the calling thread.
    let rc = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}
