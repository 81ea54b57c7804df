//! From what a configuration says of CPUs to the masks that workers set. Called by `handle` for a
//! plain spawn, and by a scenario, which knows the machine and the cgroup.

use super::AffinityIntent;
use crate::list;
use crate::rng::Rng;
use crate::topology::Topology;
use rustix::thread::CpuSet;
use std::collections::BTreeSet;
use std::fmt;

/// Where the workers of a set run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Where their parent may.
    Inherit,
    /// A mask for each group of workers, from the first again after the last. Workers of a type
    /// without groups count as pairs.
    Groups(Vec<BTreeSet<usize>>),
    /// A draw of each worker's own.
    Random {
        /// The CPUs to draw from.
        from: BTreeSet<usize>,
        /// How many to draw.
        count: usize,
    },
}

impl Placement {
    /// The group of the worker at `position` in its set: workers of a type without groups, whose
    /// size is 1, are pairs.
    pub(crate) fn group_of(position: usize, group_size: usize) -> usize {
        position / group_size.max(2)
    }

    /// Whether every worker has one of `cpus` among those that it may get.
    pub(crate) fn reaches(&self, cpus: &BTreeSet<usize>) -> bool {
        match self {
            Self::Inherit => true,
            Self::Groups(masks) => masks.iter().all(|mask| !mask.is_disjoint(cpus)),
            // All but those that lie elsewhere may be drawn.
            Self::Random { from, count } => from.difference(cpus).count() < *count,
        }
    }

    /// The CPUs of a worker of group `group`, `None` for those of its parent; a draw is made from
    /// `rng`.
    pub(crate) fn cpus(&self, group: usize, rng: &mut Rng) -> Option<Vec<usize>> {
        Some(match self {
            Self::Inherit => return None,
            // The kernel refuses the mask of none.
            Self::Groups(masks) => {
                masks.iter().cycle().nth(group).into_iter().flatten().copied().collect()
            }
            Self::Random { from, count } => {
                let mut pool: Vec<usize> = from.iter().copied().collect();
                while pool.len() > *count {
                    pool.swap_remove(rng.below(pool.len()));
                }
                pool
            }
        })
    }
}

impl fmt::Display for Placement {
    /// The masks, as the kernel writes lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |cpus: &BTreeSet<usize>| list::format(cpus.iter().copied());
        match self {
            Self::Inherit => f.write_str("any"),
            Self::Groups(masks) => {
                f.write_str(&masks.iter().map(list).collect::<Vec<_>>().join(" | "))
            }
            Self::Random { from, count } => write!(f, "{count} of {}", list(from)),
        }
    }
}

impl AffinityIntent {
    /// The placement within `pool`, the CPUs of the workers' cgroup, or within all where it is
    /// `None`. Without `topology` what needs one is refused, and nobody knows which CPUs there are.
    pub(crate) fn place(
        &self,
        pool: Option<&BTreeSet<usize>>,
        topology: Option<&Topology>,
    ) -> Result<Placement, String> {
        self.validate()?;
        let Some(topology) = topology else {
            self.validate_plain()?;
            return self.named_within(pool);
        };
        let pool = match pool {
            Some(pool) => pool & &topology.cpus(),
            None => topology.cpus(),
        };
        let placed = self.located_within(&pool, topology);
        placed.map_err(|why| topology.refusal(self, &pool, &why))
    }

    /// Of the CPUs that it names; others may not be had, where `pool` is known.
    fn named_within(&self, pool: Option<&BTreeSet<usize>>) -> Result<Placement, String> {
        match self {
            Self::Exact(cpus) => {
                let outside = pool.into_iter().flat_map(|pool| cpus.difference(pool).copied());
                match list::format(outside) {
                    none if none.is_empty() => Ok(Placement::Groups(vec![cpus.clone()])),
                    some => Err(format!("CPUs {some} are not among those it may use")),
                }
            }
            Self::RandomSubset { from, count } => {
                let from = pool.map_or_else(|| from.clone(), |pool| from & pool);
                match from.len() {
                    left if left < *count => {
                        Err(format!("draws {count} CPUs, and may use {left} of those to draw from"))
                    }
                    _ => Ok(Placement::Random { from, count: *count }),
                }
            }
            _ => Ok(Placement::Inherit),
        }
    }

    fn located_within(
        &self,
        pool: &BTreeSet<usize>,
        topology: &Topology,
    ) -> Result<Placement, String> {
        let masks = match self {
            Self::Inherit | Self::Exact(_) | Self::RandomSubset { .. } => {
                return self.named_within(Some(pool));
            }
            _ if pool.is_empty() => return Err("none of them is online".into()),
            Self::SingleCpu => vec![pool.iter().take(1).copied().collect()],
            Self::LlcAligned => {
                let shares = topology.llcs().into_iter().map(|llc| &llc & pool);
                // Of equals the last is the maximum, and the lowest is wanted.
                let largest = shares.rev().max_by_key(BTreeSet::len);
                largest.into_iter().collect()
            }
            Self::CrossCgroup => vec![topology.cpus()],
            Self::SmtSiblingPair => sibling_pairs(pool, topology),
        };
        if masks.is_empty() {
            return Err("no two of them share a core; it needs SMT".into());
        }
        match masks.iter().flatten().find(|cpu| **cpu >= CpuSet::MAX_CPU) {
            Some(cpu) => Err(format!("it has CPU {cpu}; {} can be named", CpuSet::MAX_CPU)),
            None => Ok(Placement::Groups(masks)),
        }
    }
}

/// Pairs of CPUs that share a core: the first of each core in turn, then the second of cores that
/// have four CPUs.
fn sibling_pairs(pool: &BTreeSet<usize>, topology: &Topology) -> Vec<BTreeSet<usize>> {
    let mut pairs = Vec::new();
    for core in topology.cores() {
        let siblings: Vec<usize> = core.intersection(pool).copied().collect();
        let of_core =
            siblings.chunks_exact(2).map(|pair| BTreeSet::from_iter(pair.iter().copied()));
        pairs.extend(of_core.enumerate());
    }
    pairs.sort_by_key(|(turn, _)| *turn);
    pairs.into_iter().map(|(_, pair)| pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Cpu;

    /// Six cores of two CPUs whose siblings are numbered in turn, an LLC for each two; CPU 6 is
    /// offline, so core 0 has one.
    fn machine() -> Topology {
        let cpu = |id: usize| Cpu { id, core: id % 6, llc: id % 6 / 2, node: 0 };
        Topology::new((0..12).filter(|id| *id != 6).map(cpu).collect(), [0, 1].into())
    }

    fn set(text: &str) -> BTreeSet<usize> {
        list::parse(text).unwrap()
    }

    fn placed(intent: &AffinityIntent, pool: &str) -> Result<Placement, String> {
        intent.place(Some(&set(pool)), Some(&machine()))
    }

    fn groups(masks: &[&str]) -> Placement {
        Placement::Groups(masks.iter().map(|mask| set(mask)).collect())
    }

    fn random(from: &str, count: usize) -> AffinityIntent {
        AffinityIntent::RandomSubset { from: set(from), count }
    }

    #[test]
    fn each_intent_becomes_masks_within_the_pool() {
        for (intent, pool, expected) in [
            (AffinityIntent::Inherit, "2-5", Placement::Inherit),
            (AffinityIntent::Exact(set("2,5")), "2-5", groups(&["2,5"])),
            (AffinityIntent::SingleCpu, "2-5", groups(&["2"])),
            // LLC 0 has one of them, LLC 1 three, LLC 2 two.
            (AffinityIntent::LlcAligned, "1-5,8", groups(&["2-3,8"])),
            (AffinityIntent::LlcAligned, "2-5", groups(&["2-3"])),
            (AffinityIntent::LlcAligned, "0-11", groups(&["2-3,8-9"])),
            (AffinityIntent::CrossCgroup, "2", groups(&["0-5,7-11"])),
            (AffinityIntent::SmtSiblingPair, "1-3,7,9-10", groups(&["1,7", "3,9"])),
            (random("0-3", 2), "2-5", Placement::Random { from: set("2-3"), count: 2 }),
        ] {
            assert_eq!(placed(&intent, pool).as_ref(), Ok(&expected), "{intent:?} {pool}");
        }
        let all = AffinityIntent::SmtSiblingPair.place(None, Some(&machine()));
        assert_eq!(all, Ok(groups(&["1,7", "2,8", "3,9", "4,10", "5,11"])), "not the core of one");
    }

    #[test]
    fn a_core_of_four_has_its_second_pair_after_the_first_of_all() {
        let cpu = |id: usize| Cpu { id, core: id / 4, llc: 0, node: 0 };
        let topology = Topology::new((0..7).map(cpu).collect(), [0].into());
        let pairs = AffinityIntent::SmtSiblingPair.place(None, Some(&topology));
        assert_eq!(pairs, Ok(groups(&["0-1", "4-5", "2-3"])));
    }

    #[test]
    fn what_cannot_be_had_is_named_with_the_pool_and_the_machine() {
        for (intent, pool, part) in [
            (AffinityIntent::Exact(set("2,6,12")), "0-11", "CPUs 6,12 are not"),
            (AffinityIntent::Exact(set("1-4")), "2-3", "CPUs 1,4 are not"),
            (random("0-3", 2), "3-5", "draws 2 CPUs, and may use 1"),
            (random("0-3", 2), "5", "may use 0"),
            (AffinityIntent::SmtSiblingPair, "0-5", "no two of them share a core"),
            (AffinityIntent::SmtSiblingPair, "0,6", "no two of them share a core"),
            (AffinityIntent::SingleCpu, "6", "none of them is online"),
            (AffinityIntent::LlcAligned, "", "none of them is online"),
            (AffinityIntent::CrossCgroup, "12", "none of them is online"),
        ] {
            let why = placed(&intent, pool).unwrap_err();
            let usable = list::format(&set(pool) & &machine().cpus());
            let begins = format!("{intent:?} of CPUs {usable}: ");
            assert!(why.starts_with(&begins) && why.contains(part), "{pool}: {why}");
            assert!(why.ends_with(&machine().to_string()), "{why}");
        }
        assert!(AffinityIntent::LlcAligned.place(None, Some(&Topology::flat(0))).is_err());
        let why = AffinityIntent::CrossCgroup.place(None, Some(&Topology::flat(1025)));
        assert!(why.unwrap_err().contains("CPU 1024"));
    }

    #[test]
    fn without_a_topology_only_named_cpus_can_be_placed() {
        let place =
            |intent: AffinityIntent, pool: Option<&BTreeSet<usize>>| intent.place(pool, None);
        assert_eq!(place(AffinityIntent::Inherit, None), Ok(Placement::Inherit));
        assert_eq!(place(AffinityIntent::Exact([1023].into()), None), Ok(groups(&["1023"])));
        let expected = Placement::Random { from: set("0-3"), count: 2 };
        assert_eq!(place(random("0-3", 2), None), Ok(expected));
        let why = place(AffinityIntent::Exact(set("0-1")), Some(&set("1"))).unwrap_err();
        assert!(why.contains("CPUs 0 are not"), "{why}");
        for intent in [
            AffinityIntent::SingleCpu,
            AffinityIntent::LlcAligned,
            AffinityIntent::CrossCgroup,
            AffinityIntent::SmtSiblingPair,
        ] {
            let why = place(intent.clone(), Some(&set("0-3"))).unwrap_err();
            assert!(why.contains("topology") && why.contains("Exact"), "{intent:?}: {why}");
        }
    }

    #[test]
    fn what_the_fields_alone_forbid_is_refused_anywhere() {
        assert!(AffinityIntent::Exact(BTreeSet::new()).place(None, None).is_err());
        assert!(placed(&random("0-1", 3), "0-5").is_err());
    }
}
