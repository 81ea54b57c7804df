//! CPUs, NUMA nodes and memory of a guest: whether they fit together, the QEMU arguments that
//! make them, and where that puts each CPU. Called by `machine`, `args` and `run`.

use super::fit::{check_cover, check_fit, equal, shares};
use super::numa::{Distances, NodeText, Numa};
use super::topology::Topology;
use crate::error::Refusal;
use anyhow::Result;
use std::ops::Range;

/// CPUs, nodes and memory that fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    topology: Topology,
    /// Those without CPUs come last, as Linux numbers them.
    nodes: Vec<Node>,
    /// If the firmware is to name any.
    distances: Option<Distances>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Empty in a memory-only node.
    pub(crate) cpus: Range<usize>,
    pub(crate) memory_mib: u64,
}

/// Where a CPU is. Each number counts through the whole machine in the order of first CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuPlace {
    pub(crate) cpu: usize,
    pub(crate) core: usize,
    pub(crate) llc: usize,
    pub(crate) socket: usize,
    pub(crate) node: usize,
}

impl Layout {
    /// A topology of the user's with its nodes; 1 GiB or the next size that divides if nothing says how much.
    pub(crate) fn new(topology: Topology, numa: &Numa, memory_mib: Option<u64>) -> Result<Self> {
        let texts = match numa {
            Numa::Equal(nodes) => equal(topology.cpus(), *nodes)?,
            Numa::Nodes(texts) => texts.clone(),
        };
        let memory = shares(&texts, memory_mib)?;
        let mut next = 0;
        let node = |(text, memory_mib): (&NodeText, u64)| {
            let cpus = next..next + text.cpus;
            next = cpus.end;
            Node { cpus, memory_mib }
        };
        let nodes: Vec<Node> = texts.iter().zip(memory).map(node).collect();
        check_cover(topology, next)?;
        nodes.iter().enumerate().try_for_each(|(index, node)| check_fit(topology, index, node))?;
        Ok(Self { topology, nodes, distances: None })
    }

    /// `cpus` cores: a socket a node where nodes have as many CPUs each, otherwise one socket.
    pub(crate) fn of_cpus(cpus: usize, numa: &Numa, memory_mib: Option<u64>) -> Result<Self> {
        let nodes = match numa {
            Numa::Equal(nodes) => equal(cpus, *nodes)?,
            Numa::Nodes(texts) => texts.clone(),
        };
        let with_cpus: Vec<usize> = nodes.iter().map(|node| node.cpus).filter(|n| *n > 0).collect();
        let sockets = match with_cpus.iter().all(|cpus| *cpus == with_cpus[0]) {
            true if with_cpus.iter().sum::<usize>() == cpus => with_cpus.len(),
            _ => 1,
        };
        let topology = Topology::of_cores(sockets, cpus / sockets)
            .map_err(|why| Refusal::input(why, "lower --cpus or --numa"))?;
        Self::new(topology, numa, memory_mib)
    }

    /// With these distances between its nodes, which must all be there.
    pub(crate) fn with_distances(self, distances: Distances) -> Result<Self> {
        let nodes = self.nodes();
        // One node alone has no distance, whether or not a pair is named.
        let node = distances.highest_node().unwrap_or(1);
        if node >= nodes {
            let message = format!("--numa-distance: there is no node {node}, --numa makes {nodes}");
            let fix = format!("pass --numa {}, or describe as many nodes", node + 1);
            return Err(Refusal::input(message, fix).into());
        }
        Ok(Self { distances: Some(distances), ..self })
    }

    pub(crate) fn topology(&self) -> Topology {
        self.topology
    }

    pub(crate) fn cpus(&self) -> usize {
        self.topology.cpus()
    }

    /// The number of nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Every node by its number.
    pub(crate) fn numa(&self) -> &[Node] {
        &self.nodes
    }

    /// The distance that Linux shows between two nodes.
    pub(crate) fn distance(&self, a: usize, b: usize) -> u8 {
        self.distances
            .as_ref()
            .map_or_else(|| Distances::default().between(a, b), |of| of.between(a, b))
    }

    /// Whether the firmware names any.
    pub(super) fn has_distances(&self) -> bool {
        self.distances.is_some()
    }

    pub(crate) fn memory_mib(&self) -> u64 {
        self.nodes.iter().map(|node| node.memory_mib).sum()
    }

    /// Every CPU by the number that Linux gives it: QEMU and Linux both count threads, then
    /// cores, then LLCs, then sockets.
    pub(crate) fn places(&self) -> Vec<CpuPlace> {
        let Topology { threads, .. } = self.topology;
        let (in_llc, in_socket) = (self.topology.cpus_in_llc(), self.topology.cpus_in_socket());
        let place = |cpu: usize| CpuPlace {
            cpu,
            core: cpu / threads,
            llc: cpu / in_llc,
            socket: cpu / in_socket,
            node: self.nodes.iter().position(|node| node.cpus.contains(&cpu)).unwrap_or(0),
        };
        (0..self.cpus()).map(place).collect()
    }

    /// The same as plans take it.
    pub(crate) fn resolved(&self) -> workloads::Topology {
        let cpu = |place: CpuPlace| {
            let CpuPlace { cpu: id, core, llc, node, .. } = place;
            workloads::Cpu { id, core, llc, node }
        };
        let cpus = self.places().into_iter().map(cpu).collect();
        let with_memory = self.nodes.iter().enumerate().filter(|(_, node)| node.memory_mib > 0);
        workloads::Topology::new(cpus, with_memory.map(|(index, _)| index).collect())
    }

    /// Whether kernels take this only from an Intel CPU. On the AMD CPUs that TCG emulates, Linux
    /// 6.1 sees no siblings and none sees dies (CPUID leaf 0x1f); on all AMD CPUs kernels warn of
    /// a last-level cache on several nodes, which Intel has as sub-NUMA clusters.
    pub(super) fn needs_intel(&self) -> bool {
        let in_llc = self.topology.cpus_in_llc();
        let splits_llc = |node: &Node| !node.cpus.is_empty() && node.cpus.len() < in_llc;
        self.topology.threads > 1
            || self.topology.llcs_in_socket() > 1
            || self.nodes.iter().any(splits_llc)
    }

    /// CPUs, memory and, if there are several, the nodes.
    pub(super) fn arguments(&self) -> Vec<String> {
        self.around(vec!["-smp".into(), self.topology.smp()], None)
    }

    /// Memory and nodes for `cpus`; should these be more than the topology has, `unused` are the
    /// others, which must have a node too.
    pub(super) fn around(&self, cpus: Vec<String>, unused: Option<Range<usize>>) -> Vec<String> {
        let size = cpus.into_iter().chain(["-m".into(), format!("{}M", self.memory_mib())]);
        if self.nodes() == 1 {
            return size.collect();
        }
        let range = |cpus: &Range<usize>| format!("cpus={}-{},", cpus.start, cpus.end - 1);
        let nodes = self.nodes.iter().enumerate().flat_map(|(index, node)| {
            let Node { cpus, memory_mib } = node;
            let own = Some(cpus).filter(|cpus| !cpus.is_empty());
            let all = own.into_iter().chain(unused.as_ref().filter(|_| index == 0));
            let cpus: String = all.map(range).collect();
            [
                "-object".into(),
                format!("memory-backend-ram,id=node{index},size={memory_mib}M"),
                "-numa".into(),
                format!("node,nodeid={index},{cpus}memdev=node{index}"),
            ]
        });
        size.chain(nodes).chain(self.distance_arguments()).collect()
    }

    /// QEMU takes a pair for both ways, and all of them or none.
    fn distance_arguments(&self) -> impl Iterator<Item = String> {
        let nodes = self.distances.as_ref().map_or(0, |_| self.nodes());
        let pairs = (0..nodes).flat_map(move |a| (a + 1..nodes).map(move |b| (a, b)));
        pairs.flat_map(|(a, b)| {
            let distance = self.distance(a, b);
            ["-numa".into(), format!("dist,src={a},dst={b},val={distance}")]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;

    fn layout(topology: &str, numa: &str, memory_mib: u64) -> Result<Layout> {
        Layout::new(topology.parse().unwrap(), &numa.parse().unwrap(), Some(memory_mib))
    }

    fn of_cpus(cpus: usize, numa: &str) -> Result<Layout> {
        Layout::of_cpus(cpus, &numa.parse().unwrap(), None)
    }

    fn refusal(result: Result<Layout>) -> String {
        render(&result.unwrap_err())
    }

    fn lines(layout: &Layout) -> String {
        layout.arguments().join(" ").replace(" -", "\n-")
    }

    #[test]
    fn one_node_needs_no_numa_options() {
        let cores = of_cpus(4, "1").unwrap();
        assert_eq!(
            cores.arguments().join(" "),
            "-smp cpus=4,sockets=1,dies=1,cores=4,threads=1 -m 1024M"
        );
        assert_eq!(cores.topology().to_string(), "1s4c1t");
    }

    #[test]
    fn nodes_share_cpus_and_memory_evenly() {
        insta::assert_snapshot!(lines(&layout("2s2c2t", "2", 1024).unwrap()), @r"
        -smp cpus=8,sockets=2,dies=1,cores=2,threads=2
        -m 1024M
        -object memory-backend-ram,id=node0,size=512M
        -numa node,nodeid=0,cpus=0-3,memdev=node0
        -object memory-backend-ram,id=node1,size=512M
        -numa node,nodeid=1,cpus=4-7,memdev=node1
        ");
    }

    #[test]
    fn described_nodes_may_have_no_cpus_and_any_distance() {
        let layout = layout("4s1c", "0-1:512M,2-3,-:256M", 1024).unwrap();
        let layout = layout.with_distances("30,0-1=16".parse().unwrap()).unwrap();
        insta::assert_snapshot!(lines(&layout), @r"
        -smp cpus=4,sockets=4,dies=1,cores=1,threads=1
        -m 1024M
        -object memory-backend-ram,id=node0,size=512M
        -numa node,nodeid=0,cpus=0-1,memdev=node0
        -object memory-backend-ram,id=node1,size=256M
        -numa node,nodeid=1,cpus=2-3,memdev=node1
        -object memory-backend-ram,id=node2,size=256M
        -numa node,nodeid=2,memdev=node2
        -numa dist,src=0,dst=1,val=16
        -numa dist,src=0,dst=2,val=30
        -numa dist,src=1,dst=2,val=30
        ");
        assert_eq!((layout.distance(1, 0), layout.distance(2, 2)), (16, 10));
    }

    #[test]
    fn every_cpu_has_a_core_an_llc_a_socket_and_a_node() {
        let places = |topology, numa| layout(topology, numa, 1024).unwrap().places();
        let cpus = places("2s2l1c2t", "2");
        let column = |of: fn(&CpuPlace) -> usize| cpus.iter().map(of).collect::<Vec<_>>();
        assert_eq!(column(|p| p.cpu), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(column(|p| p.core), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(column(|p| p.llc), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(column(|p| p.socket), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(column(|p| p.node), [0, 0, 0, 0, 1, 1, 1, 1]);
        let uneven: Vec<_> = places("4c", "0,1-3").iter().map(|p| (p.llc, p.node)).collect();
        assert_eq!(uneven, [(0, 0), (0, 1), (0, 1), (0, 1)]);
    }

    #[test]
    fn cpus_without_a_topology_make_a_socket_a_node() {
        assert_eq!(of_cpus(6, "2").unwrap().topology().to_string(), "2s3c1t");
        assert_eq!(of_cpus(4, "0-1,2-3,-").unwrap().topology().to_string(), "2s2c1t");
        // Sockets are equal, so that these nodes can only be parts of one.
        assert_eq!(of_cpus(4, "0,1-3").unwrap().topology().to_string(), "1s4c1t");
        let text = refusal(of_cpus(3, "2"));
        assert!(text.contains("fix: make the number of CPUs a multiple of 2"), "{text}");
        // 51 cores take 6 bits, so that 5 sockets exceed the APIC IDs.
        let text = refusal(Layout::of_cpus(255, &Numa::Equal(5), Some(1280)));
        assert!(text.contains("APIC IDs") && text.contains("fix: "), "{text}");
    }

    #[test]
    fn distances_of_nodes_that_are_not_there_are_refused() {
        for (numa, distances, fix) in [("2", "0-2=20", "--numa 3"), ("1", "20", "--numa 2")] {
            let layout = of_cpus(2, numa).unwrap();
            let text = refusal(layout.with_distances(distances.parse().unwrap()));
            assert!(text.contains(fix), "{text}");
        }
    }

    #[test]
    fn threads_llcs_and_nodes_within_an_llc_take_an_intel_cpu() {
        let needs = |topology, numa| layout(topology, numa, 1024).unwrap().needs_intel();
        assert!(needs("2t", "1") && needs("2d", "1") && needs("2l", "1") && needs("4c", "2"));
        assert!(needs("4c", "0,1-3"));
        assert!(!needs("4c", "1") && !needs("2s2c", "2") && !needs("4s", "2"));
        assert!(!needs("4c", "0-3,-:128M"), "memory alone splits no cache");
    }
}
