//! The parent's view of what it started: members, each with a pipe for its report, and the
//! processes in which they live. Called by `spawn` and `collect`.

use super::outbox::READY;
use super::{Identity, Post};
use crate::config::lift_deadline;
use crate::report::{ExitInfo, WorkerReport};
use crate::settings::SCHED_POLICY;
use crate::sys::process::{INTERRUPT, interrupt_member};
use crate::sys::shared::Slot;
use rustix::event::epoll;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    pidfd_open, pidfd_send_signal, waitid,
};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

const READ_CHUNK: usize = 64 << 10;

/// What an epoll event is about: even for the member at half of it, odd for a process.
pub(super) fn token_of_member(at: usize) -> u64 {
    at as u64 * 2
}

/// See [`token_of_member`].
pub(super) fn token_of_process(at: usize) -> u64 {
    at as u64 * 2 + 1
}

/// Makes `epoll` speak of `fd` as `token`.
pub(super) fn watch(epoll: &OwnedFd, fd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
    epoll::add(epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
}

/// A process that was forked for one worker, or for several.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    end: Option<ExitInfo>,
    killed: bool,
}

impl Process {
    /// Takes charge of a child, or ends it.
    pub(super) fn adopt(pid: Pid) -> Result<Self, Errno> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        })?;
        Ok(Self { pid, pidfd, end: None, killed: false })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether it is gone, not reaped yet.
    pub(super) fn is_gone(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::PidFd(self.pidfd()), options), Ok(None))
    }

    /// Buries a process that is gone. Its group goes before it is reaped, while the id cannot
    /// belong to anyone else.
    pub(super) fn bury(&mut self, epoll: &OwnedFd) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.end = Some(self.reap());
        let _ = epoll::delete(epoll, &self.pidfd);
    }

    pub(super) fn kill(&mut self) {
        self.killed = true;
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends it at once and leaves nothing of it.
    pub(super) fn kill_and_reap(&mut self) {
        if self.end.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.kill();
            self.end = Some(self.reap());
        }
    }

    fn reap(&self) -> ExitInfo {
        match waitid(WaitId::PidFd(self.pidfd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => ExitInfo::Exited(code),
                (None, Some(signal)) => ExitInfo::Signaled(signal),
                (None, None) => ExitInfo::WaitFailed(format!("odd wait status {status:?}")),
            },
            Ok(None) => ExitInfo::WaitFailed("waitid found no status".into()),
            Err(errno) => ExitInfo::WaitFailed(format!("waitid failed: {errno}")),
        }
    }

    /// How it ended, for a worker that left no report in it.
    fn end_of_member(&self) -> ExitInfo {
        match self.end.clone() {
            Some(ExitInfo::Signaled(_)) if self.killed => ExitInfo::TimedOut,
            Some(end) => end,
            None => ExitInfo::WaitFailed("still running".into()),
        }
    }
}

/// Where a member lives.
#[derive(Debug)]
pub(super) enum Home {
    /// In the process with this index, `alone` or beside others.
    Process {
        /// Index among the processes.
        at: usize,
        /// Whether its life is that of the process.
        alone: bool,
    },
    /// A thread of this process, until it has been joined.
    Thread(Option<JoinHandle<()>>),
}

/// A worker as its parent sees it.
#[derive(Debug)]
pub(super) struct Member {
    identity: Identity,
    pipe: OwnedFd,
    pub(super) home: Home,
    received: Vec<u8>,
    /// Whether the pipe has come to its end.
    closed: bool,
    ended: bool,
    /// The SCHED_DEADLINE policy that the stop ended.
    lifted: Option<String>,
    /// The CPU with which the last of those went off line that it asks for.
    pub(super) unplugged_cpu: Option<usize>,
    /// How often its CPUs had to be set again.
    pub(super) affinity_set_again: u64,
}

impl Member {
    pub(super) fn new(post: &Post, pipe: OwnedFd, home: Home) -> Result<Self, Errno> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Self {
            identity: post.identity(),
            pipe,
            home,
            received: Vec::new(),
            closed: false,
            ended: false,
            lifted: None,
            unplugged_cpu: None,
            affinity_set_again: 0,
        })
    }

    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    pub(super) fn index(&self) -> usize {
        self.identity.index
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn is_ready(&self) -> bool {
        self.received.first() == Some(&READY)
    }

    pub(super) fn lives_in(&self, process: usize) -> bool {
        matches!(self.home, Home::Process { at, .. } if at == process)
    }

    /// Takes what the pipe holds. Its end is that of a thread; a process of its own still has to
    /// be reaped.
    pub(super) fn drain(&mut self, epoll: &OwnedFd) {
        let mut chunk = [0; READ_CHUNK];
        while !self.closed {
            match rustix::io::read(&self.pipe, &mut chunk) {
                Ok(0) => {
                    self.close(epoll);
                    self.ended |= !matches!(self.home, Home::Process { alone: true, .. });
                }
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Its process is gone: what it wrote before that is in the pipe by now.
    pub(super) fn end_with_process(&mut self, epoll: &OwnedFd) {
        self.drain(epoll);
        self.close(epoll);
        self.ended = true;
    }

    fn close(&mut self, epoll: &OwnedFd) {
        if !self.closed {
            self.closed = true;
            // The end of file would be reported again and again.
            let _ = epoll::delete(epoll, &self.pipe);
        }
    }

    /// Makes it look at the stop flag, whatever it waits for.
    pub(super) fn interrupt(&mut self, slot: &Slot, processes: &[Process]) {
        // The kernel takes thread 0 for the caller.
        let Some(tid) = Pid::from_raw(slot.tid.load(Relaxed)) else { return };
        // A worker that has used up its budget could not even see the stop for many periods.
        if let Some(policy) = lift_deadline(tid) {
            self.lifted = Some(policy);
        }
        // It may be gone already; its pipe will say so.
        let _ = match &self.home {
            Home::Process { at, alone: true } => {
                pidfd_send_signal(processes[*at].pidfd(), INTERRUPT)
            }
            Home::Process { at, .. } => interrupt_member(processes[*at].pid(), tid),
            Home::Thread(_) => interrupt_member(getpid(), tid),
        };
    }

    /// Stops waiting for a thread that does not leave. Nothing can end it but itself.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
    }

    /// Waits for the last steps of a thread that has reported. One that has panicked stays
    /// parked where there is no unwinding, and one that was abandoned never comes.
    pub(super) fn join(&mut self) {
        let parked = cfg!(panic = "abort") && self.parsed().is_none_or(|r| r.exit_info.is_some());
        if let Home::Thread(handle) = &mut self.home
            && self.closed
            && !parked
            && let Some(handle) = handle.take()
        {
            // Its panic, if there was one, is its report.
            let _ = handle.join();
        }
    }

    fn parsed(&self) -> Option<WorkerReport> {
        serde_json::from_slice(self.received.get(1..)?).ok()
    }

    /// The worker's own report, or one that says how it died with what it last published.
    pub(super) fn report(&mut self, slot: &Slot, processes: &[Process]) -> WorkerReport {
        if let Some(mut report) = self.parsed() {
            if let Some(policy) = self.lifted.take() {
                report.not_held.retain(|s| s.setting != SCHED_POLICY || s.asked != policy);
                report.sched_policy = Some(policy);
            }
            report.unplugged_cpu = self.unplugged_cpu;
            report.affinity_set_again = self.affinity_set_again;
            return report;
        }
        let (pid, end) = match self.home {
            Home::Process { at, .. } => (processes[at].pid(), processes[at].end_of_member()),
            Home::Thread(_) => (getpid(), ExitInfo::TimedOut),
        };
        let report = WorkerReport {
            iterations: slot.iterations.load(Relaxed),
            work_units: slot.work_units.load(Relaxed),
            exit_info: Some(end),
            ..WorkerReport::default()
        };
        self.identity.sign(slot.tid.load(Relaxed), pid, report)
    }
}
