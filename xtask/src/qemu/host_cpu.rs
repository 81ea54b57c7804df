//! The one CPU of the host that a deterministic QEMU runs on, with all its threads, its main loop
//! before them: left to themselves they race over expired timers. Called by `cmd::vm` and `bundle`.
//!
//! QEMU's thread of vCPUs and its main loop both run what has expired on the guest's clock, and a
//! timer that is set in the main loop ends the turn of every vCPU (`qemu_timer_notify_cb`). So it
//! matters which of them comes to it first. A main loop that goes before the vCPUs on their own
//! CPU is asleep whenever one of them runs.

use crate::paths::Paths;
use crate::sys::{Place, come_first};
use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::fs::File;

/// A CPU that this process may use. While this lives, others choose another one.
#[derive(Debug)]
pub(crate) struct HostCpu {
    index: usize,
    main_first: bool,
    /// Locked; `None` if every CPU was taken.
    _claim: Option<File>,
}

impl HostCpu {
    /// The first CPU that no other deterministic guest has; where all are taken, any one.
    pub(crate) fn choose(paths: &Paths) -> Result<Self> {
        let allowed = sched_getaffinity(None).context("sched_getaffinity failed")?;
        let allowed: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let dir = paths.cache_dir("host")?;
        // Tried by a thread that ends with it.
        let main_first = std::thread::spawn(|| come_first().is_ok()).join().unwrap_or(false);
        for &index in &allowed {
            let path = dir.join(format!("cpu-{index}.lock"));
            let file = File::create(&path)
                .with_context(|| format!("create(`{}`) failed", path.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { index, main_first, _claim: Some(file) });
            }
        }
        let own_id = usize::try_from(std::process::id()).unwrap_or(0);
        let index = *allowed.get(own_id % allowed.len().max(1)).context("no CPU is allowed")?;
        Ok(Self { index, main_first, _claim: None })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Whether this user may put QEMU's main loop before its other threads.
    pub(crate) fn main_first(&self) -> bool {
        self.main_first
    }

    /// What a shell runs QEMU with to have it there.
    pub(crate) fn prefix(&self) -> String {
        let first = if self.main_first { "chrt --reset-on-fork --fifo 1 " } else { "" };
        format!("{first}taskset --cpu-list {} ", self.index)
    }

    pub(super) fn place(&self) -> Place {
        let mut cpus = CpuSet::new();
        cpus.set(self.index);
        Place { cpus, main_first: self.main_first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_cpu_is_left_to_its_guest_while_others_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let allowed = sched_getaffinity(None).unwrap().count() as usize;
        let mut guests: Vec<_> = (0..allowed).map(|_| HostCpu::choose(&paths).unwrap()).collect();
        let mut taken: Vec<_> = guests.iter().map(HostCpu::index).collect();
        taken.dedup();
        assert_eq!(taken.len(), allowed);
        HostCpu::choose(&paths).unwrap();
        let freed = guests.remove(0).index();
        assert_eq!(HostCpu::choose(&paths).unwrap().index(), freed);
    }
}
