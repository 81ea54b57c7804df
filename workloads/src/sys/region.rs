//! A private mapping whose pages come and go. Called by `work::memory`.

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// Anonymous memory in small pages, empty at first. Nobody borrows from it, so that its pages
/// may be taken away at any time.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    pages: usize,
    page_size: usize,
}

impl Region {
    /// Maps `bytes`, rounded up to whole pages and at least one.
    pub(crate) fn new(bytes: usize) -> Result<Self, Errno> {
        let page_size = rustix::param::page_size();
        let pages = bytes.div_ceil(page_size).max(1);
        let len = pages.checked_mul(page_size).ok_or(Errno::NOMEM)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let region = Self { start, pages, page_size };
        match region.advise(Advice::LinuxNoHugepage) {
            // A kernel without huge pages does not know the advice and needs none.
            Ok(()) | Err(Errno::INVAL) => Ok(region),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Writes one byte of page `index`.
    ///
    /// # Panics
    /// If there is no such page.
    #[inline]
    pub(crate) fn touch(&mut self, index: usize) {
        assert!(index < self.pages, "page {index} of {}", self.pages);
        // SAFETY: the index is below `pages`, so the offset is inside the mapping, which `new`
        // could make, so it overflows nothing.
        let byte = unsafe { self.start.add(index * self.page_size) };
        // SAFETY: the address is inside our writable mapping, to which there are no references.
        unsafe { byte.write_volatile(1) };
    }

    /// Gives all pages back; the next touch of each is a fault again.
    pub(crate) fn discard(&mut self) -> Result<(), Errno> {
        self.advise(Advice::LinuxDontNeed)
    }

    fn len(&self) -> usize {
        self.pages * self.page_size
    }

    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        // SAFETY: exactly our own mapping. The advices used here at most zero its content, to
        // which there are no references.
        unsafe { madvise(self.start.as_ptr().cast(), self.len(), advice) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, to which there are no references.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len()) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::usage::thread_usage;

    fn faults_of(op: impl FnOnce()) -> u64 {
        let before = thread_usage().unwrap().minor_faults;
        op();
        thread_usage().unwrap().minor_faults - before
    }

    #[test]
    fn a_discarded_page_faults_again_and_a_kept_one_does_not() {
        let mut region = Region::new(1 << 20).unwrap();
        let pages = region.pages();
        let mut touch_all = || (0..pages).for_each(|page| region.touch(page));
        // The test's own code may fault now and then.
        let slack = 16;
        assert!(faults_of(&mut touch_all) >= pages as u64);
        assert!(faults_of(&mut touch_all) < slack);
        region.discard().unwrap();
        let again = faults_of(|| (0..pages).for_each(|page| region.touch(page)));
        assert!((pages as u64..pages as u64 + slack).contains(&again), "{again}");
    }

    #[test]
    fn a_region_has_a_page_and_ends() {
        let mut region = Region::new(1).unwrap();
        assert_eq!(region.pages(), 1);
        let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.touch(1)));
        assert!(beyond.is_err());
    }
}
