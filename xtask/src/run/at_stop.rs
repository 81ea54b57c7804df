//! What the host does when a guest stops before it knows its scenario: it takes the state of the guest, keeps a
//! snapshot if one is to be kept, and lets the guest go on in another QEMU, as it does from a snapshot. So both are
//! the same run, whatever the first QEMU has that is no part of a state. Called by `watch`.

use crate::progress::Progress;
use crate::qemu::{Bounds, Command, Guest, Qemu};
use crate::snapshot::{Rest, Saving, Snapshot, Start};
use anyhow::{Context as _, Result, bail};
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
    /// The folder of the run.
    run: PathBuf,
    hole: Option<String>,
    identity: Option<String>,
    rest: Option<Rest>,
}

/// Starts QEMU. The snapshot that the guest goes on from, if it does, must stay where it is.
pub(super) fn begin(
    guest: &Guest,
    start: Start,
    bounds: Bounds<'_>,
) -> Result<(Qemu, Option<Snapshot>, AtStop)> {
    let run = guest.console.parent().map(PathBuf::from).unwrap_or_default();
    let at_stop = |step, saving| AtStop {
        step,
        saving,
        run: run.clone(),
        hole: None,
        identity: None,
        rest: None,
    };
    match start {
        Start::Boot => Ok((Qemu::start(guest, bounds, &[])?, None, at_stop(Step::Over, None))),
        Start::Saving(saving) => {
            let gdb = guest.gdb.filter(|gdb| gdb.is_at_boot);
            let booting = Guest { gdb, ..guest.clone() };
            let qemu = Qemu::start(&booting, bounds, &saving.inherited())?;
            Ok((qemu, None, at_stop(Step::Booting, Some(saving))))
        }
        Start::Snapshot(snapshot) => {
            snapshot.begin(&run)?;
            let rest = snapshot.rest(&guest.layout)?;
            Ok((go_on(guest, &rest, bounds)?, Some(snapshot), at_stop(Step::Over, None)))
        }
    }
}

/// Starts a QEMU that goes on from there; by itself unless a debugger is to let it.
pub(super) fn go_on(guest: &Guest, rest: &Rest, bounds: Bounds<'_>) -> Result<Qemu> {
    let guest = Guest { memory: rest.memory.clone(), ..guest.clone() };
    let mut qemu = Qemu::start(&guest, bounds, &rest.inherited())?;
    qemu.tell(&Command::Restore(rest.state()));
    if !guest.awaits_gdb() {
        qemu.tell(&Command::Continue);
    }
    Ok(qemu)
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
    pub(super) fn sent(&mut self, status: &str, progress: &Progress) -> Result<()> {
        let Step::Asked(before) = std::mem::replace(&mut self.step, Step::Over) else {
            return Ok(());
        };
        let Step::Sent(state) = *before else { return Ok(()) };
        match status {
            "completed" => self.take(&state, progress)?,
            "active" | "device" | "setup" => self.step = Step::Sent(state),
            other => bail!("the guest stands at its stop, and QEMU's migration is {other}"),
        }
        Ok(())
    }

    /// A snapshot that cannot be kept costs the next run a boot.
    fn take(&mut self, state: &[u8], progress: &Progress) -> Result<()> {
        let mut saving = self.saving.take().context("a state without a run to save")?;
        let why = match self.hole.take().filter(|_| saving.is_kept()) {
            Some(hole) => {
                saving.forget();
                Err(anyhow::anyhow!(hole))
            }
            None => Ok(()),
        };
        let kept = saving.keep(state, &self.run);
        match why.and(kept) {
            Ok(identity) => self.identity = Some(identity),
            Err(error) => {
                progress.step(format!("no snapshot was kept, the next run boots again: {error:#}"))
            }
        }
        self.rest = Some(saving.rest(state)?);
        Ok(())
    }

    /// What the guest is to go on from now, in another QEMU.
    pub(super) fn rest(&mut self) -> Option<Rest> {
        self.rest.take()
    }

    /// Of the snapshot that was made.
    pub(super) fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    /// Does what there is to do now.
    pub(super) fn next(&mut self, qemu: &mut Qemu) -> Result<()> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Stopping => self.ask(&Command::Status, Step::Stopping, qemu),
            Step::Sent(state) => self.ask(&Command::Saved, Step::Sent(state), qemu),
            Step::Stopped => {
                let saving = self.saving.as_ref().context("a stop without a run to save")?;
                qemu.tell(&Command::Save(saving.socket()));
                match saving.receive(qemu.end()) {
                    Ok(state) => self.step = Step::Sent(state),
                    // One that has ended is an event of its own.
                    Err(error) if qemu.ended()?.is_none() => return Err(error),
                    Err(_) => {}
                }
            }
            other => self.step = other,
        }
        Ok(())
    }

    fn ask(&mut self, question: &Command, step: Step, qemu: &mut Qemu) {
        qemu.tell(question);
        self.step = Step::Asked(Box::new(step));
    }
}
