//! What a worker counts within each step of a scenario, beside the whole run. Called by `Worker`
//! when it sees that the run has gone on to another phase, and at the end.

use super::{Gap, Look, Worker};
use crate::counters::Sighting;
use crate::histogram::{LatencySummary, Samples};
use crate::report::{Latency, StepReport};
use crate::sys::shared::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

/// Bits of the phase word that count restarts; those below count phases.
const RESTART_SHIFT: u32 = 16;

/// Whether two phase words differ in the number of restarts.
pub(super) fn restarted(was: u32, is: u32) -> bool {
    was >> RESTART_SHIFT != is >> RESTART_SHIFT
}

/// The word of phase 0 after the same restarts.
pub(super) fn first_phase(word: u32) -> u32 {
    word & !(RESTART - 1)
}

/// The word after one more restart.
pub(crate) const RESTART: u32 = 1 << RESTART_SHIFT;

/// Phases of a run: 0 before the first step, 2k + 1 while the operations of step k are done,
/// 2k + 2 while it is held, and one after the last step.
pub(crate) fn phases(steps: usize) -> usize {
    2 * steps + 2
}

/// The phase in which the operations of `step` are done; the next one is its hold. That of the step
/// after the last one is the end of the run.
pub(crate) fn phase_of_ops(step: usize) -> usize {
    2 * step + 1
}

fn index(word: u32) -> usize {
    (word & (RESTART - 1)) as usize
}

/// A finished part of the run, as one worker saw it.
#[derive(Debug)]
pub(super) struct Slice {
    phase: usize,
    /// The worker's clocks as it saw the phase.
    sighting: Option<Sighting>,
    latency: BTreeMap<Latency, LatencySummary>,
    pub(super) gap: Gap,
    cpus_used: BTreeSet<usize>,
}

impl Worker<'_> {
    /// The run has gone on: what was counted so far belongs to the phases that are over. A gap
    /// that spans a beginning is split there, and is whole in the account of the run.
    #[cold]
    pub(super) fn enter_phase(&mut self, word: u32) {
        let sighting = self.look();
        let seen = self.look_at_clock();
        let now_ns = seen.now_ns;
        let (old, new) = (index(self.phase), index(word));
        let from_ns = self.seen_ns;
        let whole = self.gap_of(now_ns.saturating_sub(from_ns), now_ns);
        let part = |phase: usize| {
            let begins_ns = began_ns(self.seat.phases, phase).max(from_ns);
            let ends_ns = match phase {
                last if last == new => now_ns,
                phase => began_ns(self.seat.phases, phase + 1).max(from_ns),
            };
            self.gap_of(ends_ns.saturating_sub(begins_ns), ends_ns)
        };
        let skipped: Vec<Slice> =
            (old + 1..new).map(|phase| Slice::idle(phase, sighting, part(phase))).collect();
        let (last_of_old, first_of_new) = (part(old), part(new));
        self.longest = self.longest.max(whole);
        self.gap = self.gap.max(last_of_old);
        self.close_slice();
        self.slices.extend(skipped);
        self.gap = first_of_new;
        self.sighting = sighting;
        self.phase = word;
        (self.last_cpu, self.noted) = (usize::MAX, None);
        self.saw(seen);
    }

    /// The longest gap so far. Whoever was frozen in the middle of an iteration has not seen yet
    /// that the run has gone on: the gap is not all of the phase that it knows, nor the iteration
    /// of the measured part.
    #[cold]
    pub(super) fn note_gap(&mut self, gap_ns: u64, look: Look) -> u64 {
        let word = self.seat.control.phase.load(Relaxed);
        if word == self.phase {
            let measured_ns = match self.stopping() {
                true => self.cut_at_the_stop(gap_ns, look.now_ns).unwrap_or(0),
                false => gap_ns,
            };
            let ended_ns = look.now_ns - gap_ns + measured_ns;
            self.gap = self.gap.max(self.gap_of(measured_ns, ended_ns));
            self.saw(look);
        } else if restarted(self.phase, word) {
            self.restart(word);
            self.begun = false;
        } else {
            self.enter_phase(word);
        }
        self.fresh = true;
        look.now_ns
    }

    /// What is compared with readings from outside, in a run with steps.
    pub(super) fn look(&self) -> Option<Sighting> {
        (self.seat.phases.len() > phases(0)).then(Sighting::take).flatten()
    }

    /// Puts what has been counted since the last phase began among the slices.
    fn close_slice(&mut self) {
        let latency = summaries(&self.samples);
        self.known_ticks = 0;
        self.samples = Default::default();
        self.longest = self.longest.max(self.gap);
        self.slices.push(Slice {
            phase: index(self.phase),
            sighting: self.sighting,
            latency,
            gap: std::mem::take(&mut self.gap),
            cpus_used: std::mem::take(&mut self.cpus_used),
        });
    }

    /// Latencies, the longest gap and CPUs of the whole run, and what of them belongs to each
    /// step. In a run without steps there is nothing but the whole.
    pub(super) fn whole_and_parts(
        &mut self,
    ) -> (BTreeMap<Latency, LatencySummary>, Gap, BTreeSet<usize>, Vec<StepReport>) {
        if self.slices.is_empty() && index(self.phase) == 0 {
            let cpus_used = std::mem::take(&mut self.cpus_used);
            return (summaries(&self.samples), self.gap, cpus_used, Vec::new());
        }
        self.close_slice();
        let merged = |kind: &Latency| {
            let parts = self.slices.iter().filter_map(|slice| slice.latency.get(kind));
            Some((*kind, LatencySummary::merged(parts)?))
        };
        let latency = Latency::ALL.iter().filter_map(merged).collect();
        let cpus = self.slices.iter().flat_map(|slice| slice.cpus_used.iter().copied()).collect();
        let next = |at: usize| self.slices.get(at + 1);
        let parts = self.slices.iter().enumerate();
        let parts = parts.filter_map(|(at, slice)| slice.report(next(at))).collect();
        (latency, self.longest, cpus, parts)
    }
}

impl Slice {
    /// A phase in which the worker did not get as far as its next checkpoint.
    fn idle(phase: usize, sighting: Option<Sighting>, gap: Gap) -> Self {
        Self { phase, sighting, latency: BTreeMap::new(), gap, cpus_used: BTreeSet::new() }
    }

    /// The account of a step that was held; what passed during operations is in the whole only.
    /// `next` is the slice after it.
    fn report(&self, next: Option<&Self>) -> Option<StepReport> {
        let step = self.phase.checked_sub(2).filter(|phase| phase.is_multiple_of(2))? / 2;
        Some(StepReport {
            step,
            max_gap_ns: Some(self.gap.wall_ns),
            cpus_used: self.cpus_used.clone(),
            latency: self.latency.clone(),
            sightings: [self.sighting, next.and_then(|next| next.sighting)],
            ..StepReport::default()
        })
    }
}

pub(super) fn began_ns(phases: &[Phase], phase: usize) -> u64 {
    phases.get(phase).map_or(0, |phase| phase.began_ns.load(Relaxed))
}

fn summaries(
    samples: &[Option<Box<Samples>>; Latency::COUNT],
) -> BTreeMap<Latency, LatencySummary> {
    let known = |kind: &Latency| Some((*kind, samples[*kind as usize].as_ref()?.summary()?));
    Latency::ALL.iter().filter_map(known).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock;
    use crate::handle::IoPlace;
    use crate::settings::Asked;
    use crate::sys::shared::{Control, Shared, Slot};
    use crate::worker::Seat;

    /// An only worker that has not begun yet, in a run of so many steps, with what its parent writes.
    pub(in crate::worker) fn with_worker<R>(
        steps: usize,
        test: impl FnOnce(&mut Worker<'_>, &Control, &[Phase]) -> R,
    ) -> R {
        let (control, slots) =
            (Shared::<Control>::new(1).unwrap(), Shared::<Slot>::new(1).unwrap());
        let began = Shared::<Phase>::new(phases(steps)).unwrap();
        let seat = Seat {
            control: &control[0],
            slot: &slots[0],
            phases: &began,
            index: 0,
            position: 0,
            lines: &[],
            pipes: &[],
            events: None,
            io: &IoPlace::default(),
            one_process: false,
            limit: u64::MAX,
            seed: 0,
        };
        test(&mut Worker::new(seat, Asked::default()), &control[0], &began)
    }

    const MS: u64 = 1_000_000;

    /// Gaps in ns of the run and of two steps, and the time from the look at the clock before the
    /// second step to the end, of a worker in the first step that is kept from its next look for 5
    /// ms. The second begins `begins_ms` after the look before that, its operations 1 ms earlier.
    fn kept_for_5_ms(
        begins_ms: u64,
        before: impl FnOnce(&mut Worker<'_>),
        looks: impl FnOnce(&mut Worker<'_>, u64) -> u64,
    ) -> (u64, Vec<u64>, u64) {
        with_worker(2, |worker, control, began| {
            let held = |step| phase_of_ops(step) + 1;
            control.phase.store(held(0).try_into().unwrap(), Relaxed);
            worker.begin(clock::monotonic_ns());
            worker.next();
            // What this test itself has waited for a CPU so far is none of it.
            (worker.gap, worker.longest) = (Gap::default(), Gap::default());
            before(worker);
            worker.seen_ns = clock::monotonic_ns();
            let seen_ns = worker.seen_ns;
            for (phase, after_ms) in [(phase_of_ops(1), begins_ms - 1), (held(1), begins_ms)] {
                began[phase].began_ns.store(seen_ns + after_ms * MS, Relaxed);
            }
            control.phase.store(held(1).try_into().unwrap(), Relaxed);
            while clock::monotonic_ns() < seen_ns + 5 * MS {}
            looks(worker, seen_ns);
            let (_, whole, _, steps) = worker.whole_and_parts();
            let gaps = steps.iter().filter_map(|step| step.max_gap_ns).collect();
            (whole.wall_ns, gaps, clock::monotonic_ns() - seen_ns)
        })
    }

    #[test]
    fn a_gap_in_mid_iteration_is_split_where_the_run_went_on() {
        let (whole_ns, gaps, _) = kept_for_5_ms(2, |_| (), |worker, _| worker.stamp());
        assert_eq!((gaps.len(), gaps[0]), (2, MS));
        assert!(gaps[1] >= 3 * MS && whole_ns >= 5 * MS, "{gaps:?}, {whole_ns}");
    }

    #[test]
    fn it_is_split_too_where_the_step_before_had_a_longer_one() {
        let longer = |worker: &mut Worker<'_>| worker.gap.wall_ns = u64::MAX;
        let (_, gaps, passed_ns) = kept_for_5_ms(2, longer, |worker, _| worker.stamp());
        assert!((3 * MS..passed_ns).contains(&gaps[1]), "{gaps:?}");
    }

    #[test]
    fn a_sleep_is_a_gap_from_its_deadline_on() {
        let late = |worker: &mut Worker<'_>, seen_ns| worker.resume_after(seen_ns + 2 * MS);
        let (whole_ns, gaps, passed_ns) = kept_for_5_ms(4, |_| (), late);
        assert_eq!(gaps[0], MS);
        assert!((MS..=passed_ns - 4 * MS).contains(&gaps[1]), "{gaps:?}");
        assert!((3 * MS..=passed_ns - 2 * MS).contains(&whole_ns), "{whole_ns}");
    }

    #[test]
    fn a_block_that_was_over_before_was_none_and_one_that_nobody_ends_is_no_gap() {
        let early = |worker: &mut Worker<'_>, seen_ns| worker.resume_after(seen_ns - MS);
        assert!(kept_for_5_ms(4, |_| (), early).0 >= 5 * MS);
        let unknown = |worker: &mut Worker<'_>, _| worker.resume();
        let (whole_ns, _, passed_ns) = kept_for_5_ms(4, |_| (), unknown);
        assert!(whole_ns <= passed_ns - 5 * MS, "{whole_ns}");
    }
}
