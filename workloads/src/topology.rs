//! Which CPUs share a core, a last-level cache and a node: of this machine, or of a guest that is
//! only planned. What a scenario asks for in these terms is resolved against it.

mod sysfs;

use crate::list;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Cores that a line of the table shows before it leaves some out, and lines of the table.
const SHOWN_CORES: usize = 8;
const SHOWN_LINES: usize = 16;

/// An online CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Its number in the kernel.
    pub id: usize,
    /// Number of its core on this machine, cores in order of their first CPU.
    pub core: usize,
    /// Number of its last-level cache on this machine, in order of the first CPU.
    pub llc: usize,
    /// Its NUMA node, by the kernel's number.
    pub node: usize,
}

/// The online CPUs of a machine, and its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    cpus: Vec<Cpu>,
    memory_nodes: BTreeSet<usize>,
}

impl Topology {
    /// Of these CPUs. `core` and `llc` may be any numbers that tell cores and caches apart; they
    /// are numbered anew, so that a plan and what sysfs shows of it are equal.
    pub fn new(mut cpus: Vec<Cpu>, memory_nodes: BTreeSet<usize>) -> Self {
        cpus.sort_by_key(|cpu| cpu.id);
        let (mut cores, mut llcs) = (BTreeMap::new(), BTreeMap::new());
        let number = |seen: &mut BTreeMap<usize, usize>, label| {
            let next = seen.len();
            *seen.entry(label).or_insert(next)
        };
        for cpu in &mut cpus {
            cpu.core = number(&mut cores, cpu.core);
            cpu.llc = number(&mut llcs, cpu.llc);
        }
        Self { cpus, memory_nodes }
    }

    /// `cpus` cores of one CPU each, with one cache and one node.
    pub fn flat(cpus: usize) -> Self {
        let cpu = |id| Cpu { id, core: id, llc: 0, node: 0 };
        Self::new((0..cpus).map(cpu).collect(), [0].into())
    }

    /// Of this machine, as sysfs shows it now.
    pub fn read() -> Result<Self, String> {
        sysfs::read()
    }

    /// The online CPUs.
    pub fn cpus(&self) -> BTreeSet<usize> {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// The CPUs of each core, by its number.
    pub fn cores(&self) -> Vec<BTreeSet<usize>> {
        self.by(|cpu| cpu.core)
    }

    /// The CPUs of each last-level cache, by its number.
    pub fn llcs(&self) -> Vec<BTreeSet<usize>> {
        self.by(|cpu| cpu.llc)
    }

    /// The CPUs of each node up to the last with CPUs, by its number; none for a number that has
    /// only memory, or nothing.
    pub fn nodes(&self) -> Vec<BTreeSet<usize>> {
        self.by(|cpu| cpu.node)
    }

    /// Nodes that have memory.
    pub fn memory_nodes(&self) -> &BTreeSet<usize> {
        &self.memory_nodes
    }

    /// What to say of a request out of the CPUs in `pool` that this machine cannot fulfil.
    pub(crate) fn refusal(
        &self,
        asked: &dyn fmt::Debug,
        pool: &BTreeSet<usize>,
        why: &str,
    ) -> String {
        let pool = list::format(pool.iter().copied());
        format!("{asked:?} of CPUs {pool}: {why}. The machine is\n{self}")
    }

    fn by(&self, number: impl Fn(&Cpu) -> usize) -> Vec<BTreeSet<usize>> {
        let count = self.cpus.iter().map(|cpu| number(cpu) + 1).max().unwrap_or(0);
        let mut sets = vec![BTreeSet::new(); count];
        for cpu in &self.cpus {
            sets[number(cpu)].insert(cpu.id);
        }
        sets
    }
}

impl fmt::Display for Topology {
    /// A line for each last-level cache of a node, and one for each node without CPUs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<(usize, Option<usize>), Vec<&Cpu>> = BTreeMap::new();
        for cpu in &self.cpus {
            lines.entry((cpu.node, Some(cpu.llc))).or_default().push(cpu);
        }
        for node in self.memory_nodes.iter().filter(|n| self.cpus.iter().all(|c| c.node != **n)) {
            lines.insert((*node, None), Vec::new());
        }
        for (index, ((node, llc), cpus)) in lines.iter().take(SHOWN_LINES).enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            match llc {
                Some(llc) => write!(f, "node {node}: llc {llc}: {}", describe(cpus))?,
                None => write!(f, "node {node}: memory only")?,
            }
        }
        match lines.len().saturating_sub(SHOWN_LINES) {
            0 => Ok(()),
            more => write!(f, "\nand {more} lines more"),
        }
    }
}

/// The CPUs, and how they form cores if one has several.
fn describe(cpus: &[&Cpu]) -> String {
    let all = list::format(cpus.iter().map(|cpu| cpu.id));
    let mut cores: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    cpus.iter().for_each(|cpu| cores.entry(cpu.core).or_default().push(cpu.id));
    let count = cores.len();
    if count == cpus.len() {
        return format!("CPUs {all}, a core each");
    }
    if count == 1 {
        return format!("CPUs {all}, one core");
    }
    let mut cores: Vec<String> = cores.into_values().map(list::format).collect();
    if count > SHOWN_CORES {
        cores.splice(SHOWN_CORES / 2..count - 1, [String::from("..")]);
    }
    format!("CPUs {all}, {count} cores {}", cores.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(id: usize, core: usize, llc: usize, node: usize) -> Cpu {
        Cpu { id, core, llc, node }
    }

    /// Two cores whose siblings are numbered in turn, a core of one CPU in an LLC and node of its
    /// own, and a node of memory only; CPU 4 is offline.
    fn uneven() -> Topology {
        let cpus = vec![
            cpu(5, 90, 70, 2),
            cpu(3, 40, 8, 0),
            cpu(2, 60, 8, 0),
            cpu(1, 40, 8, 0),
            cpu(0, 60, 8, 0),
        ];
        Topology::new(cpus, [0, 1, 2].into())
    }

    #[test]
    fn cpus_are_sorted_and_cores_and_llcs_numbered_by_their_first_cpu() {
        let topology = uneven();
        assert_eq!(topology.cpus(), [0, 1, 2, 3, 5].into());
        assert_eq!(topology.cores(), [[0, 2].into(), [1, 3].into(), BTreeSet::from([5])]);
        assert_eq!(topology.llcs(), [BTreeSet::from([0, 1, 2, 3]), [5].into()]);
        assert_eq!(topology.nodes(), [BTreeSet::from([0, 1, 2, 3]), [].into(), [5].into()]);
        assert_eq!(topology.memory_nodes(), &[0, 1, 2].into());
    }

    #[test]
    fn labels_make_no_difference() {
        let cpus = [(0, 0), (1, 1), (2, 0), (3, 1)].map(|(id, core)| cpu(id, core, 0, 0));
        let cpus = [&cpus[..], &[cpu(5, 2, 1, 2)]].concat();
        assert_eq!(Topology::new(cpus, [0, 1, 2].into()), uneven());
    }

    #[test]
    fn a_flat_machine_has_a_core_a_cpu_and_one_of_the_rest() {
        let topology = Topology::flat(3);
        assert_eq!(topology.cores().len(), 3);
        assert_eq!(
            (topology.llcs(), topology.nodes()),
            (vec![topology.cpus()], vec![topology.cpus()])
        );
        assert!(Topology::flat(0).llcs().is_empty());
    }

    #[test]
    fn the_table_has_a_line_an_llc_and_stays_short() {
        let expected = "node 0: llc 0: CPUs 0-3, 2 cores 0,2 | 1,3\nnode 1: memory only\n\
                        node 2: llc 1: CPUs 5, a core each";
        assert_eq!(uneven().to_string(), expected);
        assert_eq!(Topology::flat(255).to_string(), "node 0: llc 0: CPUs 0-254, a core each");
        let one = Topology::new(vec![cpu(1, 0, 0, 0), cpu(9, 0, 0, 0)], [0].into());
        assert_eq!(one.to_string(), "node 0: llc 0: CPUs 1,9, one core");
        let many = Topology::new((0..255).map(|id| cpu(id, id, id, 0)).collect(), [0].into());
        let text = many.to_string();
        assert!(text.ends_with("llc 15: CPUs 15, a core each\nand 239 lines more"), "{text}");
        let smt = Topology::new((0..254).map(|id| cpu(id, id / 2, 0, 0)).collect(), [0].into());
        let expected = "node 0: llc 0: CPUs 0-253, 127 cores 0-1 | 2-3 | 4-5 | 6-7 | .. | 252-253";
        assert_eq!(smt.to_string(), expected);
    }

    #[test]
    fn a_report_gives_it_back() {
        let json = serde_json::to_string(&uneven()).unwrap();
        assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), uneven());
    }
}
