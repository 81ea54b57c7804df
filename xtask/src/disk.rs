//! The few disk operations that the cache needs: a hash, a lock that says when it waits, and a
//! file that is written whole or not at all. `kernel` and `scheduler` call these.

use crate::error::Refusal;
use crate::files;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::fs::{File, TryLockError};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// Of the file's bytes, in lower-case hex.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let hash = || -> io::Result<String> {
        let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
        let mut hash = Sha256::new();
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(files::hex(&hash.finalize()));
            }
            hash.update(bytes);
            let used = bytes.len();
            file.consume(used);
        }
    };
    hash().with_context(|| unreadable(path))
}

/// Of all files below `dir`.
pub(crate) fn bytes_below(dir: &Path) -> Result<u64> {
    let sizes = files_below(dir)?.into_iter().map(|file| {
        let meta = file.symlink_metadata().with_context(|| unreadable(&file))?;
        Ok(meta.len())
    });
    sizes.sum()
}

/// All that is below `dir` and is no folder. Links are not followed: they may lead out of it, or back.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| unreadable(&folder))? {
            let entry = entry.with_context(|| unreadable(&folder))?;
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    Ok(found)
}

/// A file of the user's that cannot be read.
pub(crate) fn unreadable(path: &Path) -> Refusal {
    let message = format!("read(`{}`) failed", path.display());
    Refusal::input(message, "pass a file that you may read")
}

/// A place in the cache that cannot be written.
pub(crate) fn unwritable(path: &Path) -> Refusal {
    let message = format!("write(`{}`) failed", path.display());
    Refusal::host(message, "free some space, or set SCHEDLAB_CACHE to a folder that can be written")
}

/// Holds the lock file at `path` until the result is dropped, or the process ends.
pub(crate) fn lock(path: &Path, progress: &Progress) -> Result<File> {
    hold(path, File::try_lock, File::lock, progress)
}

/// Holds the lock file at `path` together with others that do so.
pub(crate) fn lock_shared(path: &Path, progress: &Progress) -> Result<File> {
    hold(path, File::try_lock_shared, File::lock_shared, progress)
}

fn hold(
    path: &Path,
    at_once: fn(&File) -> Result<(), TryLockError>,
    wait: fn(&File) -> io::Result<()>,
    progress: &Progress,
) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| unwritable(path))?;
    if at_once(&file).is_err() {
        progress.step(format!("waiting for another schedlab to release `{}`", path.display()));
        wait(&file).with_context(|| {
            let message = format!("lock(`{}`) failed", path.display());
            Refusal::host(message, "set SCHEDLAB_CACHE to a folder on a local disk")
        })?;
    }
    Ok(file)
}

/// Sees to it that what is in `dir` is on the disk before a name for it is.
pub(crate) fn sync(dir: &Path) -> Result<()> {
    let folder = File::open(dir).with_context(|| unwritable(dir))?;
    rustix::fs::syncfs(&folder).map_err(io::Error::from).with_context(|| unwritable(dir))
}

/// A reader sees the old bytes or the new ones, never half of them.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_whole(path, bytes).with_context(|| unwritable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_hashes_like_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        write_whole(&file, b"abc").unwrap();
        assert_eq!(sha256(&file).unwrap(), files::sha256(b"abc"));
        assert!(files::sha256(b"abc").starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn a_lock_is_free_again_once_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path, &Progress::new()).unwrap();
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(held);
        File::open(&path).unwrap().try_lock().unwrap();
    }
}
