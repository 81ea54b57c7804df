//! A software counter of perf_event_open(2) on the calling thread. Called by `counters` for
//! exact migrations, which no other per-thread interface gives on every kernel.

use super::process::last_errno;
use rustix::io::Errno;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

const TYPE_SOFTWARE: u32 = 1;
const SW_CPU_MIGRATIONS: u64 = 4;
/// Size of the first published `struct perf_event_attr`; later fields default to zero.
const ATTR_SIZE: u32 = 64;
const FLAG_CLOEXEC: libc::c_ulong = 8;

#[repr(C)]
#[derive(Default)]
struct Attr {
    type_: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    bp_addr: u64,
}

const _: () = assert!(size_of::<Attr>() == ATTR_SIZE as usize);

/// Counts `cpu-migrations` of the thread that opened it, from the opening on.
#[derive(Debug)]
pub(crate) struct Migrations(OwnedFd);

impl Migrations {
    /// Fails with EACCES where `kernel.perf_event_paranoid` forbids it.
    pub(crate) fn open() -> Result<Self, Errno> {
        let attr = Attr {
            type_: TYPE_SOFTWARE,
            size: ATTR_SIZE,
            config: SW_CPU_MIGRATIONS,
            ..Attr::default()
        };
        // SAFETY: `attr` lives across the call and is as long as its `size` says. Pid 0 and
        // CPU -1 mean this thread on any CPU; group -1 means no group.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attr, 0, -1, -1, FLAG_CLOEXEC)
        };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(last_errno)?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
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
