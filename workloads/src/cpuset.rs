//! CPU masks and the CPUs in them. Used by affinities, the worker prologue, the churn types and
//! the settings in a report.

use rustix::thread::CpuSet;

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
