//! Whether the guest has what was asked for, by what its PID 1 found. Called by `run` for the
//! verdict and by `report` for the notes.

use super::layout::{CpuPlace, Layout, Node};
use guest_init::proto::Hello;
use std::fmt;

/// Something that is not as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    asked: String,
    has: String,
    /// Why it may be so; none if the guest has more, which is no reason not to judge it.
    reason: Option<&'static str>,
}

const LIMITED: &str = "a kernel argument or the kernel's configuration limits them";
const UNSEEN: &str = "this kernel does not see them on this CPU model; name an Intel one as \
                      --cpu-model, or none with --accel tcg";
const OTHER: &str = "this kernel, its arguments or this CPU model change what QEMU shows";
/// The firmware keeps some, and the hole below 1 MiB is no memory.
const FIRMWARE_KIB: u64 = 2 << 10;

impl Layout {
    /// Where the guest is not what was asked for, as far as it says. Only if it has as many of
    /// everything it matters which they are.
    pub(crate) fn differences(&self, hello: &Hello) -> Vec<Difference> {
        let counts = self.counts(hello);
        if counts.is_empty() { self.places_differ(hello) } else { counts }
    }

    fn counts(&self, hello: &Hello) -> Vec<Difference> {
        let topology = self.topology();
        let llcs = topology.sockets * topology.llcs_in_socket();
        let said = |groups: &[String]| (!groups.is_empty()).then_some(groups.len());
        let rows = [
            ("CPUs", self.cpus(), Some(hello.cpus), LIMITED),
            ("NUMA nodes", self.nodes(), Some(hello.nodes), LIMITED),
            ("sockets", topology.sockets, said(&hello.sockets), UNSEEN),
            // Guests of AMD CPUs under KVM have several LLCs in a die.
            ("dies", llcs, hello.dies.filter(|_| !topology.names_llcs()), UNSEEN),
            ("last-level caches", llcs, said(&hello.llcs), UNSEEN),
            ("threads a core", topology.threads, hello.threads_per_core, UNSEEN),
        ];
        let known = rows.into_iter().filter_map(|(what, asked, has, reason)| {
            let has = has.filter(|has| *has != asked)?;
            let reason = (has < asked).then_some(reason);
            Some(Difference { asked: format!("{asked} {what}"), has: has.to_string(), reason })
        });
        known.collect()
    }

    fn places_differ(&self, hello: &Hello) -> Vec<Difference> {
        let (asked, found) = (self.numa(), &hello.numa);
        let has_mib = found.iter().zip(asked).map(|(found, asked)| {
            found.memory_kib.map(|kib| mib(asked.memory_mib, kib).to_string())
        });
        let distances = |a| row((0..asked.len()).map(|b| self.distance(a, b)));
        let rows = [
            ("CPUs by core", self.groups(|place| place.core), hello.cores.clone()),
            ("CPUs by last-level cache", self.groups(|place| place.llc), hello.llcs.clone()),
            ("CPUs by socket", self.groups(|place| place.socket), hello.sockets.clone()),
            (
                "CPUs by node",
                asked.iter().map(Node::cpu_list).collect(),
                found.iter().map(|node| node.cpus.clone()).collect(),
            ),
            (
                "MiB by node",
                asked.iter().map(|node| node.memory_mib.to_string()).collect(),
                has_mib.collect::<Option<_>>().unwrap_or_default(),
            ),
            (
                "distances",
                (0..asked.len()).map(distances).collect(),
                found.iter().map(|node| row(node.distances.iter().copied())).collect(),
            ),
        ];
        let other = rows.into_iter().filter(|(_, asked, has)| !has.is_empty() && has != asked);
        other.map(|(what, asked, has)| Difference::of_lists(what, &asked, &has)).collect()
    }

    /// The CPUs with the same number by `of`, a kernel list each.
    fn groups(&self, of: fn(&CpuPlace) -> usize) -> Vec<String> {
        let places = self.places();
        let groups = places.chunk_by(|a, b| of(a) == of(b));
        groups.map(|group| cpu_list(group[0].cpu, group[group.len() - 1].cpu)).collect()
    }
}

impl Node {
    /// As the kernel writes it.
    fn cpu_list(&self) -> String {
        if self.cpus.is_empty() {
            return String::new();
        }
        cpu_list(self.cpus.start, self.cpus.end - 1)
    }
}

fn cpu_list(first: usize, last: usize) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn row(distances: impl Iterator<Item = u8>) -> String {
    distances.map(|distance| distance.to_string()).collect::<Vec<_>>().join(" ")
}

/// What the guest has in MiB: what was asked for, if only the firmware's part is missing.
fn mib(asked: u64, found_kib: u64) -> u64 {
    let missing = (asked << 10).checked_sub(found_kib);
    if missing.is_some_and(|kib| kib <= FIRMWARE_KIB) { asked } else { found_kib >> 10 }
}

impl Difference {
    fn of_lists(what: &str, asked: &[String], has: &[String]) -> Self {
        let shown = |lists: &[String]| {
            let lists = lists.iter().map(|list| if list.is_empty() { "-" } else { list });
            lists.collect::<Vec<_>>().join(" | ")
        };
        let asked = format!("{what} {}", shown(asked));
        Self { asked, has: shown(has), reason: Some(OTHER) }
    }

    /// Why the guest may have less or other than was asked for, if it has.
    pub(crate) fn shortfall(self) -> Option<String> {
        self.reason.map(|reason| format!("{self}: {reason}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} were asked for, the guest has {}", self.asked, self.has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::MachineTexts;
    use guest_init::proto::NodeFacts;

    fn asked() -> Layout {
        let texts = MachineTexts {
            topology: Some("2s1c2t"),
            numa: Some("0-1:256M,2-3:256M,-:128M"),
            numa_distance: Some("17,0-1=21"),
            ..MachineTexts::default()
        };
        texts.parse().unwrap().layout().unwrap()
    }

    fn node(node: usize, cpus: &str, memory_kib: u64, distances: [u8; 3]) -> NodeFacts {
        let (cpus, distances) = (cpus.to_owned(), distances.to_vec());
        NodeFacts { node, cpus, memory_kib: Some(memory_kib), distances }
    }

    /// A guest that has it all.
    fn same() -> Hello {
        let pairs = vec!["0-1".to_owned(), "2-3".to_owned()];
        Hello {
            cpus: 4,
            nodes: 3,
            threads_per_core: Some(2),
            dies: Some(2),
            cores: pairs.clone(),
            llcs: pairs.clone(),
            sockets: pairs,
            numa: vec![
                node(0, "0-1", (256 << 10) - 400, [10, 21, 17]),
                node(1, "2-3", 256 << 10, [21, 10, 17]),
                node(2, "", (128 << 10) - 1200, [17, 17, 10]),
            ],
            ..Hello::default()
        }
    }

    /// Differences from what was asked for, and whether they keep the run from being judged.
    fn found(change: impl FnOnce(&mut Hello)) -> Vec<(String, bool)> {
        let mut hello = same();
        change(&mut hello);
        let differences = asked().differences(&hello).into_iter();
        differences.map(|found| (found.to_string(), found.shortfall().is_some())).collect()
    }

    #[test]
    fn what_is_there_or_not_said_is_no_difference() {
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|h| (h.threads_per_core, h.dies) = (None, None)), []);
        assert_eq!(found(|h| h.llcs.clear()), []);
        assert_eq!(found(|h| h.numa.clear()), []);
        assert_eq!(found(|h| h.numa[1].memory_kib = None), []);
    }

    #[test]
    fn a_guest_with_less_is_told_from_one_with_more() {
        let text = "3 NUMA nodes were asked for, the guest has 1";
        assert_eq!(found(|h| h.nodes = 1), [(text.into(), true)]);
        let text = "2 dies were asked for, the guest has 4";
        assert_eq!(found(|h| h.dies = Some(4)), [(text.into(), false)]);
        let text = "2 last-level caches were asked for, the guest has 1";
        assert_eq!(found(|h| h.llcs = vec!["0-3".into()]), [(text.into(), true)]);
        let no_smt = found(|h| (h.cpus, h.threads_per_core) = (2, Some(1)));
        assert_eq!(no_smt.len(), 2, "{no_smt:?}");
    }

    #[test]
    fn who_asks_for_llcs_does_not_ask_for_dies() {
        let hello = Hello {
            cpus: 4,
            nodes: 1,
            dies: Some(1),
            llcs: vec!["0-1".into(), "2-3".into()],
            ..Hello::default()
        };
        let found = |topology, hello: &Hello| {
            let texts = MachineTexts { topology: Some(topology), ..MachineTexts::default() };
            let layout = texts.parse().unwrap().layout().unwrap();
            layout.differences(hello).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("1s2l2c", &hello), [""; 0]);
        assert_eq!(found("1s2d2c", &hello), ["2 dies were asked for, the guest has 1"]);
        let one = Hello { llcs: vec!["0-3".into()], ..hello };
        assert_eq!(found("1s2l2c", &one), ["2 last-level caches were asked for, the guest has 1"]);
    }

    #[test]
    fn as_many_but_others_are_not_what_was_asked_for() {
        let turn = || vec!["0,2".to_owned(), "1,3".to_owned()];
        for (found, text) in [
            (
                found(|h| h.llcs = turn()),
                "CPUs by last-level cache 0-1 | 2-3 were asked for, the guest has 0,2 | 1,3",
            ),
            (
                found(|h| h.cores = turn()),
                "CPUs by core 0-1 | 2-3 were asked for, the guest has 0,2 | 1,3",
            ),
            (
                found(|h| h.numa[2].cpus = "3".into()),
                "CPUs by node 0-1 | 2-3 | - were asked for, the guest has 0-1 | 2-3 | 3",
            ),
            (
                found(|h| h.numa[1].memory_kib = Some(200 << 10)),
                "MiB by node 256 | 256 | 128 were asked for, the guest has 256 | 200 | 128",
            ),
            (
                found(|h| h.numa[0].distances = vec![10, 20, 17]),
                "distances 10 21 17 | 21 10 17 | 17 17 10 were asked for, the guest has 10 20 17 \
                 | 21 10 17 | 17 17 10",
            ),
        ] {
            assert_eq!(found, [(text.to_owned(), true)]);
        }
    }
}
