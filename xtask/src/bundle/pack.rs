//! From a run folder to a bundle. Called by `cmd::bundle`.

use super::manifest::{Digest, Expected, FORMAT, Manifest};
use super::member::{
    CONSOLE, FRAMES, HOST, INIT, INITRAMFS, KERNEL, MANIFEST, Members, README, REPORT, SCENARIO,
    SCENARIO_DISK, SCRIPT,
};
use super::{Bundle, archive, readme, script};
use crate::error::Refusal;
use crate::files::{Kind, Output, sha256};
use crate::image;
use crate::report::RunReport;
use crate::run::{BootRecord, Disk, HostFacts, Timings, arguments_sha256, resolved};
use crate::terminal::cleaned;
use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use workloads::Scenario;

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) bytes: usize,
    pub(crate) sha256: String,
}

/// What a bundle is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) boot: BootRecord,
    pub(super) ended_by_itself: bool,
    pub(super) note: Option<String>,
    pub(super) report: RunReport,
    pub(super) scenario: Scenario,
    /// All that needs no words of ours.
    pub(super) members: Members,
}

/// `host.json` in a bundle: what of the host may matter, without its paths.
#[derive(Debug, Serialize)]
struct HostExcerpt<'a> {
    started: &'a str,
    qemu: &'a str,
    accel_reason: &'a str,
    host_release: &'a str,
    host_cpus: usize,
    load_average: &'a str,
    timings: Option<Timings>,
}

/// Packs the run in the folder `run` into the file `out`.
pub(crate) fn pack(
    run: &Path,
    out: &Output,
    note: Option<String>,
    with_kernel: bool,
) -> Result<Packed> {
    let context = || format!("pack_bundle(`{}`) failed", run.display());
    let bytes = parts(run, note, with_kernel).and_then(assemble).with_context(context)?;
    // What could not be read again is not handed out.
    Bundle::read(bytes.as_slice()).with_context(context)?;
    out.write(&bytes)?;
    Ok(Packed { bytes: bytes.len(), sha256: sha256(&bytes) })
}

fn parts(run: &Path, note: Option<String>, with_kernel: bool) -> Result<Parts> {
    let boot: BootRecord = parse(run, "boot.json")?;
    let host: HostFacts = parse(run, HOST)?;
    let (report, _) = RunReport::load(run)?;
    let scenario: Scenario = parse(run, SCENARIO)?;
    refuse_another(&boot, &report, &scenario)?;
    let report = cleaned(&report)?;
    if let Disk::Image { path } = &boot.disk {
        let message =
            format!("the run used the disk image `{}`, which may be anything", path.display());
        let fix = "run it with a scratch disk, as --disk 64M, and pack that run";
        return Err(Refusal::input(message, fix).into());
    }
    let excerpt = HostExcerpt {
        started: &host.started,
        qemu: &host.qemu,
        accel_reason: &host.accel_reason,
        host_release: &host.host_release,
        host_cpus: host.host_cpus,
        load_average: &host.load_average,
        timings: host.timings,
    };
    let mut members = Members::new();
    for (name, kind) in [(CONSOLE, Kind::CONSOLE), (FRAMES, Kind::FRAMES), (REPORT, Kind::REPORT)] {
        members.insert(name, kind.read(&run.join(name))?);
    }
    if run.join(SCENARIO_DISK).exists() {
        members.insert(SCENARIO_DISK, Kind::OF_RUN.read(&run.join(SCENARIO_DISK))?);
    }
    members.insert(HOST, (serde_json::to_string_pretty(&excerpt)? + "\n").into_bytes());
    // As the guest got it: one line, to the byte.
    members.insert(SCENARIO, resolved(&scenario)?.into_bytes());
    let initramfs = booted(&host.initramfs, &boot.initramfs_sha256)?;
    members.insert(INIT, image::init_of(&initramfs)?);
    if with_kernel {
        members.insert(KERNEL, booted(&host.kernel_image, &boot.kernel.sha256)?);
    }
    // Schedulers are nowhere else.
    if with_kernel || !boot.schedulers.is_empty() {
        members.insert(INITRAMFS, initramfs);
    }
    let ended_by_itself = host.ended_by_itself.unwrap_or(false);
    Ok(Parts { boot, ended_by_itself, note, report, scenario, members })
}

/// What was booted is what is reported.
fn refuse_another(boot: &BootRecord, report: &RunReport, scenario: &Scenario) -> Result<()> {
    let kernel = boot.kernel.sha256 == report.kernel.sha256;
    let parts = [("boot.json", kernel), (SCENARIO, *scenario == report.scenario)];
    match parts.into_iter().find(|(_, is_same)| !is_same) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("its {name} and its {REPORT} are of two runs");
            Err(Refusal::input(message, "run it again, and pack that run").into())
        }
    }
}

/// The bytes of the bundle that these parts make.
pub(super) fn assemble(parts: Parts) -> Result<Vec<u8>> {
    archive::write(&members(parts)?)
}

/// Everything that the bundle of these parts has in it.
pub(super) fn members(parts: Parts) -> Result<Members> {
    let Parts { boot, ended_by_itself, note, report, scenario, mut members } = parts;
    let guest = boot.guest(&resolved(&scenario)?)?;
    if arguments_sha256(&guest) != boot.arguments_sha256 {
        let message = "this schedlab boots guests otherwise than the one that made the run";
        return Err(Refusal::input(message, "run it again, and pack that run").into());
    }
    let mut manifest = Manifest {
        format: FORMAT,
        schedlab: env!("CARGO_PKG_VERSION").to_owned(),
        expected: Expected::of(report.verdict, &report.checks),
        boot,
        ended_by_itself,
        note,
        members: Digest::of_all(&members),
    };
    members.insert(README, readme::write(&manifest, &report, &scenario).into_bytes());
    members.insert(SCRIPT, script::write(&manifest, &guest).into_bytes());
    manifest.members = Digest::of_all(&members);
    members.insert(MANIFEST, (serde_json::to_string_pretty(&manifest)? + "\n").into_bytes());
    Ok(members)
}

fn parse<T: DeserializeOwned>(run: &Path, name: &str) -> Result<T> {
    serde_json::from_slice(&Kind::OF_RUN.read(&run.join(name))?).with_context(|| {
        let message = format!("parse(`{}`) failed", run.join(name).display());
        Refusal::input(message, "another schedlab made this run: run it again, and pack that run")
    })
}

/// A file that the run was booted with, if it is still the same.
fn booted(path: &Path, expected: &str) -> Result<Vec<u8>> {
    let refusal = |what: &str| {
        Refusal::input(
            format!("`{}`, which the run was booted with, {what}", path.display()),
            "run it again, which makes or fetches what is missing, and pack that run",
        )
    };
    let bytes = Kind::IMAGE.read(path).with_context(|| refusal("cannot be read"))?;
    match sha256(&bytes) == expected {
        true => Ok(bytes),
        false => Err(refusal("has changed since").into()),
    }
}
