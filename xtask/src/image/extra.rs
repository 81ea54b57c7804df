//! What an image has beside PID 1, modules and scenario: sched_ext schedulers with all that they
//! read, and programs to be measured. Called by `cmd::vm`, and by `bundle`, which takes them out of
//! a recorded image.

use super::cpio::Archive;
use crate::files::Kind;
use crate::kernel::Kernel;
use crate::scheduler::Scheduler;
use anyhow::{Context as _, Result};
use guest_init::proto::{Carried, initramfs, programs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files by their path in the guest, without the first slash; the same ones in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Extra(BTreeMap<String, File>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    bytes: Vec<u8>,
    permissions: u32,
}

/// Programs that a guest runs one after the other, in place of a workload. Needs an init that
/// does so: `guest-init/examples/programs`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs {
    /// Files of the host by their path in the guest.
    pub(crate) files: BTreeMap<String, PathBuf>,
    pub(crate) commands: Vec<Vec<String>>,
}

impl Extra {
    /// These schedulers, and the list of them that guest-init reads.
    pub(crate) fn schedulers(all: &[(Scheduler, Carried)]) -> Result<Self> {
        let mut extra = Self::default();
        for (scheduler, carried) in all {
            extra.copy(&carried.path, &scheduler.file)?;
            for library in &scheduler.libraries {
                extra.copy(&library.guest_path, &library.file)?;
            }
        }
        if !all.is_empty() {
            let list: Vec<&Carried> = all.iter().map(|(_, carried)| carried).collect();
            let json = serde_json::to_vec_pretty(&list).context("serialize(schedulers) failed")?;
            extra.add(initramfs::SCHEDULERS, json, 0o644);
        }
        Ok(extra)
    }

    /// With the kernel's configuration where libbpf looks for it; nothing where there is nothing.
    #[must_use]
    pub(crate) fn on(mut self, kernel: &Kernel) -> Self {
        if let Some(config) = kernel.config.as_ref().filter(|_| !self.0.is_empty()) {
            let path = format!("boot/config-{}", kernel.release);
            self.add(&path, config.text().into_bytes(), 0o644);
        }
        self
    }

    /// With these programs, and the list of commands that the guest runs.
    pub(crate) fn and(mut self, all: &Programs) -> Result<Self> {
        for (guest_path, file) in &all.files {
            self.copy(guest_path, file)?;
        }
        if !all.commands.is_empty() {
            let json = serde_json::to_vec(&all.commands).context("serialize(commands) failed")?;
            self.add(programs::LIST, json, 0o644);
        }
        Ok(self)
    }

    fn copy(&mut self, path: &str, file: &Path) -> Result<()> {
        let bytes = Kind::PROGRAM.read(file)?;
        self.add(path, bytes, 0o755);
        Ok(())
    }

    pub(super) fn add(&mut self, path: &str, bytes: Vec<u8>, permissions: u32) {
        self.0.insert(path.trim_start_matches('/').to_owned(), File { bytes, permissions });
    }

    /// Puts them into `archive`, each folder before what is in it.
    pub(super) fn write(&self, archive: &mut Archive) -> Result<()> {
        let mut made = vec!["dev".to_owned(), initramfs::MODULES[1..].to_owned()];
        for (path, file) in &self.0 {
            for (at, _) in path.match_indices('/') {
                let folder = &path[..at];
                if !made.iter().any(|made| made == folder) {
                    archive.folder(folder)?;
                    made.push(folder.to_owned());
                }
            }
            archive.file(path, &file.bytes, file.permissions)?;
        }
        Ok(())
    }
}
