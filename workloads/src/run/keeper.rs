//! What a run asks of whoever keeps its sched_ext scheduler. The guest's runner implements it;
//! `stage` calls it while workers run.

use super::record::SwapRecord;
use crate::scenario::SchedulerChoice;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Starts, watches and stops the scheduler of a run.
pub trait SchedulerKeeper {
    /// Readable when there may be news of the scheduler.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// How often to ask for news beside, where no descriptor tells of all of them.
    fn attend_every(&self) -> Option<Duration> {
        None
    }

    /// Takes the news. An error ends the run: the scheduler did.
    fn attend(&mut self) -> Result<(), String>;

    /// Stops the scheduler, if one runs, starts the other one, if there is one, and waits until it
    /// is attached.
    fn swap(&mut self, to: Option<&SchedulerChoice>) -> Result<SwapRecord, String>;

    /// Stops the scheduler: the workers were told to leave, and had time to.
    fn end(&mut self);
}
