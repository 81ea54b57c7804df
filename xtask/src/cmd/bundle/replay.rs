//! `xtask bundle run`: checks a bundle, boots what is in it, and compares.

use super::super::kernel::refuse_unfit;
use super::super::vm;
use crate::bundle::{Bundle, Difference, Judgement, Outcome, Replayed, first_unlike, judge};
use crate::cli::BundleRunArgs;
use crate::error::{Refusal, exit};
use crate::kernel::{self, Kernel};
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::qemu::{
    self, Accel, AccelChoice, Attempt, Bounds, Confinement, Decision, GDB_HOST, Gdb, Guest, Turns,
    Wish, needs_kvm,
};
use crate::run::{BootPlan, BootRecord, Console, Folder, Limits, Observed, Stop, watch};
use crate::snapshot::Start;
use anyhow::{Context as _, Result};
use regex::Regex;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Where gdb users look first.
const GDB_PORT: u16 = 1234;

pub(super) fn run(args: &BundleRunArgs, paths: &Paths) -> Result<u8> {
    let bundle = Bundle::open(&args.file)?;
    let qemu = qemu::version()?;
    refuse_small_host(&bundle)?;
    refuse_old_qemu(&bundle, &qemu)?;
    let interrupted = vm::end_on_signals()?;
    let progress = Progress::new();
    let other = args.kernel.as_ref().map(|spec| other_kernel(spec, &bundle, paths, &progress));
    let other = match other {
        Some(kernel) => Some(kernel?),
        None => bundle.need_kernel().map(|()| None)?,
    };
    let folder = Folder::create(args.out.as_deref(), &bundle.scenario.name, paths)?;
    let plan = bundle.plan(other, &qemu, &folder, paths, &progress)?;
    let decision = accelerator(&bundle.manifest.boot, &qemu, paths)?;
    let attempt = &decision.attempt;
    let mut facts = vm::host_facts(&plan, &qemu, &decision);
    let mut guest =
        Guest { gdb: gdb(args, &bundle)?, until: args.until, ..plan.guest(attempt, &folder)? };
    let start = Start::cold(&guest, folder.path())?;
    guest.memory = start.memory(&guest.layout);
    write_inputs(&bundle, &plan, &guest, &qemu, &folder)?;
    let limits = plan.limits(guest.accel, args.hang_after);
    facts.limits = Some(limits);
    folder.write_json("host.json", &facts)?;
    let confinement = confinement(&guest, &folder, &progress)?;
    let bounds = Bounds { cpu: plan.host_cpu(), confinement: Some(&confinement) };
    let limits = if guest.gdb.is_some() { Limits::none() } else { limits };
    progress.step(format!("booting Linux {} ({})", plan.kernel.release, guest.accel.name()));
    let seen = boot(&bundle, (&guest, start), bounds, limits, interrupted, &progress)?;
    tell_of_stop(&bundle, &seen, &progress);
    let (stop, stopped_at_s) = (seen.stop, seen.stopped_at_s);
    let report = vm::finish(&plan, attempt, facts, seen, &folder, &progress)?;
    drop(progress);
    let replayed = Replayed {
        report,
        report_json: read(&folder.path().join("report.json"))?,
        console: read(&folder.console())?,
        frames: read(&folder.frames())?,
        accel: attempt.accel,
        kernel_sha256: plan.kernel.sha256,
        initramfs_sha256: plan.image.sha256,
        ended_by_itself: matches!(stop, Stop::Ended(_)),
        was_debugged: args.gdb,
    };
    if stop == Stop::Reached {
        return print_stopped(&bundle, &replayed, stopped_at_s.unwrap_or_default(), &folder);
    }
    let judgement = judge(&bundle, &replayed);
    print(&judgement, args.json, &folder)?;
    Ok(judgement.exit_code())
}

/// The memory of the guest is there before anything is written.
fn refuse_small_host(bundle: &Bundle) -> Result<()> {
    let wanted = bundle.manifest.boot.machine.layout()?.memory_mib();
    let text = std::fs::read_to_string("/proc/meminfo").context("read(/proc/meminfo) failed")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: u64 = total.and_then(|t| t.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    if wanted <= kib / 1024 {
        return Ok(());
    }
    let message = format!("the guest has {wanted} MiB of memory, this host {}", kib / 1024);
    Err(Refusal::host(message, "replay it on a larger host").into())
}

/// Where the recorded one was newer, this one may not give turns to as many vCPUs.
fn refuse_old_qemu(bundle: &Bundle, qemu: &str) -> Result<()> {
    let boot = &bundle.manifest.boot;
    match boot.icount_shift {
        Some(_) => Turns::of(qemu).check(boot.machine.layout()?.topology()),
        None => Ok(()),
    }
}

fn other_kernel(spec: &str, bundle: &Bundle, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    let kernel = kernel::resolve(spec, paths, progress)?;
    refuse_unfit(&kernel)?;
    let recorded = &bundle.manifest.boot.kernel;
    if kernel.sha256 == recorded.sha256 {
        progress.step("this is the kernel of the bundle, by its SHA-256");
    } else {
        progress.step(format!(
            "Linux {} is not the kernel of the bundle, which is {}, SHA-256 {}",
            kernel.release,
            recorded.name(),
            recorded.sha256
        ));
    }
    Ok(kernel)
}

/// The recorded one if it works here.
fn accelerator(boot: &BootRecord, qemu: &str, paths: &Paths) -> Result<Decision> {
    let cpu_model = boot.cpu_model.clone();
    let recorded = Attempt { accel: boot.accel, cpu_model: cpu_model.clone() };
    if boot.accel == Accel::Tcg {
        return Ok(Decision::as_recorded(recorded));
    }
    let here = AccelChoice::Auto.decide(Wish { qemu, cpu_model: None }, paths)?;
    let of_this_host = cpu_model.as_deref().is_none_or(needs_kvm);
    Ok(match (here.is_proven_kvm(), of_this_host) {
        // What of it this host can give.
        (true, true) => Decision::as_recorded(here.attempt),
        (true, false) => Decision::as_recorded(recorded),
        (false, _) => Decision::emulated(
            cpu_model.filter(|model| !needs_kvm(model)),
            &format!("no guest has lived under KVM here: {}", here.reason),
        ),
    })
}

/// The usual port, or any that is free. A debugger would lose a guest that goes on in another QEMU, so that it finds one that
/// stops where it stands then.
fn gdb(args: &BundleRunArgs, bundle: &Bundle) -> Result<Option<Gdb>> {
    let is_at_boot = args.until.is_some() || bundle.manifest.boot.snapshot.is_none();
    let bind = |port| TcpListener::bind((GDB_HOST, port));
    let free = || -> std::io::Result<Gdb> {
        let port = bind(GDB_PORT).or_else(|_| bind(0))?.local_addr()?.port();
        Ok(Gdb { port, is_awaited: args.until.is_none(), is_at_boot })
    };
    args.gdb
        .then(free)
        .transpose()
        .with_context(|| Refusal::host(format!("bind({GDB_HOST}) failed"), "leave out --gdb"))
}

/// With these the folder is a run folder like any other.
fn write_inputs(
    bundle: &Bundle,
    plan: &BootPlan,
    guest: &Guest,
    qemu: &str,
    folder: &Folder,
) -> Result<()> {
    folder.write_json("scenario.json", &plan.scenario)?;
    folder.write_arguments(&qemu::arguments(guest), plan.host_cpu())?;
    let allowed = &bundle.manifest.boot.allow_splat;
    folder.write_json("boot.json", &BootRecord::new(plan, guest, qemu, allowed))
}

/// The kernel is a stranger's.
fn confinement(guest: &Guest, folder: &Folder, progress: &Progress) -> Result<Confinement> {
    let confinement = Confinement::to(folder.path(), guest.gdb.map(|gdb| gdb.port))?;
    confinement.gaps()?.into_iter().for_each(|gap| progress.step(gap));
    Ok(confinement)
}

fn boot(
    bundle: &Bundle,
    (guest, start): (&Guest, Start),
    bounds: Bounds<'_>,
    limits: Limits,
    interrupted: &AtomicBool,
    progress: &Progress,
) -> Result<Observed> {
    let patterns = bundle.manifest.boot.allow_splat.iter();
    let allowed = patterns.map(|text| Regex::new(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(Gdb { port, is_awaited, is_at_boot }) = guest.gdb {
        let when = match (is_awaited, is_at_boot) {
            (true, true) => "now",
            (true, false) => "once the guest stands before its scenario",
            (false, _) => "once the guest is stopped",
        };
        progress.step(format!("{when}: gdb VMLINUX -ex 'target remote {GDB_HOST}:{port}'"));
    }
    watch((guest, start), bounds, limits, Console::new(allowed, false), interrupted, progress)
}

/// Whether a difference, if there is one, comes before the scenario or after it.
fn tell_of_stop(bundle: &Bundle, seen: &Observed, progress: &Progress) {
    let recorded = bundle.manifest.boot.snapshot.as_ref();
    let Some((recorded, here)) = recorded.zip(seen.snapshot.as_ref()) else { return };
    progress.step(match recorded == here {
        true => "at its stop, before the scenario, the guest was the recorded one",
        false => {
            "at its stop, before the scenario, the guest was already another one than recorded"
        }
    });
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read(`{}`) failed", path.display()))
}

fn print(judgement: &Judgement, json: bool, folder: &Folder) -> Result<()> {
    if json {
        return json_to_stdout(judgement);
    }
    to_stdout(|out| {
        let (recorded, now) = (judgement.recorded.name(), judgement.now.name());
        match judgement.outcome {
            Outcome::Exactly => writeln!(out, "reproduced exactly: {now}, the same bytes")?,
            Outcome::Reproduced => writeln!(out, "reproduced: {now}, with the same checks")?,
            Outcome::NotReproduced if now == recorded => {
                writeln!(out, "not reproduced: {now} as recorded, but not the same run")?;
            }
            Outcome::NotReproduced => writeln!(out, "not reproduced: {now}; recorded {recorded}")?,
        }
        for [name, then, now] in &judgement.checks {
            writeln!(out, "  check {name}: {now}; recorded {then}")?;
        }
        if let Some(difference) = &judgement.first_difference {
            print_difference(difference, out)?;
        }
        match (judgement.outcome, judgement.reasons.as_slice()) {
            (Outcome::Exactly, _) => {}
            (_, []) => writeln!(out, "  nothing that is known explains it")?,
            (_, reasons) => writeln!(out, "  why it may differ: {}", reasons.join("; "))?,
        }
        Ok(writeln!(out, "run folder: {}", folder.path().display())?)
    })
}

fn print_difference(difference: &Difference, out: &mut impl Write) -> Result<()> {
    let Difference { file, place, recorded, now, guest_time } = difference;
    let time = guest_time.as_ref().map(|time| format!(" at {time} of the guest"));
    writeln!(out, "  first difference: {file} {place}{}", time.unwrap_or_default())?;
    writeln!(out, "    recorded: {recorded}")?;
    Ok(writeln!(out, "    here:     {now}")?)
}

/// What there is of a guest that did not run to its end can only be compared as far as it goes.
fn print_stopped(bundle: &Bundle, replayed: &Replayed, at_s: f64, folder: &Folder) -> Result<u8> {
    let difference = first_unlike(bundle, replayed);
    to_stdout(|out| {
        writeln!(out, "stopped at {at_s:.3} s of the guest")?;
        match &difference {
            None => writeln!(out, "so far the console is the recorded one")?,
            Some(difference) => print_difference(difference, out)?,
        }
        Ok(writeln!(out, "run folder: {}", folder.path().display())?)
    })?;
    Ok(if difference.is_none() { exit::PASS } else { exit::FAIL })
}
