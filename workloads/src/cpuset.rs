//! CPU masks and the CPUs in them. Used by affinities, the worker prologue, the churn types and
//! the settings in a report.

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of `mask`, in order.
pub(crate) fn cpus_of(mask: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect()
}

/// A mask of these CPUs, which are all below [`CpuSet::MAX_CPU`].
pub(crate) fn mask_of(cpus: &[usize]) -> CpuSet {
    let mut mask = CpuSet::new();
    cpus.iter().for_each(|cpu| mask.set(*cpu));
    mask
}

/// The CPUs that the kernel lets a thread use, `None` for the calling one. Those that are off line
/// are not among them.
pub(crate) fn held_cpus(thread: Option<Pid>) -> Result<Vec<usize>, Errno> {
    sched_getaffinity(thread).map(|mask| cpus_of(&mask))
}

/// Keeps a thread to `cpus`, `None` for the calling one. The kernel refuses none at all.
pub(crate) fn keep_to(thread: Option<Pid>, cpus: &[usize]) -> Result<(), Errno> {
    sched_setaffinity(thread, &mask_of(cpus))
}
