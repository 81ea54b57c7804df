//! The context of one worker: stop and progress, time, samples, the group's memory and pipes.
//! Work types call it; the bookkeeping is the same for all of them and lives here alone.

mod closing;
mod look;
mod near;
mod slices;
mod warmup;

use look::Gap;
pub(crate) use look::Look;
pub(crate) use slices::{RESTART, phase_of_ops, phases};

use crate::clock;
use crate::config::SchedPolicy;
use crate::counters::{Counters, Sighting};
use crate::handle::IoPlace;
use crate::histogram::Samples;
use crate::report::{Latency, NotApplied, WorkerReport};
use crate::rng::Rng;
use crate::settings::Asked;
use crate::sys::cpu::{Reader, Sight, current_cpu, is_emulated};
use crate::sys::shared::{Control, Line, Phase, Slot};
use rustix::io::Errno;
use rustix::process::getpriority_process;
use rustix::thread::{clock_nanosleep_absolute, futex};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hint::{black_box, spin_loop};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, fence};
use std::time::Duration;

/// Spin steps between two looks at the stop flag: under a millisecond even when emulated.
const SPIN_UNCHECKED: u64 = 4096;
/// Spin steps between two looks at the clock in [`Worker::spin_for`].
const SPIN_CHUNK: u64 = 256;

/// One pipe of a group.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
}

impl Pipe {
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// An eventfd in semaphore mode, not blocking, and an epoll that watches it.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) counter: OwnedFd,
    pub(crate) epoll: OwnedFd,
}

/// What the parent hands to a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slot: &'a Slot,
    /// When each phase of the run began.
    pub(crate) phases: &'a [Phase],
    /// Index among all workers.
    pub(crate) index: usize,
    /// Index within the group, 0 to `group_size - 1`.
    pub(crate) position: usize,
    pub(crate) lines: &'a [Line],
    pub(crate) pipes: &'a [Pipe],
    pub(crate) events: Option<&'a Events>,
    pub(crate) io: &'a IoPlace,
    /// Whether the whole group is threads of one process.
    pub(crate) one_process: bool,
    /// Iterations after which the worker is done; `u64::MAX` for a timed run.
    pub(crate) limit: u64,
    /// The scenario's seed.
    pub(crate) seed: u64,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    seat: Seat<'a>,
    begun: bool,
    /// Whether partners decide how many iterations there are.
    served: bool,
    /// Whether a spin step is a PAUSE.
    pauses: bool,
    /// Restarts of the measurement and the phase of the run, as last seen.
    phase: u32,
    iterations: u64,
    work_units: u64,
    started_ns: u64,
    /// The latest look at the clock; gaps are measured from here.
    seen_ns: u64,
    /// The TSC then, and the mark of the CPU.
    seen: Sight,
    /// How both are read.
    reader: Reader,
    /// The most ticks without a look at the clock that were looked into; fewer are no longer gap.
    known_ticks: u64,
    /// Whether this iteration has looked at the clock already.
    fresh: bool,
    /// When CPU time was read, later by what was blocked since, and what it was.
    cpu_seen: (u64, u64),
    /// When the latest deliberate block began and ended, of which nobody says when it was over.
    block: (u64, u64),
    /// The longest gap of the phase.
    gap: Gap,
    /// The longest gap of the phases before it.
    longest: Gap,
    slices: Vec<slices::Slice>,
    /// The worker's clocks as it saw the phase that it is in.
    sighting: Option<Sighting>,
    /// CPU time before the first iteration, within the measured part; none before that.
    startup_cpu_ns: Option<u64>,
    last_cpu: usize,
    /// The mark of the CPU that was noted last; none of a new phase.
    noted: Option<u32>,
    moves_seen: u64,
    cpus_used: BTreeSet<usize>,
    counters: Counters,
    samples: [Option<Box<Samples>>; Latency::COUNT],
    errors: BTreeMap<String, u64>,
    tallies: Vec<(&'static str, u64)>,
    io_target: Option<String>,
    not_applied: Vec<NotApplied>,
    /// What the kernel is to hold at the end.
    asked: Asked,
    /// Whether the loop changed its own policy.
    chose_policy: bool,
    alu_width: Option<String>,
    numa_pages: Option<BTreeMap<usize, u64>>,
    /// Times and counters, once the loop is over.
    closed: Option<Box<WorkerReport>>,
    rng: Rng,
}

impl Seat<'_> {
    /// Touches the shared memory while nothing is measured: workers that fault on one page at a
    /// time wait for each other's page lock.
    pub(crate) fn fault_in(&self) {
        self.slot.iterations.store(0, Relaxed);
        self.lines.iter().for_each(|line| line.stamp_ns.store(0, Relaxed));
    }
}

impl<'a> Worker<'a> {
    pub(crate) fn new(seat: Seat<'a>, asked: Asked) -> Self {
        let reader = Reader::choose();
        let seen = reader.read();
        let now_ns = clock::monotonic_ns();
        Self {
            seat,
            begun: false,
            served: false,
            pauses: !is_emulated(),
            phase: 0,
            iterations: 0,
            work_units: 0,
            started_ns: now_ns,
            seen_ns: now_ns,
            seen,
            reader,
            known_ticks: 0,
            fresh: false,
            cpu_seen: (now_ns, 0),
            block: (0, 0),
            gap: Gap::default(),
            longest: Gap::default(),
            slices: Vec::new(),
            sighting: None,
            startup_cpu_ns: None,
            last_cpu: usize::MAX,
            noted: None,
            moves_seen: 0,
            cpus_used: BTreeSet::new(),
            counters: Counters::begin(),
            samples: Default::default(),
            errors: BTreeMap::new(),
            tallies: Vec::new(),
            io_target: None,
            not_applied: Vec::new(),
            asked,
            chose_policy: false,
            alu_width: None,
            numa_pages: None,
            closed: None,
            rng: Rng::for_worker(seat.seed, seat.index),
        }
    }

    /// The gate is open: what passes from `from_ns` on is measured, the wait for a first turn on a
    /// CPU included. Whose first turn comes after the warm-up is measured from the end of that.
    pub(crate) fn begin(&mut self, from_ns: u64) {
        self.phase = self.seat.control.phase.load(Relaxed);
        let from_ns = from_ns.max(slices::began_ns(self.seat.phases, 0));
        self.counters.forget_the_gate(from_ns);
        self.started_ns = from_ns;
        self.seen_ns = self.started_ns;
        self.cpu_seen = (self.started_ns, clock::thread_cpu_ns());
        self.sighting = self.look();
        self.stamp();
        self.note_cpu();
    }

    /// True while there is another iteration to do. Called at the top of every loop; the body
    /// before it counts as completed, so a body that was cut short leaves by `break`.
    #[inline]
    pub(crate) fn next(&mut self) -> bool {
        self.turn();
        let goes_on = !self.stopping() && self.iterations < self.seat.limit;
        if !goes_on {
            self.stamp_at_stop();
            self.close();
        }
        goes_on
    }

    /// Like [`Self::next`] without the limit of a run by iterations, for a worker that takes
    /// what others make: they have the limit, and it leaves when they have left.
    #[inline]
    pub(crate) fn next_served(&mut self) -> bool {
        self.turn();
        self.served = true;
        let goes_on = !self.stopping();
        if !goes_on {
            self.stamp_at_stop();
        }
        goes_on
    }

    /// It may have been kept from seeing the stop since its last look, and that was no block.
    #[cold]
    fn stamp_at_stop(&mut self) {
        self.stamp();
    }

    #[inline]
    fn turn(&mut self) {
        let phase = self.seat.control.phase.load(Relaxed);
        if phase != self.phase && !self.enter(phase) {
            self.has_started_up();
            return;
        }
        if self.begun {
            self.complete_iteration();
        } else {
            self.begun = true;
            self.has_started_up();
            // It may have been kept from its first iteration for long, or for good.
            self.stamp();
            self.fresh = false;
        }
    }

    /// The first iteration begins, or one that is not the first.
    #[cold]
    fn has_started_up(&mut self) {
        self.startup_cpu_ns.get_or_insert_with(|| self.counters.cpu_since());
    }

    /// The run has gone on; false if the measurement begins anew.
    #[cold]
    fn enter(&mut self, phase: u32) -> bool {
        if slices::restarted(self.phase, phase) {
            self.restart(phase);
            return false;
        }
        self.enter_phase(phase);
        true
    }

    #[inline]
    fn complete_iteration(&mut self) {
        self.iterations += 1;
        self.seat.slot.iterations.store(self.iterations, Relaxed);
        self.seat.slot.work_units.store(self.work_units, Relaxed);
        if !self.fresh {
            self.stamp();
        }
        self.fresh = false;
        self.note_cpu();
    }

    /// The CPU at the latest look at the clock counts as used.
    #[inline]
    fn note_cpu(&mut self) {
        if self.noted != Some(self.seen.cpu_mark) {
            self.note_other_cpu();
        }
    }

    #[cold]
    fn note_other_cpu(&mut self) {
        // One that was moved by the operations of the next step does not count to this one.
        if self.seat.control.phase.load(Relaxed) != self.phase {
            return;
        }
        self.noted = Some(self.seen.cpu_mark);
        let cpu = current_cpu();
        if cpu != self.last_cpu {
            self.moves_seen += u64::from(self.last_cpu != usize::MAX);
            self.last_cpu = cpu;
            self.cpus_used.insert(cpu);
        }
    }

    /// Whether the run is over for this worker.
    #[inline]
    pub(crate) fn stopping(&self) -> bool {
        self.seat.control.stop.load(Relaxed)
    }

    pub(crate) fn stop_flag(&self) -> &'a AtomicBool {
        &self.seat.control.stop
    }

    /// How futexes of the group are waited on and woken: by address alone where all share an address
    /// space, as the threads of a program do.
    #[inline]
    pub(crate) fn futex_flags(&self) -> futex::Flags {
        if self.seat.one_process { futex::Flags::PRIVATE } else { futex::Flags::empty() }
    }

    /// Index among all workers of the run.
    pub(crate) fn index(&self) -> usize {
        self.seat.index
    }

    /// Index within the group.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.seat.position
    }

    /// Shared line `index` of the group; the work type's `needs` says how many there are.
    #[inline]
    pub(crate) fn line(&self, index: usize) -> &'a Line {
        &self.seat.lines[index]
    }

    /// Pipe `index` of the group.
    #[inline]
    pub(crate) fn pipe(&self, index: usize) -> &'a Pipe {
        &self.seat.pipes[index]
    }

    /// The group's eventfd and epoll; the work type's `needs` asks for them.
    pub(crate) fn events(&self) -> Result<&'a Events, Errno> {
        self.seat.events.ok_or(Errno::BADF)
    }

    /// The disk that the workload may write raw, or the folder for its files.
    pub(crate) fn io_place(&self) -> &'a IoPlace {
        self.seat.io
    }

    /// The worker's own random choices; the same for the same seed.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(crate) fn set_io_target(&mut self, target: String) {
        self.io_target = Some(target);
    }

    /// Changes the worker's own policy and keeps its nice level. If the kernel refuses, the report
    /// says so and the worker stays what it was.
    pub(crate) fn set_policy(&mut self, policy: &SchedPolicy) {
        let nice = getpriority_process(None).unwrap_or(0);
        self.chose_policy = true;
        match policy.apply(nice) {
            Ok(()) => self.asked.policy = Some(policy.name()),
            Err(errno) => self.refused("sched_policy", policy, errno),
        }
    }

    /// The worker changes its nice level and may not come back to the one that it began with.
    pub(crate) fn give_up_nice(&mut self) {
        self.asked.nice = None;
    }

    /// The CPUs that it is to run on by what scenario and steps say; `None` if on any.
    pub(crate) fn asked_cpus(&self) -> Option<Vec<usize>> {
        self.seat.slot.asked()
    }

    /// The kernel did not take a setting, and the worker goes on without it.
    pub(crate) fn refused(&mut self, setting: &str, wanted: &dyn Debug, errno: Errno) {
        self.not_applied.push(NotApplied::new(setting, wanted, errno));
    }

    /// Where the type's own memory is; without it the report shows that of the process.
    pub(crate) fn set_numa_pages(&mut self, pages: BTreeMap<usize, u64>) {
        self.numa_pages = Some(pages);
    }

    pub(crate) fn set_alu_width(&mut self, width: String) {
        self.alu_width = Some(width);
    }

    #[inline]
    pub(crate) fn add_work(&mut self, units: u64) {
        // A user's function may say anything; the host refuses the largest number there is.
        self.work_units = self.work_units.saturating_add(units);
    }

    /// `steps` units of work, each a PAUSE unless emulated; fewer if the stop comes in between.
    #[inline]
    pub(crate) fn spin(&mut self, steps: u64) {
        let mut left = steps;
        while left > 0 {
            let chunk = left.min(SPIN_UNCHECKED);
            if self.pauses {
                (0..chunk).for_each(|step| {
                    black_box(step);
                    spin_loop();
                });
            } else {
                (0..chunk).for_each(|step| {
                    black_box(step);
                });
            }
            self.work_units += chunk;
            left -= chunk;
            if left > 0 && self.stopping() {
                return;
            }
        }
    }

    /// Spins until `duration` of wall time has passed; false if the stop came first.
    pub(crate) fn spin_for(&mut self, duration: Duration) -> bool {
        let end_ns = self.recent().saturating_add(clock::to_ns(duration));
        while !self.stopping() {
            self.spin(SPIN_CHUNK);
            if self.stamp() >= end_ns {
                return true;
            }
        }
        // It may have been kept from seeing the stop.
        self.stamp();
        false
    }

    /// Sleeps to an absolute deadline and records how late the wake-up was; false if the stop
    /// came first. Who is late by then has a sample too, of what is known: at least so late.
    pub(crate) fn sleep_for(&mut self, duration: Duration) -> bool {
        let due_ns = self.recent().saturating_add(clock::to_ns(duration));
        let (woke, late_ns) = self.sleep_until(due_ns);
        if woke || late_ns > 0 {
            self.record(Latency::Timer, late_ns);
        }
        woke
    }

    /// Sleeps for a time that is no sample; false if the stop came first.
    pub(crate) fn pause(&mut self, duration: Duration) -> bool {
        let due_ns = self.recent().saturating_add(clock::to_ns(duration));
        self.sleep_until(due_ns).0
    }

    /// Whether the deadline came before the stop, and how late it is after the deadline.
    fn sleep_until(&mut self, due_ns: u64) -> (bool, u64) {
        let due = clock::to_timespec(due_ns);
        let monotonic = rustix::thread::ClockId::Monotonic;
        let mut woke = true;
        while woke && clock_nanosleep_absolute(monotonic, &due) == Err(Errno::INTR) {
            woke = !self.stopping();
        }
        (woke, self.resume_after(due_ns))
    }

    /// Times `op`, during which the worker stays runnable, so that the time counts as a gap too.
    #[inline]
    pub(crate) fn timed<R>(&mut self, kind: Latency, op: impl FnOnce() -> R) -> R {
        let from_ns = self.stamp();
        let result = op();
        let to_ns = self.stamp();
        self.record(kind, to_ns.saturating_sub(from_ns));
        result
    }

    /// Times `op`, which blocks on purpose.
    #[inline]
    pub(crate) fn timed_blocking<R>(&mut self, kind: Latency, op: impl FnOnce() -> R) -> R {
        let from_ns = self.stamp();
        let result = op();
        let to_ns = self.resume();
        self.record(kind, to_ns.saturating_sub(from_ns));
        result
    }

    /// Runs `op`, which blocks on purpose and has no latency of its own.
    #[inline]
    pub(crate) fn blocked<R>(&mut self, op: impl FnOnce() -> R) -> R {
        self.checkpoint();
        let result = op();
        self.resume();
        result
    }

    /// A sample that ends with the latest look at the clock. What began in the warm-up is none.
    #[inline]
    pub(crate) fn record(&mut self, kind: Latency, value_ns: u64) {
        if !self.begun && self.is_of_the_warmup(value_ns) {
            return;
        }
        let Some(value_ns) = self.until_the_stop(value_ns) else { return };
        self.samples[kind as usize]
            .get_or_insert_with(|| Box::new(Samples::new()))
            .record(value_ns);
    }

    /// What of a time that ends with the latest look at the clock was before the stop; none if it
    /// began after that. The run reads counters then, which keeps workers from their CPUs.
    #[inline]
    fn until_the_stop(&self, value_ns: u64) -> Option<u64> {
        if self.stopping() { self.cut_at_the_stop(value_ns, self.seen_ns) } else { Some(value_ns) }
    }

    #[cold]
    fn cut_at_the_stop(&self, value_ns: u64, end_ns: u64) -> Option<u64> {
        // The stamp is as old as the flag.
        fence(Acquire);
        let stopped_ns = self.seat.control.stopped_ns.load(Relaxed);
        match end_ns.saturating_sub(stopped_ns) {
            _ if stopped_ns == 0 => Some(value_ns),
            after_ns => value_ns.checked_sub(after_ns),
        }
    }

    /// An operation of the loop failed and the loop goes on.
    #[cold]
    pub(crate) fn error(&mut self, op: &str, errno: Errno) {
        *self.errors.entry(format!("{op}: {errno}")).or_insert(0) += 1;
    }

    /// Counts something that only this work type knows, by name.
    #[inline]
    pub(crate) fn tally(&mut self, what: &'static str, count: u64) {
        match self.tallies.iter_mut().find(|(known, _)| *known == what) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.tallies.push((what, count)),
        }
    }
}
