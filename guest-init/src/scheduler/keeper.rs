//! One scheduler after the other, as `workloads` asks for it. Called by `runner`.

use super::kernel_log::KernelLog;
use super::running::Running;
use super::scribe::Streams;
use super::sysfs;
use crate::proto::{Carried, ExitKind, SchedulerExit, SchedulerLife};
use rustix::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;
use workloads::{SchedulerChoice, SchedulerKeeper, SwapRecord, monotonic_ns};

/// How often the kernel is asked for its state where it keeps no log.
const LOOK: Duration = Duration::from_millis(500);

/// Starts, watches and stops schedulers.
#[derive(Debug)]
pub(crate) struct Keeper {
    carried: Vec<Carried>,
    streams: Streams,
    /// A kernel without one does not say why a scheduler ended, only that it did.
    log: Option<KernelLog>,
    running: Option<Running>,
    lives: Vec<SchedulerLife>,
}

impl Keeper {
    pub(crate) fn new(carried: Vec<Carried>, streams: Streams) -> Self {
        let log = KernelLog::open().ok();
        Self { carried, streams, log, running: None, lives: Vec::new() }
    }

    /// Starts the scheduler that the run begins with, if it does with one.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        match self.carried.iter().find(|scheduler| scheduler.at_start).cloned() {
            None => Ok(()),
            Some(scheduler) => self.start(&scheduler).map(drop),
        }
    }

    /// What became of each that was started. None runs any more.
    pub(crate) fn into_lives(mut self) -> Vec<SchedulerLife> {
        self.end();
        self.lives
    }

    /// The scheduler that a step means, with its arguments.
    fn chosen(&self, choice: &SchedulerChoice) -> Result<Carried, String> {
        let is_meant = |carried: &&Carried| match &choice.name {
            None => carried.at_start,
            Some(name) => carried.name == *name,
        };
        let found = self.carried.iter().find(is_meant);
        let found = found.ok_or_else(|| format!("the image carries no scheduler `{choice}`"))?;
        Ok(Carried { args: choice.args.clone(), ..found.clone() })
    }

    /// Starts one and waits until it is attached; how long that took. Its life tells what an error
    /// does not.
    fn start(&mut self, scheduler: &Carried) -> Result<u64, String> {
        let life = SchedulerLife {
            name: scheduler.name.clone(),
            version: scheduler.version.clone(),
            args: scheduler.args.clone(),
            sha256: scheduler.sha256.clone(),
            enable_seq: [sysfs::enable_seq(); 2],
            ..SchedulerLife::default()
        };
        let running = match sysfs::exists() {
            true => Running::start(scheduler, life.clone(), &self.streams),
            false => Err("this kernel has no /sys/kernel/sched_ext".into()),
        };
        let running = running.inspect_err(|why| {
            let exit = SchedulerExit {
                kind: ExitKind::NotAttached,
                message: Some(why.clone()),
                at_ns: monotonic_ns(),
                fell_back: true,
                ..SchedulerExit::default()
            };
            self.lives.push(SchedulerLife { exit, ..life });
        })?;
        let attached = self.running.insert(running).attach(self.log.as_ref());
        attached.ok_or_else(|| {
            self.end();
            format!("the scheduler {} did not attach", scheduler.name)
        })
    }
}

impl SchedulerKeeper for Keeper {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Some(running) = &self.running else { return Vec::new() };
        let log = self.log.iter().map(|log| log.as_fd());
        log.chain([running.as_fd()]).collect()
    }

    fn attend_every(&self) -> Option<Duration> {
        // The kernel logs that it enabled or disabled one.
        (self.running.is_some() && self.log.is_none()).then_some(LOOK)
    }

    fn attend(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        match running.is_lost(self.log.as_ref()) {
            true => Err(format!("the scheduler {} ended", running.name())),
            false => Ok(()),
        }
    }

    fn swap(&mut self, to: Option<&SchedulerChoice>) -> Result<SwapRecord, String> {
        let to = to.map(|choice| self.chosen(choice)).transpose()?;
        self.attend()?;
        let (at_ns, before) = (monotonic_ns(), sysfs::enable_seq());
        let from = self.running.as_ref().map(|running| running.name().to_owned());
        self.end();
        let stop_ns = from.is_some().then(|| monotonic_ns() - at_ns);
        let attach_ns = to.as_ref().map(|to| self.start(to)).transpose()?;
        let (to, enable_seq) = (to.map(|to| to.name), [before, sysfs::enable_seq()]);
        Ok(SwapRecord { at_ns, from, to, stop_ns, attach_ns, enable_seq })
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.lives.push(running.end(self.log.as_ref()));
        }
    }
}
