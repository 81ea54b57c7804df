//! `xtask kernel`: what can be done with kernels without booting one.

mod check;
mod list;
mod types;

pub(super) use check::refuse_unfit;

use crate::cli::KernelCommand;
use crate::error::{Refusal, exit};
use crate::kernel;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use anyhow::Result;
use std::io::Write as _;

pub(crate) fn run(command: &KernelCommand, paths: &Paths) -> Result<u8> {
    match command {
        KernelCommand::Fetch { spec } => fetch(&written(spec, paths)?, paths),
        KernelCommand::Build { name, source } => build(name, source.as_deref(), paths),
        KernelCommand::List { json } => list::list(*json, paths),
        KernelCommand::Prune { all } => list::prune(*all, paths),
        KernelCommand::Check { spec, json } => check::check(&written(spec, paths)?, *json, paths),
        KernelCommand::Types(args) => types::types(args, paths),
    }
}

fn fetch(spec: &str, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let kernel = kernel::fetch(spec, paths, &progress)?;
    drop(progress);
    let package = kernel.package.as_deref().unwrap_or("no package");
    to_stdout(|out| {
        writeln!(out, "{}: Linux {} ({package})", kernel.spec, kernel.release)?;
        Ok(writeln!(out, "image {} sha256 {}", kernel.image.display(), kernel.sha256)?)
    })?;
    Ok(exit::PASS)
}

fn build(name: &str, source: Option<&str>, paths: &Paths) -> Result<u8> {
    let recipes = kernel::recipes(paths)?;
    let Some(recipe) = recipes.iter().find(|recipe| recipe.name == name) else {
        let all: Vec<_> = recipes.iter().map(|r| format!("`{}` ({})", r.name, r.text)).collect();
        let message = format!("no kernel `{name}` is built here");
        return Err(Refusal::input(message, format!("choose of {}", all.join(", "))).into());
    };
    let progress = Progress::new();
    let (kernel, notes) = kernel::build(recipe, source, paths, &progress)?;
    drop(progress);
    to_stdout(|out| {
        for note in notes {
            writeln!(out, "note: {note}")?;
        }
        writeln!(out, "{name}: Linux {}", kernel.release)?;
        Ok(writeln!(out, "image {} sha256 {}", kernel.image.display(), kernel.sha256)?)
    })?;
    Ok(exit::PASS)
}

/// The default if nothing was written.
fn written(spec: &Option<String>, paths: &Paths) -> Result<String> {
    spec.clone().map_or_else(|| kernel::default_spec(paths), Ok)
}
