//! What everything that keeps files needs: the SHA-256 of bytes, a file that is written whole or
//! not at all, and the end of a log. `input` reads what comes from outside, `output` writes what was
//! asked for.

mod input;
mod output;

pub(crate) use input::Kind;
pub(crate) use output::{Output, folder_parser};

use sha2::{Digest as _, Sha256};
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// Of bytes in memory, in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A digest in lower-case hex.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Under its name only when it is complete.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut file = temporary(dir.unwrap_or_else(|| Path::new(".")))?;
    file.write_all(bytes)?;
    // A name must not get to the disk before what it stands for.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A file without a name of its own yet, which others may read once it has one: a cache may be made
/// by root and used by others.
pub(crate) fn temporary(dir: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(dir)
}

/// How a log ends, indented: what went wrong is there.
pub(crate) fn last_lines(log: &Path) -> String {
    const LINES: usize = 12;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
