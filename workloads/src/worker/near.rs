//! Looks at the clock that need not be: the time stamp counter says that next to no time has passed
//! since the last one, or less than what is known as a gap. It is never taken for a time. Called by
//! work types, in every hop.

use super::Worker;
use crate::sys::cpu::ticks;

/// Ticks of the TSC within which two looks at the clock are one: 0.1 us, about as long as a look and
/// the bookkeeping of an iteration take.
const NEAR_TICKS: u64 = 320;
/// The same where QEMU executes us. In a deterministic guest an instruction takes several ticks.
const NEAR_TICKS_EMULATED: u64 = 1536;

impl Worker<'_> {
    /// [`Self::stamp`] where nothing but bookkeeping may have passed since the last one: then it is
    /// that.
    #[inline]
    pub(crate) fn recent(&mut self) -> u64 {
        let near = if self.pauses { NEAR_TICKS } else { NEAR_TICKS_EMULATED };
        if self.ticks_since() < near { self.seen_ns } else { self.stamp() }
    }

    /// [`Self::stamp`] where only a gap would be of interest, as before a block: the clock is read if
    /// more has passed than in any gap that is known.
    #[inline]
    pub(crate) fn checkpoint(&mut self) {
        let passed = self.ticks_since();
        if passed > self.known_ticks {
            self.known_ticks = passed;
            self.stamp();
        }
    }

    /// Ticks since the clock was read. A CPU whose TSC is behind makes them many, so that it is read
    /// again.
    #[inline]
    fn ticks_since(&self) -> u64 {
        ticks().wrapping_sub(self.seen.ticks)
    }
}

#[cfg(test)]
mod tests {
    use crate::clock;
    use crate::sys::shared::Control;
    use crate::worker::slices;
    use crate::worker::{Gap, Worker, phase_of_ops};
    use std::sync::atomic::Ordering::Relaxed;

    const MS: u64 = 1_000_000;

    fn pass(time_ns: u64) {
        let from_ns = clock::monotonic_ns();
        while clock::monotonic_ns() < from_ns + time_ns {}
    }

    fn with_worker(test: impl FnOnce(&mut Worker<'_>, &Control)) {
        slices::tests::with_worker(1, |worker, control, _| {
            worker.begin(clock::monotonic_ns());
            worker.next();
            test(worker, control);
        });
    }

    #[test]
    fn a_recent_time_is_the_last_one_only_if_next_to_nothing_has_passed() {
        with_worker(|worker, _| {
            let mut shared = 0;
            for _ in 0..1000 {
                let seen_ns = worker.stamp();
                shared += u32::from(worker.recent() == seen_ns);
            }
            assert!(shared > 500, "{shared}");
            let seen_ns = worker.stamp();
            pass(MS);
            assert!(worker.recent() >= seen_ns + MS);
        });
    }

    #[test]
    fn a_checkpoint_sees_the_longest_gap_and_leaves_shorter_ones_to_the_next() {
        with_worker(|worker, _| {
            worker.stamp();
            pass(5 * MS);
            worker.checkpoint();
            assert!(worker.gap.wall_ns >= 5 * MS, "{:?}", worker.gap);
            let unread = (0..100).filter(|_| {
                let seen_ns = worker.stamp();
                worker.checkpoint();
                worker.seen_ns == seen_ns
            });
            assert!(unread.count() > 50);
            pass(20 * MS);
            worker.checkpoint();
            assert!(worker.gap.wall_ns >= 20 * MS, "{:?}", worker.gap);
        });
    }

    #[test]
    fn a_sample_of_how_late_one_is_is_the_gap_from_the_call_or_from_the_last_look_on() {
        with_worker(|worker, _| {
            for call in [i64::MIN, -5, 0, 2] {
                worker.gap = Gap::default();
                let seen_ns = worker.stamp();
                pass(5 * MS);
                let over_ns = seen_ns.saturating_add_signed(call.saturating_mul(1_000_000));
                let late_ns = worker.resume_after(over_ns);
                let from_ns = seen_ns.max(over_ns);
                assert_eq!(late_ns, worker.seen_ns - from_ns, "{call}");
                assert_eq!(late_ns, worker.gap.wall_ns, "{call}");
            }
        });
    }

    #[test]
    fn who_loses_the_cpu_in_mid_look_looks_again() {
        with_worker(|worker, _| {
            worker.stamp();
            let look = worker.look_at_clock();
            pass(5 * MS);
            worker.arrive(look);
            assert!(worker.recent() >= look.now_ns + 5 * MS);
            let look = worker.look_at_clock();
            pass(20 * MS);
            worker.arrive(look);
            worker.checkpoint();
            assert!(worker.gap.wall_ns >= 20 * MS, "{:?}", worker.gap);
        });
    }

    #[test]
    fn who_is_kept_from_seeing_the_stop_has_a_gap() {
        with_worker(|worker, control| {
            worker.stamp();
            pass(20 * MS);
            control.stop.store(true, Relaxed);
            assert!(!worker.next());
            assert!(worker.gap.wall_ns >= 20 * MS, "{:?}", worker.gap);
        });
    }

    #[test]
    fn each_phase_knows_its_own_gaps() {
        with_worker(|worker, control| {
            worker.stamp();
            pass(20 * MS);
            worker.checkpoint();
            control.phase.store(phase_of_ops(0).try_into().unwrap(), Relaxed);
            worker.next();
            worker.stamp();
            assert_eq!(worker.known_ticks, 0);
            pass(5 * MS);
            worker.checkpoint();
            assert!(worker.gap.wall_ns >= 5 * MS, "{:?}", worker.gap);
        });
    }
}
