//! A bundle that was read and found whole. There is no other way to a [`Bundle`] than through
//! these checks. Called by `cmd::bundle`, and by `pack`, so that nothing is packed that cannot be
//! read.

use super::manifest::{Digest, Expected, Manifest};
use super::member::{
    FRAMES, INITRAMFS, KERNEL, MANIFEST, MEMBERS, Members, README, REPORT, SCENARIO, SCENARIO_DISK,
    SCRIPT,
};
use super::{archive, damaged, foreign, readme, sane, script};
use crate::files::{Kind, sha256};
use crate::qemu::Guest;
use crate::report::RunReport;
use crate::run::{ConfigVia, arguments_sha256};
use crate::terminal::cleaned;
use anyhow::{Context as _, Result};
use std::io::Read;
use std::path::Path;
use workloads::{Plan, Scenario};

/// Every hash in it holds, every value is one that may be.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) manifest: Manifest,
    pub(crate) report: RunReport,
    pub(crate) scenario: Scenario,
    /// What the scenario comes to on the bundle's machine.
    pub(super) resolved: Plan,
    /// The guest, with the files of the bundle.
    pub(super) guest: Guest,
    members: Members,
}

impl Bundle {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let context = || format!("open_bundle(`{}`) failed", path.display());
        Kind::BUNDLE.open(path).and_then(Self::read).with_context(context)
    }

    pub(super) fn read(source: impl Read) -> Result<Self> {
        let members = archive::read(source)?;
        let manifest: Manifest = serde_json::from_slice(member(&members, MANIFEST)?)
            .with_context(|| foreign("its manifest is not one that is known here"))?;
        sane::check(&manifest)?;
        check_hashes(&manifest, &members)?;
        let text = str::from_utf8(member(&members, SCENARIO)?).context("UTF-8")?;
        let scenario = Scenario::parse(text)
            .map_err(|error| foreign(format!("its scenario is refused: {error}")))?;
        let resolved = scenario
            .plan(&manifest.boot.machine.layout()?.resolved())
            .map_err(|broken| foreign(format!("its scenario is refused: {broken}")))?;
        let frames = Some(member(&members, FRAMES)?);
        let report = RunReport::checked(member(&members, REPORT)?, frames)
            .with_context(|| foreign("its report is not one that is known here"))?;
        if report.scenario != scenario {
            return Err(foreign("its report is of another scenario").into());
        }
        let report = cleaned(&report)?;
        if Expected::of(report.verdict, &report.checks) != manifest.expected {
            return Err(foreign("its report says otherwise than its manifest").into());
        }
        let guest = manifest.boot.guest(text)?;
        Ok(Self { manifest, report, scenario, resolved, guest, members })
    }

    /// A member that every bundle has.
    pub(crate) fn member(&self, name: &str) -> &[u8] {
        self.members.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether this program boots the guest as the one did that recorded it.
    pub(crate) fn is_rebuilt(&self) -> bool {
        arguments_sha256(&self.guest) == self.manifest.boot.arguments_sha256
    }

    /// Whether `run.sh` and `README` are what this program would write.
    pub(crate) fn has_known_texts(&self) -> bool {
        self.is_rebuilt()
            && self.member(SCRIPT) == script::write(&self.manifest, &self.guest).as_bytes()
            && self.member(README) == self.readme().as_bytes()
    }

    /// What it is in plain text, as this program would write it.
    pub(crate) fn readme(&self) -> String {
        readme::write(&self.manifest, &self.report, &self.scenario)
    }
}

fn member<'a>(members: &'a Members, name: &str) -> Result<&'a [u8]> {
    let found = members.get(name).map(Vec::as_slice);
    Ok(found.ok_or_else(|| damaged(format!("it has no member `{name}`")))?)
}

/// The members are those of the manifest, to the byte.
fn check_hashes(manifest: &Manifest, members: &Members) -> Result<()> {
    for needed in MEMBERS.iter().filter(|needed| needed.is_needed) {
        member(members, needed.name)?;
    }
    // Schedulers are in the initramfs alone.
    let with_image = members.contains_key(KERNEL) || !manifest.boot.schedulers.is_empty();
    if with_image != members.contains_key(INITRAMFS) {
        return Err(foreign("it has a kernel or an initramfs, but not both").into());
    }
    let by_disk = manifest.boot.scenario_via == ConfigVia::Disk;
    if by_disk != members.contains_key(SCENARIO_DISK) {
        return Err(foreign("its scenario travels otherwise than its manifest says").into());
    }
    for name in manifest.members.keys() {
        member(members, name)?;
    }
    for (name, bytes) in members.iter().filter(|(name, _)| **name != MANIFEST) {
        let Some(digest) = manifest.members.get(*name) else {
            return Err(foreign(format!("its manifest does not know its member `{name}`")).into());
        };
        if *digest != Digest::of(bytes) {
            let why = format!("the hash of its member `{name}` is not that of its manifest");
            return Err(damaged(why).into());
        }
    }
    let boot = &manifest.boot;
    for (name, expected) in [(KERNEL, &boot.kernel.sha256), (INITRAMFS, &boot.initramfs_sha256)] {
        if members.get(name).is_some_and(|bytes| sha256(bytes) != *expected) {
            let why = format!("its member `{name}` is not what the run was booted with");
            return Err(foreign(why).into());
        }
    }
    Ok(())
}
