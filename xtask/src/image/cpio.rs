//! A newc archive with nothing in it that depends on the machine: no owner, no dates, inode
//! numbers in order. Called by `image`.

use anyhow::{Context as _, Result};
use cpio::newc::{self, ModeFileType};
use std::io::Write as _;

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn folder(&mut self, name: &str) -> Result<()> {
        let entry =
            newc::Builder::new(name).mode(0o755).set_mode_file_type(ModeFileType::Directory);
        self.add(entry, &[])
    }

    pub(super) fn character_device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let entry = newc::Builder::new(name).mode(0o600).set_mode_file_type(ModeFileType::Char);
        self.add(entry.rdev_major(major).rdev_minor(minor), &[])
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8], permissions: u32) -> Result<()> {
        let entry = newc::Builder::new(name).mode(permissions);
        self.add(entry.set_mode_file_type(ModeFileType::Regular), content)
    }

    fn add(&mut self, entry: newc::Builder, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size =
            u32::try_from(content.len()).context("a file of 4 GiB does not fit an initramfs")?;
        let mut writer = entry.ino(self.entries).write(&mut self.bytes, size);
        writer.write_all(content).context("cpio entry")?;
        writer.finish().context("cpio entry")?;
        Ok(())
    }

    /// The archive with its trailer, padded as the kernel likes it.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        let mut bytes = newc::trailer(self.bytes).context("cpio trailer")?;
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        Ok(bytes)
    }
}
