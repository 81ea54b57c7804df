//! Schedulers that were built, in `cache/schedulers`: a record for each name, and the program that
//! it names by hash. The record is written last, so that whatever it names is whole.

use super::catalogue::{Entry, Source};
use crate::disk;
use crate::error::Refusal;
use crate::image::fingerprint;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

/// One that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) file: PathBuf,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// `NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// What it was made of.
    inputs: String,
    /// In the same folder.
    file: String,
    sha256: String,
}

/// What is built of this entry as it is now, if anything is.
pub(crate) fn built(entry: &Entry, paths: &Paths) -> Result<Option<Built>> {
    let Some(record) = record(entry, paths) else { return Ok(None) };
    if record.inputs != inputs(entry, paths)? {
        return Ok(None);
    }
    let file = folder(paths).join(&record.file);
    let is_whole = disk::sha256(&file).is_ok_and(|sha256| sha256 == record.sha256);
    let bytes = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    Ok(is_whole.then_some(Built { file, sha256: record.sha256, bytes }))
}

/// The same, or a refusal that says what to do.
pub(super) fn required(entry: &Entry, paths: &Paths) -> Result<Built> {
    let inputs = inputs(entry, paths)?;
    built(entry, paths)?.ok_or_else(|| {
        let name = &entry.name;
        let message = match record(entry, paths) {
            Some(record) if record.inputs == inputs => {
                format!("scheduler `{name}` in the cache is damaged")
            }
            Some(_) => format!("scheduler `{name}` has changed since it was built"),
            None => format!("scheduler `{name}` is not built yet"),
        };
        let fix = format!(
            "run `cargo xtask scheduler build {name}`; the first one takes about five minutes on two CPUs"
        );
        Refusal::host(message, fix).into()
    })
}

/// Puts a program into the cache, in the place of what was there under this name.
pub(super) fn keep(entry: &Entry, program: &Path, paths: &Paths) -> Result<Built> {
    let dir = paths.cache_dir("schedulers")?;
    let sha256 = disk::sha256(program)?;
    let name = format!("{}-{}", entry.name, &sha256[..16]);
    let file = dir.join(&name);
    std::fs::rename(program, &file).with_context(|| disk::unwritable(&file))?;
    File::open(&file).and_then(|file| file.sync_all()).with_context(|| disk::unwritable(&file))?;
    let before = record(entry, paths);
    let record = Record { inputs: inputs(entry, paths)?, file: name, sha256 };
    let text = serde_json::to_vec_pretty(&record).context("serialize(scheduler) failed")?;
    disk::write_whole(&dir.join(format!("{}.json", entry.name)), &text)?;
    if let Some(before) = before.filter(|before| before.file != record.file) {
        // What is left of it takes space and nothing else.
        drop(std::fs::remove_file(dir.join(before.file)));
    }
    let bytes = std::fs::metadata(&file).with_context(|| disk::unreadable(&file))?.len();
    Ok(Built { file, sha256: record.sha256, bytes })
}

fn folder(paths: &Paths) -> PathBuf {
    paths.cache.join("schedulers")
}

fn record(entry: &Entry, paths: &Paths) -> Option<Record> {
    let text = std::fs::read(folder(paths).join(format!("{}.json", entry.name))).ok()?;
    serde_json::from_slice(&text).ok()
}

fn inputs(entry: &Entry, paths: &Paths) -> Result<String> {
    let mut inputs = match entry.source()? {
        Source::Registry { package, version } => format!("{package} {version}"),
        Source::Repository { path } => {
            format!("{path} {}", fingerprint(&paths.repo.join(path), &["."])?)
        }
    };
    for (name, value) in &entry.environment {
        write!(inputs, " {name}={value:?}")?;
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_code, render};

    /// A repository with one scheduler of its own.
    fn entry(dir: &Path) -> (Entry, Paths) {
        let text = "[[scheduler]]\nname = \"mine\"\npath = \"mine\"\npackages = []\ntext = \"x\"\n";
        std::fs::create_dir_all(dir.join("images")).unwrap();
        std::fs::create_dir_all(dir.join("mine")).unwrap();
        std::fs::write(dir.join("images/schedulers.toml"), text).unwrap();
        std::fs::write(dir.join("mine/main.rs"), "one").unwrap();
        let paths = Paths::below(dir);
        (super::super::find("mine", &paths).unwrap(), paths)
    }

    fn keep_bytes(entry: &Entry, bytes: &str, paths: &Paths) -> Built {
        let program = paths.repo.join("program");
        std::fs::write(&program, bytes).unwrap();
        keep(entry, &program, paths).unwrap()
    }

    #[test]
    fn a_program_is_found_until_its_sources_change() {
        let dir = tempfile::tempdir().unwrap();
        let (entry, paths) = entry(dir.path());
        assert!(built(&entry, &paths).unwrap().is_none());
        let kept = keep_bytes(&entry, "elf", &paths);
        let found = required(&entry, &paths).unwrap();
        assert_eq!((&found.file, found.bytes), (&kept.file, 3));
        std::fs::write(dir.path().join("mine/main.rs"), "two").unwrap();
        let error = required(&entry, &paths).unwrap_err();
        assert_eq!(exit_code(&error), crate::error::exit::HOST);
        assert!(render(&error).contains("has changed since"), "{}", render(&error));
    }

    #[test]
    fn a_damaged_program_is_none_and_is_said_to_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let (entry, paths) = entry(dir.path());
        let kept = keep_bytes(&entry, "elf", &paths);
        for bytes in ["elg", "el", ""] {
            std::fs::write(&kept.file, bytes).unwrap();
            assert!(built(&entry, &paths).unwrap().is_none(), "{bytes}");
            let text = render(&required(&entry, &paths).unwrap_err());
            assert!(text.contains("`mine` in the cache is damaged"), "{text}");
            assert!(text.contains("`cargo xtask scheduler build mine`"), "{text}");
        }
    }

    #[test]
    fn another_environment_makes_another_program() {
        let dir = tempfile::tempdir().unwrap();
        let (entry, paths) = entry(dir.path());
        keep_bytes(&entry, "elf", &paths);
        let with = |variables: &[(&str, &str)]| {
            let pairs = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            Entry { environment: pairs.collect(), ..entry.clone() }
        };
        let entry = with(&[("A", "1")]);
        assert!(built(&entry, &paths).unwrap().is_none(), "there was none before");
        keep_bytes(&entry, "elf", &paths);
        assert!(built(&entry, &paths).unwrap().is_some());
        for other in [&[][..], &[("A", "2")], &[("B", "1")], &[("A", "1"), ("B", "1")]] {
            assert!(built(&with(other), &paths).unwrap().is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_new_program_takes_the_place_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (entry, paths) = entry(dir.path());
        let old = keep_bytes(&entry, "one", &paths);
        let new = keep_bytes(&entry, "two", &paths);
        assert!(!old.file.exists());
        assert_eq!(std::fs::read(&new.file).unwrap(), b"two");
        assert_eq!(built(&entry, &paths).unwrap().unwrap().sha256, new.sha256);
        std::fs::remove_file(&new.file).unwrap();
        assert!(built(&entry, &paths).unwrap().is_none(), "a record alone is nothing");
    }
}
