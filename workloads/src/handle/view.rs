//! A running crew as the run of a scenario sees it: who is there, in which phase, where they may
//! run. Called by `run`.

use super::member::Home;
use super::{SpawnError, WorkloadHandle};
use crate::clock;
use crate::config::Placement;
use crate::cpuset::{held_cpus, keep_to};
use crate::list;
use crate::rng::Rng;
use crate::run::Subject;
use crate::sys::shared::Slot;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::BTreeSet;
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
    pub(crate) fn set_affinity(&mut self, set: usize, placement: &Placement) -> Result<(), String> {
        let common = &self.common;
        let Some(set) = common.sets.get(set) else { return Ok(()) };
        for member in &mut self.members {
            let index = member.index() - common.first_worker;
            if !set.workers.contains(&index) {
                continue;
            }
            let mut rng = Rng::for_worker(common.options.seed, member.index());
            let Some(cpus) = placement.cpus(set.placed_group(index), &mut rng) else { continue };
            let slot = &common.slots[index];
            slot.ask(&cpus);
            member.unplugged_cpu = None;
            set_cpus(slot, &cpus)?;
        }
        Ok(())
    }

    /// Sets the CPUs again that workers ask for, where the kernel holds others: before Linux 6.2 it
    /// forgets them when a task comes into another cgroup or its cpuset changes. `pool` are the CPUs
    /// of their cgroup, which changed because the CPU `plugged` went off or on line, if one did.
    /// A worker all of whose CPUs went off line is left as the kernel leaves it. What is refused
    /// shows at the end of the worker.
    pub(crate) fn keep_affinities(&mut self, pool: &BTreeSet<usize>, plugged: Option<usize>) {
        let common = &self.common;
        // From the gate on these choose their CPUs themselves, and come back to what they are asked
        // for at the end.
        let begun = common.control().gate.load(Relaxed) != 0;
        let choose = |index| {
            let mut sets = common.sets.iter();
            begun && sets.any(|set| set.workers.contains(&index) && set.needs.chooses_cpus)
        };
        for member in &mut self.members {
            let index = member.index() - common.first_worker;
            let slot = &common.slots[index];
            let Some(asked) = slot.asked().filter(|_| !choose(index)) else { continue };
            let left: Vec<usize> = asked.iter().copied().filter(|cpu| pool.contains(cpu)).collect();
            if left.is_empty() {
                member.unplugged_cpu = plugged.or(member.unplugged_cpu);
            } else if plugged.is_none() || member.unplugged_cpu.is_none() {
                member.unplugged_cpu = None;
                let tid = Pid::from_raw(slot.tid.load(Relaxed));
                let forgotten = tid.is_some() && held_cpus(tid).is_ok_and(|held| held != left);
                if forgotten && set_cpus(slot, &asked).is_ok() {
                    member.affinity_set_again += 1;
                }
            }
        }
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

/// Keeps the worker of `slot` to `cpus`, unless it has not begun or has ended.
fn set_cpus(slot: &Slot, cpus: &[usize]) -> Result<(), String> {
    let Some(tid) = Pid::from_raw(slot.tid.load(Relaxed)) else { return Ok(()) };
    match keep_to(Some(tid), cpus) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => {
            let cpus = list::format(cpus.iter().copied());
            Err(format!("sched_setaffinity({}, {cpus}) failed: {errno}", tid.as_raw_nonzero()))
        }
    }
}
