//! The one CPU of the host that a deterministic QEMU runs on, with all its threads: left to
//! themselves they race over expired timers. Called by `cmd::vm`.

use crate::paths::Paths;
use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::fs::File;

/// A CPU that this process may use. While this lives, others choose another one.
#[derive(Debug)]
pub(crate) struct HostCpu {
    index: usize,
    /// Locked; `None` if every CPU was taken.
    _claim: Option<File>,
}

impl HostCpu {
    /// The first CPU that no other deterministic guest has; where all are taken, any one.
    pub(crate) fn choose(paths: &Paths) -> Result<Self> {
        let allowed = sched_getaffinity(None).context("sched_getaffinity failed")?;
        let allowed: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let dir = paths.cache_dir("host")?;
        for &index in &allowed {
            let path = dir.join(format!("cpu-{index}.lock"));
            let file = File::create(&path)
                .with_context(|| format!("create(`{}`) failed", path.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { index, _claim: Some(file) });
            }
        }
        let own_id = usize::try_from(std::process::id()).unwrap_or(0);
        let index = *allowed.get(own_id % allowed.len().max(1)).context("no CPU is allowed")?;
        Ok(Self { index, _claim: None })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(self.index);
        set
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
