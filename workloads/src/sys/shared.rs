//! Memory that the parent and its workers share. Called by `handle` (allocation) and `Worker`
//! (stop flag, progress slot, group lines).

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::thread::CpuSet;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};

/// What the parent tells every worker. One cache line, written rarely and read every iteration.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Control {
    /// Futex word: 0 while workers wait at the start gate.
    pub(crate) gate: AtomicU32,
    /// CLOCK_MONOTONIC when the gate was opened.
    pub(crate) opened_ns: AtomicU64,
    /// Restarts of the measurement in the upper half, the phase of the run in the lower.
    pub(crate) phase: AtomicU32,
    pub(crate) stop: AtomicBool,
    /// CLOCK_MONOTONIC of the stop, 0 before.
    pub(crate) stopped_ns: AtomicU64,
}

/// What one worker tells the parent while it runs; survives the worker's death.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) iterations: AtomicU64,
    pub(crate) work_units: AtomicU64,
    /// Thread id of the worker, 0 before it has begun.
    pub(crate) tid: AtomicI32,
    /// The CPUs that it is to run on, a bit each; none for a worker that may run anywhere.
    pub(crate) asked: [AtomicU64; MASK_WORDS],
}

/// Words of a mask of [`CpuSet::MAX_CPU`] CPUs.
const MASK_WORDS: usize = CpuSet::MAX_CPU / u64::BITS as usize;

impl Slot {
    /// The worker is to run on these CPUs.
    pub(crate) fn ask(&self, cpus: &[usize]) {
        let bits = u64::BITS as usize;
        for (at, word) in self.asked.iter().enumerate() {
            let of_word = cpus.iter().filter(|cpu| **cpu / bits == at);
            word.store(of_word.fold(0, |word, cpu| word | 1 << (cpu % bits)), Relaxed);
        }
    }

    /// The CPUs that it is to run on; `None` for a worker that may run anywhere.
    pub(crate) fn asked(&self) -> Option<Vec<usize>> {
        let bits = u64::BITS as usize;
        if self.asked.iter().all(|word| word.load(Relaxed) == 0) {
            return None;
        }
        let is_set = |cpu: &usize| self.asked[cpu / bits].load(Relaxed) >> (cpu % bits) & 1 == 1;
        Some((0..CpuSet::MAX_CPU).filter(is_set).collect())
    }
}

/// One cache line of a group's memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// The futex word.
    pub(crate) word: AtomicU32,
    /// CLOCK_MONOTONIC of the latest wake-up through this line, taken just before the call.
    pub(crate) stamp_ns: AtomicU64,
    /// Whatever else the work type shares: a count, a thread id, an item.
    pub(crate) value: AtomicU64,
}

/// When a phase of the run began.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Phase {
    /// CLOCK_MONOTONIC, 0 before.
    pub(crate) began_ns: AtomicU64,
}

/// Types for which zeroed memory is a valid value and sharing between processes is sound.
///
/// # Safety
/// Implementors hold atomics only: no pointers, no padding that is read, no `Drop`.
pub(crate) unsafe trait Shareable {}
// SAFETY: five atomics, each valid when zero.
unsafe impl Shareable for Control {}
// SAFETY: atomics and an array of them, each valid when zero.
unsafe impl Shareable for Slot {}
// SAFETY: three atomics, each valid when zero.
unsafe impl Shareable for Line {}

// SAFETY: one atomic, valid when zero.
unsafe impl Shareable for Phase {}

/// A zeroed array in a MAP_SHARED mapping, inherited across fork.
#[derive(Debug)]
pub(crate) struct Shared<T: Shareable> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and `Shareable` types are shared by atomics only.
unsafe impl<T: Shareable> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Shared<T> {}

impl<T: Shareable> Shared<T> {
    /// Maps `len` zeroed elements; no mapping at all for `len` 0.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Errno::NOMEM)?;
        if bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), len: 0 });
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED) }?;
        let start = NonNull::new(start.cast::<T>()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len })
    }
}

impl<T: Shareable> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` maps `len` elements until drop, page-aligned, zeroed by the kernel,
        // and zero is valid for `Shareable` types; all later access is through atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Shareable> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: exactly the range that `new` mapped, and no borrow outlives `self`.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len * size_of::<T>()) };
            debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_knows_which_cpus_were_asked_for() {
        let slots = Shared::<Slot>::new(1).unwrap();
        assert_eq!(slots[0].asked(), None);
        for cpus in [vec![0], vec![1, 63, 64, 1023], vec![65]] {
            slots[0].ask(&cpus);
            assert_eq!(slots[0].asked(), Some(cpus));
        }
    }
}
