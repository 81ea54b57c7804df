//! Where things live on this machine. Every command gets one [`Paths`] and writes nowhere else.

use crate::error::Refusal;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The places that the tool touches.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The checkout: sources of the guest, recipes, scenarios.
    pub(crate) repo: PathBuf,
    /// Kernels, images and what was learned about this host. Safe to delete at any time.
    pub(crate) cache: PathBuf,
    /// Cargo's build folder: the guest is built below it.
    pub(crate) target: PathBuf,
    /// One folder a run.
    pub(crate) runs: PathBuf,
}

impl Paths {
    /// `SCHEDLAB_CACHE`, else the user's cache folder; runs go under the build folder.
    pub(crate) fn from_env() -> Result<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let manifest =
            var("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let repo = manifest.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
        let cache = var("SCHEDLAB_CACHE")
            .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("schedlab")))
            .or_else(|| var("HOME").map(|home| home.join(".cache/schedlab")))
            .ok_or_else(|| {
                Refusal::host("no cache folder: HOME is not set", "set SCHEDLAB_CACHE to a folder")
            })?;
        let target = var("CARGO_TARGET_DIR").unwrap_or_else(|| repo.join("target"));
        Ok(Self { repo, cache, runs: target.join("schedlab/runs"), target })
    }

    /// A folder of the cache, made if it is not there.
    pub(crate) fn cache_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.cache.join(name);
        std::fs::create_dir_all(&dir).map_err(|e| {
            anyhow::Error::new(e).context(Refusal::host(
                format!("create_dir_all(`{}`) failed", dir.display()),
                "set SCHEDLAB_CACHE to a folder that can be written",
            ))
        })?;
        Ok(dir)
    }

    /// Everything below one folder, for tests.
    #[cfg(test)]
    pub(crate) fn below(dir: &Path) -> Self {
        let at = |name: &str| dir.join(name);
        Self { repo: dir.into(), cache: at("cache"), target: at("target"), runs: at("runs") }
    }
}
