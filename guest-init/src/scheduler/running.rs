//! A scheduler that was started: is it attached, is it still, and how did it end. Called by
//! `keeper`.

use super::kernel_log::{self, KernelLog};
use super::process::Process;
use super::scribe::Streams;
use super::sysfs;
use crate::proto::{Carried, EndedBy, ExitKind, SchedulerExit, SchedulerLife};
use crate::wait::wait_readable;
use rustix::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use workloads::{monotonic_ns, to_ns};

/// How long a scheduler may take until it is enabled.
const ATTACH: Duration = Duration::from_secs(120);
/// How often the kernel is asked for its state where nothing tells of a change.
const LOOK: Duration = Duration::from_millis(10);
/// How long one that the kernel disabled may take to say why and to end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long the kernel may take to be without it.
const FALL_BACK: Duration = Duration::from_secs(5);
/// The reason of a scheduler that detached, or whose process ended.
const BY_USER_SPACE: &str = "unregistered from user space";

#[derive(Debug)]
pub(super) struct Running {
    process: Process,
    life: SchedulerLife,
    /// What the kernel said since its start.
    said: Vec<String>,
    started: Instant,
    /// When it was seen to have ended unasked.
    lost_ns: Option<u64>,
}

impl Running {
    pub(super) fn start(
        scheduler: &Carried,
        life: SchedulerLife,
        streams: &Streams,
    ) -> Result<Self, String> {
        let started = Instant::now();
        let process = Process::start(scheduler, streams)?;
        Ok(Self { process, life, said: Vec::new(), started, lost_ns: None })
    }

    pub(super) fn name(&self) -> &str {
        &self.life.name
    }

    /// Waits until it is attached; how long that took since its start. `None` if it ended before,
    /// or took too long.
    pub(super) fn attach(&mut self, log: Option<&KernelLog>) -> Option<u64> {
        while !self.process.has_ended() && self.started.elapsed() < ATTACH {
            if sysfs::is_enabled()
                && let Some(ops) = sysfs::ops()
            {
                let taken_ns = to_ns(self.started.elapsed());
                self.life.ops = Some(ops);
                self.life.attached_after_ns = Some(taken_ns);
                self.life.switch_all = sysfs::switch_all();
                self.hear(log);
                return Some(taken_ns);
            }
            wait_readable([self.process.as_fd()], LOOK);
        }
        self.hear(log);
        // One that was ejected at once was attached all the same.
        if sysfs::enable_seq() > self.life.enable_seq[0] {
            self.life.attached_after_ns = Some(to_ns(self.started.elapsed()));
        }
        None
    }

    fn hear(&mut self, log: Option<&KernelLog>) {
        self.said.extend(log.into_iter().flat_map(KernelLog::take));
    }

    /// Whether it is no longer what was attached, and nobody asked for that.
    pub(super) fn is_lost(&mut self, log: Option<&KernelLog>) -> bool {
        self.hear(log);
        let is_whole = !self.process.has_ended() && sysfs::is_enabled() && !self.has_restarted();
        if !is_whole && self.lost_ns.is_none() {
            self.lost_ns = Some(monotonic_ns());
        }
        !is_whole
    }

    fn has_restarted(&self) -> bool {
        sysfs::enable_seq() > self.life.enable_seq[0] + 1
    }

    /// Ends it if it has not ended, and tells its life.
    pub(super) fn end(mut self, log: Option<&KernelLog>) -> SchedulerLife {
        let is_lost = self.lost_ns.is_some() || self.is_lost(log);
        let at_ns = self.lost_ns.unwrap_or_else(monotonic_ns);
        let by = if is_lost { self.last_words() } else { self.stop() };
        let deadline = Instant::now() + FALL_BACK;
        while !sysfs::is_disabled() && Instant::now() < deadline {
            wait_readable([], LOOK);
        }
        self.process.end_group();
        self.hear(log);
        let (reason, message) = kernel_log::reason(&self.said);
        let mut life = self.life;
        life.enable_seq[1] = sysfs::enable_seq();
        let attached = life.attached_after_ns.is_some();
        life.exit = SchedulerExit {
            kind: kind(attached, is_lost.then_some(by), reason.as_deref()),
            reason,
            message,
            code: self.process.code(),
            signal: self.process.signal(),
            by,
            at_ns,
            fell_back: sysfs::is_disabled(),
        };
        life
    }

    fn stop(&mut self) -> EndedBy {
        self.life.events = sysfs::events();
        self.life.nr_rejected = sysfs::nr_rejected();
        self.process.stop()
    }

    /// Waits for one that was disabled to say why and to end. One that goes on, or never attached,
    /// has nothing to say.
    fn last_words(&mut self) -> EndedBy {
        let ends = self.life.ops.is_some() && !sysfs::is_enabled();
        if ends && self.process.ends_within(LAST_WORDS) {
            return EndedBy::Itself;
        }
        self.process.stop()
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// `lost_by` is what ended the process of one that ended unasked.
fn kind(attached: bool, lost_by: Option<EndedBy>, reason: Option<&str>) -> ExitKind {
    let by_kernel = reason.is_some_and(|reason| reason != BY_USER_SPACE);
    match lost_by {
        _ if !attached => ExitKind::NotAttached,
        _ if by_kernel => ExitKind::Ejected,
        None => ExitKind::Asked,
        Some(EndedBy::Itself) => ExitKind::Died,
        Some(_) => ExitKind::Ejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_reason_tells_an_ejection_from_a_death() {
        let stall = Some("runnable task stall");
        assert_eq!(kind(true, Some(EndedBy::Itself), stall), ExitKind::Ejected);
        assert_eq!(kind(true, None, stall), ExitKind::Ejected, "just when it was to stop");
        assert_eq!(kind(true, Some(EndedBy::Itself), Some(BY_USER_SPACE)), ExitKind::Died);
        assert_eq!(kind(true, Some(EndedBy::Itself), None), ExitKind::Died);
        // It restarted, or detached and went on.
        assert_eq!(kind(true, Some(EndedBy::Sigint), Some(BY_USER_SPACE)), ExitKind::Ejected);
        assert_eq!(kind(true, None, Some(BY_USER_SPACE)), ExitKind::Asked);
        assert_eq!(kind(false, Some(EndedBy::Itself), stall), ExitKind::NotAttached);
    }
}
