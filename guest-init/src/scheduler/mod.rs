//! The sched_ext schedulers that the image carries: the runner starts, watches and stops them by a
//! `Keeper`, PID 1 keeps what they write in a `Scribe`. Called by `supervise` and `runner`.

mod keeper;
mod kernel_log;
mod process;
mod running;
mod scribe;
mod sysfs;

pub(crate) use keeper::Keeper;
pub(crate) use scribe::Scribe;

use crate::proto::{Carried, initramfs};
use anyhow::{Context as _, Result};
use std::io::ErrorKind;

/// What the initramfs carries; nothing where it has no list.
pub(crate) fn carried() -> Result<Vec<Carried>> {
    match std::fs::read(initramfs::SCHEDULERS) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).context("read(schedulers.json) failed"),
        Ok(json) => serde_json::from_slice(&json).context("parse(schedulers.json) failed"),
    }
}
