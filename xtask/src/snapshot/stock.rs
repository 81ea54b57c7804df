//! All snapshots that there are: how much room they take, which go when it is too much, whether they are whole.
//! Called by `snapshot` and `cmd::cache`.

use super::{FACTS, FOLDER, Facts, UNFINISHED};
use crate::paths::Paths;
use crate::{disk, sealed};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Of the disk, for all of them. One of a guest with 1 GiB takes 90 to 110 MB.
pub(crate) const LIMIT_BYTES: u64 = 4 << 30;
const BLOCK_BYTES: u64 = 512;
/// Nobody makes one for so long; what is older was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A snapshot in the cache.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) folder: PathBuf,
    /// None if it cannot be read.
    pub(crate) facts: Option<Facts>,
    /// On the disk.
    pub(crate) bytes: u64,
    pub(crate) uses: u64,
    pub(crate) last_use: SystemTime,
}

/// Those of this cache, the one that was used last first.
pub(crate) fn stored(paths: &Paths) -> Result<Vec<Stored>> {
    let all = paths.cache_dir(FOLDER)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&all).with_context(|| disk::unreadable(&all))?.flatten() {
        let folder = entry.path();
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        if folder.is_dir() && !is_unfinished {
            found.push(Stored::of(folder)?);
        }
    }
    found.sort_by_key(|stored| std::cmp::Reverse(stored.last_use));
    Ok(found)
}

/// Removes those that were not used for longest, until the others take no more than `limit_bytes`; and what
/// killed processes left. Those in use stay. Gives what went.
pub(crate) fn prune(limit_bytes: u64, paths: &Paths) -> Result<Vec<Stored>> {
    remove_abandoned(&paths.cache_dir(FOLDER)?);
    let (mut kept_bytes, mut removed) = (0, Vec::new());
    for stored in stored(paths)? {
        if kept_bytes + stored.bytes <= limit_bytes || !stored.remove()? {
            kept_bytes += stored.bytes;
        } else {
            removed.push(stored);
        }
    }
    Ok(removed)
}

fn remove_abandoned(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok();
        let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > ABANDONED);
        if is_old && entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // Another prune may be at it.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Stored {
    fn of(folder: PathBuf) -> Result<Self> {
        let facts = std::fs::read(folder.join(FACTS)).ok();
        let facts = facts.and_then(|text| serde_json::from_slice(&text).ok());
        let sizes = disk::files_below(&folder)?.into_iter().filter_map(|file| {
            file.symlink_metadata().ok().map(|meta| meta.blocks() * BLOCK_BYTES)
        });
        let bytes = sizes.sum();
        let used = lock_of(&folder).metadata().ok();
        let last_use = used.as_ref().and_then(|meta| meta.modified().ok());
        Ok(Self {
            folder,
            facts,
            bytes,
            uses: used.map_or(0, |meta| meta.len()),
            last_use: last_use.unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    /// The hash of all that a boot of it depends on.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What is wrong with it, all its files read anew.
    pub(crate) fn fault(&self) -> Option<String> {
        sealed::check_all(&self.folder).err().map(|fault| fault.text("it"))
    }

    /// False if somebody uses it.
    pub(crate) fn remove(&self) -> Result<bool> {
        let lock = lock_of(&self.folder);
        let held = File::options().create(true).append(true).open(&lock);
        let held = held.with_context(|| disk::unwritable(&lock))?;
        if held.try_lock().is_err() {
            return Ok(false);
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| disk::unwritable(&self.folder))?;
        // Its uses begin anew with the next one.
        held.set_len(0).with_context(|| disk::unwritable(&lock))?;
        Ok(true)
    }
}

pub(super) fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const MIB: usize = 1 << 20;

    fn store(name: &str, age_s: u64, paths: &Paths) -> PathBuf {
        let folder = paths.cache_dir(FOLDER).unwrap().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("memory"), vec![1; MIB]).unwrap();
        sealed::seal(&folder).unwrap();
        let mut lock = File::create(lock_of(&folder)).unwrap();
        lock.write_all(b"..").unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        folder
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let [old, used, new] =
            [("a", 300), ("b", 200), ("c", 100)].map(|(n, s)| store(n, s, &paths));
        let names = |all: &[Stored]| all.iter().map(Stored::name).collect::<Vec<_>>();
        let all = stored(&paths).unwrap();
        assert_eq!((names(&all), all[0].uses), (vec!["c".into(), "b".into(), "a".into()], 2));
        assert!(prune(4 * MIB as u64, &paths).unwrap().is_empty());
        let held = File::open(lock_of(&used)).unwrap();
        held.lock_shared().unwrap();
        assert_eq!(names(&prune(0, &paths).unwrap()), ["c", "a"]);
        assert!(!old.exists() && used.exists() && !new.exists());
        drop(held);
        assert_eq!(names(&prune(0, &paths).unwrap()), ["b"]);
    }

    #[test]
    fn only_what_a_killed_process_left_is_removed_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let all = paths.cache_dir(FOLDER).unwrap();
        let [left, now] = ["left", "now"].map(|name| all.join(format!("{UNFINISHED}{name}")));
        for folder in [&left, &now] {
            std::fs::create_dir(folder).unwrap();
        }
        let old = SystemTime::now() - 2 * ABANDONED;
        File::open(&left).unwrap().set_modified(old).unwrap();
        prune(0, &paths).unwrap();
        assert!(!left.exists() && now.exists());
    }

    #[test]
    fn a_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let folder = store("a", 1, &paths);
        assert_eq!(stored(&paths).unwrap()[0].fault(), None);
        let memory = File::options().write(true).open(folder.join("memory")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&memory, b"x", 5000).unwrap();
        let fault = stored(&paths).unwrap()[0].fault().unwrap();
        assert_eq!(fault, "it is damaged (`memory`)");
    }
}
