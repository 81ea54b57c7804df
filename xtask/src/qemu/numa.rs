//! NUMA nodes as users write them: how many, or which CPUs and how much memory each has, and how
//! far they are from each other. Whether they fit a topology is for `layout` to say.

use crate::units::parse_mib;
use std::str::FromStr;

/// As many as QEMU has room for.
const MAX_NODES: usize = 128;
/// More than any topology has.
const MAX_CPUS: usize = 1 << 16;
/// What Linux takes a node's distance to itself to be, and to others where the firmware is silent.
const LOCAL: u8 = 10;
const REMOTE: u8 = 20;
/// A CPU list's place in a node without CPUs.
const NO_CPUS: &str = "-";

/// What `--numa` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Numa {
    /// So many equal nodes.
    Equal(usize),
    /// These nodes, which have all CPUs in order; those without any come last.
    Nodes(Vec<NodeText>),
}

/// A node as the user describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeText {
    /// None in a memory-only node.
    pub(super) cpus: usize,
    /// Where it is not given, an equal share of what the others leave.
    pub(super) mib: Option<u64>,
}

/// How far nodes are from each other, the same both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distances {
    pairs: Vec<(usize, usize, u8)>,
    others: u8,
}

impl FromStr for Numa {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "give a number of nodes, or nodes as 0-1:512M,2-3:512M,-:256M";
        if let Ok(nodes) = text.parse() {
            return match nodes {
                1..=MAX_NODES => Ok(Self::Equal(nodes)),
                _ => Err(format!("a guest has 1 to {MAX_NODES} nodes")),
            };
        }
        let (mut nodes, mut next) = (Vec::new(), 0);
        for part in text.split(',') {
            let (list, size) = part.split_once(':').map_or((part, None), |(l, s)| (l, Some(s)));
            let cpus = match list {
                NO_CPUS => 0,
                _ => {
                    let (first, last) = cpu_range(list).ok_or(FORMS)?;
                    in_order(&nodes, first, next)?;
                    next = last + 1;
                    next - first
                }
            };
            nodes.push(NodeText { cpus, mib: size.map(node_mib).transpose()? });
        }
        match nodes.len() {
            _ if next == 0 => Err("the first node needs CPUs".into()),
            1..=MAX_NODES => Ok(Self::Nodes(nodes)),
            _ => Err(format!("a guest has 1 to {MAX_NODES} nodes")),
        }
    }
}

/// Linux numbers nodes by their first CPU, and those without CPUs after them. In any other order
/// a node would have another number in the guest than here.
fn in_order(before: &[NodeText], first: usize, next: usize) -> Result<(), String> {
    let node = before.len();
    if before.iter().any(|node| node.cpus == 0) {
        return Err(format!(
            "node {node} has CPUs and follows one that has none; Linux numbers nodes with CPUs \
             first, so put the memory-only ones last"
        ));
    }
    if first == next {
        return Ok(());
    }
    Err(format!(
        "node {node} begins with CPU {first}, it must be {next}: nodes have all CPUs in order, \
         which is how Linux numbers them"
    ))
}

/// First and last CPU of `0-3` or `2`.
fn cpu_range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < MAX_CPUS).then_some((first, last))
}

fn node_mib(text: &str) -> Result<u64, String> {
    parse_mib(text).map_err(|why| format!("a node's memory: {why}"))
}

impl Default for Distances {
    /// What Linux assumes where the firmware says nothing.
    fn default() -> Self {
        Self { pairs: Vec::new(), others: REMOTE }
    }
}

impl FromStr for Distances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        let mut others = None;
        for part in text.split(',') {
            if part.parse::<u64>().is_ok() {
                if others.replace(remote(part)?).is_some() {
                    return Err("give one distance for all other pairs".into());
                }
                continue;
            }
            let (a, b, distance) = pair(part)
                .ok_or("give distances as 0-1=16, or as 30,0-1=16 where all others are 30")?;
            if a == b {
                return Err(format!("node {a} is at {LOCAL} from itself, as all nodes are"));
            }
            if all.given(a, b).is_some() {
                return Err(format!(
                    "nodes {a} and {b} have two distances; it is the same both ways"
                ));
            }
            all.pairs.push((a, b, remote(distance)?));
        }
        all.others = others.unwrap_or(REMOTE);
        Ok(all)
    }
}

/// `0-1=16`, the distance yet unread.
fn pair(part: &str) -> Option<(usize, usize, &str)> {
    let (nodes, distance) = part.split_once('=')?;
    let (a, b) = nodes.split_once('-')?;
    let node = |text: &str| text.parse().ok().filter(|node| *node < MAX_NODES);
    Some((node(a)?, node(b)?, distance))
}

/// A distance that Linux takes between two nodes; a table with any other is ignored as a whole.
fn remote(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(distance @ 11..=254) => Ok(distance),
        _ => Err(format!(
            "`{text}` is no distance: between two nodes it is a number from 11 to 254, a node is \
             at {LOCAL} from itself"
        )),
    }
}

impl Distances {
    fn given(&self, a: usize, b: usize) -> Option<u8> {
        let same = |(x, y, _): &&(usize, usize, u8)| (*x, *y) == (a, b) || (*x, *y) == (b, a);
        self.pairs.iter().find(same).map(|(.., distance)| *distance)
    }

    pub(super) fn between(&self, a: usize, b: usize) -> u8 {
        if a == b { LOCAL } else { self.given(a, b).unwrap_or(self.others) }
    }

    /// The highest node that is named.
    pub(super) fn highest_node(&self) -> Option<usize> {
        self.pairs.iter().map(|(a, b, _)| *a.max(b)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numa(text: &str) -> Result<Vec<(usize, Option<u64>)>, String> {
        match text.parse()? {
            Numa::Equal(nodes) => Ok(vec![(0, None); nodes]),
            Numa::Nodes(nodes) => Ok(nodes.iter().map(|node| (node.cpus, node.mib)).collect()),
        }
    }

    #[test]
    fn nodes_are_counted_or_described() {
        assert_eq!("4".parse(), Ok(Numa::Equal(4)));
        let described = numa("0-2:512M,3:1G,-:256M").unwrap();
        assert_eq!(described, [(3, Some(512)), (1, Some(1024)), (0, Some(256))]);
        assert_eq!(numa("0-1,2-3,-:256M").unwrap(), [(2, None), (2, None), (0, Some(256))]);
        assert_eq!(numa("0-3").unwrap(), [(4, None)]);
    }

    #[test]
    fn nodes_in_another_order_than_linux_numbers_them_are_refused() {
        for (text, why) in [
            ("-:256M,0-1", "put the memory-only ones last"),
            ("2-3,0-1", "begins with CPU 2, it must be 0"),
            ("0-1,3-4", "node 1 begins with CPU 3, it must be 2"),
            ("0-1,1-2", "node 1 begins with CPU 1, it must be 2"),
            ("-:256M", "the first node needs CPUs"),
        ] {
            let text = numa(text).unwrap_err();
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        for text in ["", "x", "0-", "1-0,2", "0-1;2-3", "0-1:", "0-1:5", "0-1:1M", "0", "129", "-1"]
        {
            assert!(numa(text).is_err(), "{text}");
        }
        assert!(numa("0-1 2-3").unwrap_err().contains("as 0-1:512M"));
    }

    #[test]
    fn a_distance_is_the_same_both_ways_and_others_have_the_one_that_stands_alone() {
        let all: Distances = "30,0-1=16,3-2=17".parse().unwrap();
        let row = |a| [0, 1, 2, 3].map(|b| all.between(a, b));
        assert_eq!([row(0), row(3)], [[10, 16, 30, 30], [30, 30, 17, 10]]);
        assert_eq!((all.between(2, 3), all.highest_node()), (17, Some(3)));
        let some: Distances = "0-1=16".parse().unwrap();
        assert_eq!((some.between(1, 0), some.between(1, 2)), (16, 20));
    }

    #[test]
    fn distances_that_linux_would_not_take_are_refused() {
        for (text, why) in [
            ("0-1=10", "from 11 to 254"),
            ("0-1=255", "from 11 to 254"),
            ("9", "from 11 to 254"),
            ("0-0=10", "at 10 from itself"),
            ("0-1=16,1-0=17", "two distances"),
            ("20,30", "one distance"),
            ("0=16", "as 0-1=16"),
            ("0-1", "as 0-1=16"),
            ("0-1=x", "no distance"),
            ("0-128=20", "as 0-1=16"),
            ("", "as 0-1=16"),
        ] {
            let text = text.parse::<Distances>().unwrap_err();
            assert!(text.contains(why), "{text}");
        }
    }
}
