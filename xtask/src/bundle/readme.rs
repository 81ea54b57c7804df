//! `README` of a bundle: what it is, what was seen, how to see it again. Called by `pack`, and by
//! `open` to tell whether a stranger's is the same.

use super::manifest::Manifest;
use crate::report::RunReport;
use crate::run::BootRecord;
use guest_init::proto::Carried;
use std::fmt::Write as _;
use workloads::{Outcome, Scenario};

const UNPACK: &str = "\
With QEMU and a shell alone, in an empty folder:

    tar --zstd -xf BUNDLE
    sh run.sh

run.sh boots the kernel that is in here, writes to a new folder `replay`, compares what the guest
wrote with what was recorded, and exits with 0 if that is the same to the byte. Read it first if
you do not know the sender.
";

const SCHEDLAB: &str = "\
With schedlab, which checks every hash first, unpacks nothing, and says what differs:

    cargo xtask bundle show BUNDLE
    cargo xtask bundle run BUNDLE
    cargo xtask bundle run BUNDLE --kernel SPEC     is it fixed there?
    cargo xtask bundle run BUNDLE --gdb             QEMU waits for a debugger
";

pub(super) fn write(manifest: &Manifest, report: &RunReport, scenario: &Scenario) -> String {
    let mut text = format!("schedlab bundle: {}\n\n", one_line(&scenario.name));
    let _ = writeln!(text, "What was seen: {}", report.verdict.name());
    if let Some(advice) = &report.advice {
        let _ = writeln!(text, "  {}", one_line(advice));
    }
    for check in report.checks.iter().filter(|check| check.outcome == Outcome::Fail) {
        let of = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
        let (measured, bound) = (of(check.measured), of(check.bound));
        let _ = writeln!(text, "  {}: measured {measured}, bound {bound}", one_line(&check.name));
    }
    if !scenario.purpose.is_empty() {
        let _ = writeln!(text, "\nThe scenario: {}", one_line(&scenario.purpose));
    }
    if let Some(note) = &manifest.note {
        let _ = writeln!(text, "\nThe reporter's words:\n\n{}", note.trim_end());
    }
    text.push_str(&facts(manifest, report));
    let _ = writeln!(text, "\n{}\n{SCHEDLAB}", if manifest.has_kernel() { UNPACK } else { "" });
    text.trim_end().to_owned() + "\n"
}

fn facts(manifest: &Manifest, report: &RunReport) -> String {
    let boot = &manifest.boot;
    let machine = &report.machine;
    let package = boot.kernel.package.as_deref().unwrap_or("no package");
    let repeats = match (boot.icount_shift, manifest.ended_by_itself) {
        (Some(_), true) => "deterministic: the same QEMU gives the same bytes",
        (Some(_), false) => "deterministic until the host ended it",
        (None, _) => "not deterministic: look for the same verdict, not the same bytes",
    };
    format!(
        "\nKernel: Linux {} ({package})\n  {}\n  SHA-256 {}\nMachine: {} CPUs ({}), {} MiB, {}\nQEMU: {}\n{repeats}\n",
        boot.kernel.release,
        boot.kernel.version,
        boot.kernel.sha256,
        machine.cpus,
        one_line(&machine.topology),
        machine.memory_mib,
        one_line(&machine.accel),
        boot.qemu,
    ) + &schedulers(boot)
}

fn schedulers(boot: &BootRecord) -> String {
    let of = |scheduler: &Carried| {
        let version = scheduler.version.as_deref().unwrap_or_default();
        let words = [&scheduler.name, version, &scheduler.args.join(" ")].map(one_line).join(" ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("Scheduler: {words}\n  SHA-256 {}\n", scheduler.sha256)
    };
    boot.schedulers.iter().map(of).collect()
}

/// Without what would steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
