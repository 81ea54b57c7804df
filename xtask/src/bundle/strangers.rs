//! What strangers may send: each is refused, with exit code 2, by name.

use super::fixture::{forged, open, parts, whole};
use super::manifest::Manifest;
use super::member::{
    CONSOLE, INITRAMFS, KERNEL, MANIFEST, Members, README, REPORT, SCENARIO, SCENARIO_DISK,
};
use super::pack::assemble;
use super::{Bundle, archive};
use crate::error::{exit, exit_code, render};
use crate::qemu::Accel;
use crate::run::{ConfigVia, Disk};
use anyhow::Result;
use guest_init::proto::Carried;
use std::io::Write as _;
use tar::{EntryType, Header};

#[track_caller]
fn refused(result: Result<Bundle>, why: &str) {
    let error = result.map(|_| ()).unwrap_err();
    let text = render(&error);
    assert_eq!(exit_code(&error), exit::BAD_INPUT, "{text}");
    assert!(text.contains(why), "`{why}` is not in: {text}");
    assert!(text.contains("\n  fix: "), "{text}");
}

/// An archive with one more member in front of those of a bundle.
fn with_entry(name: &[u8], kind: EntryType, bytes: &[u8], size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar.extend(archive::tar_of(&whole()).unwrap());
    archive::compress(&tar).unwrap()
}

fn entry(name: &str, kind: EntryType) -> Result<Bundle> {
    Bundle::read(with_entry(name.as_bytes(), kind, b"", 0).as_slice())
}

#[test]
fn a_bundle_is_read_and_packed_to_the_same_bytes() {
    let bytes = || assemble(parts()).unwrap();
    assert_eq!(bytes(), bytes());
    let bundle = Bundle::read(bytes().as_slice()).unwrap();
    assert!(bundle.is_rebuilt() && bundle.has_known_texts() && bundle.manifest.is_exact());
    assert!(bundle.readme().contains("The reporter's words:\n\nSee.\n"));
}

#[test]
fn members_that_no_bundle_has_are_refused() {
    let file = EntryType::Regular;
    refused(entry("/etc/passwd", file), "`/etc/passwd` points outside of it");
    refused(entry("../kernel", file), "`../kernel` points outside of it");
    refused(entry("a/../../kernel", file), "points outside of it");
    refused(entry("./kernel", file), "no bundle has a member `./kernel`");
    refused(entry("notes", file), "no bundle has a member `notes`");
    refused(entry("x\u{1b}[2J", file), r"no bundle has a member `x\u{1b}[2J`");
    refused(entry("kernel", EntryType::Symlink), "`kernel` is a link");
    refused(entry("kernel", EntryType::Link), "`kernel` is a link");
    refused(entry("kernel", EntryType::Char), "`kernel` is a device");
    refused(entry("kernel", EntryType::Block), "`kernel` is a device");
    refused(entry("kernel", EntryType::Fifo), "`kernel` is a pipe");
    refused(entry("kernel", EntryType::Directory), "`kernel` is a folder");
    refused(entry("kernel/", file), "`kernel/` is a folder");
    refused(entry("kernel", EntryType::GNUSparse), "of a kind that no bundle has");
    refused(entry("kernel", EntryType::GNULongName), "of a kind that no bundle has");
    refused(entry("kernel", EntryType::XHeader), "of a kind that no bundle has");
    refused(entry("kernel", file), "it has two members `kernel`");
    let bytes = with_entry(b"ker\xffnel", file, b"", 0);
    refused(Bundle::read(bytes.as_slice()), "is no UTF-8");
}

#[test]
fn sizes_that_explode_are_refused_before_they_are_unpacked() {
    let bytes = with_entry(b"README", EntryType::Regular, b"", u64::MAX >> 4);
    refused(Bundle::read(bytes.as_slice()), "its member `README` has 1152921504606846975 bytes");
    let bytes = with_entry(b"README", EntryType::Regular, b"", 1 << 20);
    refused(Bundle::read(bytes.as_slice()), "its member `README`");
    // 2 GiB of zeros behind the last member.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&archive::tar_of(&whole()).unwrap()).unwrap();
    let zeros = vec![0; 1 << 22];
    (0..512).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    refused(Bundle::read(bomb.as_slice()), "it unpacks to more than 1073741824 bytes");
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    let bytes = assemble(parts()).unwrap();
    for length in [0, 3, 40, bytes.len() / 2, bytes.len() - 1] {
        refused(Bundle::read(&bytes[..length]), "");
    }
    refused(Bundle::read(b"no archive".as_slice()), "is no archive: Unknown frame");
    let mut tar = archive::tar_of(&whole()).unwrap();
    tar.extend(b"more");
    refused(Bundle::read(archive::compress(&tar).unwrap().as_slice()), "something follows");
}

#[test]
fn hashes_that_do_not_hold_are_refused() {
    let changed = |name: &'static str, bytes: &[u8]| {
        let mut members = whole();
        members.insert(name, bytes.to_vec());
        members
    };
    refused(open(&changed(KERNEL, b"A kernel")), "the hash of its member `kernel`");
    refused(open(&changed(README, b"")), "the hash of its member `README`");
    refused(open(&changed(README, b"\xff")), "`README` is no UTF-8 text");
    let without = |name: &str| {
        let mut members = whole();
        members.remove(name);
        members
    };
    for name in [CONSOLE, MANIFEST, REPORT, SCENARIO, KERNEL] {
        refused(open(&without(name)), "it has");
    }
    refused(open(&forged(without(KERNEL), |_| {})), "a kernel or an initramfs, but not both");
    let other = forged(changed(KERNEL, b"another"), |_| {});
    refused(open(&other), "`kernel` is not what the run was booted with");
    let other = forged(changed(INITRAMFS, b"another"), |_| {});
    refused(open(&other), "`initramfs` is not what the run was booted with");
    let more = forged(changed(SCENARIO_DISK, b""), |_| {});
    refused(open(&more), "its scenario travels otherwise");
    let unknown = forged(whole(), |manifest| drop(manifest.members.remove(README)));
    refused(open(&unknown), "does not know its member `README`");
    let mut without_kernel = without(KERNEL);
    without_kernel.remove(INITRAMFS);
    assert!(!open(&forged(without_kernel, |_| {})).unwrap().manifest.has_kernel());
}

#[test]
fn a_report_or_a_scenario_that_lies_is_refused() {
    let with = |name: &'static str, text: String| -> Members {
        let mut members = whole();
        members.insert(name, text.into_bytes());
        forged(members, |_| {})
    };
    let report = String::from_utf8(whole()[REPORT].clone()).unwrap();
    let passed = report.replacen("\"fail\"", "\"pass\"", 1);
    refused(open(&with(REPORT, passed)), "its verdict is pass, but its check `progress` failed");
    let forge = |pointer: &str, value: serde_json::Value| {
        let mut forged: serde_json::Value = serde_json::from_str(&report).unwrap();
        *forged.pointer_mut(pointer).unwrap() = value;
        with(REPORT, forged.to_string())
    };
    let renamed = forge("/checks/0/name", "completed".into());
    refused(open(&renamed), "its report says otherwise than its manifest");
    let reseeded = forge("/scenario/seed", 9.into());
    refused(open(&reseeded), "its report is of another scenario");
    refused(open(&with(REPORT, "{}".into())), "its report is not one that is known");
    let scenario = r#"{"workload":{"num_workers":1000000000}}"#;
    refused(open(&with(SCENARIO, scenario.into())), "its scenario is refused");
    refused(open(&with(SCENARIO, r#"{"duration":"999years"}"#.into())), "its scenario is refused");
}

#[test]
fn absurd_values_in_a_manifest_are_refused() {
    let refuse = |change: fn(&mut Manifest), why: &str| {
        refused(open(&forged(whole(), change)), why);
    };
    refuse(|m| m.format = 2, "its format is 2");
    refuse(|m| m.schedlab = "\x1b[2J".into(), "`schedlab` is longer");
    refuse(|m| m.note = Some("\x07".into()), "its note is longer");
    refuse(|m| m.note = Some("x".repeat(70_000)), "its note is longer");
    refuse(|m| m.boot.qemu = "x".repeat(2_000), "`qemu` is longer");
    refuse(|m| m.boot.icount_shift = Some(11), "`icount_shift` is 11");
    refuse(|m| m.boot.accel = Accel::Kvm, "KVM counts no instructions");
    refuse(|m| m.boot.scenario_via = ConfigVia::Auto, "`scenario_via` is undecided");
    refuse(|m| m.boot.scenario_via = ConfigVia::Disk, "a disk of the host");
    refuse(|m| m.boot.cpu_model = Some("max,rom=/etc/passwd".into()), "is no CPU model");
    refuse(|m| m.boot.cpu_model = Some("max -monitor stdio".into()), "is no CPU model");
    refuse(|m| m.boot.kernel_args[0] = "a\0b".into(), "other bytes than text");
    refuse(|m| m.boot.kernel_args[0] = "a\nb".into(), "other bytes than text");
    refuse(|m| m.boot.kernel_args[0] = "a".repeat(3_000), "`kernel_args` are over");
    refuse(|m| m.boot.extra_args = vec!["nosmt".into()], "one that is not in `kernel_args`");
    refuse(|m| m.boot.modules[0] = "../x".into(), "a name that no module has");
    refuse(|m| m.boot.allow_splat[0] = "(".into(), "`(` is no pattern");
    refuse(|m| m.boot.kernel.sha256 = "A".repeat(64), "is no SHA-256");
    refuse(|m| m.boot.disk = Disk::Image { path: "/etc/passwd".into() }, "a file of the host's");
    refuse(|m| m.boot.disk = Disk::Memory { mib: 63 }, "half are the most");
    let scratch = |m: &mut Manifest| {
        m.boot.icount_shift = None;
        m.boot.disk = Disk::Scratch { bytes: 1 << 50 };
    };
    refuse(scratch, "17179869184 are the most");
}

#[test]
fn absurd_schedulers_are_refused() {
    let refuse = |change: fn(&mut Carried), why: &str| {
        let add = |m: &mut Manifest| {
            let mut scheduler = Carried { sha256: "0".repeat(64), ..Carried::default() };
            change(&mut scheduler);
            m.boot.schedulers.push(scheduler);
        };
        refused(open(&forged(whole(), add)), why);
    };
    refuse(|s| s.name = "\x1b[2J".into(), "`schedulers` is longer");
    refuse(|s| s.version = Some("1\n2".into()), "`schedulers.version` is longer");
    refuse(|s| s.args = vec!["x".repeat(2_000)], "`schedulers.args` is longer");
    refuse(|s| s.sha256 = "1".into(), "is no SHA-256");
    let mut members = whole();
    members.remove(INITRAMFS);
    members.remove(KERNEL);
    let add = |m: &mut Manifest| {
        m.boot.schedulers.push(Carried { sha256: "0".repeat(64), ..Carried::default() });
    };
    refused(open(&forged(members, add)), "a kernel or an initramfs, but not both");
}

#[test]
fn a_machine_that_options_would_not_make_is_refused() {
    let with = |field: &str, value: &str| {
        let mut json: serde_json::Value = serde_json::from_slice(&whole()[MANIFEST]).unwrap();
        json["boot"]["machine"][field] = value.into();
        let mut members = whole();
        members.insert(MANIFEST, json.to_string().into_bytes());
        open(&members)
    };
    refused(with("topology", "9999c"), "`machine` cannot be made");
    refused(with("topology", "2c,x=1"), "`machine` cannot be made");
    refused(with("numa", "0-1:64M,mem=1"), "`machine` cannot be made");
    refused(with("numa", "0-1:9999999G"), "are the most");
    refused(with("numa_distance", "1"), "`machine` cannot be made");
    refused(with("kvm", "1"), "unknown field `kvm`");
}

#[test]
fn the_script_quotes_what_a_forger_wrote() {
    let mut parts = parts();
    parts.boot.kernel_args[0] = "';reboot;'".into();
    let scenario = crate::run::resolved(&parts.scenario).unwrap();
    let guest = parts.boot.guest(&scenario).unwrap();
    parts.boot.arguments_sha256 = crate::run::arguments_sha256(&guest);
    let bundle = Bundle::read(assemble(parts).unwrap().as_slice()).unwrap();
    let script = String::from_utf8_lossy(bundle.member("run.sh")).into_owned();
    assert!(script.contains(r"-append ''\'';reboot;'\'' tsc"), "{script}");
}
