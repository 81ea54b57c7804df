//! A running crew as the run of a scenario sees it: who is there, in which phase, where they may
//! run. Called by `run`.

use super::member::Home;
use super::{SpawnError, WorkloadHandle};
use crate::clock;
use crate::config::Placement;
use crate::rng::Rng;
use crate::run::Subject;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl WorkloadHandle {
    /// How many workers it was made of.
    pub(crate) fn workers(&self) -> usize {
        self.members.len()
    }

    /// The processes in which workers live and which have not ended.
    pub(crate) fn process_ids(&self) -> Vec<i32> {
        let there = self.processes.iter().filter(|process| !process.has_ended());
        there.map(|process| process.pid().as_raw_nonzero().get()).collect()
    }

    /// Goes on to phase `index` of the run; whoever runs sees it at its next iteration.
    pub(crate) fn enter_phase(&self, index: usize) {
        let control = self.common.control();
        if let Some(phase) = self.common.phases.get(index) {
            phase.began_ns.store(clock::monotonic_ns(), Relaxed);
        }
        let restarts = control.phase.load(Relaxed) >> u16::BITS << u16::BITS;
        let index = u32::try_from(index).unwrap_or(0);
        control.phase.store(restarts | index, Relaxed);
    }

    /// Workers that have not ended, with what they have published.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let there = self.members.iter().filter(|member| !member.has_ended());
        let subject = |member: &super::member::Member| {
            let slot = &self.common.slots[member.index() - self.common.first_worker];
            let (at, alone) = match member.home {
                Home::Process { at, alone } => (Some(at), alone),
                Home::Thread(_) => (None, false),
            };
            let pid = at.map_or_else(rustix::process::getpid, |at| self.processes[at].pid());
            Subject {
                index: member.index(),
                pid: pid.as_raw_nonzero().get(),
                tid: slot.tid.load(Relaxed),
                alone,
                iterations: slot.iterations.load(Relaxed),
                work_units: slot.work_units.load(Relaxed),
            }
        };
        there.map(subject).collect()
    }

    /// Where the workers of one of its sets may run from now on. One that has ended is left out.
    pub(crate) fn set_affinity(&self, set: usize, placement: &Placement) -> Result<(), String> {
        let Some(set) = self.common.sets.get(set) else { return Ok(()) };
        for index in set.workers.clone() {
            let Some(tid) = Pid::from_raw(self.common.slots[index].tid.load(Relaxed)) else {
                continue;
            };
            let mut rng =
                Rng::for_worker(self.common.options.seed, self.common.first_worker + index);
            let group = set.placed_group(index);
            match placement.apply(Some(tid), group, &mut rng) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(format!("sched_setaffinity({tid:?}, {placement}) failed: {errno}"));
                }
            }
        }
        Ok(())
    }

    /// Waits for news of any worker of any of `handles`, at most `timeout`, and takes it; what is
    /// `beside` them ends the wait too.
    pub(crate) fn poll_any(
        handles: &mut [&mut Self],
        beside: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SpawnError> {
        let timeout = Timespec::try_from(timeout).ok();
        let own = handles.iter().map(|handle| handle.epoll.as_fd());
        let mut fds: Vec<_> = own
            .chain(beside.iter().copied())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SpawnError::Sys { op: "poll".into(), errno, hint: "" }),
        }
        let news: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut spoken = handles.iter_mut().zip(news).filter(|(_, news)| *news);
        spoken.try_for_each(|(handle, _)| handle.poll(Duration::ZERO))
    }
}
