//! Waiting for workers: at the gate, while they run, and at the stop, until the last of them has
//! left and nothing of them remains.

use super::member::{Home, Member, Process};
use super::{SpawnError, WorkloadHandle};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A worker that missed the interruption because it was about to block is interrupted again
/// after this time.
const INTERRUPT_EVERY: Duration = Duration::from_millis(10);
/// How long a dropped handle waits for threads, which nobody can kill.
const THREAD_PATIENCE: Duration = Duration::from_secs(5);

impl WorkloadHandle {
    /// Returns when every worker waits at the gate or has died on the way.
    pub(super) fn wait_ready(&mut self, patience: Option<Duration>) -> Result<(), SpawnError> {
        let began = Instant::now();
        loop {
            let on_the_way = |member: &&Member| !member.is_ready() && !member.has_ended();
            let workers = self.members.iter().filter(on_the_way).count();
            if workers == 0 {
                return Ok(());
            }
            if let Some(patience) = patience.filter(|patience| began.elapsed() > *patience) {
                return Err(SpawnError::Starved { workers, patience });
            }
            self.poll(Duration::from_secs(1))?;
        }
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
            let token = event.data.u64();
            let at = usize::try_from(token / 2).unwrap_or(usize::MAX);
            if token % 2 == 1 {
                self.note_end_of(at);
            } else if let Some(member) = self.members.get_mut(at) {
                member.drain(&self.epoll);
            }
        }
        Ok(())
    }

    /// Takes the last words of those who lived in a process that is gone, and reaps it.
    fn note_end_of(&mut self, at: usize) {
        let Some(process) = self.processes.get_mut(at) else { return };
        if process.has_ended() || !process.is_gone() {
            return;
        }
        for member in self.members.iter_mut().filter(|member| member.lives_in(at)) {
            member.end_with_process(&self.epoll);
        }
        process.bury(&self.epoll);
    }

    /// Interrupts until everyone has left; kills who has not after `patience`.
    pub(super) fn gather(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut due = Instant::now();
        while self.is_inhabited() {
            let now = Instant::now();
            if now >= due {
                due = now + INTERRUPT_EVERY;
                if now >= deadline { self.kill_all() } else { self.interrupt_all() }
            }
            if self.poll(due - now).is_err() {
                // Without news there is nothing left to wait for.
                self.kill_all();
                self.processes.iter_mut().for_each(Process::kill_and_reap);
                self.members.iter_mut().for_each(Member::abandon);
            }
        }
        self.members.iter_mut().for_each(Member::join);
    }

    /// Interrupts everyone of `handles` until they have left, or `patience` is over.
    pub(crate) fn let_leave(handles: &mut [&mut Self], patience: Duration) {
        let deadline = Instant::now() + patience;
        while handles.iter().any(|handle| handle.is_inhabited()) && Instant::now() < deadline {
            handles.iter_mut().for_each(|handle| handle.interrupt_all());
            if Self::poll_any(handles, &[], INTERRUPT_EVERY).is_err() {
                return;
            }
        }
    }

    fn is_inhabited(&self) -> bool {
        self.members.iter().any(|member| !member.has_ended())
            || self.processes.iter().any(|process| !process.has_ended())
    }

    fn interrupt_all(&mut self) {
        let first = self.common.first_worker;
        for member in self.members.iter_mut().filter(|member| !member.has_ended()) {
            member.interrupt(&self.common.slots[member.index() - first], &self.processes);
        }
    }

    fn kill_all(&mut self) {
        let processes = self.processes.iter_mut();
        processes.filter(|process| !process.has_ended()).for_each(Process::kill);
        let threads = self.members.iter_mut().filter(|m| matches!(m.home, Home::Thread(_)));
        threads.for_each(Member::abandon);
    }

    /// Makes the threads of this process leave, at the gate too. All others are gone.
    pub(super) fn end_threads(&mut self) {
        let in_process = |member: &&mut Member| matches!(member.home, Home::Process { .. });
        self.members.iter_mut().filter(in_process).for_each(Member::abandon);
        if self.members.iter().any(|member| !member.has_ended()) {
            self.common.control().stop.store(true, Relaxed);
            self.wake_gate();
            self.gather(THREAD_PATIENCE);
        }
    }
}
