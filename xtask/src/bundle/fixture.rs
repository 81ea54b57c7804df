//! A small bundle for the tests of this folder, and the parts to make other ones of.

use super::manifest::Manifest;
use super::member::{
    CONSOLE, FRAMES, HOST, INIT, INITRAMFS, KERNEL, MANIFEST, Members, REPORT, SCENARIO,
};
use super::pack::{Parts, members};
use super::{Bundle, archive};
use crate::files::sha256;
use crate::report::RunReport;
use crate::run::{BootRecord, arguments_sha256, resolved};
use anyhow::Result;
use guest_init::frame::Encoder;
use serde_json::json;
use workloads::Scenario;

/// All that its guest sent.
const END: &str = r#"{"kind":"end","reports":0}"#;
/// What a guest wrote.
pub(super) const CONSOLE_LOG: &[u8] = b"[    0.000000] Linux\r\n[    1.500000] init\r\n";

pub(super) fn parts() -> Parts {
    let scenario = Scenario::parse(r#"{"name":"small","duration":"200ms"}"#).unwrap();
    let report = report(&scenario);
    let (kernel, initramfs) = (b"a kernel".to_vec(), b"an initramfs".to_vec());
    let mut boot: BootRecord = serde_json::from_value(json!({
        "qemu": "7.2", "accel": "tcg", "icount_shift": 1, "cpu_model": null,
        "machine": {"topology": "1s2c1t", "numa": "0-1:64M", "numa_distance": null},
        "disk": {"memory": {"mib": 8}}, "scenario_via": "cmdline",
        "kernel_args": ["console=ttyS0", "tsc=reliable", "no_timer_check", "panic=-1"],
        "kernel": {"release": "6.1", "version": "#1", "sha256": sha256(&kernel), "package": null},
        "initramfs_sha256": sha256(&initramfs), "wanted_modules": ["null_blk"],
        "modules": ["null_blk"], "missing_modules": [], "notes": [], "allow_splat": ["x+"],
        "arguments_sha256": ""
    }))
    .unwrap();
    let guest = boot.guest(&resolved(&scenario).unwrap()).unwrap();
    boot.arguments_sha256 = arguments_sha256(&guest);
    let members = Members::from([
        (CONSOLE, CONSOLE_LOG.to_vec()),
        (FRAMES, Encoder::default().encode(END).into_bytes()),
        (HOST, b"{}\n".to_vec()),
        (INIT, b"an init".to_vec()),
        (INITRAMFS, initramfs),
        (KERNEL, kernel),
        (REPORT, serde_json::to_vec(&report).unwrap()),
        (SCENARIO, resolved(&scenario).unwrap().into_bytes()),
    ]);
    Parts { boot, ended_by_itself: true, note: Some("See.\n".into()), report, scenario, members }
}

pub(super) fn report(scenario: &Scenario) -> RunReport {
    serde_json::from_value(json!({
        "schema": 1, "verdict": "fail", "advice": "not as expected",
        "kernel": {"release": "6.1", "version": "#1", "sha256": "", "features": [],
            "modules": [], "missing_modules": []},
        "machine": {"cpus": 2, "topology": "1s2c1t", "memory_mib": 64, "accel": "tcg",
            "deterministic": true, "qemu": "7.2"},
        "scenario": scenario, "checks": [{"name": "progress", "outcome": "fail", "unit": "iterations", "workers": [], "detail": ""}],
        "workers": [], "splats": [], "notes": [],
        "totals": {"workers": 0, "iterations": 0, "work_units": 0, "cpu_time_ns": 0, "wall_time_ns": 0,
            "latency": {}},
    }))
    .unwrap()
}

/// Everything in the small bundle.
pub(super) fn whole() -> Members {
    members(parts()).unwrap()
}

/// Reads a bundle of these members.
pub(super) fn open(members: &Members) -> Result<Bundle> {
    Bundle::read(archive::write(members).unwrap().as_slice())
}

/// The members with a manifest that knows them, as a forger would make them; `change` forges more.
pub(super) fn forged(mut members: Members, change: impl FnOnce(&mut Manifest)) -> Members {
    let mut manifest: Manifest = serde_json::from_slice(&members[MANIFEST]).unwrap();
    members.remove(MANIFEST);
    manifest.members = super::manifest::Digest::of_all(&members);
    change(&mut manifest);
    members.insert(MANIFEST, serde_json::to_vec(&manifest).unwrap());
    members
}
