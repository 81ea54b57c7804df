//! From a bundle to a guest that can be started: its kernel or another one, its initramfs or one
//! made anew around its PID 1. Called by `cmd::bundle`.

use super::Bundle;
use super::member::{INIT, INITRAMFS, KERNEL};
use crate::error::Refusal;
use crate::image::{self, Extra, Image, Packing, Parts};
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run::{BootPlan, Folder, write_file};
use anyhow::Result;
use std::path::PathBuf;

impl Bundle {
    /// The plan of a replay in `folder`, into which the files of the bundle go; with another
    /// kernel than the bundle's if one is given.
    pub(crate) fn plan(
        &self,
        other: Option<Kernel>,
        qemu: &str,
        folder: &Folder,
        paths: &Paths,
        progress: &Progress,
    ) -> Result<BootPlan> {
        let boot = &self.manifest.boot;
        let (kernel, image) = match other {
            Some(kernel) => self.rebuilt(kernel, paths, progress)?,
            None => {
                self.need_kernel()?;
                self.unpacked(folder)?
            }
        };
        let scenario = (self.scenario.clone(), self.resolved.clone());
        boot.plan((kernel, image), scenario, qemu, paths)
    }

    /// Refuses a bundle that has none.
    pub(crate) fn need_kernel(&self) -> Result<()> {
        if self.manifest.has_kernel() {
            return Ok(());
        }
        let kernel = &self.manifest.boot.kernel;
        let name = kernel.name();
        let message =
            format!("this bundle has no kernel in it; it was {name}, SHA-256 {}", kernel.sha256);
        Err(Refusal::input(message, "pass it, or another, as --kernel SPEC").into())
    }

    fn unpacked(&self, folder: &Folder) -> Result<(Kernel, Image)> {
        let boot = &self.manifest.boot;
        let kernel = boot.kernel_at("of the bundle", self.unpack(KERNEL, folder)?);
        let initramfs = self.unpack(INITRAMFS, folder)?;
        let image = boot.image_at(initramfs, boot.initramfs_sha256.clone());
        Ok((kernel, image))
    }

    fn unpack(&self, name: &'static str, folder: &Folder) -> Result<PathBuf> {
        let path = folder.path().join(name);
        write_file(&path, self.member(name))?;
        Ok(path)
    }

    /// PID 1, schedulers and the scenario of the bundle with the modules that `kernel` has.
    fn rebuilt(
        &self,
        kernel: Kernel,
        paths: &Paths,
        progress: &Progress,
    ) -> Result<(Kernel, Image)> {
        let boot = &self.manifest.boot;
        let modules = kernel.module_closure(&boot.wanted_modules)?;
        let extra = match boot.schedulers.is_empty() {
            true => Extra::default(),
            false => image::extra_of(self.member(INITRAMFS))?.on(&kernel),
        };
        let scenario = image::scenario_text(boot.scenario_via, &self.scenario)?;
        let parts = Parts { init: self.member(INIT), modules, extra, scenario };
        let image = image::build(parts, Packing::of(&kernel), paths, progress)?;
        Ok((kernel, image))
    }
}
