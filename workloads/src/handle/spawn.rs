//! From a configuration to forked workers at the start gate.

use super::collect::Process;
use super::{Assignment, Identity, SharedState, SpawnError, SpawnOptions, WorkloadHandle, child};
use crate::config::{WorkSpec, WorkloadConfig};
use crate::sys::process::{Fork, fork};
use crate::sys::shared::Shared;
use crate::work::{Needs, Work};
use crate::worker::{Events, Pipe, Seat};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ops::Range;

/// One set of workers with what their type needs.
struct Set {
    group_idx: usize,
    spec: WorkSpec,
    work: Box<dyn Work>,
    needs: Needs,
    /// Indices of its workers among all.
    workers: Range<usize>,
    /// Its lines in the shared mapping.
    first_line: usize,
}

impl WorkloadHandle {
    /// Starts the workers of `config` up to the gate, with default options.
    pub fn spawn(config: &WorkloadConfig) -> Result<Self, SpawnError> {
        Self::spawn_with(config, &SpawnOptions::default())
    }

    /// Validates `config`, forks its workers and returns when each is ready at the gate. Call it
    /// while the process has one thread: a lock that another holds stays locked in the children.
    pub fn spawn_with(config: &WorkloadConfig, options: &SpawnOptions) -> Result<Self, SpawnError> {
        config.validate()?;
        let sets = plan(config)?;
        let workers = sets.last().map_or(0, |set| set.workers.end);
        let lines = sets.last().map_or(0, |set| set.first_line + set.lines());
        raise_file_limit(workers, sets.iter().map(|set| set.needs.pipes).max().unwrap_or(0));
        let shared = SharedState {
            control: Shared::new(1).map_err(|e| memory(e, "control page"))?,
            slots: Shared::new(workers).map_err(|e| memory(e, "progress slots"))?,
            lines: Shared::new(lines).map_err(|e| memory(e, "group memory"))?,
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| SpawnError::Sys { op: "epoll_create1".into(), errno, hint: "" })?;
        let mut handle = Self { shared, workers: Vec::with_capacity(workers), epoll };
        for set in &sets {
            handle.fork_set(set, options)?;
        }
        handle.wait_ready()?;
        Ok(handle)
    }

    /// Forks group by group, so that a child inherits its own group's pipes and no others.
    fn fork_set(&mut self, set: &Set, options: &SpawnOptions) -> Result<(), SpawnError> {
        let needs = set.needs;
        for (group, first) in set.workers.clone().step_by(needs.group_size).enumerate() {
            let files = Files::open(&needs)?;
            let first_line = set.first_line + group * needs.lines;
            let lines = first_line..first_line + needs.lines;
            for position in 0..needs.group_size {
                let place = Place { index: first + position, position, lines: lines.clone() };
                self.fork_worker(set, place, &files, options)?;
            }
        }
        Ok(())
    }

    fn fork_worker(
        &mut self,
        set: &Set,
        place: Place,
        files: &Files,
        options: &SpawnOptions,
    ) -> Result<(), SpawnError> {
        let index = place.index;
        let identity = Identity {
            index,
            group_idx: set.group_idx,
            role: set.work.role(place.position),
            work_type: set.spec.work_type.name().to_owned(),
        };
        let report = make_pipe()?;
        match fork() {
            Ok(Fork::Child) => {
                drop(report.reader);
                let seat = self.seat(place, files, options);
                let task = Assignment { identity: &identity, spec: &set.spec, seed: options.seed };
                child::main(seat, &task, &*set.work, report.writer)
            }
            Ok(Fork::Parent(pid)) => {
                drop(report.writer);
                let process = Process::adopt(pid, report.reader, identity)
                    .map_err(|errno| descriptors(errno, "pidfd_open of a worker"))?;
                // In the list before anything can fail, so that dropping the handle ends it.
                let watched = process.watch(&self.epoll, index);
                self.workers.push(process);
                watched.map_err(|errno| descriptors(errno, "epoll_ctl for a worker"))
            }
            Err(errno) => Err(SpawnError::Sys {
                op: format!("fork of worker {index}"),
                errno,
                hint: "; allow more processes (ulimit -u, pids.max) or memory",
            }),
        }
    }

    fn seat<'a>(&'a self, place: Place, files: &'a Files, options: &'a SpawnOptions) -> Seat<'a> {
        Seat {
            control: self.shared.control(),
            slot: &self.shared.slots[place.index],
            index: place.index,
            position: place.position,
            lines: &self.shared.lines[place.lines],
            pipes: &files.pipes,
            events: files.events.as_ref(),
            io: &options.io,
            limit: options.iterations.unwrap_or(u64::MAX),
            seed: options.seed,
        }
    }
}

/// Descriptors that a group shares.
struct Files {
    pipes: Vec<Pipe>,
    events: Option<Events>,
}

impl Files {
    fn open(needs: &Needs) -> Result<Self, SpawnError> {
        let pipes = (0..needs.pipes).map(|_| make_pipe()).collect::<Result<Vec<_>, _>>()?;
        let events = needs.events.then(make_events).transpose();
        let events = events.map_err(|errno| descriptors(errno, "eventfd with epoll"))?;
        Ok(Self { pipes, events })
    }
}

/// Where a worker sits.
struct Place {
    index: usize,
    position: usize,
    lines: Range<usize>,
}

impl Set {
    fn lines(&self) -> usize {
        self.workers.len() / self.needs.group_size * self.needs.lines
    }
}

fn plan(config: &WorkloadConfig) -> Result<Vec<Set>, SpawnError> {
    let mut sets: Vec<Set> = Vec::new();
    for (group_idx, spec) in config.specs().into_iter().enumerate() {
        if spec.work_type.is_unresolved() {
            return Err(SpawnError::Unregistered(spec.work_type.name().to_owned()));
        }
        let work = spec.work_type.work();
        let needs = work.needs();
        let (first, first_line) =
            sets.last().map_or((0, 0), |set| (set.workers.end, set.first_line + set.lines()));
        let workers = first..first + spec.num_workers.unwrap_or(0);
        sets.push(Set { group_idx, spec, work, needs, workers, first_line });
    }
    Ok(sets)
}

/// Two descriptors a worker stay open in the parent, and for a while two for each of the `pipes`
/// of a group; the hard limit is as far as we may go.
fn raise_file_limit(workers: usize, pipes: usize) {
    let now = getrlimit(Resource::Nofile);
    let wanted = ((workers as u64 + pipes as u64) * 2 + 64).max(now.current.unwrap_or(u64::MAX));
    let maximum = now.maximum.map(|max| max.max(wanted));
    // The hard limit needs privilege; without it the soft one alone may do.
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_err() {
        let current = Some(now.maximum.map_or(wanted, |max| max.min(wanted)));
        // If even this fails, opening descriptors will say so with its fix.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: now.maximum });
    }
}

fn make_pipe() -> Result<Pipe, SpawnError> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|errno| descriptors(errno, "pipe2"))?;
    Ok(Pipe { reader, writer })
}

fn make_events() -> Result<Events, Errno> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
    let counter = eventfd(0, flags)?;
    let watcher = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&watcher, &counter, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    Ok(Events { counter, epoll: watcher })
}

fn descriptors(errno: Errno, op: &str) -> SpawnError {
    SpawnError::Sys { op: op.into(), errno, hint: "; raise the limit on open files (ulimit -n)" }
}

fn memory(errno: Errno, what: &str) -> SpawnError {
    SpawnError::Sys { op: format!("mmap({what})"), errno, hint: "; give the machine more memory" }
}
