//! Whether what lies in the cache is what was put there. A folder is sealed by a list of its files with
//! their hashes, sizes and times, a single file by its hash beside it. `kernel`, `image` and
//! `scheduler` make and ask these before they use anything.
//!
//! A file of a folder is hashed again only where its size or a time of it is another one: a kernel has
//! 60 MB, and a warm run may not take long. A single file is read whole anyway, and hashed each time.

use crate::disk;
use crate::files;
use crate::progress::Progress;
use crate::sparse;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The list in a folder; its first line is the hash of the others.
const LIST: &str = "files.sealed";
/// What a single file's hash is called beside it.
const SUFFIX: &str = "sha256";

/// What is known of a file: its hash, and what it looked like when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seal {
    sha256: String,
    bytes: u64,
    modified_ns: i128,
    /// Of the inode: it changes with any write, even one whose author set the other time back.
    changed_ns: i128,
}

/// Why a folder may not be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has no list: an older schedlab made it.
    Unsealed,
    /// These are missing or not what they were, by their paths in it. Never empty.
    Damaged(Vec<String>),
}

impl Fault {
    /// In words, of the folder that is called `what`.
    pub(crate) fn text(&self, what: &str) -> String {
        match self {
            Self::Unsealed => format!("{what} has no list of its files"),
            Self::Damaged(files) => {
                let more = match files.len() - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{what} is damaged (`{}`{more})", files[0])
            }
        }
    }
}

/// Lists everything in `dir`, as it is now.
pub(crate) fn seal(dir: &Path) -> Result<()> {
    let mut seals = BTreeMap::new();
    // Sources have links that lead back into them.
    let is_file = |file: &PathBuf| file.symlink_metadata().is_ok_and(|meta| meta.is_file());
    let files = disk::files_below(dir)?.into_iter().filter(is_file);
    for file in files.filter(|file| *file != dir.join(LIST)) {
        seals.insert(relative(&file, dir), Seal::of(&file)?);
    }
    write(dir, &seals)
}

/// Lists everything in `made`, a folder that was put together, and gives it its name.
pub(crate) fn seal_as(made: &Path, dir: &Path) -> Result<()> {
    seal(made)?;
    disk::sync(made)?;
    std::fs::rename(made, dir).with_context(|| disk::unwritable(dir))
}

/// Whether every listed file is there with the bytes that it had.
pub(crate) fn check(dir: &Path) -> Result<(), Fault> {
    let Some(mut seals) = read(dir)? else { return Err(Fault::Unsealed) };
    let (mut damaged, mut is_stale) = (Vec::new(), false);
    for (name, seal) in &mut seals {
        let path = dir.join(name);
        if path.metadata().is_ok_and(|meta| seal.looks_like(&meta)) {
            continue;
        }
        match Seal::of(&path) {
            Ok(now) if now.is_of(seal) => (*seal, is_stale) = (now, true),
            _ => damaged.push(name.clone()),
        }
    }
    if !damaged.is_empty() {
        return Err(Fault::Damaged(damaged));
    }
    if is_stale {
        // A cache of somebody else's cannot be written: it is hashed again the next time.
        drop(write(dir, &seals));
    }
    Ok(())
}

/// Whether every listed file has the bytes that it had, all of them read anew.
pub(crate) fn check_all(dir: &Path) -> Result<(), Fault> {
    let Some(seals) = read(dir)? else { return Err(Fault::Unsealed) };
    let is_whole = |(name, seal): &(&String, &Seal)| {
        Seal::of(&dir.join(name)).is_ok_and(|now| now.is_of(seal))
    };
    let damaged: Vec<_> = seals.iter().filter(|pair| !is_whole(pair)).collect();
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(Fault::Damaged(damaged.into_iter().map(|(name, _)| name.clone()).collect())),
    }
}

/// Whether a folder of `what` is there and may be used; one that is damaged is removed, which is
/// said. One without a list gets it.
pub(crate) fn is_whole(dir: &Path, what: &str, progress: &Progress) -> Result<bool> {
    if !dir.is_dir() {
        return Ok(false);
    }
    match check(dir) {
        Ok(()) => Ok(true),
        Err(Fault::Unsealed) => seal(dir).map(|()| true),
        Err(fault) => {
            progress.step(format!(
                "{}: it is made again",
                fault.text(&format!("{what} `{}`", dir.display()))
            ));
            std::fs::remove_dir_all(dir).with_context(|| disk::unwritable(dir))?;
            Ok(false)
        }
    }
}

/// A file that was put there by [`keep`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is not there, or nobody knows its hash.
    Absent,
    Damaged,
    Whole {
        bytes: Vec<u8>,
        sha256: String,
    },
}

/// Writes a file and its hash beside it. Gives the hash.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> Result<String> {
    let sha256 = files::sha256(bytes);
    disk::write_whole(path, bytes)?;
    disk::write_whole(&beside(path), sha256.as_bytes())?;
    Ok(sha256)
}

/// The bytes of a file that was kept, if they are the same ones.
pub(crate) fn kept(path: &Path) -> Kept {
    let Ok(sha256) = std::fs::read_to_string(beside(path)) else { return Kept::Absent };
    let Ok(bytes) = std::fs::read(path) else { return Kept::Absent };
    if files::sha256(&bytes) == sha256 { Kept::Whole { bytes, sha256 } } else { Kept::Damaged }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(SUFFIX);
    name.into()
}

impl Seal {
    fn of(path: &Path) -> Result<Self> {
        // The times from before: what is written meanwhile shows the next time.
        let meta = path.metadata().with_context(|| disk::unreadable(path))?;
        // Nobody wants to wait for the zeros of a guest's memory.
        let sha256 = match sparse::is_sparse(&meta) {
            true => sparse::hash(path).with_context(|| disk::unreadable(path))?,
            false => disk::sha256(path)?,
        };
        let [modified_ns, changed_ns] = times(&meta);
        Ok(Self { sha256, bytes: meta.len(), modified_ns, changed_ns })
    }

    /// Whether it is of the same bytes. The hash of a sparse file does not know how many zeros there are.
    fn is_of(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.bytes == other.bytes
    }

    fn looks_like(&self, meta: &Metadata) -> bool {
        self.bytes == meta.len() && [self.modified_ns, self.changed_ns] == times(meta)
    }

    fn parse(line: &str) -> Option<(String, Self)> {
        let mut words = line.splitn(5, ' ');
        let sha256 = words.next()?.to_owned();
        let bytes = words.next()?.parse().ok()?;
        let modified_ns = words.next()?.parse().ok()?;
        let changed_ns = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), Self { sha256, bytes, modified_ns, changed_ns }))
    }
}

fn times(meta: &Metadata) -> [i128; 2] {
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    [ns(meta.mtime(), meta.mtime_nsec()), ns(meta.ctime(), meta.ctime_nsec())]
}

fn write(dir: &Path, seals: &BTreeMap<String, Seal>) -> Result<()> {
    let line = |(name, seal): (&String, &Seal)| {
        let Seal { sha256, bytes, modified_ns, changed_ns } = seal;
        format!("{sha256} {bytes} {modified_ns} {changed_ns} {name}\n")
    };
    let lines: String = seals.iter().map(line).collect();
    let text = format!("{}\n{lines}", files::sha256(lines.as_bytes()));
    disk::write_whole(&dir.join(LIST), text.as_bytes())
}

/// None where there is no list.
fn read(dir: &Path) -> Result<Option<BTreeMap<String, Seal>>, Fault> {
    let Ok(text) = std::fs::read(dir.join(LIST)) else { return Ok(None) };
    let damaged = || Fault::Damaged(vec![LIST.to_owned()]);
    let text = String::from_utf8(text).map_err(|_| damaged())?;
    let (sha256, lines) = text.split_once('\n').ok_or_else(damaged)?;
    if files::sha256(lines.as_bytes()) != sha256 {
        return Err(damaged());
    }
    let seals: Option<BTreeMap<_, _>> = lines.lines().map(Seal::parse).collect();
    seals.filter(|seals| !seals.is_empty()).map(Some).ok_or_else(damaged)
}

fn relative(file: &Path, dir: &Path) -> String {
    file.strip_prefix(dir).unwrap_or(file).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};

    /// A sealed folder with two files.
    fn folder() -> (tempfile::TempDir, [PathBuf; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let files = ["image", "modules/kernel/a b.ko"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "bytes").unwrap();
        }
        seal(dir.path()).unwrap();
        (dir, files)
    }

    fn damaged(dir: &Path) -> Vec<String> {
        match check(dir) {
            Err(Fault::Damaged(files)) => files,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flipped_bit_a_cut_an_emptied_and_a_missing_file_are_found_by_name() {
        for name in ["image", "modules/kernel/a b.ko"] {
            for bytes in [Some(&b"bxtes"[..]), Some(b"byt"), Some(b""), None] {
                let (dir, _) = folder();
                check(dir.path()).unwrap();
                match bytes {
                    Some(bytes) => std::fs::write(dir.path().join(name), bytes).unwrap(),
                    None => std::fs::remove_file(dir.path().join(name)).unwrap(),
                }
                assert_eq!(damaged(dir.path()), [name], "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_write_whose_author_set_the_time_back_is_found() {
        let (dir, [image, _]) = folder();
        let before = image.metadata().unwrap().modified().unwrap();
        // Kernels stamp by the tick: a write within that of the seal's would look like none.
        let is_later = |path: &Path| path.metadata().unwrap().modified().unwrap() > before;
        let probe = dir.path().join("probe");
        while !probe.exists() || !is_later(&probe) {
            std::fs::write(&probe, "").unwrap();
        }
        std::fs::write(&image, "bxtes").unwrap();
        let file = File::options().write(true).open(&image).unwrap();
        file.set_times(FileTimes::new().set_modified(before)).unwrap();
        assert_eq!(image.metadata().unwrap().modified().unwrap(), before);
        assert_eq!(damaged(dir.path()), ["image"]);
    }

    #[test]
    fn the_same_bytes_with_another_time_are_hashed_once_more() {
        let (dir, [image, _]) = folder();
        let list = || std::fs::read(dir.path().join(LIST)).unwrap();
        let before = list();
        let file = File::options().write(true).open(&image).unwrap();
        file.set_times(FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
        check(dir.path()).unwrap();
        let after = list();
        assert_ne!(after, before, "it is known by its new time from here on");
        check(dir.path()).unwrap();
        assert_eq!(list(), after);
    }

    #[test]
    fn a_damaged_list_seals_nothing_and_none_is_no_damage() {
        let (dir, _) = folder();
        let list = dir.path().join(LIST);
        let mut bytes = std::fs::read(&list).unwrap();
        for (at, bit) in [(3, 1), (70, 4)] {
            bytes[at] ^= bit;
            std::fs::write(&list, &bytes).unwrap();
            assert_eq!(damaged(dir.path()), [LIST]);
            bytes[at] ^= bit;
        }
        std::fs::write(&list, "").unwrap();
        assert_eq!(damaged(dir.path()), [LIST]);
        std::fs::remove_file(&list).unwrap();
        assert_eq!(check(dir.path()), Err(Fault::Unsealed));
    }

    #[test]
    fn a_damaged_folder_is_removed_and_one_without_a_list_is_sealed() {
        let (dir, [image, _]) = folder();
        let is_whole = || is_whole(dir.path(), "sources", &Progress::silent()).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
        assert!(is_whole());
        std::fs::remove_file(dir.path().join(LIST)).unwrap();
        assert!(is_whole() && dir.path().join(LIST).exists());
        std::fs::write(&image, "bxtes").unwrap();
        assert!(!is_whole() && !dir.path().exists());
        assert!(!is_whole());
    }

    #[test]
    fn a_kept_file_is_whole_until_a_bit_of_it_or_of_its_hash_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        assert_eq!(kept(&path), Kept::Absent);
        let whole = |bytes: &[u8]| {
            let (bytes, sha256) = (bytes.to_vec(), files::sha256(bytes));
            Kept::Whole { bytes, sha256 }
        };
        assert_eq!(keep(&path, b"elf").unwrap(), files::sha256(b"elf"));
        assert_eq!(kept(&path), whole(b"elf"));
        std::fs::write(&path, b"elg").unwrap();
        assert_eq!(kept(&path), Kept::Damaged);
        keep(&path, b"").unwrap();
        assert_eq!(kept(&path), whole(b""));
        std::fs::write(beside(&path), "").unwrap();
        assert_eq!(kept(&path), Kept::Damaged);
        std::fs::remove_file(beside(&path)).unwrap();
        assert_eq!(kept(&path), Kept::Absent, "nobody knows what it was");
    }
}
