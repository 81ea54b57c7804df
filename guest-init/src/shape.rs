//! The shape of the guest as its kernel shows it: CPUs that share something, NUMA nodes with their
//! memory and distances. The host compares it with what it asked for. Called by `facts`.

use crate::proto::NodeFacts;
use rustix::param::page_size;
use std::fs::read_to_string;
use workloads::parse_list;

pub(crate) const CPUS: &str = "/sys/devices/system/cpu";
pub(crate) const NODES: &str = "/sys/devices/system/node";

/// The CPUs that share what `file` of each says, as `0-1` and `2-3`, in the order of first CPUs.
/// Empty where the kernel has no such file.
pub(crate) fn groups(file: &str) -> Vec<String> {
    let (mut groups, mut seen) = (Vec::new(), Vec::new());
    for cpu in list(&format!("{CPUS}/online")) {
        if seen.contains(&cpu) {
            continue;
        }
        let group = trimmed(&format!("{CPUS}/cpu{cpu}/{file}"));
        seen.extend(numbers_in(&group));
        groups.extend(Some(group).filter(|group| !group.is_empty()));
    }
    groups
}

/// The CPUs of each last-level cache: the last cache of the first CPU stands for all.
pub(crate) fn llcs() -> Vec<String> {
    let cache = |index: &usize| format!("cache/index{index}/shared_cpu_list");
    let first = list(&format!("{CPUS}/online")).first().copied().unwrap_or(0);
    let there = |file: &String| !trimmed(&format!("{CPUS}/cpu{first}/{file}")).is_empty();
    let last = (0..).map(|index| cache(&index)).take_while(there).last();
    last.map(|file| groups(&file)).unwrap_or_default()
}

/// Every node that is online. None where the kernel has no NUMA.
pub(crate) fn nodes() -> Vec<NodeFacts> {
    let online = list(&format!("{NODES}/online"));
    // With one node there is nothing to compare.
    let zones = if online.len() > 1 { trimmed("/proc/zoneinfo") } else { String::new() };
    let facts = |node: usize| NodeFacts {
        node,
        cpus: trimmed(&format!("{NODES}/node{node}/cpulist")),
        memory_kib: (!zones.is_empty())
            .then(|| present_pages(&zones, node) * page_size() as u64 / 1024),
        distances: numbers(&trimmed(&format!("{NODES}/node{node}/distance"))),
    };
    online.into_iter().map(facts).collect()
}

/// Pages of a node by what the firmware says, those included that the kernel keeps for itself.
fn present_pages(zoneinfo: &str, node: usize) -> u64 {
    let (mut pages, mut of_node) = (0, false);
    for line in zoneinfo.lines() {
        if let Some(zone) = line.strip_prefix("Node ") {
            of_node = zone.split(',').next().and_then(|number| number.parse().ok()) == Some(node);
        } else if let Some(present) = line.trim_start().strip_prefix("present ") {
            pages += present.trim().parse().ok().filter(|_| of_node).unwrap_or(0);
        }
    }
    pages
}

fn numbers(text: &str) -> Vec<u8> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// A kernel list such as `0-3,8` in a file.
pub(crate) fn list(path: &str) -> Vec<usize> {
    numbers_in(&trimmed(path))
}

fn numbers_in(list: &str) -> Vec<usize> {
    parse_list(list).unwrap_or_default().into_iter().collect()
}

/// Empty if it cannot be read.
pub(crate) fn trimmed(path: &str) -> String {
    read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lists_have_ranges_and_may_be_empty() {
        assert_eq!(numbers_in("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(numbers_in("0"), [0]);
        assert!(numbers_in("").is_empty());
    }

    #[test]
    fn every_cpu_of_this_machine_is_in_one_group() {
        let cpus = list(&format!("{CPUS}/online"));
        for groups in
            [groups("topology/thread_siblings_list"), groups("topology/no_such_list"), llcs()]
        {
            let mut grouped: Vec<_> = groups.iter().flat_map(|group| numbers_in(group)).collect();
            grouped.sort_unstable();
            assert!(groups.is_empty() || grouped == cpus, "{groups:?} of {cpus:?}");
        }
        assert!(!groups("topology/thread_siblings_list").is_empty());
    }

    #[test]
    fn the_memory_of_a_node_is_that_of_all_its_zones() {
        let zoneinfo = "Node 0, zone      DMA\n  pages free     3\n        present  10\n        \
                        managed  9\nNode 0, zone    DMA32\n        present  20\nNode 1, zone   \
                        Normal\n        present  40\n      nr_present 7\nNode 10, zone   Normal\n        \
                        present  80\n";
        let pages = |node| present_pages(zoneinfo, node);
        assert_eq!([pages(0), pages(1), pages(10), pages(2)], [30, 40, 80, 0]);
    }
}
