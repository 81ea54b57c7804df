//! Snapshots of deterministic guests at their stop: the boot is over, the scenario is not known yet. A
//! guest that goes on from one gives the same bytes as one that was booted. Kept in the cache under
//! the hash of all that the boot depends on. Called by `cmd::vm` and `run::watch`.

mod save;
mod stock;

pub(crate) use save::Saving;
pub(crate) use stock::{LIMIT_BYTES, Stored, prune, stored};

use crate::disk;
use crate::files::{self, sha256};
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu::{Guest, Layout, Memory};
use crate::run::{BootPlan, arguments_sha256, remove_folder};
use crate::sealed;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

/// The folder in the cache.
const FOLDER: &str = "snapshots";
/// One run in so many is repeated with a boot, the first one always.
const SAMPLE: u64 = 20;
/// What QEMU sent, its memory less.
const STATE: &str = "state";
const FACTS: &str = "snapshot.json";
/// What the guest had written by then, as the run folder calls it.
const WRITTEN: [&str; 2] = ["console.log", "frames.log"];
/// How folders begin in which one is being made.
const UNFINISHED: &str = "making-";

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Of all memory that is not zero, and of the state without the clocks of the host in it.
    pub(crate) identity: String,
    pub(crate) kernel: String,
    pub(crate) qemu: String,
}

/// All that the boot of a guest depends on, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    hash: String,
    kernel: String,
    qemu: String,
}

/// A snapshot that no prune takes away while this lives.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) folder: PathBuf,
    pub(crate) facts: Facts,
    /// Whether this use of it is one that is to be compared with a boot.
    pub(crate) is_sample: bool,
    _lock: File,
}

/// What a guest begins with.
#[derive(Debug)]
pub(crate) enum Start {
    /// Its firmware; it does not stop.
    Boot,
    /// The same up to its stop, from which it goes on in another QEMU, as from a snapshot.
    Saving(Saving),
    Snapshot(Snapshot),
}

/// What a guest goes on from, in files that QEMU inherits or in those of a snapshot.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) memory: Memory,
    files: Vec<File>,
    state: File,
}

impl Rest {
    /// What QEMU inherits.
    pub(crate) fn inherited(&self) -> Vec<BorrowedFd<'_>> {
        self.files.iter().chain([&self.state]).map(File::as_fd).collect()
    }

    /// The number of the state.
    pub(crate) fn state(&self) -> RawFd {
        self.state.as_raw_fd()
    }
}

impl Key {
    fn of(guest: &Guest, kernel: &Kernel, initramfs_sha256: &str, qemu: &str) -> Self {
        let order = guest.order.as_ref().and_then(|path| path.metadata().ok());
        let parts = [
            &arguments_sha256(guest),
            &kernel.sha256,
            initramfs_sha256,
            qemu,
            &order.map_or(0, |meta| meta.len()).to_string(),
        ];
        let hash = sha256(parts.join("\n").as_bytes());
        Self { hash, kernel: kernel.release.clone(), qemu: qemu.to_owned() }
    }
}

impl Start {
    /// Up to its stop from the boot, of which nothing is kept; `run` is the folder of the run.
    pub(crate) fn cold(guest: &Guest, run: &Path) -> Result<Self> {
        match guest.order.is_some() {
            true => Saving::unkept(&guest.layout, run).map(Self::Saving),
            false => Ok(Self::Boot),
        }
    }

    /// From the snapshot of this guest at its stop, which is made if there is none. Where there can be none, as on a full
    /// disk, from the boot, which is said.
    pub(crate) fn warm(
        guest: &Guest,
        plan: &BootPlan,
        qemu: &str,
        run: &Path,
        (paths, progress): (&Paths, &Progress),
    ) -> Result<Self> {
        if guest.order.is_none() {
            return Ok(Self::Boot);
        }
        let key = Key::of(guest, &plan.kernel, &plan.image.sha256, qemu);
        Self::find(&guest.layout, key, paths, progress).or_else(|error| {
            progress.step(format!("this run begins with a boot: {error:#}"));
            Self::cold(guest, run)
        })
    }

    fn find(layout: &Layout, key: Key, paths: &Paths, progress: &Progress) -> Result<Self> {
        let all = paths.cache_dir(FOLDER)?;
        let folder = all.join(&key.hash);
        let lock_path = stock::lock_of(&folder);
        loop {
            let lock = disk::lock_shared(&lock_path, progress)?;
            if let Some(snapshot) = Snapshot::open(&folder, lock, progress)? {
                return Ok(Self::Snapshot(snapshot));
            }
            let lock = disk::lock(&lock_path, progress)?;
            // Another one may have made it meanwhile.
            if !folder.exists() {
                prune(LIMIT_BYTES, paths)?;
                return Saving::new(layout, &all, folder, key, lock).map(Self::Saving);
            }
        }
    }

    /// As `host.json` calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Boot => "cold",
            Self::Saving(saving) if saving.is_kept() => "cold, and a snapshot was made",
            Self::Saving(_) => "cold",
            Self::Snapshot(_) => "warm",
        }
    }

    /// Where the guest's memory is.
    pub(crate) fn memory(&self, layout: &Layout) -> Memory {
        match self {
            Self::Boot => Memory::Anonymous,
            Self::Saving(saving) => saving.memory(),
            Self::Snapshot(snapshot) => snapshot.memory(layout),
        }
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        }
    }
}

impl Snapshot {
    /// One that is damaged is removed.
    fn open(folder: &Path, lock: File, progress: &Progress) -> Result<Option<Self>> {
        if !folder.exists() {
            return Ok(None);
        }
        if let Err(fault) = sealed::check(folder) {
            let what = fault.text(&format!("the snapshot `{}`", folder.display()));
            progress.step(format!("{what}: it is made again"));
            remove_folder(folder)?;
            return Ok(None);
        }
        let is_sample = count_use(&lock);
        let text = std::fs::read(folder.join(FACTS)).with_context(|| disk::unreadable(folder))?;
        let facts = serde_json::from_slice(&text).context("parse(snapshot.json) failed")?;
        Ok(Some(Self { folder: folder.to_owned(), facts, is_sample, _lock: lock }))
    }

    /// Copies what the guest had written into the folder of a run.
    pub(crate) fn begin(&self, run: &Path) -> Result<()> {
        for name in WRITTEN {
            let to = run.join(name);
            std::fs::copy(self.folder.join(name), &to)
                .with_context(|| format!("copy(`{}`) failed", to.display()))?;
        }
        Ok(())
    }

    fn memory(&self, layout: &Layout) -> Memory {
        let nodes = layout.nodes();
        Memory::Private(
            (0..nodes).map(|node| self.folder.join(Memory::name(node, nodes))).collect(),
        )
    }

    pub(crate) fn rest(&self, layout: &Layout) -> Result<Rest> {
        let path = self.folder.join(STATE);
        let state = File::open(&path).with_context(|| disk::unreadable(&path))?;
        Ok(Rest { memory: self.memory(layout), files: Vec::new(), state })
    }
}

/// The lock has a byte for each use, and its time is that of the last one. Whether this use is one of the
/// sample.
fn count_use(mut lock: &File) -> bool {
    let uses = lock.metadata().map_or(0, |meta| meta.len());
    // A cache of somebody else's cannot be written: then each run is compared.
    let _ = lock.write_all(b".");
    uses.is_multiple_of(SAMPLE)
}

fn write_facts(folder: &Path, facts: &Facts) -> Result<()> {
    let text = serde_json::to_string_pretty(facts).context("serialize(snapshot) failed")?;
    files::write_whole(&folder.join(FACTS), text.as_bytes())
        .with_context(|| disk::unwritable(folder))
}
