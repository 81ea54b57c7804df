//! Producers and consumers: through a ring in the group's memory, and through an eventfd with an
//! epoll. In a run by iterations the producers have the limit; consumers take all that was made
//! and then leave.

use super::catalogue::params::{EpollStorm, ProducerConsumerImbalance};
use super::reference::{Documented, Facts};
use super::wait::{futex_wait, futex_wake, interrupted};
use super::{Finish, Needs, Rules, Work};
use crate::report::Latency;
use crate::sys::shared::Line;
use crate::worker::{Look, Worker};
use rustix::event::epoll;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

const NS_PER_S: u64 = 1_000_000_000;
/// A line a slot: 4 MiB a group at most.
const MAX_DEPTH: u64 = 65_536;
/// Events whose time of writing is remembered.
const STAMPS: u64 = 64;

/// Lines with counts of the whole group: items ever put in, ever taken out, producers that left.
const PUT: usize = 0;
const TAKEN: usize = 1;
const LEFT: usize = 2;
/// From here on a line for each worker to sleep on, then one for each slot or stamp.
const BEDS: usize = 3;

/// States of the line that a worker sleeps on. CHOSEN: one waker has it and sets the stamp.
const AWAKE: u32 = 0;
const PARKED: u32 = 1;
const CHOSEN: u32 = 2;

impl ProducerConsumerImbalance {
    /// The ring: a line for each slot.
    fn ring(&self) -> Ring {
        let first = BEDS + self.producers + self.consumers;
        Ring { first, depth: self.queue_depth_target }
    }

    fn beds(&self, of_consumers: bool) -> Range<usize> {
        beds(self.producers, self.consumers, of_consumers)
    }

    fn produce(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        let period_ns = NS_PER_S / self.produce_rate_hz;
        let ring = self.ring();
        let mut due_ns = w.stamp();
        while w.next() {
            due_ns += period_ns;
            let left_ns = due_ns.saturating_sub(w.recent());
            if left_ns > 0 && !w.sleep_for(Duration::from_nanos(left_ns)) {
                return Err(Errno::CANCELED);
            }
            while !ring.put(w) {
                park(w, &|w| ring.has_room(w))?;
                // Nobody makes up for the time in which there was no room.
                due_ns = due_ns.max(w.recent());
            }
            w.add_work(1);
            wake_one(w, self.beds(true))?;
        }
        Ok(())
    }

    fn consume(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        let ring = self.ring();
        let all_left = |w: &Worker<'_>| w.line(LEFT).value.load(SeqCst) >= self.producers as u64;
        while w.next_served() {
            loop {
                // Asked before the look into the ring: what the last one put in is seen.
                let last = all_left(w);
                if ring.take(w) {
                    break;
                }
                if last {
                    return Ok(());
                }
                park(w, &|w| ring.has_item(w) || all_left(w))?;
            }
            wake_one(w, self.beds(false))?;
            if ring.has_item(w) {
                // A waker may have chosen us while we found this item by ourselves.
                wake_one(w, self.beds(true))?;
            }
            w.add_work(1);
            w.spin(self.consume_iters);
        }
        Ok(())
    }
}

impl Documented for ProducerConsumerImbalance {
    const FACTS: Facts = Facts {
        group: "producers + consumers",
        latency: &[
            (Latency::Wake, "who slept on a full or an empty queue"),
            (Latency::Timer, "producers' sleeps between items"),
        ],
        ..Facts::PLAIN
    };
}

impl Work for ProducerConsumerImbalance {
    fn needs(&self) -> Needs {
        let group_size = self.producers.saturating_add(self.consumers);
        let depth = usize::try_from(self.queue_depth_target).unwrap_or(usize::MAX);
        let lines = BEDS.saturating_add(group_size).saturating_add(depth);
        Needs { group_size, lines, ..Needs::default() }
    }

    fn role(&self, position: usize) -> &'static str {
        role(self.producers, position)
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("producers", &self.producers, "somebody who puts in");
        rules.not_zero("consumers", &self.consumers, "somebody who takes out");
        let rate = self.produce_rate_hz;
        rules.not_zero("produce_rate_hz", &rate, "a rate");
        rules.require("produce_rate_hz", rate <= NS_PER_S, rate, "at most one item a nanosecond");
        rules.not_zero("consume_iters", &self.consume_iters, "work for the consumers");
        let depth = self.queue_depth_target;
        rules.not_zero("queue_depth_target", &depth, "room for an item");
        rules.require("queue_depth_target", depth <= MAX_DEPTH, depth, "at most 65536 slots");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() >= self.producers {
            return ended("queue", self.consume(w));
        }
        let made = self.produce(w);
        w.line(LEFT).value.fetch_add(1, SeqCst);
        let woken = self.beds(true).try_for_each(|bed| wake_one(w, bed..bed + 1));
        ended("queue", made.and(woken))
    }
}

/// A bounded queue for many producers and consumers, after Vyukov: the word of a slot says whose
/// turn it is, 2 x lap to fill it and 2 x lap + 1 to empty it.
#[derive(Debug, Clone, Copy)]
struct Ring {
    first: usize,
    depth: u64,
}

impl Ring {
    fn slot<'a>(&self, w: &Worker<'a>, at: u64) -> &'a Line {
        // Below the depth, which is checked to be small.
        w.line(self.first + usize::try_from(at % self.depth).unwrap_or(0))
    }

    /// What the word of slot `at` is when it may be filled; one more, and it may be emptied.
    fn turn(&self, at: u64) -> u32 {
        let laps = (at / self.depth).wrapping_mul(2) & u64::from(u32::MAX);
        u32::try_from(laps).unwrap_or(0)
    }

    fn has_room(&self, w: &Worker<'_>) -> bool {
        let at = w.line(PUT).value.load(SeqCst);
        self.slot(w, at).word.load(SeqCst) == self.turn(at)
    }

    fn has_item(&self, w: &Worker<'_>) -> bool {
        let at = w.line(TAKEN).value.load(SeqCst);
        self.slot(w, at).word.load(SeqCst) == self.turn(at).wrapping_add(1)
    }

    /// Claims the next place of `end` if its slot has come to `turn(place) + ready`.
    fn claim(&self, w: &Worker<'_>, end: usize, ready: u32) -> Option<u64> {
        let end = &w.line(end).value;
        loop {
            let at = end.load(SeqCst);
            if self.slot(w, at).word.load(Acquire) == self.turn(at).wrapping_add(ready) {
                if end.compare_exchange(at, at + 1, SeqCst, Relaxed).is_ok() {
                    return Some(at);
                }
            } else if end.load(SeqCst) == at {
                return None;
            }
        }
    }

    /// Puts in an item; false if there is no room.
    fn put(&self, w: &Worker<'_>) -> bool {
        let Some(at) = self.claim(w, PUT, 0) else { return false };
        let slot = self.slot(w, at);
        slot.value.store(at + 1, Relaxed);
        slot.word.store(self.turn(at).wrapping_add(1), Release);
        true
    }

    /// Takes out an item; false if there is none. Each carries its number, so that one taken
    /// twice or lost shows.
    fn take(&self, w: &mut Worker<'_>) -> bool {
        let Some(at) = self.claim(w, TAKEN, 1) else { return false };
        let slot = self.slot(w, at);
        if slot.value.swap(0, Relaxed) != at + 1 {
            w.error("queue: wrong item", Errno::BADMSG);
        }
        slot.word.store(self.turn(at).wrapping_add(2), Release);
        true
    }
}

impl EpollStorm {
    fn produce(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        let counter = &w.events()?.counter;
        while w.next() {
            while backlog(w) > self.events_per_burst {
                park(w, &|w| backlog(w) <= self.events_per_burst)?;
            }
            for _ in 0..self.events_per_burst {
                if w.stopping() {
                    break;
                }
                let event = w.line(PUT).value.fetch_add(1, SeqCst);
                let stamp_ns = w.recent();
                let note = self.note(w, event);
                note.stamp_ns.store(stamp_ns, Relaxed);
                note.value.store(event + 1, Release);
                rustix::io::write(counter, &1u64.to_ne_bytes())?;
                w.tally("events_written", 1);
                w.add_work(1);
            }
        }
        Ok(())
    }

    fn consume(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        while w.next_served() {
            let (asked_ns, woken) = wait_and_read(w)?;
            let event = w.line(TAKEN).value.fetch_add(1, SeqCst);
            // More taken out than put in: that was the last producer's good-bye.
            if event >= w.line(PUT).value.load(SeqCst) {
                return Ok(());
            }
            w.tally("events_read", 1);
            w.add_work(1);
            let note = self.note(w, event);
            let sent_ns = note.stamp_ns.load(Relaxed);
            let ours = note.value.load(Acquire) == event + 1;
            if ours && (asked_ns..=woken.now_ns).contains(&sent_ns) {
                let late_ns = w.resumed_at(woken, sent_ns);
                w.record(Latency::Wake, late_ns);
            } else {
                w.resumed_at(woken, woken.now_ns);
            }
            if backlog(w) <= self.events_per_burst {
                wake_one(w, beds(self.producers, self.consumers, false))?;
            }
        }
        Ok(())
    }

    /// Where the time of writing of `event` is.
    fn note<'a>(&self, w: &Worker<'a>, event: u64) -> &'a Line {
        let first = BEDS + self.producers + self.consumers;
        w.line(first + usize::try_from(event % STAMPS).unwrap_or(0))
    }

    /// The last producer to leave lets each consumer read once more.
    fn say_goodbye(&self, w: &Worker<'_>) -> Result<(), Errno> {
        let left = w.line(LEFT).value.fetch_add(1, AcqRel) + 1;
        if left == self.producers as u64 {
            let each = self.consumers as u64;
            rustix::io::write(&w.events()?.counter, &each.to_ne_bytes())?;
        }
        Ok(())
    }
}

impl Documented for EpollStorm {
    const FACTS: Facts = Facts {
        group: "producers + consumers",
        latency: &[(
            Latency::Wake,
            "consumers that waited for an event, producers that waited for room",
        )],
        ..Facts::PLAIN
    };
}

impl Work for EpollStorm {
    fn needs(&self) -> Needs {
        let group_size = self.producers.saturating_add(self.consumers);
        let stamps = usize::try_from(STAMPS).unwrap_or(usize::MAX);
        let lines = BEDS.saturating_add(group_size).saturating_add(stamps);
        Needs { group_size, lines, events: true, ..Needs::default() }
    }

    fn role(&self, position: usize) -> &'static str {
        role(self.producers, position)
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("producers", &self.producers, "somebody who writes");
        rules.not_zero("consumers", &self.consumers, "somebody who reads");
        rules.not_zero("events_per_burst", &self.events_per_burst, "an event to wait for");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() >= self.producers {
            return ended("eventfd", self.consume(w));
        }
        let made = self.produce(w);
        let said = self.say_goodbye(w);
        ended("eventfd", made.and(said))
    }
}

/// Waits for the eventfd and takes one of its count: when the successful wait was asked for, and
/// when it returned. The caller, who learns when the event was sent, resumes.
fn wait_and_read(w: &mut Worker<'_>) -> Result<(u64, Look), Errno> {
    let files = w.events()?;
    let mut ready = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 1];
    loop {
        let asked_ns = w.recent();
        if let Err(errno) = epoll::wait(&files.epoll, &mut ready, None) {
            w.resume();
            interrupted(w, errno)?;
            continue;
        }
        let woken = w.look_at_clock();
        match rustix::io::read(&files.counter, &mut [0; 8]) {
            Ok(_) => return Ok((asked_ns, woken)),
            // Another consumer was faster.
            Err(Errno::AGAIN) if w.stopping() => return Err(Errno::CANCELED),
            Err(Errno::AGAIN) => {}
            Err(errno) => interrupted(w, errno)?,
        }
        w.resume();
    }
}

/// Items put in and not yet taken out.
fn backlog(w: &Worker<'_>) -> u64 {
    let taken = w.line(TAKEN).value.load(SeqCst);
    w.line(PUT).value.load(SeqCst).saturating_sub(taken)
}

/// Sleeps on the worker's own line until a partner chooses it, unless `ready` by now. Line before
/// condition here, condition before line in [`wake_one`]: no wake-up falls in between.
#[inline(never)]
fn park(w: &mut Worker<'_>, ready: &dyn Fn(&Worker<'_>) -> bool) -> Result<(), Errno> {
    let bed = w.line(BEDS + w.position());
    w.checkpoint();
    bed.word.store(PARKED, SeqCst);
    fence(SeqCst);
    if ready(w) && bed.word.compare_exchange(PARKED, AWAKE, SeqCst, Relaxed).is_ok() {
        return Ok(());
    }
    let mut slept = false;
    loop {
        let state = bed.word.load(Acquire);
        if state == AWAKE {
            break;
        }
        slept |= futex_wait(w, &bed.word, state)? && state == PARKED;
    }
    let late_ns = w.resume_after(bed.stamp_ns.load(Relaxed));
    if slept {
        w.record(Latency::Wake, late_ns);
    }
    Ok(())
}

/// Wakes one of those who sleep on `beds`. Only who has chosen a sleeper writes its stamp.
#[inline(never)]
fn wake_one(w: &mut Worker<'_>, beds: Range<usize>) -> Result<(), Errno> {
    fence(SeqCst);
    for bed in beds {
        let bed = w.line(bed);
        if bed.word.load(Relaxed) == PARKED
            && bed.word.compare_exchange(PARKED, CHOSEN, SeqCst, Relaxed).is_ok()
        {
            bed.stamp_ns.store(w.recent(), Relaxed);
            bed.word.store(AWAKE, Release);
            return futex_wake(w, &bed.word, 1);
        }
    }
    Ok(())
}

fn beds(producers: usize, consumers: usize, of_consumers: bool) -> Range<usize> {
    let middle = BEDS + producers;
    if of_consumers { middle..middle + consumers } else { BEDS..middle }
}

fn role(producers: usize, position: usize) -> &'static str {
    if position < producers { "producer" } else { "consumer" }
}

fn ended(what: &str, outcome: Result<(), Errno>) -> Finish {
    match outcome {
        Ok(()) | Err(Errno::CANCELED) => Finish::Done,
        Err(errno) => Finish::Failed(format!("{what} failed: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn a_slot_is_filled_and_emptied_in_turn_even_alone() {
        for depth in [1, 3] {
            let ring = Ring { first: 0, depth };
            for at in 0..20 {
                // Emptied in one lap is fillable in the next.
                assert_eq!(ring.turn(at).wrapping_add(2), ring.turn(at + depth));
            }
        }
        let ring = Ring { first: 0, depth: 1 };
        assert_eq!(ring.turn(1 << 31), 0, "the word wraps");
    }

    #[test]
    fn a_queue_that_overflows_memory_is_refused() {
        let refused = |rate, depth| {
            let work_type = WorkType::producer_consumer_imbalance(1, 1, rate, 1, depth);
            work_type.validate(0, 2).map_err(|e| e.path)
        };
        assert_eq!(refused(1000, MAX_DEPTH), Ok(()));
        assert!(refused(1000, u64::MAX).unwrap_err().ends_with("queue_depth_target"));
        assert!(refused(u64::MAX, 1).unwrap_err().ends_with("produce_rate_hz"));
    }
}
