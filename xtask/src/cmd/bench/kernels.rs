//! `bench kernels`: how long two kernels take from QEMU's start to PID 1, booted in turn.

use super::compare::Spread;
use super::{show, vm_args};
use crate::cmd::vm;
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::Path;

/// Boots each kernel `count` times, and prints the ratio of the medians.
pub(super) fn run(specs: [&str; 2], count: u32, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 1..=count {
        for (times, spec) in seconds.iter_mut().zip(specs) {
            progress.update(format!("round {round} of {count}: {spec}"));
            times.push(boot_seconds(spec, dir.path(), paths)?);
        }
    }
    drop(progress);
    let [first, second] = seconds.each_ref().map(|times| Spread::of(times));
    to_stdout(|out| {
        for (spec, spread) in specs.iter().zip([&first, &second]) {
            writeln!(out, "{spec}: PID 1 after {}", show(spread))?;
        }
        let [of, to] = [specs[0], specs[1]];
        Ok(writeln!(out, "{of} / {to} (medians): {:.2}", first.median / second.median)?)
    })?;
    Ok(exit::PASS)
}

fn boot_seconds(spec: &str, dir: &Path, paths: &Paths) -> Result<f64> {
    let out = dir.join("run");
    let mut args = vm_args(&out, dir)?;
    args.guest.kernel = Some(spec.to_owned());
    vm::run_once(&args, paths, &Progress::silent())?;
    let facts = out.join("host.json");
    let text =
        std::fs::read(&facts).with_context(|| format!("read(`{}`) failed", facts.display()))?;
    let facts: serde_json::Value =
        serde_json::from_slice(&text).context("parse(host.json) failed")?;
    std::fs::remove_dir_all(&out).with_context(|| format!("rmdir(`{}`) failed", out.display()))?;
    let boot_ms = facts["timings"]["boot_ms"].as_f64();
    Ok(boot_ms.with_context(|| format!("`{spec}` never came to PID 1"))? / 1e3)
}
