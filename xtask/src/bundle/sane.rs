//! Which values a manifest may have. They end in QEMU's arguments, in a shell script and on a
//! terminal, so that each is held to what the options of `vm` would take. Called by `open`, and
//! through it by `pack`.

use super::manifest::{FORMAT, Manifest};
use super::{foreign, shown};
use crate::qemu::{Accel, Turns};
use crate::run::{BootRecord, CMDLINE_BYTES, ConfigVia, Disk, LONGEST_PHASE_NS};
use anyhow::{Context as _, Result};
use regex::Regex;

const LONGEST_TEXT: usize = 1_000;
const LONGEST_NOTE: usize = 64 << 10;
const LONGEST_LIST: usize = 1_000;
const LARGEST_ICOUNT_SHIFT: u8 = 10;
const LARGEST_MEMORY_MIB: u64 = 1 << 20;
/// A guest may fill it.
const LARGEST_SCRATCH: u64 = 16 << 30;
/// Of a CPU model; all else of it is switches.
const VALUED_PROPERTIES: [&str; 4] = ["vendor", "family", "model", "stepping"];

pub(super) fn check(manifest: &Manifest) -> Result<()> {
    let Manifest { format, schedlab, boot, expected, note, members, .. } = manifest;
    ensure(*format == FORMAT, || format!("its format is {format}, {FORMAT} is known here"))?;
    text("schedlab", schedlab)?;
    let note = note.as_deref().unwrap_or_default();
    let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    ensure(note.len() <= LONGEST_NOTE && note.chars().all(plain), || {
        format!("its note is longer than {LONGEST_NOTE} bytes or has control characters")
    })?;
    list("checks", expected.checks.iter().map(|check| check.name.as_str()))?;
    members.values().try_for_each(|digest| hash("members", &digest.sha256))?;
    check_identity(boot)?;
    check_machine(boot)?;
    check_disk(boot)
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(foreign(format!("in its manifest, {}", why())).into()) }
}

/// One line that a terminal shows as it is.
fn text(field: &str, value: &str) -> Result<()> {
    ensure(value.len() <= LONGEST_TEXT && !value.chars().any(char::is_control), || {
        format!("`{field}` is longer than {LONGEST_TEXT} bytes or has control characters")
    })
}

fn list<'a>(field: &str, values: impl ExactSizeIterator<Item = &'a str>) -> Result<()> {
    ensure(values.len() <= LONGEST_LIST, || format!("`{field}` has over {LONGEST_LIST} entries"))?;
    for value in values {
        text(field, value)?;
    }
    Ok(())
}

fn hash(field: &str, value: &str) -> Result<()> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    ensure(value.len() == 64 && value.bytes().all(hex), || {
        format!("`{}` of `{field}` is no SHA-256", shown(value))
    })
}

/// Texts that are shown and compared, and lists of names.
fn check_identity(boot: &BootRecord) -> Result<()> {
    text("qemu", &boot.qemu)?;
    text("kernel.release", &boot.kernel.release)?;
    text("kernel.version", &boot.kernel.version)?;
    text("kernel.package", boot.kernel.package.as_deref().unwrap_or_default())?;
    hash("kernel", &boot.kernel.sha256)?;
    hash("initramfs_sha256", &boot.initramfs_sha256)?;
    hash("arguments_sha256", &boot.arguments_sha256)?;
    boot.snapshot.as_ref().map_or(Ok(()), |identity| hash("snapshot", identity))?;
    list("notes", boot.notes.iter().map(String::as_str))?;
    list("allow_splat", boot.allow_splat.iter().map(String::as_str))?;
    for pattern in &boot.allow_splat {
        let why = || foreign(format!("in its manifest, `{}` is no pattern", shown(pattern)));
        Regex::new(pattern).with_context(why)?;
    }
    for modules in [&boot.wanted_modules, &boot.modules, &boot.missing_modules] {
        list("modules", modules.iter().map(String::as_str))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        ensure(modules.iter().all(|name| !name.is_empty() && name.chars().all(plain)), || {
            "a module has a name that no module has".into()
        })?;
    }
    check_schedulers(boot)
}

/// They are shown, and say how long the guest may take.
fn check_schedulers(boot: &BootRecord) -> Result<()> {
    list("schedulers", boot.schedulers.iter().map(|scheduler| scheduler.name.as_str()))?;
    for scheduler in &boot.schedulers {
        text("schedulers.version", scheduler.version.as_deref().unwrap_or_default())?;
        text("schedulers.path", &scheduler.path)?;
        hash("schedulers", &scheduler.sha256)?;
        list("schedulers.args", scheduler.args.iter().map(String::as_str))?;
    }
    Ok(())
}

/// What becomes QEMU's arguments.
fn check_machine(boot: &BootRecord) -> Result<()> {
    let machine = || foreign("in its manifest, `machine` cannot be made");
    let layout = boot.machine.layout().with_context(machine)?;
    let memory = layout.memory_mib();
    ensure(memory <= LARGEST_MEMORY_MIB, || {
        format!("`machine` has {memory} MiB; {LARGEST_MEMORY_MIB} are the most")
    })?;
    if let Some(shift) = boot.icount_shift {
        ensure(shift <= LARGEST_ICOUNT_SHIFT, || {
            format!("`icount_shift` is {shift}; {LARGEST_ICOUNT_SHIFT} is the most")
        })?;
        ensure(boot.accel == Accel::Tcg, || "KVM counts no instructions".into())?;
        Turns::of(&boot.qemu).check(layout.topology()).with_context(machine)?;
        let is_alone = !matches!(boot.disk, Disk::Scratch { .. });
        ensure(is_alone && boot.scenario_via != ConfigVia::Disk, || {
            "a deterministic guest has a disk of the host".into()
        })?;
    }
    ensure(boot.order.is_some() == (boot.scenario_via == ConfigVia::FwCfg), || {
        "`order` is there, and `scenario_via` is not fw-cfg, or the other way round".into()
    })?;
    if let Some(order) = &boot.order {
        ensure(boot.icount_shift.is_some() && order.phase_ns <= LONGEST_PHASE_NS, || {
            "`order` is not one of a deterministic guest".into()
        })?;
    }
    ensure(boot.scenario_via != ConfigVia::Auto, || "`scenario_via` is undecided".into())?;
    let model = boot.cpu_model.as_deref();
    ensure(model.is_none_or(is_cpu_model), || {
        format!("`cpu_model` `{}` is no CPU model", shown(model.unwrap_or_default()))
    })?;
    let printable = |word: &String| word.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let length: usize = boot.kernel_args.iter().map(|word| word.len() + 1).sum();
    ensure(length < CMDLINE_BYTES && boot.kernel_args.iter().all(printable), || {
        format!("`kernel_args` are over {CMDLINE_BYTES} bytes or have other bytes than text")
    })?;
    ensure(boot.extra_args.iter().all(|arg| boot.kernel_args.contains(arg)), || {
        "`extra_args` has one that is not in `kernel_args`".into()
    })
}

fn check_disk(boot: &BootRecord) -> Result<()> {
    match boot.disk {
        Disk::None => Ok(()),
        Disk::Image { .. } => ensure(false, || "`disk` is a file of the host's".into()),
        Disk::Scratch { bytes } => ensure((1..=LARGEST_SCRATCH).contains(&bytes), || {
            format!("`disk` has {bytes} bytes; {LARGEST_SCRATCH} are the most")
        }),
        Disk::Memory { mib } => {
            let memory = boot.machine.layout()?.memory_mib();
            ensure((1..=memory / 2).contains(&mib), || {
                format!("`disk` has {mib} of {memory} MiB of memory; half are the most")
            })
        }
    }
}

/// A name, then switches as `+x`, `-x`, `x=on` and `x=off`, or numbers that say which CPU it is.
fn is_cpu_model(model: &str) -> bool {
    let plain = |text: &str| {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        first
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let property = |text: &str| match text.split_once('=') {
        Some((name, "on" | "off")) => plain(name),
        Some((name, value)) => VALUED_PROPERTIES.contains(&name) && plain(value),
        None => text.strip_prefix(['+', '-']).is_some_and(plain),
    };
    let mut parts = model.split(',');
    let name = parts.next().unwrap_or_default();
    plain(name) && name != "help" && parts.all(property)
}

#[cfg(test)]
mod tests {
    use super::is_cpu_model;

    #[test]
    fn a_cpu_model_is_a_name_and_switches() {
        for model in ["max", "EPYC-v4", "max,-rdrand,+x2apic,avx2=off", "max,family=6,model=28"] {
            assert!(is_cpu_model(model), "{model}");
        }
        for model in
            ["", "help", "?", "-x", "max,", "max,help", "max,hv-vendor-id=a", "a b", "max,/x"]
        {
            assert!(!is_cpu_model(model), "{model}");
        }
    }
}
