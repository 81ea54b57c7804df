//! Sources with patches of ours: a copy beside them, whose files are links to theirs but for those that a
//! patch touches. Called by `build`.

use super::source::{self, Source};
use crate::disk;
use crate::error::Refusal;
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sealed;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much of the hash of the patches tells copies apart.
const KEY: usize = 12;

/// `source` with `patches`, files of kernel-configs, applied in order.
pub(super) fn patched(
    source: &Source,
    patches: &[String],
    paths: &Paths,
    progress: &Progress,
) -> Result<Source> {
    if !source.is_fixed {
        let message = format!("`{}` may change, and is not copied", source.dir.display());
        let fix = "apply the patches in the tree and build a kernel without, or leave out --source";
        return Err(Refusal::input(message, fix).into());
    }
    let files = patches.iter().map(|patch| paths.repo.join("kernel-configs").join(patch));
    let files: Vec<PathBuf> = files.collect();
    let mut key = String::new();
    for file in &files {
        key += &disk::sha256(file)?;
    }
    let mut key = files::sha256(key.as_bytes());
    key.truncate(KEY);
    let key = format!("{}-{key}", source.key);
    let sources = paths.cache_dir("sources")?;
    let dir = sources.join(&key);
    let _lock = disk::lock(&sources.join("lock"), progress)?;
    if !sealed::is_whole(&dir, "sources", progress)? {
        progress.step(format!("patching the sources: {}", patches.join(" ")));
        let temporary = source::temporary(&sources)?;
        let tree = temporary.path().join("tree");
        link(&source.dir, &tree)?;
        files.iter().try_for_each(|file| apply(file, &tree))?;
        sealed::seal_as(&tree, &dir)?;
    }
    Ok(Source { dir, key, is_fixed: true })
}

fn link(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").args(["--archive", "--link"]).arg(from).arg(to).status();
    let copied = status.context("run(`cp`) failed")?.success();
    copied.then_some(()).with_context(|| disk::unwritable(to))
}

/// `patch` replaces files and leaves the other links to them alone.
fn apply(file: &Path, tree: &Path) -> Result<()> {
    let output = Command::new("patch")
        .args(["--strip=1", "--batch", "--forward", "--input"])
        .arg(file)
        .arg("--directory")
        .arg(tree)
        .output()
        .context("run(`patch`) failed")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; ");
    let message = format!("patch({}) failed: {said}", file.display());
    Err(Refusal::input(message, "mend the patch, or build older sources").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code};

    const PATCH: &str = "--- a/one\n+++ b/one\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n";

    fn sources(dir: &Path) -> (Source, Paths) {
        let tree = dir.join("linux");
        std::fs::create_dir_all(dir.join("kernel-configs")).unwrap();
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("one"), "same\nold\n").unwrap();
        std::fs::write(dir.join("kernel-configs/fault.patch"), PATCH).unwrap();
        let source = Source { dir: tree, key: "7.3".to_owned(), is_fixed: true };
        (source, Paths::below(dir))
    }

    #[test]
    fn a_patch_changes_the_copy_and_not_the_sources() {
        let dir = tempfile::tempdir().unwrap();
        let (source, paths) = sources(dir.path());
        let patch = || patched(&source, &["fault.patch".into()], &paths, &Progress::silent());
        let copy = patch().unwrap();
        let read = |dir: &Path| std::fs::read_to_string(dir.join("one")).unwrap();
        assert_eq!(
            (read(&copy.dir), read(&source.dir)),
            ("same\nnew\n".into(), "same\nold\n".into())
        );
        assert_eq!(patch().unwrap().dir, copy.dir, "not applied twice");
    }

    #[test]
    fn a_patch_for_other_sources_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (source, paths) = sources(dir.path());
        std::fs::write(source.dir.join("one"), "another\n").unwrap();
        let error = patched(&source, &["fault.patch".into()], &paths, &Progress::silent());
        assert_eq!(exit_code(&error.unwrap_err()), exit::BAD_INPUT);
        let left = std::fs::read_dir(paths.cache.join("sources")).unwrap().flatten();
        assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["lock"]);
    }
}
