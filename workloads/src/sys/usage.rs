//! getrusage(RUSAGE_THREAD), and the CPU time of another process. Called by `counters`, and by
//! `run` for workers.

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

/// CPU time of all threads of process `pid`, ended ones included. That of a thread that runs now
/// is as new as the last tick.
pub(crate) fn process_cpu_ns(pid: i32) -> Result<u64, Errno> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the pointer is to a live integer that libc fills.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(Errno::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills; a clock of a process that
    // is gone is refused.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if rc != 0 {
        return Err(last_errno());
    }
    Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_goes_on_and_that_of_none_is_refused() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let before = process_cpu_ns(pid).unwrap();
        let own = crate::clock::thread_cpu_ns();
        while crate::clock::thread_cpu_ns() - own < 1_000_000 {}
        assert!(process_cpu_ns(pid).unwrap() >= before + 1_000_000);
        assert_eq!(process_cpu_ns(1 << 22), Err(Errno::SRCH));
    }
}
