//! A machine as `boot.json` and bundles write it down: the words of the command line with nothing
//! left to a default, read back by the same parsers. Called by `run::BootRecord`.

use super::layout::{Layout, Node};
use super::machine::MachineTexts;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// CPUs, nodes and memory in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineRecord {
    topology: String,
    numa: String,
    numa_distance: Option<String>,
}

impl MachineRecord {
    pub(crate) fn of(layout: &Layout) -> Self {
        let node = |Node { cpus, memory_mib }: &Node| match cpus.is_empty() {
            true => format!("-:{memory_mib}M"),
            false => format!("{}-{}:{memory_mib}M", cpus.start, cpus.end - 1),
        };
        let nodes: Vec<_> = layout.numa().iter().map(node).collect();
        let pairs = (0..layout.nodes()).flat_map(|a| (a + 1..layout.nodes()).map(move |b| (a, b)));
        let distance = |(a, b)| format!("{a}-{b}={}", layout.distance(a, b));
        let distances = || pairs.map(distance).collect::<Vec<_>>().join(",");
        Self {
            topology: layout.topology().to_string(),
            numa: nodes.join(","),
            numa_distance: layout.has_distances().then(distances),
        }
    }

    /// Refuses what options would not be taken with.
    pub(crate) fn layout(&self) -> Result<Layout> {
        let texts = MachineTexts {
            topology: Some(&self.topology),
            numa: Some(&self.numa),
            numa_distance: self.numa_distance.as_deref(),
            ..MachineTexts::NONE
        };
        texts.parse()?.layout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::PRESETS;

    #[test]
    fn every_machine_comes_back_as_it_was() {
        for preset in PRESETS {
            let layout = preset.machine.parse().unwrap().layout().unwrap();
            let again = MachineRecord::of(&layout).layout().unwrap();
            assert_eq!(layout.arguments(), again.arguments(), "{}", preset.name);
            assert_eq!(layout.places(), again.places(), "{}", preset.name);
        }
    }
}
