//! Where workers may run. Validated with the configuration, applied by the worker prologue.

use crate::cpuset::mask_of;
use crate::rng::Rng;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The CPUs a worker may use. The kinds that need a topology are resolved by a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AffinityIntent {
    /// The parent's mask.
    #[default]
    Inherit,
    /// These CPUs.
    Exact(BTreeSet<usize>),
    /// `count` CPUs out of `from`, drawn per worker from the seed.
    RandomSubset {
        /// The CPUs to draw from.
        from: BTreeSet<usize>,
        /// How many to draw.
        count: usize,
    },
    /// One CPU for all workers of the set.
    SingleCpu,
    /// The CPUs of one last-level cache.
    LlcAligned,
    /// Every CPU of the machine, past the cgroup's own.
    CrossCgroup,
    /// Two SMT siblings for each pair of workers.
    SmtSiblingPair,
}

impl AffinityIntent {
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Inherit => Ok(()),
            Self::Exact(cpus) if cpus.is_empty() => Err("names no CPU".into()),
            Self::RandomSubset { from, count } if *count == 0 || *count > from.len() => {
                Err(format!("draws {count} of {} CPUs; 1 to all can be drawn", from.len()))
            }
            Self::Exact(cpus) | Self::RandomSubset { from: cpus, .. } => {
                match cpus.iter().find(|cpu| **cpu >= CpuSet::MAX_CPU) {
                    Some(cpu) => Err(format!("names CPU {cpu}; {} can be named", CpuSet::MAX_CPU)),
                    None => Ok(()),
                }
            }
            Self::SingleCpu | Self::LlcAligned | Self::CrossCgroup | Self::SmtSiblingPair => {
                Err(format!(
                    "{self:?} needs the machine's topology; give the CPUs as {{\"Exact\": [..]}}"
                ))
            }
        }
    }

    /// The CPUs that the configuration names, so that a host can refuse those it will not have.
    pub fn named_cpus(&self) -> impl Iterator<Item = usize> + '_ {
        match self {
            Self::Exact(cpus) | Self::RandomSubset { from: cpus, .. } => Some(cpus),
            _ => None,
        }
        .into_iter()
        .flatten()
        .copied()
    }

    /// Restricts the calling thread; a random subset is drawn from `rng`.
    pub(crate) fn apply(&self, rng: &mut Rng) -> Result<(), Errno> {
        let cpus: Vec<usize> = match self {
            Self::Exact(cpus) => cpus.iter().copied().collect(),
            Self::RandomSubset { from, count } => {
                let mut pool: Vec<usize> = from.iter().copied().collect();
                while pool.len() > *count {
                    pool.swap_remove(rng.below(pool.len()));
                }
                pool
            }
            _ => return Ok(()),
        };
        sched_setaffinity(None, &mask_of(&cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_topology_is_refused_with_advice() {
        let why = AffinityIntent::LlcAligned.validate().unwrap_err();
        assert!(why.contains("LlcAligned") && why.contains("Exact"), "{why}");
    }

    #[test]
    fn a_subset_larger_than_its_pool_is_refused() {
        let from: BTreeSet<usize> = [0, 1].into();
        assert!(AffinityIntent::RandomSubset { from: from.clone(), count: 3 }.validate().is_err());
        assert!(AffinityIntent::RandomSubset { from, count: 2 }.validate().is_ok());
        assert!(AffinityIntent::Exact(BTreeSet::new()).validate().is_err());
    }
}
