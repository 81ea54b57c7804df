//! `scheduler build`: a scheduler of `images/schedulers.toml` as a program in the cache.

use super::catalogue::Entry;
use super::{cargo, elf, store, tools};
use crate::disk;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use std::path::Path;

/// How folders begin in which a program is put together.
const TEMPORARY: &str = "installing-";

/// Built now, unless the same sources were built before.
pub(crate) fn build(entry: &Entry, paths: &Paths, progress: &Progress) -> Result<()> {
    if store::built(entry, paths)?.is_some() {
        return Ok(());
    }
    let clang = tools::require(entry)?;
    let dir = paths.cache_dir("schedulers")?;
    // One at a time: they share what they compile, and every build takes all CPUs.
    let _lock = disk::lock(&dir.join("lock"), progress)?;
    if store::built(entry, paths)?.is_some() {
        return Ok(());
    }
    remove_leftovers(&dir);
    let root = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&dir);
    let root = root.with_context(|| disk::unwritable(&dir))?;
    let what = entry.version.as_ref().or(entry.path.as_ref()).map_or("", String::as_str);
    let log = dir.join(format!("{}.log", entry.name));
    progress.step(format!("building `{}` ({what}); log: {}", entry.name, log.display()));
    let program = cargo::install(entry, &clang, root.path(), paths, progress)?;
    elf::libraries(&program).context("the build of it made no program that can run")?;
    store::keep(entry, &program, paths)?;
    Ok(())
}

/// What a killed build left; under the lock nobody else is building.
fn remove_leftovers(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
