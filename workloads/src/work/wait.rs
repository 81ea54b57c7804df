//! Waiting that the stop can end: every work type blocks through these. A blocking call that the
//! stop cut short is `Err(CANCELED)`; the loop then leaves by `break`.

use crate::worker::Worker;
use rustix::io::Errno;
use rustix::thread::futex;
use std::sync::atomic::AtomicU32;

/// Sleeps while `word` is `expected`: whether it slept, or found another value.
pub(super) fn futex_wait(w: &Worker<'_>, word: &AtomicU32, expected: u32) -> Result<bool, Errno> {
    match futex::wait(word, w.futex_flags(), expected, None) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => interrupted(w, errno).map(|()| false),
    }
}

/// Wakes at most `count` waiters of `word`.
pub(super) fn futex_wake(w: &Worker<'_>, word: &AtomicU32, count: u32) -> Result<(), Errno> {
    // The kernel takes the count as signed, and a negative one as none.
    let count = count.min(i32::MAX.unsigned_abs());
    futex::wake(word, w.futex_flags(), count).map(drop)
}

/// Reads one byte that a partner writes into pipe `index` of the group.
pub(super) fn read_byte(w: &Worker<'_>, index: usize) -> Result<(), Errno> {
    while let Err(errno) = rustix::io::read(w.pipe(index).reader(), &mut [0]) {
        interrupted(w, errno)?;
    }
    Ok(())
}

/// Writes one byte into pipe `index` of the group.
pub(super) fn write_byte(w: &Worker<'_>, index: usize) -> Result<(), Errno> {
    rustix::io::write(w.pipe(index).writer(), &[1]).map(drop)
}

/// A blocking call ended early: CANCELED if because of the stop, `Ok` to try again.
pub(super) fn interrupted(w: &Worker<'_>, errno: Errno) -> Result<(), Errno> {
    match errno {
        Errno::INTR if w.stopping() => Err(Errno::CANCELED),
        Errno::INTR => Ok(()),
        other => Err(other),
    }
}
