//! Workers as processes: fork them behind a start gate, let them run, collect one report each.
//! Called by `run`, and by users of the library.
//!
//! Lifecycle: [`WorkloadHandle::spawn`] returns when every worker waits at the gate (so that it
//! can be moved into a cgroup), [`WorkloadHandle::start`] opens it for all at once, and
//! [`WorkloadHandle::stop_and_collect`] sets the stop flag, interrupts blocking calls until
//! everyone has left, and reaps. Dropping the handle kills what still runs.

mod child;
mod collect;
mod prologue;
mod spawn;

use crate::config::WorkSpec;
use crate::report::WorkerReport;
use crate::sys::shared::{Control, Line, Shared, Slot};
use collect::Process;
use rustix::io::Errno;
use rustix::thread::futex;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
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

/// Running workers. Every one of them yields exactly one report.
#[derive(Debug)]
#[must_use = "dropping the handle kills the workers"]
pub struct WorkloadHandle {
    shared: SharedState,
    workers: Vec<Process>,
    epoll: OwnedFd,
}

#[derive(Debug)]
struct SharedState {
    control: Shared<Control>,
    slots: Shared<Slot>,
    lines: Shared<Line>,
}

impl SharedState {
    fn control(&self) -> &Control {
        &self.control[0]
    }
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
        let control = self.shared.control();
        let gate = &control.gate;
        if gate.load(Relaxed) != 0 {
            return;
        }
        control.opened_ns.store(crate::clock::monotonic_ns(), Relaxed);
        gate.store(1, Release);
        // The workers check the word again, so a failed wake leaves nobody behind.
        let _ = futex::wake(gate, futex::Flags::empty(), i32::MAX.unsigned_abs());
    }

    /// Starts the measurement anew: what was counted so far was the warm-up.
    pub fn restart_measurement(&self) {
        self.shared.control().epoch.fetch_add(1, Relaxed);
    }

    /// Process ids of the workers, in report order.
    pub fn worker_pids(&self) -> Vec<i32> {
        self.workers.iter().map(|worker| worker.pid().as_raw_nonzero().get()).collect()
    }

    /// Iterations of each worker so far.
    pub fn snapshot_iterations(&self) -> Vec<u64> {
        self.shared.slots.iter().map(|slot| slot.iterations.load(Relaxed)).collect()
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
    /// in spawn order; a worker that did not leave within `patience` is killed and says so.
    pub fn stop_and_collect(mut self, patience: Duration) -> Vec<WorkerReport> {
        self.start();
        self.shared.control().stop.store(true, Relaxed);
        self.gather(patience);
        let slots = &self.shared.slots;
        let reports = self.workers.iter_mut().zip(slots.iter());
        reports.map(|(worker, slot)| worker.report(slot)).collect()
    }

    fn census(&self) -> Census {
        let ended = self.workers.iter().filter(|worker| worker.has_ended()).count();
        Census { running: self.workers.len() - ended, ended }
    }
}

impl Drop for WorkloadHandle {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(Process::kill_and_reap);
    }
}

/// Who a worker is, fixed before it is forked.
#[derive(Debug, Clone)]
struct Identity {
    index: usize,
    group_idx: usize,
    role: &'static str,
    work_type: String,
}

/// What the child needs beside its seat.
#[derive(Debug)]
struct Assignment<'a> {
    identity: &'a Identity,
    spec: &'a WorkSpec,
    seed: u64,
}
