//! Control files: a value is one write, and every refusal says what mends it.

use super::CgroupError;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Writes `value` in one call, as the kernel parses it. Never makes the file.
pub(super) fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    // No bytes are no write: the kernel would say yes and clear nothing.
    let bytes = if value.is_empty() { b"\n" } else { value.as_bytes() };
    let written = open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|opened| rustix::io::write(&opened, bytes));
    match written {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(CgroupError::new("write", file, Some(value), Errno::IO)),
        Err(errno) => Err(CgroupError::new("write", file, Some(value), errno)),
    }
}

pub(super) fn read(file: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(file).map_err(|error| CgroupError::new("read", file, None, of(&error)))
}

/// The cgroups right below `dir`, whoever made them.
pub(super) fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |error| CgroupError::new("readdir", dir, None, of(&error));
    let mut children = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

pub(super) fn of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
