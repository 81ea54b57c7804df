//! CPUs, NUMA nodes and memory of a guest: whether they fit together, the QEMU arguments that
//! make them, and whether the guest has got them. Called by `cli`, `cmd::vm` and `run`.

use super::topology::Topology;
use crate::error::Refusal;
use anyhow::Result;
use guest_init::proto::Hello;
use std::fmt;
use std::str::FromStr;

/// As many as QEMU has room for.
const MAX_NODES: usize = 128;
const MIN_NODE_MIB: u64 = 64;

/// What `--numa` asks for: so many equal nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numa {
    nodes: usize,
}

/// CPUs, nodes and memory that fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    topology: Topology,
    nodes: usize,
    memory_mib: u64,
}

/// Something of which the guest has more or less than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    what: &'static str,
    asked: usize,
    has: usize,
    /// Why it may be less.
    reason: &'static str,
}

impl FromStr for Numa {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(nodes @ 1..=MAX_NODES) => Ok(Self { nodes }),
            _ => Err(format!("give a number of nodes from 1 to {MAX_NODES}")),
        }
    }
}

impl Layout {
    /// A topology of the user's. Nodes must fit it, as they do in hardware: the kernel warns of
    /// a core on two nodes, and of nodes and sockets that overlap.
    pub(crate) fn new(topology: Topology, numa: Numa, memory_mib: u64) -> Result<Self> {
        let Numa { nodes } = numa;
        let (cpus, sockets) = (topology.cpus(), topology.sockets);
        let node = cpus / nodes;
        let nests = |level: usize| node.is_multiple_of(level) || level.is_multiple_of(node);
        let fits = cpus.is_multiple_of(nodes)
            && node.is_multiple_of(topology.threads)
            && nests(topology.cpus_in_die())
            && nests(topology.cpus_in_socket());
        if !fits {
            let message = format!(
                "{topology} does not make {nodes} equal nodes: nodes need whole cores, and must \
                 not overlap dies or sockets in part"
            );
            let fix = format!("--numa {sockets} makes each socket a node; or change --topology");
            return Err(Refusal::input(message, fix).into());
        }
        Ok(Self { topology, nodes, memory_mib: divisible(memory_mib, nodes)? })
    }

    /// `cpus` cores: one socket, or a socket a node.
    pub(crate) fn of_cpus(cpus: usize, numa: Numa, memory_mib: u64) -> Result<Self> {
        let Numa { nodes } = numa;
        if !cpus.is_multiple_of(nodes) {
            let message = format!("{cpus} CPUs do not make {nodes} equal nodes");
            let fix = format!("make --cpus a multiple of {nodes}");
            return Err(Refusal::input(message, fix).into());
        }
        let topology = Topology::new([nodes, 1, cpus / nodes, 1])
            .map_err(|why| Refusal::input(why, "lower --cpus or --numa"))?;
        Self::new(topology, numa, memory_mib)
    }

    pub(crate) fn topology(&self) -> Topology {
        self.topology
    }

    pub(crate) fn cpus(&self) -> usize {
        self.topology.cpus()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(crate) fn memory_mib(&self) -> u64 {
        self.memory_mib
    }

    /// Whether kernels take this only from an Intel CPU. On the AMD CPUs that TCG emulates, Linux
    /// 6.1 sees no siblings and none sees dies (CPUID leaf 0x1f); on all AMD CPUs kernels warn of
    /// a last-level cache on several nodes, which Intel has as sub-NUMA clusters.
    pub(super) fn needs_intel(&self) -> bool {
        let Topology { dies, threads, .. } = self.topology;
        threads > 1 || dies > 1 || self.cpus() / self.nodes < self.topology.cpus_in_die()
    }

    /// CPUs, memory and, if there are several, the nodes.
    pub(super) fn arguments(&self) -> Vec<String> {
        let size =
            vec!["-smp".into(), self.topology.smp(), "-m".into(), format!("{}M", self.memory_mib)];
        if self.nodes == 1 {
            return size;
        }
        let (cpus, mib) = (self.cpus() / self.nodes, self.memory_mib / self.nodes as u64);
        let nodes = (0..self.nodes).flat_map(|node| {
            let (first, last) = (node * cpus, (node + 1) * cpus - 1);
            [
                "-object".into(),
                format!("memory-backend-ram,id=node{node},size={mib}M"),
                "-numa".into(),
                format!("node,nodeid={node},cpus={first}-{last},memdev=node{node}"),
            ]
        });
        size.into_iter().chain(nodes).collect()
    }

    /// Where the guest is not what was asked for, as far as it says.
    pub(crate) fn differences(&self, hello: &Hello) -> Vec<Difference> {
        const LIMITED: &str = "a kernel argument or the kernel's configuration limits them";
        const UNSEEN: &str = "this kernel does not see them on this CPU model; name an Intel one \
                              as --cpu-model, or none with --accel tcg";
        let Topology { sockets, dies, threads, .. } = self.topology;
        let rows = [
            ("CPUs", self.cpus(), Some(hello.cpus), LIMITED),
            ("NUMA nodes", self.nodes, Some(hello.nodes), LIMITED),
            ("dies", sockets * dies, hello.dies, UNSEEN),
            ("threads a core", threads, hello.threads_per_core, UNSEEN),
        ];
        let known = rows.into_iter().filter_map(|(what, asked, has, reason)| {
            Some(Difference { what, asked, has: has?, reason })
        });
        known.filter(|row| row.has != row.asked).collect()
    }
}

impl Difference {
    /// Why the guest may have less than was asked for, if it has less.
    pub(crate) fn shortfall(self) -> Option<String> {
        (self.has < self.asked).then(|| format!("{self}: {}", self.reason))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} were asked for, the guest has {}", self.asked, self.what, self.has)
    }
}

/// `memory_mib`, if `nodes` equal nodes can be made of it.
fn divisible(memory_mib: u64, nodes: usize) -> Result<u64> {
    let parts = nodes as u64;
    if nodes == 1 || memory_mib.is_multiple_of(parts) && memory_mib / parts >= MIN_NODE_MIB {
        return Ok(memory_mib);
    }
    let enough = memory_mib.max(MIN_NODE_MIB * parts).next_multiple_of(parts);
    let message = format!(
        "{memory_mib} MiB do not make {nodes} equal nodes of whole MiB, {MIN_NODE_MIB} or more each"
    );
    Err(Refusal::input(message, format!("use --memory {enough}M")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;

    fn layout(topology: &str, nodes: usize, memory_mib: u64) -> Result<Layout> {
        Layout::new(topology.parse().unwrap(), Numa { nodes }, memory_mib)
    }

    fn refusal(result: Result<Layout>) -> String {
        render(&result.unwrap_err())
    }

    #[test]
    fn one_node_needs_no_numa_options() {
        let cores = Layout::of_cpus(4, Numa { nodes: 1 }, 1000).unwrap();
        assert_eq!(
            cores.arguments().join(" "),
            "-smp cpus=4,sockets=1,dies=1,cores=4,threads=1 -m 1000M"
        );
        assert_eq!(cores.topology().to_string(), "1s4c1t");
    }

    #[test]
    fn nodes_share_cpus_and_memory_evenly() {
        let arguments = layout("2s2c2t", 2, 1024).unwrap().arguments();
        insta::assert_snapshot!(arguments.join(" ").replace(" -", "\n-"), @r"
        -smp cpus=8,sockets=2,dies=1,cores=2,threads=2
        -m 1024M
        -object memory-backend-ram,id=node0,size=512M
        -numa node,nodeid=0,cpus=0-3,memdev=node0
        -object memory-backend-ram,id=node1,size=512M
        -numa node,nodeid=1,cpus=4-7,memdev=node1
        ");
    }

    #[test]
    fn cpus_without_a_topology_make_a_socket_a_node() {
        let layout = Layout::of_cpus(6, Numa { nodes: 2 }, 512).unwrap();
        assert_eq!(layout.topology().to_string(), "2s3c1t");
        let text = refusal(Layout::of_cpus(3, Numa { nodes: 2 }, 512));
        assert!(text.ends_with("fix: make --cpus a multiple of 2"), "{text}");
        // 51 cores take 6 bits, so that 5 sockets exceed the APIC IDs.
        let text = refusal(Layout::of_cpus(255, Numa { nodes: 5 }, 512));
        assert!(text.contains("APIC IDs") && text.contains("fix: "), "{text}");
    }

    #[test]
    fn nodes_keep_cores_whole_and_nest_with_dies_and_sockets() {
        for (topology, nodes) in
            [("1s4c", 2), ("1s2d2c2t", 2), ("1s2d2c2t", 4), ("4s2c", 2), ("2s3c", 6), ("4s1c", 4)]
        {
            assert!(layout(topology, nodes, 1536).is_ok(), "{topology} in {nodes}");
        }
        for (topology, nodes) in
            [("1s1c2t", 2), ("2s3c", 3), ("4s3d1c", 6), ("3s", 2), ("2s", 4), ("2s2c2t", 8)]
        {
            let text = refusal(layout(topology, nodes, 1536));
            assert!(text.contains("fix: --numa "), "{topology} in {nodes}: {text}");
        }
    }

    #[test]
    fn memory_that_does_not_divide_is_refused_with_a_size_that_does() {
        let text = refusal(layout("3s", 3, 1024));
        assert!(text.ends_with("use --memory 1026M"), "{text}");
        let text = refusal(layout("4s", 4, 128));
        assert!(text.ends_with("use --memory 256M"), "{text}");
        assert!(layout("3s", 3, 1026).is_ok() && layout("4s", 4, 256).is_ok());
        assert!(layout("4s", 1, 65).is_ok(), "one node takes what there is");
    }

    #[test]
    fn threads_dies_and_nodes_within_a_die_take_an_intel_cpu() {
        let needs = |topology, nodes| layout(topology, nodes, 1024).unwrap().needs_intel();
        assert!(needs("2t", 1) && needs("2d", 1) && needs("4c", 2));
        assert!(!needs("4c", 1) && !needs("2s2c", 2) && !needs("4s", 2));
    }

    #[test]
    fn a_guest_with_less_is_told_from_one_with_other() {
        let asked = layout("2s1c2t", 2, 1024).unwrap();
        let same = Hello {
            cpus: 4,
            nodes: 2,
            threads_per_core: Some(2),
            dies: Some(2),
            ..Hello::default()
        };
        assert_eq!(asked.differences(&same), []);
        let silent = Hello { threads_per_core: None, dies: None, ..same.clone() };
        assert_eq!(asked.differences(&silent), [], "what the guest does not say is not judged");
        let shown = |hello: &Hello| {
            asked.differences(hello).iter().map(Difference::to_string).collect::<Vec<_>>()
        };
        let one_node = Hello { nodes: 1, ..same.clone() };
        assert_eq!(shown(&one_node), ["2 NUMA nodes were asked for, the guest has 1"]);
        assert!(asked.differences(&one_node)[0].shortfall().is_some());
        let more = Hello { dies: Some(4), ..same.clone() };
        assert_eq!(shown(&more), ["2 dies were asked for, the guest has 4"]);
        assert_eq!(asked.differences(&more)[0].shortfall(), None);
        let no_smt = Hello { cpus: 2, threads_per_core: Some(1), ..same };
        assert_eq!(shown(&no_smt).len(), 2);
    }
}
