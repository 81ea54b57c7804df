//! `xtask kernel`: what can be done with kernels without booting one.

use crate::cli::KernelCommand;
use crate::error::exit;
use crate::kernel;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use anyhow::Result;
use std::io::Write as _;

pub(crate) fn run(command: &KernelCommand, paths: &Paths) -> Result<u8> {
    let KernelCommand::Fetch { spec } = command;
    let spec = match spec {
        Some(spec) => spec.clone(),
        None => kernel::default_spec(paths)?,
    };
    let progress = Progress::new();
    let kernel = kernel::fetch(&spec, paths, &progress)?;
    drop(progress);
    let package = kernel.package.as_deref().unwrap_or("no package");
    to_stdout(|out| {
        writeln!(out, "{}: Linux {} ({package})", kernel.spec, kernel.release)?;
        Ok(writeln!(out, "image {} sha256 {}", kernel.image.display(), kernel.sha256)?)
    })?;
    Ok(exit::PASS)
}
