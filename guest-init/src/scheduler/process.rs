//! The process of a scheduler: in a group of its own, so that nothing of it outlives the run.
//! Called by `keeper`.

use super::scribe::Streams;
use crate::proto::{Carried, EndedBy};
use crate::wait::wait_readable;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a scheduler may take to end after each signal.
const AFTER_SIGINT: Duration = Duration::from_secs(10);
const AFTER_SIGTERM: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    /// Readable once it has ended.
    end: OwnedFd,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `scheduler`, writing to `streams`.
    pub(super) fn start(scheduler: &Carried, streams: &Streams) -> Result<Self, String> {
        let failed =
            |why: &dyn std::fmt::Display| format!("exec({}) failed: {why}", scheduler.path);
        let [stdout, stderr] = streams.both().map_err(|error| failed(&error))?;
        let child = Command::new(&scheduler.path)
            .args(&scheduler.args)
            .env_clear()
            .envs([("HOME", "/"), ("PATH", "/")])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        let pid = Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(&errno))?;
        Ok(Self { child, pid, end, status: None })
    }

    /// Whether it has ended by now.
    pub(super) fn has_ended(&mut self) -> bool {
        self.status = self.status.or_else(|| self.child.try_wait().ok().flatten());
        self.status.is_some()
    }

    /// Whether it ends within `patience`.
    pub(super) fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.has_ended() || left.is_zero() {
                return self.status.is_some();
            }
            wait_readable([self.end.as_fd()], left);
        }
    }

    /// Makes it end: Ctrl-C, then harder; what did it.
    pub(super) fn stop(&mut self) -> EndedBy {
        let signals = [
            (Signal::INT, AFTER_SIGINT, EndedBy::Sigint),
            (Signal::TERM, AFTER_SIGTERM, EndedBy::Sigterm),
        ];
        if self.has_ended() {
            return EndedBy::Itself;
        }
        for (signal, patience, by) in signals {
            // It may have ended just now, which the wait finds out.
            let _ = kill_process(self.pid, signal);
            if self.ends_within(patience) {
                return by;
            }
        }
        self.end_group();
        // Only the kernel can keep a killed process; then the state of sched_ext tells.
        self.ends_within(AFTER_SIGTERM);
        EndedBy::Sigkill
    }

    /// Kills what it left behind, and itself.
    pub(super) fn end_group(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    pub(super) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    pub(super) fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
