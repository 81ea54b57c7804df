//! The end of the warm-up as a worker sees it: everything begins anew, less a wait for a CPU that is
//! not over. Called by `Worker` when it sees that the measurement was restarted.

use super::Worker;
use super::slices::{began_ns, first_phase};
use crate::clock;
use std::mem::{replace, take};
use std::sync::atomic::Ordering::Relaxed;

impl Worker<'_> {
    /// Begins the measured part anew: what was counted so far was the warm-up. Who had no CPU as
    /// that ended sees it late; what it has waited for one since then is measured, as a gap too.
    #[cold]
    pub(super) fn restart(&mut self, word: u32) {
        let measured_ns = began_ns(self.seat.phases, 0);
        let (now_ns, cpu_ns) = (clock::monotonic_ns(), clock::thread_cpu_ns());
        let in_block_ns = self.in_block_since(measured_ns);
        let off_cpu_ns = self.off_cpu_since(measured_ns, now_ns);
        let anew = Self {
            begun: true,
            phase: first_phase(word),
            seen_ns: self.seen_ns.max(measured_ns),
            cpu_seen: self.cpu_seen,
            io_target: self.io_target.take(),
            not_applied: take(&mut self.not_applied),
            chose_policy: self.chose_policy,
            sighting: self.sighting,
            startup_cpu_ns: self.begun.then_some(0),
            alu_width: self.alu_width.take(),
            rng: self.rng.clone(),
            ..Self::new(self.seat, take(&mut self.asked))
        };
        let warmup = replace(self, anew);
        let waited_ns = self.counters.reach_back(&warmup.counters, in_block_ns + off_cpu_ns);
        // Who was frozen or had no quota has not waited by what the kernel counts.
        self.started_ns = self.started_ns.saturating_sub(waited_ns.max(off_cpu_ns));
        self.seat.slot.iterations.store(0, Relaxed);
        self.seat.slot.work_units.store(0, Relaxed);
        if self.phase != word {
            self.enter_phase(word);
        }
        // To begin anew takes its time, which is no gap.
        self.seen_ns += clock::thread_cpu_ns().saturating_sub(cpu_ns);
        self.stamp();
        self.note_cpu();
    }

    /// Whether a sample of `value_ns` that ends with the latest look at the clock began before the
    /// measured part.
    #[cold]
    pub(super) fn is_of_the_warmup(&self, value_ns: u64) -> bool {
        self.seen_ns.saturating_sub(value_ns) < began_ns(self.seat.phases, 0)
    }

    /// How much of its latest block, of which a part may be a wait for a CPU, came after `from_ns`.
    fn in_block_since(&self, from_ns: u64) -> u64 {
        let (blocked_ns, woke_ns) = self.block;
        woke_ns.saturating_sub(blocked_ns.max(from_ns))
    }

    /// How long the worker was kept from a CPU from `from_ns` on, since it last looked at the clock.
    fn off_cpu_since(&self, from_ns: u64, now_ns: u64) -> u64 {
        let used_ns = clock::thread_cpu_ns().saturating_sub(self.cpu_seen.1);
        let since_ns = now_ns.saturating_sub(self.seen_ns.max(from_ns));
        since_ns.saturating_sub(used_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Latency;
    use crate::worker::RESTART;
    use crate::worker::slices::tests::with_worker;

    const MS: u64 = 1_000_000;

    /// The longest gap and the iterations of a worker that is kept from its next look at the clock
    /// from 2 ms before the end of the warm-up to 3 ms after it, and the time from that end to the
    /// last of all looks; `looks` is how it comes to know.
    fn kept_across_the_end(looks: impl FnOnce(&mut Worker<'_>)) -> (u64, u64, u64) {
        with_worker(0, |worker, control, began| {
            worker.begin(clock::monotonic_ns());
            worker.next();
            let seen_ns = worker.stamp();
            began[0].began_ns.store(seen_ns + 2 * MS, Relaxed);
            control.phase.fetch_add(RESTART, Relaxed);
            while clock::monotonic_ns() < seen_ns + 5 * MS {}
            looks(worker);
            let iterations = worker.iterations;
            (
                worker.whole_and_parts().1.wall_ns,
                iterations,
                clock::monotonic_ns() - seen_ns - 2 * MS,
            )
        })
    }

    #[test]
    fn a_gap_at_the_end_of_the_warm_up_counts_from_there() {
        let (gap_ns, iterations, passed_ns) = kept_across_the_end(|worker| {
            worker.next();
        });
        assert!((3 * MS..=passed_ns).contains(&gap_ns), "{gap_ns}");
        assert_eq!(iterations, 0);
    }

    #[test]
    fn it_is_seen_in_mid_iteration_and_the_iteration_is_the_warm_ups() {
        let (gap_ns, iterations, passed_ns) = kept_across_the_end(|worker| {
            worker.stamp();
            worker.next();
            worker.next();
        });
        assert!((3 * MS..=passed_ns).contains(&gap_ns), "{gap_ns}");
        assert_eq!(iterations, 1);
    }

    #[test]
    fn a_deadline_before_the_end_is_a_gap_from_the_end_on_and_no_sample() {
        let mut samples = 0;
        let (gap_ns, _, passed_ns) = kept_across_the_end(|worker| {
            let due_ns = worker.seen_ns;
            let late_ns = worker.resume_after(due_ns);
            worker.record(Latency::Timer, late_ns);
            samples += usize::from(worker.samples[Latency::Timer as usize].is_some());
            worker.next();
        });
        assert!((3 * MS..=passed_ns).contains(&gap_ns), "{gap_ns}");
        assert_eq!(samples, 0);
    }

    /// The worker stands still without waiting for a CPU by what the kernel counts, as one does whose
    /// cgroup is frozen or has used up its quota.
    #[test]
    fn who_is_held_up_across_the_end_is_measured_from_the_end_on() {
        let mut wall_ns = 0;
        let (gap_ns, ..) = kept_across_the_end(|worker| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            worker.next();
            wall_ns = clock::monotonic_ns() - worker.started_ns;
        });
        // Less the CPU time that it used since its last look.
        assert!(wall_ns >= 15 * MS && gap_ns >= 20 * MS, "{wall_ns} {gap_ns}");
    }

    #[test]
    fn whose_first_turn_comes_after_the_end_is_measured_from_the_end_on() {
        with_worker(0, |worker, control, began| {
            let opened_ns = clock::monotonic_ns();
            began[0].began_ns.store(opened_ns + 2 * MS, Relaxed);
            control.phase.fetch_add(RESTART, Relaxed);
            while clock::monotonic_ns() < opened_ns + 5 * MS {}
            worker.begin(opened_ns);
            worker.next();
            assert_eq!(worker.started_ns, opened_ns + 2 * MS);
            let passed_ns = clock::monotonic_ns() - worker.started_ns;
            let gap_ns = worker.whole_and_parts().1.wall_ns;
            assert!((3 * MS..=passed_ns).contains(&gap_ns), "{gap_ns}");
        });
    }

    #[test]
    fn a_block_that_spans_the_end_is_no_gap() {
        let (gap_ns, _, passed_ns) = kept_across_the_end(|worker| {
            worker.resume();
            worker.next();
        });
        assert!(gap_ns <= passed_ns - 3 * MS, "{gap_ns}");
    }
}
