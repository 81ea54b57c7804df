//! Workers behind a start gate: make them, let them run, collect one report each. Called by
//! `run`, and by users of the library.
//!
//! Lifecycle: [`WorkloadHandle::spawn`] returns when every worker waits at the gate (so that it
//! can be moved into a cgroup), [`WorkloadHandle::start`] opens it for all at once, and
//! [`WorkloadHandle::stop_and_collect`] sets the stop flag, interrupts blocking calls until
//! everyone has left, and reaps. Dropping the handle ends what still runs.

mod collect;
mod host;
mod life;
mod member;
mod outbox;
mod prologue;
mod spawn;
mod view;

use crate::clock;
use crate::config::{CloneMode, Placement, WorkSpec};
use crate::plan::PlannedSet;
use crate::report::WorkerReport;
use crate::sys::shared::{Control, Line, Phase, Shared, Slot};
use crate::work::{Needs, Work};
use crate::worker::{Events, Pipe, RESTART, Seat};
use member::{Member, Process};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::futex;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What a run adds to the configuration.
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// Every random choice derives from it.
    pub seed: u64,
    /// Iterations after which a worker is done; `None` until the stop.
    pub iterations: Option<u64>,
    /// Each worker begins after a time below this that the seed chooses.
    pub stagger: Duration,
    /// Where the I/O types work.
    pub io: IoPlace,
}

/// Where the I/O types work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoPlace {
    /// A block device that they may overwrite. Only a guest has one for them.
    Device(PathBuf),
    /// A folder for a temporary file of each worker.
    Dir(PathBuf),
}

impl Default for IoPlace {
    fn default() -> Self {
        Self::Dir(std::env::temp_dir())
    }
}

/// Why workers could not be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The configuration was refused before anything was started.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A `Custom` function that this program does not have.
    #[error("no function is registered for Custom `{0}`; link it into guest-init with `register`")]
    Unregistered(String),
    /// Under a sched_ext scheduler: without a limit a run would wait for ever for whom it starves.
    #[error(
        "{workers} workers did not come to the start gate within {patience:?}: the sched_ext \
         scheduler gives them no CPU"
    )]
    Starved {
        /// How many.
        workers: usize,
        /// How long they had.
        patience: Duration,
    },
    /// A system call failed.
    #[error("{op} failed: {errno}{hint}")]
    Sys {
        /// The call and its operands.
        op: String,
        /// The kernel's answer.
        errno: Errno,
        /// What to do, if that is known.
        hint: &'static str,
    },
}

/// A planned crew on its way to become workers.
#[derive(Debug)]
pub(crate) struct Muster<'a> {
    pub(crate) sets: &'a [PlannedSet],
    pub(crate) clone_mode: CloneMode,
    /// Index of the first worker among all of the run.
    pub(crate) first_worker: usize,
    /// Phases that the run will go through.
    pub(crate) phases: usize,
    pub(crate) options: &'a SpawnOptions,
    /// How long they may take to the gate; for ever if there is no limit.
    pub(crate) patience: Option<Duration>,
}

/// Running workers. Every one of them yields exactly one report.
#[derive(Debug)]
#[must_use = "dropping the handle kills the workers"]
pub struct WorkloadHandle {
    common: Arc<Common>,
    members: Vec<Member>,
    processes: Vec<Process>,
    epoll: OwnedFd,
}

/// How many workers are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Still running.
    pub running: usize,
    /// Ended, with or without a report.
    pub ended: usize,
}

impl WorkloadHandle {
    /// Opens the start gate. Calling it again does nothing.
    pub fn start(&self) {
        let control = self.common.control();
        if control.gate.load(Relaxed) != 0 {
            return;
        }
        control.opened_ns.store(clock::monotonic_ns(), Relaxed);
        control.gate.store(1, Release);
        self.wake_gate();
    }

    /// Starts the measurement anew: what was counted so far was the warm-up.
    pub fn restart_measurement(&self) {
        self.common.phases[0].began_ns.store(clock::monotonic_ns(), Relaxed);
        self.common.control().phase.fetch_add(RESTART, Relaxed);
    }

    /// Thread ids of the workers, in report order; a forked worker's is its process id.
    pub fn worker_pids(&self) -> Vec<i32> {
        self.common.slots.iter().map(|slot| slot.tid.load(Relaxed)).collect()
    }

    /// Iterations of each worker so far.
    pub fn snapshot_iterations(&self) -> Vec<u64> {
        self.common.slots.iter().map(|slot| slot.iterations.load(Relaxed)).collect()
    }

    /// Waits until `deadline` or until all workers have ended, whichever is first.
    pub fn wait_until(&mut self, deadline: Instant) -> Result<Census, SpawnError> {
        loop {
            let census = self.census();
            let left = deadline.saturating_duration_since(Instant::now());
            if census.running == 0 || left.is_zero() {
                return Ok(census);
            }
            self.poll(left)?;
        }
    }

    /// Tells every worker to stop, waits for their reports and reaps them. One report a worker,
    /// in spawn order; a worker that did not leave within `patience` is killed and says so. A
    /// thread of this process cannot be killed: it is left behind.
    pub fn stop_and_collect(mut self, patience: Duration) -> Vec<WorkerReport> {
        self.request_stop();
        self.gather(patience);
        let (slots, processes) = (&self.common.slots, &self.processes);
        let first = self.common.first_worker;
        let members = self.members.iter_mut();
        let mut reports: Vec<_> =
            members.map(|m| m.report(&slots[m.index() - first], processes)).collect();
        reports.sort_by_key(|report| report.index);
        reports
    }

    /// Tells every worker to stop; who is at the gate passes it for that.
    pub(crate) fn request_stop(&self) {
        self.start();
        let control = self.common.control();
        if !control.stop.load(Relaxed) {
            control.stopped_ns.store(clock::monotonic_ns(), Relaxed);
            control.stop.store(true, Release);
        }
    }

    fn wake_gate(&self) {
        // Who waits there checks the word again, so a failed wake leaves nobody behind.
        let gate = &self.common.control().gate;
        let _ = futex::wake(gate, futex::Flags::empty(), i32::MAX.unsigned_abs());
    }

    pub(crate) fn census(&self) -> Census {
        let ended = self.members.iter().filter(|member| member.has_ended()).count();
        Census { running: self.members.len() - ended, ended }
    }
}

impl Drop for WorkloadHandle {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::kill_and_reap);
        self.end_threads();
    }
}

/// What all workers of a run share, and what they were made from.
#[derive(Debug)]
struct Common {
    control: Shared<Control>,
    slots: Shared<Slot>,
    phases: Shared<Phase>,
    /// Index of the first worker among all of the run.
    first_worker: usize,
    lines: Shared<Line>,
    options: SpawnOptions,
    /// The CPUs of this process, where they are not all that are on line.
    inherited: Option<Vec<usize>>,
    sets: Vec<Set>,
}

impl Common {
    fn control(&self) -> &Control {
        &self.control[0]
    }
}

/// One set of workers with what their type needs.
struct Set {
    group_idx: usize,
    spec: WorkSpec,
    /// What became of the specification's affinity.
    placement: Placement,
    work: Box<dyn Work>,
    needs: Needs,
    /// Indices of its workers among all.
    workers: Range<usize>,
    /// Its lines in the shared mapping.
    first_line: usize,
    /// Whether its workers are threads of one process; else each is a process.
    one_process: bool,
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set").field("spec", &self.spec).field("workers", &self.workers).finish()
    }
}

impl Set {
    /// Number of the group of a worker as a [`Placement`] counts: workers of a type without groups
    /// are pairs.
    fn placed_group(&self, index: usize) -> usize {
        Placement::group_of(index - self.workers.start, self.needs.group_size)
    }
}

/// Descriptors that a group shares.
#[derive(Debug)]
struct Files {
    pipes: Vec<Pipe>,
    events: Option<Events>,
}

/// Who a worker is, fixed before it begins.
#[derive(Debug, Clone)]
struct Identity {
    index: usize,
    group_idx: usize,
    role: &'static str,
    work_type: String,
}

impl Identity {
    /// `report` as that of this worker, seen as thread `tid` of process `pid`.
    fn sign(&self, tid: i32, pid: Pid, report: WorkerReport) -> WorkerReport {
        WorkerReport {
            tid,
            pid: pid.as_raw_nonzero().get(),
            index: self.index,
            group_idx: self.group_idx,
            role: self.role.to_owned(),
            work_type: self.work_type.clone(),
            ..report
        }
    }
}

/// Where a worker belongs and all that it needs there, whatever process it will live in.
#[derive(Debug)]
struct Post {
    common: Arc<Common>,
    files: Arc<Files>,
    /// Its set, by index.
    set: usize,
    /// Its index among the workers of the handle.
    index: usize,
    /// Its index within its group.
    position: usize,
    /// The lines of its group.
    lines: Range<usize>,
}

impl Post {
    fn set(&self) -> &Set {
        &self.common.sets[self.set]
    }

    fn spec(&self) -> &WorkSpec {
        &self.set().spec
    }

    fn work(&self) -> &dyn Work {
        &*self.set().work
    }

    fn identity(&self) -> Identity {
        Identity {
            index: self.common.first_worker + self.index,
            group_idx: self.set().group_idx,
            role: self.work().role(self.position),
            work_type: self.spec().work_type.name().to_owned(),
        }
    }

    fn seat(&self) -> Seat<'_> {
        let options = &self.common.options;
        Seat {
            control: self.common.control(),
            slot: &self.common.slots[self.index],
            phases: &self.common.phases,
            index: self.common.first_worker + self.index,
            position: self.position,
            lines: &self.common.lines[self.lines.clone()],
            pipes: &self.files.pipes,
            events: self.files.events.as_ref(),
            io: &options.io,
            one_process: self.set().one_process,
            limit: options.iterations.unwrap_or(u64::MAX),
            seed: options.seed,
        }
    }
}
