//! Programs as the guest has them, and guest-init: built once for each state of its sources, never
//! for an unchanged one. Called by `cmd::vm` and `cmd::bench`.

use super::HexDigest;
use crate::error::Refusal;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What the binary is made from, besides the toolchain.
const SOURCES: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "workloads", "guest-init"];

/// The static PID 1 for the sources as they are.
pub(crate) fn guest_init(paths: &Paths, progress: &Progress) -> Result<PathBuf> {
    let dir = paths.cache_dir("guest-init")?;
    let binary = dir.join(fingerprint(&paths.repo)?);
    if binary.is_file() {
        return Ok(binary);
    }
    progress.step("building guest-init (once for each change of its sources)");
    let built = static_build(paths, &["--package", "guest-init"])?.join("guest-init");
    // A copy and a rename: a killed build leaves nothing that looks finished.
    let copy = super::shared_temp_file(&dir).context("create(guest-init) failed")?;
    std::fs::copy(&built, copy.path())
        .with_context(|| format!("copy(`{}`) failed", built.display()))?;
    copy.persist(&binary).context("rename(guest-init) failed")?;
    Ok(binary)
}

/// Builds `what`, as cargo's options name it, statically and in the guest's profile: the folder.
pub(crate) fn static_build(paths: &Paths, what: &[&str]) -> Result<PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(&paths.repo);
    let target_dir = paths.target.join("guest");
    // The host's flags are for the host; `--target` keeps these from build scripts.
    cmd!(
        sh,
        "cargo build --quiet {what...} --profile guest --target {TARGET} --target-dir {target_dir}"
    )
    .env("RUSTFLAGS", "-C target-feature=+crt-static")
    .env_remove("CARGO_ENCODED_RUSTFLAGS")
    .quiet()
    .run()
    .context(Refusal::host(
        format!("cargo build {} failed", what.join(" ")),
        "the compiler's message is above; a static build needs gcc and libc6-dev",
    ))?;
    Ok(target_dir.join(TARGET).join("guest"))
}

/// A hash over names and contents of the sources.
fn fingerprint(repo: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        list(&repo.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        let content =
            std::fs::read(file).with_context(|| format!("read(`{}`) failed", file.display()))?;
        let name = file.strip_prefix(repo).unwrap_or(file);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(format!("{:x}", HexDigest(hash.finalize().as_slice())))
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

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let path = dir.path().join(source);
            if source.contains('.') {
                std::fs::write(path, source).unwrap();
            } else {
                std::fs::create_dir_all(path.join("tests")).unwrap();
                std::fs::write(path.join("lib.rs"), source).unwrap();
            }
        }
        dir
    }

    #[test]
    fn only_a_change_of_the_sources_changes_the_fingerprint() {
        let dir = tree();
        let before = fingerprint(dir.path()).unwrap();
        std::fs::write(dir.path().join("workloads/tests/it.rs"), "a test").unwrap();
        assert_eq!(fingerprint(dir.path()).unwrap(), before);
        std::fs::write(dir.path().join("workloads/lib.rs"), "changed").unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), before);
    }
}
