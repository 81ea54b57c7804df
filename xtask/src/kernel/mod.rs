//! From what the user wrote after `--kernel` to a kernel image on disk, its modules and its
//! identity. `vm` calls [`resolve`], `kernel fetch` calls [`fetch`].
//!
//! A bare image is used where it lies. Debian packages are unpacked into `cache/kernels/KEY`,
//! where KEY is the hash of the packages, so that a folder there never changes once it exists.

mod answers;
mod apt;
mod build;
mod bzimage;
mod cache;
mod config;
mod control;
mod deb;
mod debian;
mod download;
mod features;
#[cfg(test)]
pub(crate) mod fixture;
mod image;
mod modules;
mod needs;
mod packed;
mod payload;
mod siblings;
mod sources;
mod spec;
mod store;
mod vmlinux;

use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::Result;
use config::Config;
use spec::Spec;
use std::path::PathBuf;

pub(crate) use build::build;
pub(crate) use cache::{Cached, Choice, list, prune};
pub(crate) use debian::files;
pub(crate) use modules::{LoadedModules, Module};
pub(crate) use needs::{Finding, Has, is_release};
pub(crate) use spec::{Named, default_spec, named, recipes};

/// One scheduler kernel, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// What the user wrote.
    pub(crate) spec: String,
    /// The bzImage, or an uncompressed vmlinux.
    pub(crate) image: PathBuf,
    /// First word of its banner: what `uname -r` will say.
    pub(crate) release: String,
    /// The rest of the banner: builder, build number, date.
    pub(crate) version: String,
    /// Of the image file, lower-case hex.
    pub(crate) sha256: String,
    /// `linux-image-RELEASE VERSION` where it came from a package.
    pub(crate) package: Option<String>,
    /// The folder that holds `kernel/` and `modules.builtin`, or a build tree, if there is one.
    pub(crate) modules: Option<PathBuf>,
    /// Its `System.map`, if that lies beside the image.
    pub(crate) symbols: Option<PathBuf>,
    /// Its configuration, if it lies beside the image or in it.
    pub(crate) config: Option<Config>,
}

impl Kernel {
    /// Whether its configuration is known and has `option` built in.
    pub(crate) fn has_built_in(&self, option: &str) -> bool {
        self.config.as_ref().is_some_and(|config| config.has_built_in(option))
    }

    /// Whether it carries type information, if its configuration is known.
    pub(crate) fn has_btf(&self) -> Option<bool> {
        self.config.as_ref().map(|config| config.has_built_in("CONFIG_DEBUG_INFO_BTF"))
    }

    /// Whether its configuration is known and does not have `option` built in.
    pub(crate) fn lacks(&self, option: &str) -> bool {
        self.config.is_some() && !self.has_built_in(option)
    }
}

/// The kernel that `spec` means. What was fetched once is used again without asking the mirror.
pub(crate) fn resolve(spec: &str, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    find(spec, paths, progress, debian::resolve)
}

/// As [`resolve`], but asks the mirror again, so that `debian:` means the newest version of today.
pub(crate) fn fetch(spec: &str, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    find(spec, paths, progress, debian::fetch)
}

fn find(
    written: &str,
    paths: &Paths,
    progress: &Progress,
    from_suite: fn(&spec::Suite, &Paths, &Progress) -> Result<Kernel>,
) -> Result<Kernel> {
    let kernel = match spec::parse(written, &paths.repo)? {
        Spec::Debian(suite) => from_suite(&suite, paths, progress)?,
        Spec::File(file) if deb::is_deb(&file) => {
            store::unpacked(&siblings::around(&file)?, paths, progress)?.1
        }
        Spec::File(file) => image::at(&file, paths)?,
        Spec::Host => image::of_host(paths)?,
        Spec::Built(recipe) => build::built(&recipe, paths, progress)?,
    };
    Ok(Kernel { spec: written.to_owned(), ..kernel })
}
