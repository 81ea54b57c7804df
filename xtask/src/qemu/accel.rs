//! Which accelerator to use. `/dev/kvm` proves nothing: on some machines it opens and every
//! guest dies. Only a guest that reached PID 1 proves it, and what was learned is remembered
//! until the host boots again. Called by `cmd::vm`.

use crate::paths::Paths;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How guest code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccelChoice {
    /// KVM if it works here, TCG otherwise.
    Auto,
    /// KVM, or fail.
    Kvm,
    /// TCG, QEMU's emulation.
    Tcg,
}

/// What to try, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) accel: Accel,
    /// Whether a guest lost before PID 1 may be KVM's fault, so that TCG is to be tried.
    pub(crate) on_trial: bool,
    pub(crate) reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    boot_id: String,
    works: bool,
    reason: String,
}

const KVM: &str = "/dev/kvm";

impl AccelChoice {
    /// Decides from the choice, the device and what this boot of the host has taught.
    pub(crate) fn decide(self, paths: &Paths) -> Decision {
        let tcg = |reason: String| Decision { accel: Accel::Tcg, on_trial: false, reason };
        match self {
            Self::Tcg => tcg("asked for".into()),
            Self::Kvm => {
                Decision { accel: Accel::Kvm, on_trial: false, reason: "asked for".into() }
            }
            Self::Auto => match (open_kvm(), recall(paths)) {
                (Err(why), _) => tcg(why),
                (Ok(()), Some(memory)) if !memory.works => tcg(memory.reason),
                (Ok(()), Some(memory)) => {
                    Decision { accel: Accel::Kvm, on_trial: false, reason: memory.reason }
                }
                (Ok(()), None) => {
                    let reason = format!("{KVM} opens; not yet proven by a guest");
                    Decision { accel: Accel::Kvm, on_trial: true, reason }
                }
            },
        }
    }
}

/// Remembers for this boot of the host whether guests live under KVM.
pub(crate) fn remember_kvm(works: bool, reason: &str, paths: &Paths) -> Result<()> {
    let memory = Memory { boot_id: boot_id(), works, reason: reason.to_owned() };
    let path = paths.cache_dir("host")?.join("kvm.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&memory)?)
        .with_context(|| format!("write(`{}`) failed", path.display()))
}

fn recall(paths: &Paths) -> Option<Memory> {
    let text = std::fs::read(paths.cache.join("host/kvm.json")).ok()?;
    serde_json::from_slice(&text).ok().filter(|memory: &Memory| memory.boot_id == boot_id())
}

fn open_kvm() -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(Path::new(KVM));
    opened.map(drop).map_err(|e| format!("open({KVM}) failed: {e}"))
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        assert!(recall(&paths).is_none());
        remember_kvm(false, "guests die", &paths).unwrap();
        let memory = recall(&paths).unwrap();
        assert_eq!((memory.works, memory.reason.as_str()), (false, "guests die"));
    }

    #[test]
    fn another_boot_of_the_host_starts_afresh() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let memory = Memory { boot_id: "another".into(), works: false, reason: String::new() };
        let path = paths.cache_dir("host").unwrap().join("kvm.json");
        std::fs::write(path, serde_json::to_vec(&memory).unwrap()).unwrap();
        assert!(recall(&paths).is_none());
    }

    #[test]
    fn what_is_asked_for_is_never_second_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let kvm = AccelChoice::Kvm.decide(&Paths::below(dir.path()));
        assert_eq!((kvm.accel, kvm.on_trial), (Accel::Kvm, false));
        assert_eq!(AccelChoice::Tcg.decide(&Paths::below(dir.path())).accel, Accel::Tcg);
    }
}
