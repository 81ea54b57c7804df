//! Where workers may run. Validated with the configuration, made into masks by `placement`.

use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The CPUs a worker may use. The kinds that need a topology are resolved by a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
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
    /// The lowest CPU of those the set may use, for all its workers.
    SingleCpu,
    /// The CPUs of the last-level cache that has most of those the set may use.
    LlcAligned,
    /// Every CPU of the machine. The kernel keeps workers to the CPUs of their cgroup all the same.
    CrossCgroup,
    /// Two SMT siblings for each group of workers, or for each pair where a type has no groups;
    /// core after core, and from the first again.
    SmtSiblingPair,
}

impl AffinityIntent {
    /// What can be refused on any machine.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Inherit
            | Self::SingleCpu
            | Self::LlcAligned
            | Self::CrossCgroup
            | Self::SmtSiblingPair => Ok(()),
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
        }
    }

    /// What only a scenario can resolve.
    pub(crate) fn validate_plain(&self) -> Result<(), String> {
        match self {
            Self::Inherit | Self::Exact(_) | Self::RandomSubset { .. } => Ok(()),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_topology_is_refused_with_advice() {
        let why = AffinityIntent::LlcAligned.validate_plain().unwrap_err();
        assert!(why.contains("LlcAligned") && why.contains("Exact"), "{why}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let json = r#"{"RandomSubset":{"from":[0,1],"count":1,"cuont":2}}"#;
        let error = serde_json::from_str::<AffinityIntent>(json).unwrap_err().to_string();
        assert!(error.contains("`cuont`"), "{error}");
    }

    #[test]
    fn a_subset_larger_than_its_pool_is_refused() {
        let from: BTreeSet<usize> = [0, 1].into();
        assert!(AffinityIntent::RandomSubset { from: from.clone(), count: 3 }.validate().is_err());
        assert!(AffinityIntent::RandomSubset { from, count: 2 }.validate().is_ok());
        assert!(AffinityIntent::Exact(BTreeSet::new()).validate().is_err());
    }
}
