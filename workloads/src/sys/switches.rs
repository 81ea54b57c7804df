//! The context switches of one CPU as the kernel writes them into a ring: an event that counts
//! nothing, with `context_switch` set. Needs no tracing in the kernel. Called by `run::schedule`.

use super::perf::Attr;
use super::process::last_errno;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const SW_DUMMY: u64 = 9;
const SAMPLE_TID: u64 = 1 << 1;
const SAMPLE_TIME: u64 = 1 << 2;
const DISABLED: u64 = 1;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const USE_CLOCKID: u64 = 1 << 25;
const CONTEXT_SWITCH: u64 = 1 << 26;
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;
const SET_OUTPUT: libc::c_ulong = 0x2405;
/// Offsets in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// A ring of records, and the event that fills it.
#[derive(Debug)]
pub(crate) struct SwitchRing {
    event: OwnedFd,
    /// A page of the kernel's about the ring, then the ring.
    start: NonNull<u8>,
    page: usize,
    /// Of the ring alone: a power of two.
    bytes: usize,
}

impl SwitchRing {
    /// A ring of `bytes`, which must be a power of two and whole pages, for the switches of `cpu`.
    /// It stays empty until [`Self::enable`].
    pub(crate) fn open(cpu: usize, bytes: usize) -> Result<Self, Errno> {
        let event = event(cpu)?;
        let page = rustix::param::page_size();
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let start = unsafe { mmap(null_mut(), page + bytes, prot, MapFlags::SHARED, &event, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { event, start, page, bytes })
    }

    /// The kernel takes the event away when `cpu`, that of the ring, goes off line. This gives the ring
    /// another one, with what it holds left in it.
    pub(crate) fn reopen(&mut self, cpu: usize) -> Result<(), Errno> {
        let next = event(cpu)?;
        let into = self.event.as_raw_fd();
        // SAFETY: the request takes a descriptor, which lives across the call, and no memory.
        let rc = unsafe { libc::ioctl(next.as_raw_fd(), SET_OUTPUT, into) };
        if rc != 0 {
            return Err(last_errno());
        }
        // The mapping keeps the ring of the one before.
        self.event = next;
        Ok(())
    }

    pub(crate) fn enable(&self) -> Result<(), Errno> {
        self.control(ENABLE)
    }

    /// When it returns no record is under way.
    pub(crate) fn disable(&self) -> Result<(), Errno> {
        self.control(DISABLE)
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        let head = self.word(DATA_HEAD).load(Acquire);
        usize::try_from(head - self.word(DATA_TAIL).load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Adds what waits to `taken`, and gives its room back.
    pub(crate) fn take(&mut self, taken: &mut Vec<u8>) {
        let waiting = self.waiting().min(self.bytes);
        let tail = self.word(DATA_TAIL).load(Relaxed);
        let begin = usize::try_from(tail % self.bytes as u64).unwrap_or(0);
        let first = waiting.min(self.bytes - begin);
        taken.extend_from_slice(self.part(begin, first));
        taken.extend_from_slice(self.part(0, waiting - first));
        self.word(DATA_TAIL).store(tail + waiting as u64, Release);
    }

    fn part(&self, from: usize, length: usize) -> &[u8] {
        assert!(from + length <= self.bytes, "{from} + {length} of {}", self.bytes);
        // SAFETY: by the assertion it is inside the mapping, which begins with a page of its own.
        let start = unsafe { self.start.add(self.page + from) };
        // SAFETY: initialised memory of the mapping. `take` asks only for what lies between tail
        // and head, which the kernel leaves alone until the tail moves.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the callers' offsets are inside the first page, which is mapped until the drop.
        let place = unsafe { self.start.add(offset) };
        // SAFETY: aligned as the kernel aligns them, mapped writable, and only accessed atomically.
        unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) }
    }

    fn control(&self, request: libc::c_ulong) -> Result<(), Errno> {
        // SAFETY: both requests take a flag word, here 0, and no memory.
        let rc = unsafe { libc::ioctl(self.event.as_raw_fd(), request, 0) };
        if rc == 0 { Ok(()) } else { Err(last_errno()) }
    }
}

impl AsFd for SwitchRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// An event of `cpu` that records its switches once it is enabled.
fn event(cpu: usize) -> Result<OwnedFd, Errno> {
    let attr = Attr {
        sample_type: SAMPLE_TID | SAMPLE_TIME,
        flags: DISABLED | SAMPLE_ID_ALL | USE_CLOCKID | CONTEXT_SWITCH,
        clockid: libc::CLOCK_MONOTONIC,
        ..Attr::software(SW_DUMMY)
    };
    attr.open(-1, i32::try_from(cpu).map_err(|_| Errno::INVAL)?)
}

impl Drop for SwitchRing {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `open` mapped, and no borrow outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.page + self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}
