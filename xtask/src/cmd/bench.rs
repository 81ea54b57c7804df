//! `xtask bench`: the measurements that the documentation quotes, repeatable by anyone. Ratios
//! and differences are taken in turn, because machines are noisy.

mod compare;
mod guest;
mod hop_table;
mod hops;
mod kernels;
mod latency;
mod latency_table;
mod rivals;
mod warm;
mod work_types;

use super::vm;
use crate::cli::{BenchCommand, VmArgs};
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::run::Verdict;
use crate::units::show_ns;
use anyhow::{Context as _, Result, bail};
use compare::Spread;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use xshell::{Shell, cmd};

/// The shortest run that still has a worker and a report.
const SHORT: &str = r#"{"name":"bench","duration":"50ms"}"#;

pub(crate) fn run(command: &BenchCommand, paths: &Paths) -> Result<u8> {
    match command {
        BenchCommand::Boots { count } => boots(*count, paths),
        BenchCommand::Overhead { count } => overhead(*count, paths),
        BenchCommand::Kernels { kernel, against, count } => {
            kernels::run([kernel, against], *count, paths)
        }
        BenchCommand::Hops { kernel } => hops::run(kernel.as_deref(), paths),
        BenchCommand::Latency { kernel, schbench } => {
            latency::run(kernel.as_deref(), schbench.as_deref(), paths)
        }
        BenchCommand::Warm { other, count } => warm::run(other, *count),
        BenchCommand::WorkTypes { count } => work_types::run(*count, paths),
    }
}

/// Boots again and again in the default mode. Run folders of lost guests stay.
fn boots(count: u32, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let mut verdicts: BTreeMap<String, u32> = BTreeMap::new();
    let mut times = Vec::new();
    let (mut release, mut accel) = (String::new(), String::new());
    for boot in 1..=count {
        let out = dir.path().join(boot.to_string());
        let begun = Instant::now();
        let (report, folder) =
            vm::run_once(&vm_args(&out, dir.path())?, paths, &Progress::silent())?;
        times.push(begun.elapsed().as_secs_f64());
        *verdicts.entry(report.verdict.name()).or_default() += 1;
        if report.verdict != Verdict::Pass {
            let advice = report.advice.unwrap_or_default();
            progress.step(format!("boot {boot}: {}: {advice}", report.verdict.name()));
            folder.keep(&paths.runs)?;
        }
        progress.update(format!("{boot} of {count} boots"));
        (release, accel) = (report.kernel.release, report.machine.accel);
    }
    drop(progress);
    to_stdout(|out| {
        writeln!(out, "{count} boots of Linux {release}, {accel}: {verdicts:?}")?;
        Ok(writeln!(out, "from command to report: {}", show(&Spread::of(&times)))?)
    })?;
    let passed = verdicts.get(&Verdict::Pass.name()).copied().unwrap_or(0);
    Ok(if passed == count { exit::PASS } else { exit::GUEST })
}

/// `cargo xtask vm` against QEMU with the very same arguments, in turn.
fn overhead(count: u32, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let warm = dir.path().join("warm");
    vm::run_once(&vm_args(&warm, dir.path())?, paths, &progress)?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..count {
        progress.update(format!("round {} of {count}", round + 1));
        ours.push(time_command(&dir.path().join(round.to_string()), dir.path(), paths)?);
        bare.push(time_qemu(&warm.join("qemu.args"))?);
    }
    drop(progress);
    let (ours, bare) = (Spread::of(&ours), Spread::of(&bare));
    to_stdout(|out| {
        writeln!(out, "cargo xtask vm:      {}", show(&ours))?;
        writeln!(out, "QEMU alone, same guest: {}", show(&bare))?;
        Ok(writeln!(out, "added (medians): {:.2} s", ours.median - bare.median)?)
    })?;
    Ok(exit::PASS)
}

fn time_command(out: &Path, dir: &Path, paths: &Paths) -> Result<f64> {
    let sh = Shell::new()?;
    sh.change_dir(&paths.repo);
    let config = dir.join("bench.json");
    let begun = Instant::now();
    cmd!(sh, "cargo xtask vm --config {config} --out {out}")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Runs a `qemu.args` file as a shell would.
fn time_qemu(script: &Path) -> Result<f64> {
    let begun = Instant::now();
    let status = std::process::Command::new("sh")
        .arg(script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("starting sh failed")?;
    if !status.success() {
        bail!("`sh {}` failed: {status}", script.display());
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn vm_args(out: &Path, dir: &Path) -> Result<VmArgs> {
    let config = dir.join("bench.json");
    std::fs::write(&config, SHORT)
        .with_context(|| format!("write(`{}`) failed", config.display()))?;
    VmArgs::of(["--config".as_ref(), config.as_os_str(), "--out".as_ref(), out.as_os_str()])
}

fn show(seconds: &Spread) -> String {
    let show = |seconds: f64| show_ns(seconds * 1e9);
    format!("median {} ({} to {})", show(seconds.median), show(seconds.least), show(seconds.most))
}
