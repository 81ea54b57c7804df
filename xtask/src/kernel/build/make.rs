//! Running the kernel's own `make`, with a line of progress, and what it needs of this machine.
//! Called by `build` and `configure`.

use super::Tree;
use crate::error::Refusal;
use crate::files;
use crate::jobs::host_cpus;
use crate::packages::{self, Need};
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// Programs and headers, each with the Debian package that has it.
const TOOLS: &[Need] = &[
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("zstd", "zstd"),
    ("pahole", "dwarves"),
    ("patch", "patch"),
];
const HEADERS: &[Need] =
    &[("/usr/include/gelf.h", "libelf-dev"), ("/usr/include/stdlib.h", "libc6-dev")];
/// The same inputs are the same bytes, whoever builds and whenever.
const FIXED: &[(&str, &str)] = &[
    ("KBUILD_BUILD_USER", "schedlab"),
    ("KBUILD_BUILD_HOST", "schedlab"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

/// Fails with the packages that are missing.
pub(super) fn require_tools() -> Result<()> {
    Ok(packages::require("building a kernel", TOOLS.iter().chain(HEADERS).copied())?)
}

/// Which compiler builds.
pub(super) fn compiler() -> Result<String> {
    let output = Command::new("gcc").arg("--version").output().context("run(`gcc`) failed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Makes these targets on all CPUs. All that `make` says is in `schedlab-make.log` of the build
/// folder. What was made stays, so that the next call goes on from there.
pub(super) fn make(tree: &Tree, targets: &[&str], progress: &Progress) -> Result<()> {
    let log = tree.out.join("schedlab-make.log");
    let errors = File::create(&log).with_context(|| crate::disk::unwritable(&log))?;
    let cpus = host_cpus();
    let mut child = Command::new("make")
        .arg("-C")
        .arg(&tree.source)
        .arg(format!("O={}", tree.out.display()))
        .arg(format!("-j{cpus}"))
        .args(targets)
        .envs(FIXED.iter().copied())
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("run(`make`) failed")?;
    let mut made = 0;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line.context("read(make) failed")?;
        // `  CC      kernel/sched/core.o`
        if line.starts_with("  ") {
            made += 1;
            progress.update(format!("building, {made} files: {}", line.trim()));
        }
    }
    let status = child.wait().context("wait(make) failed")?;
    if status.success() {
        return Ok(());
    }
    let message =
        format!("make({}) failed: {status}\n{}", targets.join(" "), files::last_lines(&log));
    let fix = format!("see `{}`; the same command goes on from there", log.display());
    Err(Refusal::host(message, fix).into())
}
