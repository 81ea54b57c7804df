//! From what the user wrote after `--scheduler` to an executable on disk. Called by `cmd::vm`.

use crate::error::Refusal;
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// A sched_ext scheduler, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// The executable on this host.
    pub(crate) file: PathBuf,
    pub(crate) sha256: String,
    pub(crate) libraries: Vec<Library>,
    /// The oldest kernel that it runs on, as `6.12`.
    pub(crate) minimum_kernel: Option<String>,
}

/// A shared library that the guest needs beside it.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    pub(crate) guest_path: String,
    pub(crate) file: PathBuf,
}

/// The scheduler that `spec` means: a static executable.
pub(crate) fn resolve(spec: &str, _paths: &Paths, _progress: &Progress) -> Result<Scheduler> {
    let file = Path::new(spec);
    let refusal = || {
        let message = format!("`{spec}` is no x86-64 executable");
        Refusal::input(message, "pass a static executable as --scheduler")
    };
    let bytes = std::fs::read(file).with_context(refusal)?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(refusal().into());
    }
    Ok(Scheduler {
        name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        version: None,
        file: file.to_owned(),
        sha256: files::sha256(&bytes),
        libraries: Vec::new(),
        minimum_kernel: None,
    })
}
