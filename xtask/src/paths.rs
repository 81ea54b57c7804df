//! Where things live on this machine. Every command gets one [`Paths`] and writes nowhere else.

use crate::error::Refusal;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Packages that every checkout has, and hardly anything else.
const MARKS: [&str; 2] = ["xtask/Cargo.toml", "guest-init/Cargo.toml"];

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
        let repo = checkout(
            var("CARGO_MANIFEST_DIR").as_deref(),
            std::env::current_exe().ok().as_deref(),
            std::env::current_dir().ok().as_deref(),
        )?;
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

/// The checkout that this program belongs to: that of the package which Cargo says it runs, else
/// the one around the `program`, else the one around the working directory. Never the one in which
/// it was built, which may be another by now.
fn checkout(
    package: Option<&Path>,
    program: Option<&Path>,
    working_dir: Option<&Path>,
) -> Result<PathBuf> {
    let is_checkout = |dir: &&Path| MARKS.iter().all(|mark| dir.join(mark).is_file());
    // Cargo may be running another program, which then calls this one.
    let of_cargo = package.and_then(Path::parent).filter(is_checkout);
    let around = |path: Option<&Path>| path?.ancestors().find(is_checkout).map(Path::to_path_buf);
    let found = of_cargo.map(Path::to_path_buf);
    found.or_else(|| around(program)).or_else(|| around(working_dir)).ok_or_else(|| {
        let shown = |path: Option<&Path>| {
            path.map_or_else(|| "?".into(), |path| path.display().to_string())
        };
        let looked = format!(
            "there is no checkout of schedlab around `{}` or around the working directory `{}`",
            shown(program),
            shown(working_dir)
        );
        Refusal::host(looked, "run it in a checkout, as `cargo xtask` there").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};

    /// A folder that looks like a checkout.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for mark in MARKS {
            let file = dir.path().join(mark);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_program_uses_the_checkout_that_it_lies_in() {
        let (own, other, nowhere) = (tree(), tree(), tempfile::tempdir().unwrap());
        let package = |dir: &tempfile::TempDir| dir.path().join("xtask");
        let program = |dir: &tempfile::TempDir| dir.path().join("target/debug/xtask");
        for (cargo, program, working_dir, expected) in [
            (None, program(&own), other.path(), &own),
            (Some(package(&own)), program(&other), other.path(), &own),
            // Cargo runs something that is no part of a checkout.
            (Some(package(&nowhere)), program(&own), other.path(), &own),
            (None, program(&nowhere), &*own.path().join("docs/schema"), &own),
        ] {
            let found = checkout(cargo.as_deref(), Some(&program), Some(working_dir));
            assert_eq!(found.unwrap(), expected.path());
        }
    }

    #[test]
    fn without_a_checkout_it_says_where_it_looked() {
        let nowhere = tempfile::tempdir().unwrap();
        let error = checkout(None, Some(Path::new("/usr/bin/xtask")), Some(nowhere.path()));
        let error = error.unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
        let text = render(&error);
        let looked = format!(
            "around `/usr/bin/xtask` or around the working directory `{}`",
            nowhere.path().display()
        );
        assert!(text.contains(&looked) && text.contains("run it in a checkout"), "{text}");
    }
}
