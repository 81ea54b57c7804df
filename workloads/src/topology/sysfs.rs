//! The topology that sysfs shows. The files are the same on a host and in a guest. Called by
//! [`Topology::read`].

use super::{Cpu, Topology};
use crate::list;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) fn read() -> Result<Topology, String> {
    Sysfs(Path::new("/sys/devices/system")).topology()
}

/// The folder that describes CPUs and nodes.
struct Sysfs<'a>(&'a Path);

impl Sysfs<'_> {
    fn topology(&self) -> Result<Topology, String> {
        let online = self.list("cpu/online")?;
        let node_of = self.nodes_of_cpus()?;
        let mut cpus = Vec::new();
        for id in online {
            let core = self
                .first(&format!("cpu/cpu{id}/topology/core_cpus_list"))
                // The name until Linux 5.2.
                .or_else(|_| self.first(&format!("cpu/cpu{id}/topology/thread_siblings_list")))?;
            let llc = self.llc(id)?;
            cpus.push(Cpu { id, core, llc, node: node_of.get(&id).copied().unwrap_or(0) });
        }
        // A kernel without NUMA has no such file, and all memory in node 0.
        let memory_nodes = self.list("node/has_memory").unwrap_or_else(|_| [0].into());
        Ok(Topology::new(cpus, memory_nodes))
    }

    /// The first CPU of the last cache of this one. Some virtual CPUs show no cache: there the
    /// package stands in.
    fn llc(&self, id: usize) -> Result<usize, String> {
        let entries = std::fs::read_dir(self.path(&format!("cpu/cpu{id}/cache")));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        let caches = names.filter_map(|name| {
            let cache = format!("cpu/cpu{id}/cache/{}", name.to_str()?);
            let level: u32 = self.read(&format!("{cache}/level")).ok()?.trim().parse().ok()?;
            Some((level, self.first(&format!("{cache}/shared_cpu_list")).ok()?))
        });
        match caches.max() {
            Some((_, first)) => Ok(first),
            // The package's CPUs, by a name that all kernels have.
            None => self.first(&format!("cpu/cpu{id}/topology/core_siblings_list")),
        }
    }

    fn nodes_of_cpus(&self) -> Result<BTreeMap<usize, usize>, String> {
        let mut node_of = BTreeMap::new();
        // A kernel without NUMA has no such file.
        for node in self.list("node/online").unwrap_or_default() {
            let cpus = self.list(&format!("node/node{node}/cpulist"))?;
            node_of.extend(cpus.into_iter().map(|cpu| (cpu, node)));
        }
        Ok(node_of)
    }

    /// The lowest number of a list.
    fn first(&self, file: &str) -> Result<usize, String> {
        let numbers = self.list(file)?;
        numbers.first().copied().ok_or_else(|| self.failed(file, "it names no CPU"))
    }

    fn list(&self, file: &str) -> Result<BTreeSet<usize>, String> {
        list::parse(&self.read(file)?).map_err(|why| self.failed(file, &why))
    }

    fn read(&self, file: &str) -> Result<String, String> {
        std::fs::read_to_string(self.path(file)).map_err(|e| self.failed(file, &e.to_string()))
    }

    fn failed(&self, file: &str, why: &str) -> String {
        format!("read({}) failed: {why}; is sysfs mounted on /sys?", self.path(file).display())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_getaffinity};
    use std::fs;
    use tempfile::TempDir;

    /// A tree of these files.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    fn read(root: &TempDir) -> Result<Topology, String> {
        Sysfs(root.path()).topology()
    }

    #[test]
    fn siblings_caches_and_nodes_are_found() {
        let root = tree(&[
            ("cpu/online", "0-1,3"),
            ("cpu/cpu0/topology/core_cpus_list", "0,3"),
            ("cpu/cpu1/topology/core_cpus_list", "1"),
            ("cpu/cpu3/topology/core_cpus_list", "0,3"),
            ("cpu/cpu0/cache/index3/level", "3"),
            ("cpu/cpu0/cache/index3/shared_cpu_list", "0,3"),
            ("cpu/cpu1/cache/index2/level", "2"),
            ("cpu/cpu1/cache/index2/shared_cpu_list", "1"),
            ("cpu/cpu3/cache/index0/level", "1"),
            ("cpu/cpu3/cache/index0/shared_cpu_list", "3"),
            ("cpu/cpu3/cache/index3/level", "3"),
            ("cpu/cpu3/cache/index3/shared_cpu_list", "0,3"),
            ("node/online", "0-2"),
            ("node/has_memory", "0,2"),
            ("node/node0/cpulist", "0,3"),
            ("node/node1/cpulist", "1"),
            ("node/node2/cpulist", ""),
        ]);
        let cpu = |id, core, node| Cpu { id, core, llc: core, node };
        let expected = Topology::new(vec![cpu(0, 0, 0), cpu(1, 1, 1), cpu(3, 0, 0)], [0, 2].into());
        assert_eq!(read(&root), Ok(expected));
    }

    #[test]
    fn without_caches_the_package_stands_in_and_without_nodes_node_0() {
        let cpu = |id: usize| {
            let core = format!("cpu/cpu{id}/topology/thread_siblings_list");
            let package = format!("cpu/cpu{id}/topology/core_siblings_list");
            [(core, id.to_string()), (package, String::from(if id < 2 { "0-1" } else { "2-3" }))]
        };
        let files: Vec<_> = (0..4).flat_map(cpu).collect();
        let files = files.iter().map(|(file, text)| (file.as_str(), text.as_str()));
        let root = tree(&files.chain([("cpu/online", "0-3")]).collect::<Vec<_>>());
        let topology = read(&root).unwrap();
        assert_eq!(topology.llcs(), [BTreeSet::from([0, 1]), [2, 3].into()]);
        assert_eq!(topology.cores().len(), 4, "the old name of the siblings is known");
        assert_eq!(topology.nodes(), [topology.cpus()]);
        assert_eq!(topology.memory_nodes(), &[0].into());
    }

    #[test]
    fn a_file_that_is_missing_or_no_list_is_named() {
        let why = read(&tree(&[])).unwrap_err();
        assert!(why.contains("cpu/online) failed") && why.contains("sysfs"), "{why}");
        let why = read(&tree(&[("cpu/online", "0"), ("cpu/cpu0/topology/core_cpus_list", "none")]));
        assert!(why.unwrap_err().contains("_list) failed"));
    }

    #[test]
    fn this_machine_has_the_cpus_that_this_thread_may_use() {
        let topology = Topology::read().unwrap();
        let allowed = sched_getaffinity(None).unwrap();
        let allowed: BTreeSet<_> =
            (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let cpus = topology.cpus();
        assert!(!cpus.is_empty() && cpus.intersection(&allowed).next().is_some(), "{topology}");
        for sets in [topology.cores(), topology.llcs(), topology.nodes()] {
            assert_eq!(sets.iter().map(BTreeSet::len).sum::<usize>(), cpus.len(), "{topology}");
        }
    }
}
