//! What the host does when a guest stops before it knows its scenario: it makes a snapshot, if one is to be
//! made, and lets the guest go on. Called by `watch`.

use crate::progress::Progress;
use crate::qemu::{Bounds, Command, Guest, Qemu, begin_anew};
use crate::snapshot::{Saving, Snapshot, Start};
use anyhow::Result;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;

/// How far it is.
#[derive(Debug)]
enum Step {
    /// The guest boots.
    Booting,
    /// It has said that it stops now: QEMU is to be asked whether it has.
    Stopping,
    Stopped,
    /// QEMU has sent this state, and is to be asked whether that was all.
    Sent(Vec<u8>),
    /// An answer is to come.
    Asked(Box<Self>),
    /// It runs on.
    Over,
}

#[derive(Debug)]
pub(super) struct AtStop {
    step: Step,
    saving: Option<Saving>,
    /// What QEMU is told before the guest goes on.
    go_on: Vec<String>,
    /// Whether it is a debugger that lets it.
    is_debugged: bool,
    /// The folder of the run.
    run: PathBuf,
    hole: Option<String>,
    identity: Option<String>,
}

/// Starts QEMU. The snapshot that the guest goes on from, if it does, must stay where it is.
pub(super) fn begin(
    guest: &Guest,
    start: Start,
    bounds: Bounds<'_>,
) -> Result<(Qemu, Option<Snapshot>, AtStop)> {
    let run = guest.console.parent().map(PathBuf::from).unwrap_or_default();
    let turns = guest.icount.map(|icount| icount.turns);
    let go_on = turns.map(|turns| begin_anew(guest.layout.cpus(), turns)).unwrap_or_default();
    let is_debugged = guest.gdb.is_some_and(|gdb| gdb.is_awaited);
    let at_stop = |step, saving| AtStop {
        step,
        saving,
        go_on,
        is_debugged,
        run: run.clone(),
        hole: None,
        identity: None,
    };
    match start {
        Start::Boot => {
            let step = if guest.order.is_some() { Step::Booting } else { Step::Over };
            Ok((Qemu::start(guest, bounds, &[])?, None, at_stop(step, None)))
        }
        Start::Saving(saving) => {
            let qemu = Qemu::start(guest, bounds, &saving.inherited())?;
            Ok((qemu, None, at_stop(Step::Booting, Some(saving))))
        }
        Start::Snapshot(snapshot) => {
            snapshot.begin(&run)?;
            let state = snapshot.state()?;
            let mut qemu = Qemu::start(guest, bounds, &[state.as_fd()])?;
            qemu.tell(&Command::Resume(state.as_raw_fd()));
            Ok((qemu, Some(snapshot), at_stop(Step::Over, None)))
        }
    }
}

impl AtStop {
    /// The guest has said that it stops. `hole` says what the console lacks by then: each run from a snapshot
    /// would lack it.
    pub(super) fn waits(&mut self, hole: Option<String>) {
        if matches!(self.step, Step::Booting) {
            self.step = Step::Stopping;
            self.hole = hole;
        }
    }

    /// QEMU has said whether it has.
    pub(super) fn answered(&mut self, has_stopped: bool) {
        self.step = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Asked(before) if matches!(*before, Step::Stopping) => match has_stopped {
                true => Step::Stopped,
                false => Step::Stopping,
            },
            other => other,
        };
    }

    /// QEMU has said how the sending of its state is.
    pub(super) fn sent(&mut self, status: &str, qemu: &mut Qemu, progress: &Progress) {
        let Step::Asked(before) = std::mem::replace(&mut self.step, Step::Over) else { return };
        let Step::Sent(state) = *before else { return };
        match status {
            "completed" => {
                let saving = self.saving.take();
                let kept = saving.map(|saving| saving.keep(&state, &self.run)).transpose();
                let kept = kept.map(|identity| self.identity = identity);
                self.go_on(kept, qemu, progress);
            }
            "active" | "device" | "setup" => self.step = Step::Sent(state),
            other => {
                self.go_on(Err(anyhow::anyhow!("QEMU's migration is {other}")), qemu, progress);
            }
        }
    }

    /// Of the snapshot that was made.
    pub(super) fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    /// Does what there is to do now.
    pub(super) fn next(&mut self, qemu: &mut Qemu, progress: &Progress) {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Stopping => self.ask(&Command::Status, Step::Stopping, qemu),
            Step::Sent(state) => self.ask(&Command::Saved, Step::Sent(state), qemu),
            Step::Stopped => match &self.saving {
                Some(_) if self.hole.is_some() => {
                    let hole = self.hole.take().unwrap_or_default();
                    self.go_on(Err(anyhow::anyhow!(hole)), qemu, progress);
                }
                None => self.go_on(Ok(()), qemu, progress),
                Some(saving) => {
                    qemu.tell(&Command::Save(saving.socket()));
                    match saving.receive(qemu.end()) {
                        Ok(state) => self.step = Step::Sent(state),
                        Err(error) => self.go_on(Err(error), qemu, progress),
                    }
                }
            },
            other => self.step = other,
        }
    }

    fn ask(&mut self, question: &Command, step: Step, qemu: &mut Qemu) {
        qemu.tell(question);
        self.step = Step::Asked(Box::new(step));
    }

    /// A snapshot that was not made costs the next run a boot.
    fn go_on(&mut self, kept: Result<()>, qemu: &mut Qemu, progress: &Progress) {
        self.saving = None;
        self.step = Step::Over;
        if let Err(error) = kept {
            progress.step(format!("no snapshot was kept, the next run boots again: {error:#}"));
        }
        qemu.tell(&Command::Lines(self.go_on.clone()));
        match self.is_debugged {
            true => progress.step("the guest stands before its scenario: `continue` in gdb"),
            false => qemu.tell(&Command::Continue),
        }
    }
}
