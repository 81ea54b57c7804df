//! Looks at the clock, and what of the time between two of them is a gap: all of it, but a deliberate
//! block up to its end. Called by work types, by `near` and `slices`.

use super::Worker;
use crate::clock;
use crate::sys::cpu::{Sight, current_cpu};
use std::sync::atomic::Ordering::Relaxed;

/// CPU time is read at most this often: it is a system call, and gaps need it to about 1 ms.
const CPU_TIME_EVERY_NS: u64 = 1_000_000;
/// A look at the clock, and what was so just before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) now_ns: u64,
    pub(super) sight: Sight,
}

/// Longer is more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gap {
    pub(super) wall_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) on_cpu: usize,
}

impl Worker<'_> {
    /// The latest look at the clock.
    #[inline]
    pub(crate) fn latest(&self) -> u64 {
        self.seen_ns
    }

    /// A checkpoint: now, in CLOCK_MONOTONIC. The time since the last one counts as a gap.
    #[inline]
    pub(crate) fn stamp(&mut self) -> u64 {
        let look = self.look_at_clock();
        self.arrive(look)
    }

    /// The TSC before the clock: who loses the CPU between the two has an old TSC then, and looks
    /// again. The other way round it would take an old time for the present.
    #[inline]
    pub(crate) fn look_at_clock(&self) -> Look {
        let sight = self.reader.read();
        Look { now_ns: clock::monotonic_ns(), sight }
    }

    /// Like [`Self::stamp`] after a deliberate block of which nobody says when it was over: the
    /// time since the last one is no gap.
    #[inline]
    pub(crate) fn resume(&mut self) -> u64 {
        let look = self.look_at_clock();
        self.block = (self.seen_ns, look.now_ns);
        self.block_was_over(look.now_ns);
        self.arrive(look)
    }

    /// Like [`Self::stamp`] after a deliberate block that was over at `over_ns`, by its deadline or
    /// as a partner woke this worker: what passed after that is a gap. If it was over before the
    /// last checkpoint, there was no block. Gives that time: a sample of it is never more than the
    /// longest gap.
    #[inline]
    pub(crate) fn resume_after(&mut self, over_ns: u64) -> u64 {
        self.resumed_at(self.look_at_clock(), over_ns)
    }

    /// Like [`Self::resume_after`] with a look at the clock that the caller has just taken.
    #[inline]
    pub(crate) fn resumed_at(&mut self, look: Look, over_ns: u64) -> u64 {
        let over_ns = over_ns.min(look.now_ns).max(self.seen_ns);
        self.block = (0, 0);
        self.block_was_over(over_ns);
        self.arrive(look);
        look.now_ns.saturating_sub(over_ns)
    }

    /// The time until then is no gap. No CPU time passed in it, so that it need not be read again for
    /// that.
    #[inline]
    fn block_was_over(&mut self, over_ns: u64) {
        self.cpu_seen.0 += over_ns.saturating_sub(self.seen_ns);
        self.seen_ns = over_ns;
    }

    #[inline]
    pub(super) fn arrive(&mut self, look: Look) -> u64 {
        let gap_ns = look.now_ns.saturating_sub(self.seen_ns);
        if gap_ns > self.gap.wall_ns || self.seat.control.phase.load(Relaxed) != self.phase {
            return self.note_gap(gap_ns, look);
        }
        self.saw(look)
    }

    #[inline]
    pub(super) fn saw(&mut self, look: Look) -> u64 {
        let Look { now_ns, sight } = look;
        if now_ns.saturating_sub(self.cpu_seen.0) >= CPU_TIME_EVERY_NS {
            self.cpu_seen = (now_ns, clock::thread_cpu_ns());
        }
        self.seen_ns = now_ns;
        self.seen = sight;
        self.fresh = true;
        now_ns
    }

    /// A gap that ends now or has ended at `end_ns`.
    pub(super) fn gap_of(&self, wall_ns: u64, end_ns: u64) -> Gap {
        let used_ns = clock::thread_cpu_ns().saturating_sub(self.cpu_seen.1);
        Gap {
            wall_ns,
            cpu_ns: used_ns.min(wall_ns),
            ended_ns: end_ns.saturating_sub(self.started_ns),
            on_cpu: current_cpu(),
        }
    }
}
