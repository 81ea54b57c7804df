//! What a bundle consists of, as a table. Called by `archive`, which admits nothing else, and by
//! `pack`.

use std::collections::BTreeMap;

/// The files of a bundle by their names, in the order in which they are packed.
pub(super) type Members = BTreeMap<&'static str, Vec<u8>>;

/// A file that a bundle may have.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) mode: u32,
    /// In bytes.
    pub(super) largest: u64,
    pub(super) is_text: bool,
    /// Whether every bundle has it.
    pub(super) is_needed: bool,
}

pub(super) const README: &str = "README";
pub(super) const CONSOLE: &str = "console.log";
pub(super) const FRAMES: &str = "frames.log";
pub(super) const HOST: &str = "host.json";
pub(super) const INIT: &str = "init";
pub(super) const INITRAMFS: &str = "initramfs";
pub(super) const KERNEL: &str = "kernel";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const REPORT: &str = "report.json";
pub(super) const SCRIPT: &str = "run.sh";
pub(super) const SCENARIO_DISK: &str = "scenario.img";
pub(super) const SCENARIO: &str = "scenario.json";

const MIB: u64 = 1 << 20;

/// The largest kernels carry debug information, the largest reports those of 100,000 workers.
pub(super) const MEMBERS: &[Member] = &[
    text(README, MIB),
    binary(CONSOLE, 64 * MIB),
    binary(FRAMES, 256 * MIB),
    text(HOST, MIB),
    Member { mode: 0o755, ..binary(INIT, 64 * MIB) },
    Member { is_needed: false, ..binary(INITRAMFS, 256 * MIB) },
    Member { is_needed: false, ..binary(KERNEL, 512 * MIB) },
    text(MANIFEST, MIB),
    text(REPORT, 256 * MIB),
    Member { mode: 0o755, ..text(SCRIPT, MIB) },
    Member { is_needed: false, ..binary(SCENARIO_DISK, 4 * MIB) },
    text(SCENARIO, 4 * MIB),
];

/// Of all members together.
pub(super) const LARGEST_BUNDLE: u64 = 1024 * MIB;

const fn binary(name: &'static str, largest: u64) -> Member {
    Member { name, mode: 0o644, largest, is_text: false, is_needed: true }
}

const fn text(name: &'static str, largest: u64) -> Member {
    Member { is_text: true, ..binary(name, largest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_none_can_leave_its_folder() {
        assert!(MEMBERS.is_sorted_by(|one, next| one.name < next.name));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        assert!(MEMBERS.iter().all(|member| member.name.chars().all(plain)));
        assert!(MEMBERS.iter().all(|member| !member.name.starts_with('.')));
    }
}
