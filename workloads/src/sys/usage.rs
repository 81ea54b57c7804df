//! getrusage(RUSAGE_THREAD). Called by `counters`.

use super::process::last_errno;
use rustix::io::Errno;

/// What the kernel accounts for the calling thread and `rustix` does not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadUsage {
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
}

/// The calling thread's totals since it began.
pub(crate) fn thread_usage() -> Result<ThreadUsage, Errno> {
    // SAFETY: rusage is plain integers; all zero is a valid value.
    let mut raw: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live rusage that the kernel fills.
    let rc = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut raw) };
    if rc != 0 {
        return Err(last_errno());
    }
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    Ok(ThreadUsage {
        voluntary_switches: count(raw.ru_nvcsw),
        involuntary_switches: count(raw.ru_nivcsw),
        minor_faults: count(raw.ru_minflt),
        major_faults: count(raw.ru_majflt),
    })
}
