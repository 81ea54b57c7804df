//! perf_event_open(2): the exact migrations of a thread, which no other per-thread interface gives
//! on every kernel, and the opening of an event for `switches`. Called by `counters`.

use super::process::last_errno;
use rustix::io::Errno;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

pub(super) const TYPE_SOFTWARE: u32 = 1;
const SW_CPU_MIGRATIONS: u64 = 4;
/// Size of `struct perf_event_attr` up to `clockid`; later fields default to zero.
const ATTR_SIZE: u32 = 96;
const FLAG_CLOEXEC: libc::c_ulong = 8;

#[repr(C)]
#[derive(Default)]
pub(super) struct Attr {
    pub(super) type_: u32,
    pub(super) size: u32,
    pub(super) config: u64,
    pub(super) sample_period: u64,
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    pub(super) flags: u64,
    pub(super) wakeup: u32,
    pub(super) bp_type: u32,
    pub(super) config1: u64,
    pub(super) config2: u64,
    pub(super) branch_sample_type: u64,
    pub(super) sample_regs_user: u64,
    pub(super) sample_stack_user: u32,
    pub(super) clockid: i32,
}

const _: () = assert!(size_of::<Attr>() == ATTR_SIZE as usize);

impl Attr {
    /// A software event.
    pub(super) fn software(config: u64) -> Self {
        Self { type_: TYPE_SOFTWARE, size: ATTR_SIZE, config, ..Self::default() }
    }

    /// Opens it for thread `pid`, 0 for the calling one, on `cpu`, -1 for any.
    pub(super) fn open(&self, pid: i32, cpu: i32) -> Result<OwnedFd, Errno> {
        let attr = &raw const *self;
        // SAFETY: `attr` lives across the call and is as long as its `size`, which `software` has
        // set, says; the kernel checks the rest. Group -1 means no group.
        let fd =
            unsafe { libc::syscall(libc::SYS_perf_event_open, attr, pid, cpu, -1, FLAG_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(last_errno)?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Counts `cpu-migrations` of the thread that opened it, from the opening on.
#[derive(Debug)]
pub(crate) struct Migrations(OwnedFd);

impl Migrations {
    /// Fails with EACCES where `kernel.perf_event_paranoid` forbids it.
    pub(crate) fn open() -> Result<Self, Errno> {
        Attr::software(SW_CPU_MIGRATIONS).open(0, -1).map(Self)
    }

    /// Migrations since the counter was opened.
    pub(crate) fn read(&self) -> Result<u64, Errno> {
        let mut value = [0; 8];
        match rustix::io::read(self.0.as_fd(), &mut value)? {
            8 => Ok(u64::from_ne_bytes(value)),
            _ => Err(Errno::IO),
        }
    }
}
