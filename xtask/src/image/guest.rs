//! Static programs as the guest has them: guest-init, built once for each state of its sources, a
//! PID 1 of the user's, and what `cmd::bench` runs. Called by `cmd`.

use crate::disk;
use crate::error::Refusal;
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sealed::{self, Kept};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Cargo's configuration for programs of the guest.
const BUILD: &str = "images/build.toml";
/// What the binary is made from, besides the toolchain.
const SOURCES: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", BUILD, "workloads", "guest-init"];

/// The static PID 1 for the sources as they are.
pub(crate) fn guest_init(paths: &Paths, progress: &Progress) -> Result<PathBuf> {
    let dir = paths.cache_dir("guest-init")?;
    let binary = dir.join(fingerprint(&paths.repo, &SOURCES)?);
    let why = match sealed::kept(&binary) {
        Kept::Whole { .. } => return Ok(binary),
        Kept::Absent => "once for each change of its sources",
        Kept::Damaged => "the one in the cache is damaged",
    };
    progress.step(format!("building guest-init ({why})"));
    let built = static_program(&paths.repo.join("guest-init"), &["--bins"], paths).context(
        Refusal::host(
            "building guest-init failed",
            "the compiler's message is above; a static build needs gcc and libc6-dev",
        ),
    )?;
    let built = std::fs::read(&built).with_context(|| disk::unreadable(&built))?;
    sealed::keep(&binary, &built)?;
    Ok(binary)
}

/// A PID 1 of the user's: a static program as it is, or the one program of a Cargo package, given
/// as its folder and built as guest-init is. Cargo knows whether it is up to date.
pub(crate) fn user_init(path: &Path, paths: &Paths, progress: &Progress) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let shown = path.display();
    if !path.join("Cargo.toml").is_file() {
        let message = format!("`{shown}` is neither a program nor the folder of a Cargo package");
        return Err(Refusal::input(
            message,
            "pass a static program as --init, or a folder with a Cargo.toml",
        )
        .into());
    }
    progress.step(format!("building `{shown}`"));
    static_program(path, &["--bins"], paths).with_context(|| {
        Refusal::input(format!("building `{shown}` failed"), "the compiler's message is above")
    })
}

/// Builds the one program that the package in `dir` has of `kind`, an option of Cargo's.
pub(crate) fn static_program(dir: &Path, kind: &[&str], paths: &Paths) -> Result<PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(dir);
    let target_dir = std::path::absolute(paths.target.join("guest"))?;
    let config = std::path::absolute(paths.repo.join(BUILD))?;
    let messages = cmd!(sh, "cargo build --quiet {kind...} --profile guest --config {config} --target {TARGET} --target-dir {target_dir} --message-format json-render-diagnostics")
        // The host's flags are for the host, and would take the place of the guest's.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .quiet()
        .read()?;
    match programs(&messages).as_slice() {
        [one] => Ok(one.clone()),
        all => bail!("it has {} programs, one is wanted", all.len()),
    }
}

/// The executables that Cargo's messages name, a JSON object a line.
fn programs(messages: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter_map(|message| Some(message["executable"].as_str()?.into()));
    built.collect()
}

/// A hash over names and contents of everything in `dir` that `sources` name and a build may read.
pub(crate) fn fingerprint(dir: &Path, sources: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for source in sources {
        list(&dir.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        let content =
            std::fs::read(file).with_context(|| format!("read(`{}`) failed", file.display()))?;
        let name = file.strip_prefix(dir).unwrap_or(file);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(files::hex(&hash.finalize()))
}

/// Every file below `path` that can be part of a build; tests are not.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("read_dir(`{}`) failed", path.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("read_dir(`{}`) failed", path.display()))?;
        if !matches!(entry.file_name().to_str(), Some("tests" | "target" | "benches" | "examples"))
        {
            list(&entry.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code};

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let path = dir.path().join(source);
            if source.contains('.') {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, source).unwrap();
            } else {
                std::fs::create_dir_all(path.join("tests")).unwrap();
                std::fs::write(path.join("lib.rs"), source).unwrap();
            }
        }
        dir
    }

    #[test]
    fn an_init_is_a_file_or_a_package() {
        let dir = tempfile::tempdir().unwrap();
        let init = |path: &Path| user_init(path, &Paths::below(dir.path()), &Progress::silent());
        let file = dir.path().join("static");
        std::fs::write(&file, "elf").unwrap();
        assert_eq!(init(&file).unwrap(), file);
        for path in [dir.path(), &dir.path().join("absent")] {
            let error = init(path).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(error.to_string().contains("neither a program nor"), "{error}");
        }
    }

    #[test]
    fn programs_are_told_from_libraries() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/guest/mine\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}";
        assert_eq!(programs(messages), [Path::new("/t/guest/mine")]);
    }

    #[test]
    fn only_a_change_of_the_sources_changes_the_fingerprint() {
        let dir = tree();
        let before = fingerprint(dir.path(), &SOURCES).unwrap();
        std::fs::write(dir.path().join("workloads/tests/it.rs"), "a test").unwrap();
        assert_eq!(fingerprint(dir.path(), &SOURCES).unwrap(), before);
        std::fs::write(dir.path().join("workloads/lib.rs"), "changed").unwrap();
        assert_ne!(fingerprint(dir.path(), &SOURCES).unwrap(), before);
    }
}
