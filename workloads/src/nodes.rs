//! NUMA nodes of this machine as sysfs shows them. Called by the worker prologue, by work types
//! that go round nodes, and for the pages in a report.

use crate::list;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};

const DIR: &str = "/sys/devices/system/node";

/// The CPUs of node `node`, or what the attempt to read them says. None for a memory-only node.
pub(crate) fn cpus(node: usize) -> Result<Vec<usize>, Error> {
    read(&format!("node{node}/cpulist"))
}

/// Nodes that are online; node 0 alone where the kernel has no NUMA.
pub(crate) fn online() -> Vec<usize> {
    read("online").unwrap_or_else(|_| vec![0])
}

/// Nodes that have memory for ordinary use.
pub(crate) fn with_memory() -> Vec<usize> {
    read("has_memory").unwrap_or_else(|_| vec![0])
}

/// The CPUs of each online node that has any of `allowed`.
pub(crate) fn within(allowed: &[usize]) -> Vec<Vec<usize>> {
    let all = online().into_iter().map(|node| cpus(node).unwrap_or_default());
    let within = all.map(|cpus| cpus.into_iter().filter(|cpu| allowed.contains(cpu)).collect());
    within.filter(|cpus: &Vec<usize>| !cpus.is_empty()).collect()
}

/// Pages of the calling process by node: the sums of `N<node>=` in /proc/self/numa_maps, less
/// those of files. The page cache of a program is where it was first read, by whomever.
pub(crate) fn pages_of_process() -> Result<BTreeMap<usize, u64>, String> {
    const PATH: &str = "/proc/self/numa_maps";
    let text = std::fs::read_to_string(PATH).map_err(|e| format!("read({PATH}) failed: {e}"))?;
    Ok(sum_pages(&text))
}

fn sum_pages(numa_maps: &str) -> BTreeMap<usize, u64> {
    let mut pages = BTreeMap::new();
    let anonymous = numa_maps.lines().filter(|mapping| !mapping.contains(" file="));
    for field in anonymous.flat_map(str::split_whitespace) {
        let counted = field.strip_prefix('N').and_then(|field| field.split_once('='));
        let Some((node, count)) = counted else { continue };
        if let (Ok(node), Ok(count)) = (node.parse(), count.parse::<u64>()) {
            *pages.entry(node).or_insert(0) += count;
        }
    }
    pages
}

fn read(file: &str) -> Result<Vec<usize>, Error> {
    let text = std::fs::read_to_string(format!("{DIR}/{file}"))?;
    let numbers = list::parse(&text).map_err(|why| Error::new(ErrorKind::InvalidData, why))?;
    Ok(numbers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_memory_are_summed_by_node_and_those_of_files_left_out() {
        let text = "55a0 default file=/bin/x mapped=3 N0=2 N1=1 kernelpagesize_kB=4\n\
                    5600 default heap anon=3 dirty=3 N0=2 N1=1 kernelpagesize_kB=4\n\
                    7ffc bind:1 anon=4 dirty=4 N1=4 kernelpagesize_kB=4\n";
        assert_eq!(sum_pages(text), [(0, 2), (1, 5)].into());
        assert_eq!(sum_pages("7ffc default\n"), BTreeMap::new());
    }

    #[test]
    fn a_node_that_is_not_there_is_an_error() {
        assert!(cpus(99_999).is_err());
        assert!(!online().is_empty() && !with_memory().is_empty());
    }
}
