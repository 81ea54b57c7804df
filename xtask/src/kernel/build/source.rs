//! Where the sources of a build come from: a tree of the user's, or `linux-source` of a Debian
//! suite, which is unpacked into the cache once. Called by `build`.

use crate::disk;
use crate::error::Refusal;
use crate::files;
use crate::kernel::spec::{self, Spec};
use crate::kernel::{deb, debian};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sealed;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const UNPACKING: &str = "unpacking-";
const TREE_KEY: usize = 12;

/// Sources on disk.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) dir: PathBuf,
    /// Part of the name of the build folder.
    pub(super) key: String,
    /// Whether they are always the same.
    pub(super) is_fixed: bool,
}

/// What `--source` means: a folder, or `debian:SUITE`.
pub(super) fn find(written: &str, paths: &Paths, progress: &Progress) -> Result<Source> {
    match spec::parse(written, &paths.repo)? {
        Spec::Debian(suite) => {
            let package = debian::source_package(&suite.suite, paths, progress)?;
            unpacked(&package, &suite.suite, paths, progress)
        }
        Spec::File(dir) if dir.join("Kconfig").is_file() => of_user(&dir),
        _ => {
            let fix = "pass the root of a kernel tree, or `debian:SUITE`";
            Err(Refusal::input(format!("`{written}` is no kernel source"), fix).into())
        }
    }
}

fn of_user(dir: &Path) -> Result<Source> {
    let dir = dir.canonicalize().with_context(|| disk::unreadable(dir))?;
    if dir.join(".config").is_file() {
        let message = format!("the sources in `{}` were configured in place", dir.display());
        let fix = "run `make mrproper` there, after saving its .config: builds are made elsewhere";
        return Err(Refusal::input(message, fix).into());
    }
    let mut key = files::sha256(dir.as_os_str().as_encoded_bytes());
    key.truncate(TREE_KEY);
    Ok(Source { dir, key, is_fixed: false })
}

/// The tree in a `linux-source` package, `NAME=VERSION`.
fn unpacked(package: &str, suite: &str, paths: &Paths, progress: &Progress) -> Result<Source> {
    let sources = paths.cache_dir("sources")?;
    let key = package.trim_start_matches("linux-source-").replace(['=', ':', '/', '~'], "_");
    let dir = sources.join(&key);
    let _lock = disk::lock(&sources.join("lock"), progress)?;
    if !sealed::is_whole(&dir, "sources", progress)? {
        let temporary = temporary(&sources)?;
        let file = debian::download_source(package, suite, paths, progress)?;
        progress.step(format!("unpacking {package}"));
        let tarball = |member: &Path| {
            let is_it = member.extension().is_some_and(|extension| extension == "xz");
            is_it.then(|| PathBuf::from("source.tar.xz"))
        };
        deb::unpack(&file, temporary.path(), &tarball)?;
        let tree = untar(temporary.path())?;
        sealed::seal_as(&tree, &dir)?;
        drop(std::fs::remove_file(&file));
    }
    Ok(Source { dir, key, is_fixed: true })
}

/// A folder for what is not whole yet.
pub(super) fn temporary(sources: &Path) -> Result<TempDir> {
    let temporary = tempfile::Builder::new().prefix(UNPACKING).tempdir_in(sources);
    temporary.with_context(|| disk::unwritable(sources))
}

/// The one folder in the tarball.
fn untar(at: &Path) -> Result<PathBuf> {
    let tarball = at.join("source.tar.xz");
    let file = File::open(&tarball).with_context(|| disk::unreadable(&tarball))?;
    let reader = deb::decompress(".xz", std::io::BufReader::new(file))?;
    let tree = at.join("tree");
    tar::Archive::new(reader).unpack(&tree).with_context(|| disk::unwritable(&tree))?;
    let mut entries = std::fs::read_dir(&tree).with_context(|| disk::unreadable(&tree))?;
    let first = entries.next().context("the package holds no sources")?;
    Ok(first.with_context(|| disk::unreadable(&tree))?.path())
}
