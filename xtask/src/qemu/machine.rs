//! What is asked of a guest's CPUs, nodes and memory: options of the command line, texts from
//! elsewhere, and how they combine. Called by `cli` and `cmd::vm`.

use super::layout::Layout;
use super::numa::{Distances, Numa};
use super::presets::Preset;
use super::topology::Topology;
use crate::error::Refusal;
use crate::units::parse_mib;
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

const DEFAULT_CPUS: usize = 2;
const MAX_CPUS: usize = 255;

/// What is asked for; the rest follows from it. Options of `vm`, and the same from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct MachineArgs {
    /// A ready machine; `cargo xtask list machines` shows them. The options below change it.
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<Preset>,
    /// Virtual CPUs: cores of one socket, or of as many sockets as there are equal nodes
    /// [default: 2].
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<Cpus>,
    /// Sockets, dies, last-level caches, cores and threads instead of --cpus, as 2s4c2t or
    /// 1s4l2c; each counts within the one before it, a missing part is 1. QEMU shares the L3 by
    /// die, so that an LLC is made as a die: 4l and 4d are the same guest.
    #[arg(long, value_name = "SHAPE", conflicts_with = "cpus")]
    pub(crate) topology: Option<Topology>,
    /// NUMA nodes: how many, which splits CPUs and memory evenly; or CPUs and memory of each, as
    /// 0-1:512M,2-3:512M,-:256M, where - is a memory-only node. A node without a size has an equal
    /// share of what the others leave of --memory [default: 1].
    #[arg(long, value_name = "N|NODES")]
    pub(crate) numa: Option<Numa>,
    /// Distances between nodes, the same both ways, as 0-1=16,2-3=16; a number alone is that of
    /// all other pairs [default: 20].
    #[arg(long, value_name = "DISTANCES")]
    pub(crate) numa_distance: Option<Distances>,
    /// Memory, as 512M or 2G [default: what the nodes of --numa have, else 1G].
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Memory>,
}

/// The same as text, in the form of the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MachineTexts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topology: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numa: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numa_distance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<&'a str>,
}

/// A number of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus(usize);

/// Memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(u64);

impl MachineArgs {
    /// What these say over what `below` says. A ready machine hides all that is below it, CPUs
    /// and a topology hide each other, and nodes hide the distances between other nodes.
    pub(crate) fn over(self, mut below: Self) -> Self {
        if self.machine.is_some() {
            return self;
        }
        if self.cpus.is_some() || self.topology.is_some() {
            (below.cpus, below.topology) = (None, None);
        }
        if self.numa.is_some() {
            below.numa_distance = None;
        }
        Self {
            machine: below.machine,
            cpus: self.cpus.or(below.cpus),
            topology: self.topology.or(below.topology),
            numa: self.numa.or(below.numa),
            numa_distance: self.numa_distance.or(below.numa_distance),
            memory: self.memory.or(below.memory),
        }
    }

    /// The machine that this stands for.
    pub(crate) fn layout(mut self) -> Result<Layout> {
        if let Some(preset) = self.machine.take() {
            self = self.over(preset.machine.parse()?);
        }
        let numa = self.numa.unwrap_or(Numa::Equal(1));
        let memory = self.memory.map(|Memory(mib)| mib);
        let layout = match (self.topology, self.cpus, &numa) {
            (Some(topology), ..) => Layout::new(topology, &numa, memory),
            (None, Some(Cpus(cpus)), _) => Layout::of_cpus(cpus, &numa, memory),
            (None, None, Numa::Nodes(nodes)) => {
                Layout::of_cpus(nodes.iter().map(|node| node.cpus).sum(), &numa, memory)
            }
            (None, None, Numa::Equal(_)) => Layout::of_cpus(DEFAULT_CPUS, &numa, memory),
        }?;
        match self.numa_distance {
            Some(distances) => layout.with_distances(distances),
            None => Ok(layout),
        }
    }
}

impl MachineTexts<'_> {
    /// Asks for nothing in particular.
    pub(crate) const NONE: Self = Self {
        machine: None,
        cpus: None,
        topology: None,
        numa: None,
        numa_distance: None,
        memory: None,
    };

    /// What these ask for. What is refused is named as the option is.
    pub(crate) fn parse(self) -> Result<MachineArgs> {
        Ok(MachineArgs {
            machine: option("machine", self.machine)?,
            cpus: option("cpus", self.cpus)?,
            topology: option("topology", self.topology)?,
            numa: option("numa", self.numa)?,
            numa_distance: option("numa-distance", self.numa_distance)?,
            memory: option("memory", self.memory)?,
        })
    }
}

impl fmt::Display for MachineTexts<'_> {
    /// As options of `vm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = [
            ("machine", self.machine),
            ("cpus", self.cpus),
            ("topology", self.topology),
            ("numa", self.numa),
            ("numa-distance", self.numa_distance),
            ("memory", self.memory),
        ];
        let given = options.into_iter().filter_map(|(name, text)| Some((name, text?)));
        given.enumerate().try_for_each(|(index, (name, text))| {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}--{name} {text}")
        })
    }
}

fn option<T: FromStr<Err = String>>(name: &str, text: Option<&str>) -> Result<Option<T>> {
    let refusal = |text: &str, why: String| {
        let fix = format!("change {name}; `cargo xtask vm --help` says what it may be");
        Refusal::input(format!("{name} `{text}`: {why}"), fix)
    };
    Ok(text.map(|text| text.parse().map_err(|why| refusal(text, why))).transpose()?)
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(cpus @ 1..=MAX_CPUS) => Ok(Self(cpus)),
            _ => Err(format!("give a number of CPUs from 1 to {MAX_CPUS}")),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_mib(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;

    const NONE: MachineTexts<'_> = MachineTexts::NONE;

    fn layout(texts: MachineTexts<'_>) -> Layout {
        texts.parse().unwrap().layout().unwrap()
    }

    /// CPUs, nodes, MiB and the distance of the first two nodes.
    fn shape(layout: &Layout) -> (String, usize, u64, u8) {
        let topology = layout.topology().to_string();
        (topology, layout.nodes(), layout.memory_mib(), layout.distance(0, 1))
    }

    #[test]
    fn nothing_asked_for_is_two_cpus_and_a_gigabyte() {
        assert_eq!(shape(&layout(NONE)), ("1s2c1t".into(), 1, 1024, 20));
    }

    #[test]
    fn described_nodes_say_how_many_cpus_there_are() {
        let nodes = MachineTexts { numa: Some("0-2:512M,3-5:512M,-:128M"), ..NONE };
        assert_eq!(shape(&layout(nodes)), ("2s3c1t".into(), 3, 1152, 20));
    }

    #[test]
    fn options_change_a_ready_machine() {
        let four = MachineTexts { machine: Some("four-node"), ..NONE };
        let changed = [
            (MachineTexts { memory: Some("2G"), ..four }, ("4s2c1t".into(), 4, 2048, 16)),
            (MachineTexts { cpus: Some("4"), ..four }, ("4s1c1t".into(), 4, 1024, 16)),
            // Distances between other nodes.
            (MachineTexts { numa: Some("2"), ..four }, ("4s2c1t".into(), 2, 1024, 20)),
            (MachineTexts { numa_distance: Some("40"), ..four }, ("4s2c1t".into(), 4, 1024, 40)),
        ];
        for (texts, expected) in changed {
            assert_eq!(shape(&layout(texts)), expected, "{texts}");
        }
    }

    #[test]
    fn what_is_above_hides_what_it_replaces_below() {
        let over = |above: MachineTexts<'_>, below: MachineTexts<'_>| {
            shape(&above.parse().unwrap().over(below.parse().unwrap()).layout().unwrap())
        };
        let below =
            MachineTexts { topology: Some("2s2c"), numa: Some("2"), memory: Some("512M"), ..NONE };
        let cpus = MachineTexts { cpus: Some("8"), ..NONE };
        assert_eq!(over(cpus, below), ("2s4c1t".into(), 2, 512, 20));
        assert_eq!(over(NONE, below), ("2s2c1t".into(), 2, 512, 20));
        let ready = MachineTexts { machine: Some("one-cpu"), ..NONE };
        assert_eq!(over(ready, below), ("1s1c1t".into(), 1, 1024, 20));
        assert_eq!(over(cpus, ready), ("1s8c1t".into(), 1, 1024, 20));
    }

    #[test]
    fn a_text_that_is_refused_is_named() {
        for (texts, name) in [
            (
                MachineTexts { machine: Some("x"), ..NONE },
                "machine `x`: there are the machines one-cpu,",
            ),
            (MachineTexts { cpus: Some("0"), ..NONE }, "cpus `0`: "),
            (MachineTexts { topology: Some("4"), ..NONE }, "topology `4`: "),
            (MachineTexts { numa: Some("0-"), ..NONE }, "numa `0-`: "),
            (MachineTexts { numa_distance: Some("0"), ..NONE }, "numa-distance `0`: "),
            (MachineTexts { memory: Some("1"), ..NONE }, "memory `1`: "),
        ] {
            let text = render(&texts.parse().unwrap_err());
            assert!(text.contains(name) && text.contains("fix: change"), "{text}");
        }
    }

    #[test]
    fn texts_are_shown_as_options() {
        let texts = MachineTexts { topology: Some("2s"), numa: Some("2"), ..NONE };
        assert_eq!(texts.to_string(), "--topology 2s --numa 2");
    }
}
