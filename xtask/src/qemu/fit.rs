//! Whether CPUs, nodes and memory fit together, and the fix where they do not. Called by `layout`.

use super::layout::Node;
use super::numa::NodeText;
use super::topology::Topology;
use crate::error::Refusal;
use crate::units::MIN_MEMORY_MIB;
use anyhow::Result;
use std::ops::Range;

const DEFAULT_MEMORY_MIB: u64 = 1024;

/// `nodes` nodes with as many CPUs each.
pub(super) fn equal(cpus: usize, nodes: usize) -> Result<Vec<NodeText>> {
    if cpus.is_multiple_of(nodes) {
        return Ok(vec![NodeText { cpus: cpus / nodes, mib: None }; nodes]);
    }
    let message = format!("{cpus} CPUs do not make {nodes} equal nodes");
    let fix = format!("make the number of CPUs a multiple of {nodes}, or describe nodes to --numa");
    Err(Refusal::input(message, fix).into())
}

/// The nodes' memory: as given, and where it is not an equal share of the rest.
pub(super) fn shares(nodes: &[NodeText], memory_mib: Option<u64>) -> Result<Vec<u64>> {
    let given: u64 = nodes.iter().filter_map(|node| node.mib).sum();
    let open = nodes.iter().filter(|node| node.mib.is_none()).count() as u64;
    if open == 0 {
        return match memory_mib.filter(|memory| *memory != given) {
            None => Ok(nodes.iter().filter_map(|node| node.mib).collect()),
            Some(memory) => Err(Refusal::input(
                format!("the nodes have {given} MiB together, --memory says {memory}"),
                "leave --memory out, or the memory of a node, which then takes the rest",
            )
            .into()),
        };
    }
    let memory = memory_mib.unwrap_or(DEFAULT_MEMORY_MIB);
    let rest = memory.saturating_sub(given);
    let enough = rest.max(MIN_MEMORY_MIB * open).next_multiple_of(open);
    if memory_mib.is_none() || rest == enough {
        return Ok(nodes.iter().map(|node| node.mib.unwrap_or(enough / open)).collect());
    }
    let message = format!(
        "{rest} of {memory} MiB do not make {open} equal nodes of whole MiB, {MIN_MEMORY_MIB} or \
         more each"
    );
    Err(Refusal::input(message, format!("use --memory {}M", given + enough)).into())
}

/// Every CPU is in a node.
pub(super) fn check_cover(topology: Topology, covered: usize) -> Result<()> {
    let cpus = topology.cpus();
    if covered == cpus {
        return Ok(());
    }
    let message = format!("the nodes of --numa have {covered} CPUs, the guest has {cpus}");
    let fix = format!("give the nodes CPUs 0 to {}, or change --cpus or --topology", cpus - 1);
    Err(Refusal::input(message, fix).into())
}

/// Nodes must fit the topology, as they do in hardware: the kernel warns of a core on two nodes,
/// and of nodes and sockets that overlap.
pub(super) fn check_fit(topology: Topology, index: usize, node: &Node) -> Result<()> {
    let Range { start, end } = node.cpus;
    let whole = |level: usize| start.is_multiple_of(level) && end.is_multiple_of(level);
    let nests = |level: usize| whole(level) || start / level == (end - 1) / level;
    let fits = node.cpus.is_empty()
        || whole(topology.threads)
            && nests(topology.cpus_in_llc())
            && nests(topology.cpus_in_socket());
    if fits {
        return Ok(());
    }
    let message = format!(
        "node {index} with CPUs {start} to {} does not fit {topology}: nodes need whole cores, and \
         must not overlap LLCs or sockets in part",
        end - 1
    );
    let fix = format!("--numa {} makes each socket a node; or change --topology", topology.sockets);
    Err(Refusal::input(message, fix).into())
}

#[cfg(test)]
mod tests {
    use crate::error::render;
    use crate::qemu::Layout;
    use anyhow::Result;

    fn layout(topology: &str, numa: &str, memory_mib: u64) -> Result<Layout> {
        Layout::new(topology.parse().unwrap(), &numa.parse().unwrap(), Some(memory_mib))
    }

    fn of_cpus(cpus: usize, numa: &str) -> Result<Layout> {
        Layout::of_cpus(cpus, &numa.parse().unwrap(), None)
    }

    fn refusal(result: Result<Layout>) -> String {
        render(&result.unwrap_err())
    }

    #[test]
    fn nodes_keep_cores_whole_and_nest_with_llcs_and_sockets() {
        for (topology, numa) in [
            ("1s4c", "2"),
            ("1s2d2c2t", "2"),
            ("1s2d2c2t", "4"),
            ("4s2c", "2"),
            ("2s3c", "6"),
            ("4s1c", "4"),
            ("1s2l3c", "0,1-2,3-5"),
            ("3s2c", "0-1,2-5"),
        ] {
            assert!(layout(topology, numa, 1536).is_ok(), "{topology} in {numa}");
        }
        for (topology, numa) in [
            ("1s1c2t", "2"),
            ("2s3c", "3"),
            ("4s3d1c", "6"),
            ("2s2c2t", "8"),
            ("2c2t", "0-2,3"),
            ("1s2l2c", "0-2,3"),
            ("2s2c", "0,1-3"),
        ] {
            let text = refusal(layout(topology, numa, 1536));
            assert!(text.contains("fix: --numa "), "{topology} in {numa}: {text}");
        }
        for (topology, numa) in [("3s", "2"), ("2s", "4")] {
            let text = refusal(layout(topology, numa, 1536));
            assert!(text.contains("equal nodes"), "{topology} in {numa}: {text}");
        }
    }

    #[test]
    fn nodes_have_every_cpu_of_the_guest() {
        for numa in ["0-1,2", "0-1,2-4"] {
            let text = refusal(layout("4c", numa, 1024));
            assert!(text.contains("fix: give the nodes CPUs 0 to 3"), "{text}");
        }
    }

    #[test]
    fn memory_that_does_not_divide_is_refused_with_a_size_that_does() {
        for (topology, numa, memory_mib, enough) in [
            ("3s", "3", 1024, "1026M"),
            ("4s", "4", 128, "256M"),
            ("2s", "0:512M,1", 560, "576M"),
            ("2s", "0:512M,1", 256, "576M"),
            ("2s", "0,1,-:101M", 1000, "1001M"),
        ] {
            let text = refusal(layout(topology, numa, memory_mib));
            assert!(text.ends_with(&format!("use --memory {enough}")), "{text}");
        }
        assert!(layout("3s", "3", 1026).is_ok() && layout("4s", "4", 256).is_ok());
        assert!(layout("4s", "1", 65).is_ok(), "one node takes what there is");
    }

    #[test]
    fn the_nodes_memory_is_the_guests() {
        assert_eq!(of_cpus(2, "0:512M,1:256M").unwrap().memory_mib(), 768);
        let memory = |numa| {
            let nodes = of_cpus(2, numa).unwrap();
            nodes.numa().iter().map(|node| node.memory_mib).collect::<Vec<_>>()
        };
        assert_eq!(memory("0:512M,1"), [512, 512], "of the 1 GiB that a guest has by default");
        assert_eq!(memory("0,1,-:256M"), [384, 384, 256]);
        assert_eq!(memory("0,1,-"), [342; 3], "or the next size that divides");
        let text = refusal(layout("2s", "0:512M,1:256M", 1024));
        assert!(text.contains("768 MiB together") && text.contains("leave --memory out"), "{text}");
        assert!(layout("2s", "0:512M,1:256M", 768).is_ok());
    }
}
