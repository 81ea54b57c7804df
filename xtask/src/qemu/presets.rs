//! Ready machines: the usual shapes by name, as data. Called by `machine` and `cmd::list`.

use super::machine::MachineTexts;
use serde::Serialize;
use std::str::FromStr;

const NONE: MachineTexts<'static> = MachineTexts::NONE;

/// A ready machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    #[serde(flatten)]
    pub(crate) machine: MachineTexts<'static>,
}

/// Each with when to choose it, and what it stands for in the words of the command line.
pub(crate) const PRESETS: &[Preset] = &[
    Preset {
        name: "one-cpu",
        text: "nothing runs in parallel, every wake-up competes",
        machine: MachineTexts { topology: Some("1s1c1t"), ..NONE },
    },
    Preset {
        name: "laptop",
        text: "one socket of SMT cores with one last-level cache",
        machine: MachineTexts { topology: Some("1s4c2t"), ..NONE },
    },
    Preset {
        name: "two-llc",
        text: "one socket, two last-level caches, as two core complexes",
        machine: MachineTexts { topology: Some("1s2l4c1t"), ..NONE },
    },
    Preset {
        name: "chiplets",
        text: "one socket, four last-level caches with two SMT cores each",
        machine: MachineTexts { topology: Some("1s4l2c2t"), ..NONE },
    },
    Preset {
        name: "sub-numa",
        text: "one socket, one last-level cache, two nodes (sub-NUMA clusters)",
        machine: MachineTexts {
            topology: Some("1s8c1t"),
            numa: Some("2"),
            numa_distance: Some("12"),
            ..NONE
        },
    },
    Preset {
        name: "two-socket",
        text: "two sockets of SMT cores, a node each",
        machine: MachineTexts {
            topology: Some("2s2c2t"),
            numa: Some("2"),
            numa_distance: Some("21"),
            ..NONE
        },
    },
    Preset {
        name: "four-node",
        text: "four nodes in two pairs, near and far: two levels of NUMA",
        machine: MachineTexts {
            topology: Some("4s2c1t"),
            numa: Some("4"),
            numa_distance: Some("32,0-1=16,2-3=16"),
            ..NONE
        },
    },
    Preset {
        name: "cxl",
        text: "one socket and a node that has memory only, as CXL memory",
        machine: MachineTexts {
            topology: Some("1s4c1t"),
            numa: Some("0-3,-:256M"),
            numa_distance: Some("24"),
            ..NONE
        },
    },
];

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PRESETS.iter().find(|preset| preset.name == text).copied();
        found.ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            format!("there are the machines {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::Layout;

    fn layout(texts: MachineTexts<'_>) -> Layout {
        texts.parse().unwrap().layout().unwrap()
    }

    #[test]
    fn every_ready_machine_can_be_made_and_has_a_name_of_its_own() {
        for (index, preset) in PRESETS.iter().enumerate() {
            let by_name = MachineTexts { machine: Some(preset.name), ..NONE };
            assert_eq!(layout(by_name), layout(preset.machine), "{}", preset.name);
            let named = PRESETS.iter().position(|other| other.name == preset.name);
            assert_eq!(named, Some(index), "{}", preset.name);
            assert_eq!(preset.machine.machine, None, "{}", preset.name);
        }
    }
}
