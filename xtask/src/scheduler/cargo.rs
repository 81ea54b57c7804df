//! `cargo install` with a line of progress: a program from the Rust registry or from a package of
//! this repository, static where `linking` says so. Called by `build`.

use super::catalogue::{Entry, Source};
use super::linking;
use crate::disk;
use crate::error::Refusal;
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sys::die_with_parent;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it below `root` and returns its program. Everything that was compiled stays in the
/// target folder that all schedulers share, so that the next call goes on from there.
pub(super) fn install(
    entry: &Entry,
    clang: &str,
    root: &Path,
    paths: &Paths,
    progress: &Progress,
) -> Result<PathBuf> {
    let dir = paths.cache_dir("schedulers")?;
    let log = dir.join(format!("{}.log", entry.name));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "--locked", "--no-track", "--color", "never", "--target", TARGET]);
    command.arg("--root").arg(root).arg("--target-dir").arg(dir.join("target"));
    match entry.source()? {
        Source::Registry { package, version } => {
            command.args(["--version", &format!("={version}"), package]);
        }
        Source::Repository { path } => {
            command.arg("--path").arg(paths.repo.join(path));
        }
    }
    // The toolchain is the one that the repository names.
    command
        .current_dir(&paths.repo)
        .envs(&entry.environment)
        .env("BPF_CLANG", clang)
        .env("RUSTFLAGS", linking::rust_flags()?);
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    follow(&mut command, &entry.name, &log, progress)?;
    program(&root.join("bin"), &entry.name)
}

/// Runs it to its end; all that it says is in `log`.
fn follow(command: &mut Command, name: &str, log: &Path, progress: &Progress) -> Result<()> {
    let mut copy = File::create(log).with_context(|| disk::unwritable(log))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        die_with_parent(command, None, None, &[]).spawn().context("run(`cargo`) failed")?;
    let mut compiled = 0;
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(|r| r.split(b'\n')) {
        let line = line.context("read(cargo) failed")?;
        let line = String::from_utf8_lossy(&line);
        writeln!(copy, "{line}").with_context(|| disk::unwritable(log))?;
        let line = line.trim();
        compiled += u32::from(line.starts_with("Compiling "));
        progress.update(format!("building `{name}`, {compiled} crates: {line}"));
    }
    let status = child.wait().context("wait(cargo) failed")?;
    if status.success() {
        return Ok(());
    }
    let message = format!("cargo install({name}) failed: {status}\n{}", files::last_lines(log));
    let fix = format!("see `{}`; the same command goes on from there", log.display());
    Err(Refusal::host(message, fix).into())
}

/// The one of the package's name, else the only one.
fn program(bin: &Path, name: &str) -> Result<PathBuf> {
    let named = bin.join(name);
    if named.is_file() {
        return Ok(named);
    }
    let entries = std::fs::read_dir(bin).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    match (files.pop(), files.len()) {
        (Some(one), 0) => Ok(one),
        _ => {
            let message = format!("`{name}` has no program of its name, and not just one other");
            Err(Refusal::input(message, "mend images/schedulers.toml").into())
        }
    }
}
