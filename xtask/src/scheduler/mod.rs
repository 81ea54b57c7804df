//! sched_ext schedulers: from what the user wrote after `--scheduler` to a program on disk and the
//! libraries that it needs. `cmd::scheduler` builds and lists those of `images/schedulers.toml`.
//!
//! A name stands for what `scheduler build` made, in `cache/schedulers`; a path for itself.

mod build;
mod cargo;
mod catalogue;
mod elf;
mod linking;
mod search;
mod store;
mod tools;

use crate::disk;
use crate::error::Refusal;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::Result;
use std::path::{Path, PathBuf};

pub(crate) use build::build;
pub(crate) use catalogue::{Entry, all, find};
pub(crate) use store::built;

/// One scheduler, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    /// That of `schedulers.toml`, else the file's.
    pub(crate) name: String,
    /// Of its crate, where it comes from one.
    pub(crate) version: Option<String>,
    /// The program, on this host.
    pub(crate) file: PathBuf,
    /// Of the program, in lower-case hex.
    pub(crate) sha256: String,
    /// None if it is static.
    pub(crate) libraries: Vec<Library>,
    /// As `6.12`, where it is known.
    pub(crate) minimum_kernel: Option<String>,
}

/// A shared library, or the ELF interpreter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Library {
    /// Where a guest's loader looks for it.
    pub(crate) guest_path: String,
    pub(crate) file: PathBuf,
}

const KINDS: &str =
    "pass the path of a scheduler's program, or a name that `cargo xtask scheduler list` shows";

/// What a program needs to run beside itself, with those of `folder` before those of this host.
pub(crate) fn libraries(program: &Path, folder: &Path) -> Result<Vec<Library>> {
    elf::libraries_with(program, &search::Folders::of_host().after(folder))
}

/// Text with a `/` or a `.` is a path.
pub(crate) fn resolve(spec: &str, paths: &Paths, progress: &Progress) -> Result<Scheduler> {
    if spec.is_empty() {
        return Err(Refusal::input("the scheduler is empty", KINDS).into());
    }
    if spec.contains(['/', '.']) {
        return program(Path::new(spec));
    }
    let entry = find(spec, paths)?;
    let built = store::required(&entry, paths)?;
    progress.update(format!("scheduler `{spec}`"));
    let libraries = elf::libraries(&built.file)?;
    Ok(Scheduler {
        name: entry.name,
        version: entry.version,
        file: built.file,
        sha256: built.sha256,
        libraries,
        minimum_kernel: entry.minimum_kernel,
    })
}

/// One of the user's.
fn program(path: &Path) -> Result<Scheduler> {
    let libraries = elf::libraries(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Scheduler {
        name,
        version: None,
        file: path.to_path_buf(),
        sha256: disk::sha256(path)?,
        libraries,
        minimum_kernel: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};

    fn refused(spec: &str, paths: &Paths) -> (u8, String) {
        let error = resolve(spec, paths, &Progress::silent()).unwrap_err();
        (exit_code(&error), render(&error))
    }

    #[test]
    fn a_path_is_a_program_of_the_users_with_its_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let found = resolve("/bin/true", &paths, &Progress::silent()).unwrap();
        assert_eq!((found.name.as_str(), &found.version), ("true", &None));
        assert_eq!(found.sha256, crate::files::sha256(&std::fs::read("/bin/true").unwrap()));
        assert!(found.libraries.len() >= 2, "libc and its loader: {found:?}");
    }

    #[test]
    fn what_is_no_program_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        for path in [&script, dir.path(), &dir.path().join("absent")] {
            let (code, text) = refused(&path.display().to_string(), &paths);
            assert_eq!(code, exit::BAD_INPUT, "{text}");
            assert!(text.contains(&path.display().to_string()), "{text}");
        }
        assert_eq!(refused("", &paths).0, exit::BAD_INPUT);
    }

    #[test]
    fn a_name_that_is_not_built_says_how_to_build_it() {
        let dir = tempfile::tempdir().unwrap();
        let repo = concat!(env!("CARGO_MANIFEST_DIR"), "/..").into();
        let paths = Paths { repo, ..Paths::below(dir.path()) };
        let (code, text) = refused("scx_bpfland", &paths);
        assert_eq!(code, exit::HOST);
        assert!(text.contains("`cargo xtask scheduler build scx_bpfland`"), "{text}");
        let (code, text) = refused("scx_bpfand", &paths);
        assert_eq!(code, exit::BAD_INPUT);
        assert!(text.contains("did you mean `scx_bpfland`?"), "{text}");
    }
}
