//! Reads a file that somebody else is still writing. Called by `watch` for the serial ports.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// A position in a growing file.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
}

impl Tail {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), file: None }
    }

    /// All of it, from the begin.
    pub(super) fn all(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap_or_default()
    }

    /// What was added since the last call; nothing while the file is not there.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut added = Vec::new();
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut outcome = file.read_to_end(&mut added);
            while matches!(&outcome, Err(error) if error.kind() == ErrorKind::Interrupted) {
                outcome = file.read_to_end(&mut added);
            }
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn each_byte_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new(&path);
        assert!(tail.read().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one").unwrap();
        assert_eq!(tail.read(), b"one");
        file.write_all(b"two").unwrap();
        assert_eq!(tail.read(), b"two");
        assert!(tail.read().is_empty());
    }
}
