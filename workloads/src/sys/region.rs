//! A private mapping whose pages come and go. Called by `work::memory`.

use super::numa::{MAXNODE, NodeMask};
use super::process::last_errno;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::collections::BTreeMap;
use std::ptr::{NonNull, null, null_mut};

/// MPOL_MF_MOVE of mbind(2).
const MOVE: libc::c_uint = 2;
/// Pages asked about in one call of move_pages(2).
const CHUNK: usize = 512;

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
        let start = unsafe { mmap_anonymous(null_mut(), len, prot, MapFlags::PRIVATE) }?;
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

    /// Binds the region to `node` and moves the pages there that are elsewhere: `migrate_pages`.
    pub(crate) fn bind(&mut self, node: usize) -> Result<(), Errno> {
        let (start, nodes) = (self.start.as_ptr(), NodeMask::of([node]));
        // SAFETY: exactly our own mapping, whose content moves unchanged; the mask lives across
        // the call and has the bits that `MAXNODE` says.
        let rc = unsafe {
            let mode = libc::MPOL_BIND;
            libc::syscall(libc::SYS_mbind, start, self.len(), mode, nodes.as_ptr(), MAXNODE, MOVE)
        };
        if rc == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// How many of its pages are on each node, by move_pages(2); those that are nowhere are left
    /// out.
    pub(crate) fn nodes(&self) -> Result<BTreeMap<usize, u64>, Errno> {
        let mut pages = BTreeMap::new();
        for first in (0..self.pages).step_by(CHUNK) {
            let count = CHUNK.min(self.pages - first);
            let address = |page| self.start.as_ptr().wrapping_add((first + page) * self.page_size);
            let addresses: Vec<*mut u8> = (0..count).map(address).collect();
            let mut status = vec![-1_i32; count];
            let nodes = null::<i32>();
            // SAFETY: without nodes the call only asks; both arrays are live and have `count`
            // elements.
            let rc = unsafe {
                let (addresses, status) = (addresses.as_ptr(), status.as_mut_ptr());
                libc::syscall(libc::SYS_move_pages, 0, count, addresses, nodes, status, 0)
            };
            if rc != 0 {
                return Err(last_errno());
            }
            for node in status.into_iter().filter_map(|node| usize::try_from(node).ok()) {
                *pages.entry(node).or_insert(0) += 1;
            }
        }
        Ok(pages)
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
    fn pages_are_on_a_node_once_they_are_touched() {
        let mut region = Region::new(600 * 4096).unwrap();
        assert_eq!(region.nodes().unwrap(), BTreeMap::new());
        (0..region.pages()).for_each(|page| region.touch(page));
        region.bind(0).unwrap();
        assert_eq!(region.nodes().unwrap(), [(0, 600)].into());
        assert_eq!(region.bind(1023), Err(Errno::INVAL));
    }

    #[test]
    fn a_region_has_a_page_and_ends() {
        let mut region = Region::new(1).unwrap();
        assert_eq!(region.pages(), 1);
        let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.touch(1)));
        assert!(beyond.is_err());
    }
}
