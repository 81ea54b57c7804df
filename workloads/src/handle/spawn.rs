//! From a configuration to workers at the start gate. Processes come first, then threads: fork
//! is safe only while this process has one thread.

use super::host::{self, Leader, Recruit};
use super::member::{Home, Member, Process, token_of_member, token_of_process, watch};
use super::{Common, Files, Muster, Post, Set, SpawnError, SpawnOptions, WorkloadHandle};
use crate::config::{CloneMode, ConfigError, WorkSpec, WorkloadConfig};
use crate::cpuset::held_cpus;
use crate::list;
use crate::plan::PlannedSet;
use crate::sys::process::{Fork, fork, interrupt_blocking_calls};
use crate::sys::shared::Shared;
use crate::work::Needs;
use crate::worker::{Events, Pipe};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, getpid, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const MORE_PROCESSES: &str = "; allow more processes (ulimit -u, pids.max) or memory";

impl WorkloadHandle {
    /// Starts the workers of `config` up to the gate, with default options.
    pub fn spawn(config: &WorkloadConfig) -> Result<Self, SpawnError> {
        Self::spawn_with(config, &SpawnOptions::default())
    }

    /// Validates `config`, makes its workers and returns when each is ready at the gate. Call it
    /// while the process has one thread: a lock that another holds stays locked in the children.
    /// Threads as workers leave a handler for SIGUSR1 behind that does nothing.
    pub fn spawn_with(config: &WorkloadConfig, options: &SpawnOptions) -> Result<Self, SpawnError> {
        config.validate()?;
        let plan_plain = |(group_idx, spec): (usize, WorkSpec)| {
            let placement = spec.affinity.place(None, None);
            let placement = placement.map_err(|why| ConfigError::new("affinity", why))?;
            Ok(PlannedSet { group_idx, spec, placement })
        };
        let sets = config.specs().into_iter().enumerate().map(plan_plain);
        Self::muster(&Muster {
            sets: &sets.collect::<Result<Vec<_>, ConfigError>>()?,
            clone_mode: config.clone_mode,
            first_worker: 0,
            phases: 1,
            options,
            patience: None,
        })
    }

    /// As [`Self::spawn_with`] for sets that are planned and checked.
    pub(crate) fn muster(muster: &Muster<'_>) -> Result<Self, SpawnError> {
        let mut handle = Self::prepare(sets(muster)?, muster)?;
        let homes = Homes::of(&handle.common.sets);
        for set in homes.processes {
            handle.each_group(set, |handle, group| handle.fork_group(group))?;
        }
        for (leader, sets) in homes.containers {
            handle.fork_container(&leader, &sets)?;
        }
        if !homes.threads.is_empty() {
            interrupt_blocking_calls().map_err(|errno| sys("sigaction(SIGUSR1)", errno, ""))?;
        }
        for set in homes.threads {
            handle.each_group(set, |handle, group| {
                group.into_iter().try_for_each(|post| handle.start_thread(post))
            })?;
        }
        handle.wait_ready(muster.patience)?;
        Ok(handle)
    }

    fn prepare(sets: Vec<Set>, muster: &Muster<'_>) -> Result<Self, SpawnError> {
        let workers = sets.last().map_or(0, |set| set.workers.end);
        let lines = sets.last().map_or(0, |set| set.first_line + set.lines());
        raise_file_limit(muster.first_worker + workers, sets.iter().map(Set::files).sum());
        let common = Common {
            control: Shared::new(1).map_err(|e| memory(e, "control page"))?,
            slots: Shared::new(workers).map_err(|e| memory(e, "progress slots"))?,
            lines: Shared::new(lines).map_err(|e| memory(e, "group memory"))?,
            phases: Shared::new(muster.phases).map_err(|e| memory(e, "phase times"))?,
            first_worker: muster.first_worker,
            options: muster.options.clone(),
            inherited: inherited(),
            sets,
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| sys("epoll_create1", errno, ""))?;
        let members = Vec::with_capacity(workers);
        Ok(Self { common: Arc::new(common), members, processes: Vec::new(), epoll })
    }

    /// Opens the files of each group of a set in turn and has its workers made, so that a child
    /// inherits its own group's pipes and no others.
    fn each_group(
        &mut self,
        set: usize,
        mut make: impl FnMut(&mut Self, Vec<Post>) -> Result<(), SpawnError>,
    ) -> Result<(), SpawnError> {
        let common = Arc::clone(&self.common);
        let Set { needs, workers, first_line, .. } = &common.sets[set];
        for (group, first) in workers.clone().step_by(needs.group_size).enumerate() {
            let files = Arc::new(Files::open(needs)?);
            let first_line = first_line + group * needs.lines;
            let post = |position| Post {
                common: Arc::clone(&common),
                files: Arc::clone(&files),
                set,
                index: first + position,
                position,
                lines: first_line..first_line + needs.lines,
            };
            make(self, (0..needs.group_size).map(post).collect())?;
        }
        Ok(())
    }

    fn fork_group(&mut self, group: Vec<Post>) -> Result<(), SpawnError> {
        let parent = getpid();
        for post in group {
            let report = make_pipe()?;
            let index = post.index;
            match fork() {
                Ok(Fork::Child) => {
                    drop(report.reader);
                    host::process_main(Recruit { post, pipe: report.writer }, parent)
                }
                Ok(Fork::Parent(pid)) => {
                    drop(report.writer);
                    let at = self.adopt(pid)?;
                    self.enlist(&post, report.reader, Home::Process { at, alone: true })?;
                    let tid = pid.as_raw_nonzero().get();
                    self.common.slots[index].tid.store(tid, Relaxed);
                }
                Err(errno) => {
                    return Err(sys(format!("fork of worker {index}"), errno, MORE_PROCESSES));
                }
            }
        }
        Ok(())
    }

    /// Forks one process for all workers of these sets.
    fn fork_container(&mut self, leader: &Leader, sets: &[usize]) -> Result<(), SpawnError> {
        let (mut recruits, mut readers) = (Vec::new(), Vec::new());
        for set in sets {
            self.each_group(*set, |_, group| {
                for post in group {
                    let report = make_pipe()?;
                    readers.push(report.reader);
                    recruits.push(Recruit { post, pipe: report.writer });
                }
                Ok(())
            })?;
        }
        let parent = getpid();
        match fork() {
            Ok(Fork::Child) => {
                drop(readers);
                host::container_main(leader, recruits, parent)
            }
            Ok(Fork::Parent(pid)) => {
                let at = self.adopt(pid)?;
                for (Recruit { post, pipe }, reader) in recruits.into_iter().zip(readers) {
                    drop(pipe);
                    self.enlist(&post, reader, Home::Process { at, alone: false })?;
                }
                Ok(())
            }
            Err(errno) => {
                let op = format!("fork of the process `{}`", leader.comm);
                Err(sys(op, errno, MORE_PROCESSES))
            }
        }
    }

    fn start_thread(&mut self, post: Post) -> Result<(), SpawnError> {
        let report = make_pipe()?;
        let index = post.index;
        // Listed first, so that its pipe is heard whatever comes of it.
        self.enlist(&post, report.reader, Home::Thread(None))?;
        match host::thread(Recruit { post, pipe: report.writer }) {
            Ok(thread) => {
                if let Some(member) = self.members.last_mut() {
                    member.home = Home::Thread(Some(thread));
                }
                Ok(())
            }
            Err((_, error)) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                Err(sys(format!("pthread_create of worker {index}"), errno, MORE_PROCESSES))
            }
        }
    }

    /// Takes charge of a process: it is in the list before anything can fail, so that dropping
    /// the handle ends it. Returns its place there.
    fn adopt(&mut self, pid: Pid) -> Result<usize, SpawnError> {
        let process =
            Process::adopt(pid).map_err(|errno| descriptors(errno, "pidfd_open of a worker"))?;
        let at = self.processes.len();
        let watched = watch(&self.epoll, process.pidfd(), token_of_process(at));
        self.processes.push(process);
        watched.map_err(|errno| descriptors(errno, "epoll_ctl for a worker"))?;
        Ok(at)
    }

    fn enlist(&mut self, post: &Post, pipe: OwnedFd, home: Home) -> Result<(), SpawnError> {
        let failed = |errno| descriptors(errno, "epoll_ctl for a worker");
        let member = Member::new(post, pipe, home).map_err(failed)?;
        let watched = watch(&self.epoll, member.pipe(), token_of_member(self.members.len()));
        self.members.push(member);
        watched.map_err(failed)
    }
}

/// Which sets live where, each by its index.
#[derive(Default)]
struct Homes {
    processes: Vec<usize>,
    /// Sets with the same `pcomm` share a process; by its name, so that the order is fixed.
    containers: Vec<(Leader, Vec<usize>)>,
    threads: Vec<usize>,
}

impl Homes {
    fn of(sets: &[Set]) -> Self {
        let mut homes = Self::default();
        let mut containers: BTreeMap<String, (Leader, Vec<usize>)> = BTreeMap::new();
        for (at, set) in sets.iter().enumerate() {
            match (&set.spec.pcomm, set.one_process) {
                (Some(comm), _) => {
                    let comm = comm.clone().into_owned();
                    let leader =
                        Leader { comm: comm.clone(), uid: set.spec.uid, gid: set.spec.gid };
                    containers.entry(comm).or_insert_with(|| (leader, Vec::new())).1.push(at);
                }
                (None, false) => homes.processes.push(at),
                (None, true) => homes.threads.push(at),
            }
        }
        homes.containers = containers.into_values().collect();
        homes
    }
}

impl Files {
    fn open(needs: &Needs) -> Result<Self, SpawnError> {
        let pipes = (0..needs.pipes).map(|_| make_pipe()).collect::<Result<Vec<_>, _>>()?;
        let events = needs.events.then(make_events).transpose();
        let events = events.map_err(|errno| descriptors(errno, "eventfd with epoll"))?;
        Ok(Self { pipes, events })
    }
}

impl Set {
    fn groups(&self) -> usize {
        self.workers.len() / self.needs.group_size
    }

    fn lines(&self) -> usize {
        self.groups() * self.needs.lines
    }

    /// Descriptors that its groups share.
    fn files(&self) -> usize {
        let pair = usize::from(self.needs.events) + self.needs.pipes;
        self.groups() * pair * 2
    }
}

fn sets(muster: &Muster<'_>) -> Result<Vec<Set>, SpawnError> {
    let mut sets: Vec<Set> = Vec::new();
    for PlannedSet { group_idx, spec, placement } in muster.sets.iter().cloned() {
        if spec.work_type.is_unresolved() {
            return Err(SpawnError::Unregistered(spec.work_type.name().to_owned()));
        }
        let work = spec.work_type.work();
        let needs = work.needs();
        let (first, first_line) =
            sets.last().map_or((0, 0), |set| (set.workers.end, set.first_line + set.lines()));
        let workers = first..first + spec.num_workers.unwrap_or(0);
        let one_process = spec.pcomm.is_some() || muster.clone_mode == CloneMode::Thread;
        sets.push(Set {
            group_idx,
            spec,
            placement,
            work,
            needs,
            workers,
            first_line,
            one_process,
        });
    }
    Ok(sets)
}

/// The CPUs of this process, which its children begin with, unless they are all that are on line.
fn inherited() -> Option<Vec<usize>> {
    let own = held_cpus(None).ok()?;
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let online = list::parse(online.trim()).ok()?;
    (!online.iter().eq(&own)).then_some(own)
}

/// At most three descriptors a worker are open in the parent (those of a thread) beside the
/// `shared` ones of groups, which threads and containers have all at once; the hard limit is as far
/// as we may go.
fn raise_file_limit(workers: usize, shared: usize) {
    let now = getrlimit(Resource::Nofile);
    let wanted = (workers as u64 * 3 + shared as u64 + 64).max(now.current.unwrap_or(u64::MAX));
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

fn sys(op: impl Into<String>, errno: Errno, hint: &'static str) -> SpawnError {
    SpawnError::Sys { op: op.into(), errno, hint }
}

fn descriptors(errno: Errno, op: &str) -> SpawnError {
    sys(op, errno, "; raise the limit on open files (ulimit -n)")
}

fn memory(errno: Errno, what: &str) -> SpawnError {
    sys(format!("mmap({what})"), errno, "; give the machine more memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Placement;
    use crate::cpuset::cpus_of;
    use crate::work::{FutexLockMode, WakeMechanism, WorkType};
    use rustix::thread::{futex, sched_getaffinity};
    use std::time::{Duration, Instant};

    /// Where the kernel had the workers of a second set, whose groups get the first and the last
    /// CPU in turn.
    fn cpus_allowed(work_type: WorkType, workers: usize, clone_mode: CloneMode) -> Vec<String> {
        let second = WorkSpec { work_type, num_workers: Some(workers), ..WorkSpec::default() };
        let first = WorkSpec { num_workers: Some(1), ..WorkSpec::default() };
        let ends = Placement::Groups(ends().map(|cpu| [cpu].into()).to_vec());
        let muster = Muster {
            sets: &[
                PlannedSet { group_idx: 0, spec: first, placement: Placement::Inherit },
                PlannedSet { group_idx: 1, spec: second, placement: ends },
            ],
            clone_mode,
            first_worker: 0,
            phases: 1,
            options: &SpawnOptions::default(),
            patience: None,
        };
        let handle = WorkloadHandle::muster(&muster).unwrap();
        let reports = handle.stop_and_collect(Duration::from_secs(5));
        reports.into_iter().skip(1).map(|report| report.cpus_allowed.unwrap()).collect()
    }

    fn ends() -> [usize; 2] {
        let allowed = cpus_of(&sched_getaffinity(None).unwrap());
        [allowed[0], allowed[allowed.len() - 1]]
    }

    /// Sleepers that a wake-up of this kind finds on the lines of all groups.
    fn found(handle: &WorkloadHandle, flags: futex::Flags) -> usize {
        // Who waits for a PI lock is found too, and not to be woken so.
        let wake = |word| futex::wake(word, flags, 1).unwrap_or(1);
        handle.common.lines.iter().map(|line| wake(&line.word)).sum()
    }

    #[test]
    fn threads_of_one_process_wait_on_private_futexes_and_nobody_else_does() {
        let (hop, inversion) = (Duration::ZERO, WorkType::priority_inversion);
        for work_type in [
            WorkType::futex_ping_pong(0),
            WorkType::wake_chain(3, WakeMechanism::Futex, hop),
            WorkType::futex_fan_out(2, 0),
            WorkType::thundering_herd(2, 1, 1),
            WorkType::mutex_contention(4, 4096, 0),
            inversion(1, 1, 1, 4096, 64, FutexLockMode::Plain),
            inversion(1, 1, 1, 4096, 64, FutexLockMode::Pi),
            WorkType::producer_consumer_imbalance(1, 1, 10_000, 1, 1),
            WorkType::epoll_storm(1, 1, 1),
            WorkType::signal_storm(1, 0),
        ] {
            for clone_mode in [CloneMode::Fork, CloneMode::Thread] {
                let num_workers = work_type.worker_group_size().unwrap();
                let work_type = work_type.clone();
                let config = WorkloadConfig {
                    num_workers,
                    work_type: work_type.clone(),
                    clone_mode,
                    ..WorkloadConfig::default()
                };
                let handle = WorkloadHandle::spawn(&config).unwrap();
                handle.start();
                let (private, shared) = (futex::Flags::PRIVATE, futex::Flags::empty());
                let (right, wrong) = match clone_mode {
                    CloneMode::Fork => (shared, private),
                    CloneMode::Thread => (private, shared),
                };
                let (mut sleepers, mut strangers) = (0, 0);
                let deadline = Instant::now() + Duration::from_secs(5);
                while sleepers < 10 && Instant::now() < deadline {
                    strangers += found(&handle, wrong);
                    sleepers += found(&handle, right);
                }
                let reports = handle.stop_and_collect(Duration::from_secs(5));
                assert!(sleepers >= 10, "{work_type:?}, {clone_mode:?}: nobody slept");
                assert_eq!(strangers, 0, "{work_type:?}, {clone_mode:?}");
                assert!(reports.iter().all(|report| report.completed), "{reports:?}");
            }
        }
    }

    #[test]
    fn each_group_has_its_mask_in_turn_and_single_workers_are_pairs() {
        let placed = |groups: [usize; 6]| groups.map(|group| ends()[group].to_string());
        let pairs = placed([0, 0, 1, 1, 0, 0]);
        let threes = WorkType::fan_out_compute(2, 1, 1, 1);
        for clone_mode in [CloneMode::Fork, CloneMode::Thread] {
            assert_eq!(cpus_allowed(WorkType::SpinWait, 5, clone_mode), pairs[..5]);
            assert_eq!(cpus_allowed(WorkType::pipe_io(0), 6, clone_mode), pairs);
            assert_eq!(cpus_allowed(threes.clone(), 6, clone_mode), placed([0, 0, 0, 1, 1, 1]));
        }
    }
}
