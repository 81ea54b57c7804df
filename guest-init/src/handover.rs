//! How the runner, which PID 1 forks before anybody knows the scenario, comes to it: it says that it is ready,
//! with its scheduler attached, and waits to be told. Called by `supervise` and `runner`.

use crate::proto::Order;
use anyhow::{Context as _, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};

/// What there is to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) order: Order,
    /// Where the scenario comes from.
    pub(crate) source: String,
    /// Its text.
    pub(crate) scenario: String,
}

/// PID 1's side.
#[derive(Debug)]
pub(crate) struct Giver {
    ready: OwnedFd,
    task: File,
}

/// The runner's side.
#[derive(Debug)]
pub(crate) struct Taker {
    ready: OwnedFd,
    task: File,
}

pub(crate) fn pair() -> Result<(Giver, Taker), Errno> {
    let (ready, says_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&ready, OFlags::NONBLOCK)?;
    let (takes, gives) = pipe_with(PipeFlags::CLOEXEC)?;
    let giver = Giver { ready, task: gives.into() };
    Ok((giver, Taker { ready: says_ready, task: takes.into() }))
}

impl Giver {
    /// Whether the runner waits for its task; unknown as yet if it is none. One that ends without is not ready.
    pub(crate) fn is_ready(&self) -> Option<bool> {
        match rustix::io::read(&self.ready, &mut [0; 1]) {
            Ok(length) => Some(length > 0),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(false),
        }
    }

    /// Its length first: the runner has a copy of this end, so that it would never see the other end closed.
    pub(crate) fn give(mut self, task: &Task) -> Result<()> {
        let text = serde_json::to_vec(task).context("serialize(task) failed")?;
        let length = (text.len() as u64).to_le_bytes();
        let written = self.task.write_all(&length).and_then(|()| self.task.write_all(&text));
        written.context("write(task of the runner) failed")
    }
}

impl AsFd for Giver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

impl Taker {
    pub(crate) fn take(self) -> Result<Task> {
        rustix::io::write(&self.ready, b".").context("write(ready) failed")?;
        let mut length = [0; 8];
        (&self.task).read_exact(&mut length).context("read(task) failed")?;
        let mut text = Vec::new();
        (&self.task)
            .take(u64::from_le_bytes(length))
            .read_to_end(&mut text)
            .context("read(task) failed")?;
        serde_json::from_slice(&text).context("parse(task) failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a pipe holds.
    const LONG: usize = 200_000;

    #[test]
    fn a_task_is_given_to_who_is_ready_and_to_nobody_else() {
        let (giver, taker) = pair().unwrap();
        assert_eq!(giver.is_ready(), None);
        let runner = std::thread::spawn(|| taker.take().unwrap());
        let is_ready = loop {
            match giver.is_ready() {
                None => std::thread::yield_now(),
                Some(is_ready) => break is_ready,
            }
        };
        assert!(is_ready);
        let order = Order { phase_ns: 7, schedule_hash: true };
        let scenario = "x".repeat(LONG);
        giver.give(&Task { order, source: "disk".into(), scenario }).unwrap();
        let task = runner.join().unwrap();
        assert_eq!((task.order, task.scenario.len()), (order, LONG));
        let (giver, taker) = pair().unwrap();
        drop(taker);
        assert_eq!(giver.is_ready(), Some(false));
    }
}
