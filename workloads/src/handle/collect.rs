//! The parent's view of a worker: its pipe, its pidfd, how it ended.

use super::child::READY;
use super::{Identity, SpawnError, WorkloadHandle};
use crate::config::lift_deadline;
use crate::report::{ExitInfo, WorkerReport};
use crate::sys::process::INTERRUPT;
use crate::sys::shared::Slot;
use rustix::event::{Timespec, epoll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A worker that missed the interruption because it was about to block is interrupted again
/// after this time.
const INTERRUPT_EVERY: Duration = Duration::from_millis(10);
const READ_CHUNK: usize = 64 << 10;

/// A forked worker.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    pipe: OwnedFd,
    received: Vec<u8>,
    identity: Identity,
    end: Option<ExitInfo>,
    killed: bool,
    /// The SCHED_DEADLINE policy that the stop ended.
    lifted: Option<String>,
}

impl Process {
    /// Takes charge of a child, or ends it.
    pub(super) fn adopt(pid: Pid, pipe: OwnedFd, identity: Identity) -> Result<Self, Errno> {
        let nonblocking = fcntl_setfl(&pipe, OFlags::NONBLOCK);
        let opened = nonblocking.and_then(|()| pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = opened.inspect_err(|_| {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        })?;
        Ok(Self {
            pid,
            pidfd,
            pipe,
            received: Vec::new(),
            identity,
            end: None,
            killed: false,
            lifted: None,
        })
    }

    /// Wakes `epoll` with `index` when the worker writes or ends.
    pub(super) fn watch(&self, epoll: &OwnedFd, index: usize) -> Result<(), Errno> {
        for fd in [self.pidfd.as_fd(), self.pipe.as_fd()] {
            epoll::add(epoll, fd, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    fn is_ready(&self) -> bool {
        self.received.first() == Some(&READY)
    }

    /// Takes what the pipe holds and, if the process is gone, how it ended.
    fn advance(&mut self, epoll: &OwnedFd) {
        self.drain(epoll);
        if self.end.is_some() {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if matches!(waitid(WaitId::PidFd(self.pidfd.as_fd()), options), Ok(None)) {
            return;
        }
        // What it wrote before it died is in the pipe by now. Its group goes before it is
        // reaped, while the id cannot belong to anyone else.
        self.drain(epoll);
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.end = Some(self.reap());
        let _ = epoll::delete(epoll, &self.pidfd);
        let _ = epoll::delete(epoll, &self.pipe);
    }

    fn drain(&mut self, epoll: &OwnedFd) {
        let mut chunk = [0; READ_CHUNK];
        loop {
            match rustix::io::read(&self.pipe, &mut chunk) {
                Ok(0) => {
                    // End of file would be reported again and again until the process is gone.
                    let _ = epoll::delete(epoll, &self.pipe);
                    return;
                }
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn reap(&self) -> ExitInfo {
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => ExitInfo::Exited(code),
                (None, Some(signal)) => ExitInfo::Signaled(signal),
                (None, None) => ExitInfo::WaitFailed(format!("odd wait status {status:?}")),
            },
            Ok(None) => ExitInfo::WaitFailed("waitid found no status".into()),
            Err(errno) => ExitInfo::WaitFailed(format!("waitid failed: {errno}")),
        }
    }

    fn interrupt(&mut self) {
        // A worker that has used up its budget could not even see the stop for many periods.
        if let Some(policy) = lift_deadline(self.pid) {
            self.lifted = Some(policy);
        }
        // It may be gone already; `advance` will find out.
        let _ = pidfd_send_signal(&self.pidfd, INTERRUPT);
    }

    fn kill(&mut self) {
        self.killed = true;
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends the worker at once and leaves nothing of it.
    pub(super) fn kill_and_reap(&mut self) {
        if self.end.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.kill();
            self.end = Some(self.reap());
        }
    }

    /// The worker's own report, or one that says how it died with what it last published.
    pub(super) fn report(&mut self, slot: &Slot) -> WorkerReport {
        let body = self.received.get(1..).unwrap_or_default();
        if let Ok(mut report) = serde_json::from_slice::<WorkerReport>(body) {
            report.sched_policy = self.lifted.take().or(report.sched_policy);
            return report;
        }
        let end = match self.end.take() {
            Some(ExitInfo::Signaled(_)) if self.killed => ExitInfo::TimedOut,
            Some(end) => end,
            None => ExitInfo::WaitFailed("still running".into()),
        };
        WorkerReport {
            tid: self.pid.as_raw_nonzero().get(),
            index: self.identity.index,
            group_idx: self.identity.group_idx,
            role: self.identity.role.to_owned(),
            work_type: self.identity.work_type.clone(),
            iterations: slot.iterations.load(Relaxed),
            work_units: slot.work_units.load(Relaxed),
            exit_info: Some(end),
            ..WorkerReport::default()
        }
    }
}

impl WorkloadHandle {
    /// Returns when every worker waits at the gate or has died on the way.
    pub(super) fn wait_ready(&mut self) -> Result<(), SpawnError> {
        while self.workers.iter().any(|worker| !worker.is_ready() && !worker.has_ended()) {
            self.poll(Duration::from_secs(1))?;
        }
        Ok(())
    }

    /// Waits for news of any worker, at most `timeout`, and takes it.
    pub(super) fn poll(&mut self, timeout: Duration) -> Result<(), SpawnError> {
        let mut events = Vec::with_capacity(256);
        let timeout = Timespec::try_from(timeout).ok();
        let found =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
        match found {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(SpawnError::Sys { op: "epoll_wait".into(), errno, hint: "" });
            }
        }
        for event in &events {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(worker) = self.workers.get_mut(index) {
                worker.advance(&self.epoll);
            }
        }
        Ok(())
    }

    /// Interrupts until everyone has left; kills who has not after `patience`.
    pub(super) fn gather(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut due = Instant::now();
        while self.census().running > 0 {
            let now = Instant::now();
            if now >= due {
                due = now + INTERRUPT_EVERY;
                for worker in self.workers.iter_mut().filter(|worker| !worker.has_ended()) {
                    if now >= deadline { worker.kill() } else { worker.interrupt() }
                }
            }
            if self.poll(due - now).is_err() {
                self.workers.iter_mut().for_each(Process::kill_and_reap);
            }
        }
    }
}
