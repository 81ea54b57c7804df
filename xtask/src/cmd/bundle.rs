//! `xtask bundle`: one file that replays a run, for somebody else.

mod replay;
mod show;

use crate::bundle::{self, Packed};
use crate::cli::BundleCommand;
use crate::error::exit;
use crate::files::{Kind, Output};
use crate::paths::Paths;
use crate::progress::to_stdout;
use anyhow::Result;
use std::io::Write as _;
use std::path::Path;

pub(crate) fn run(command: &BundleCommand, paths: &Paths) -> Result<u8> {
    match command {
        BundleCommand::Pack { run, output, note, no_kernel } => {
            pack(run, output, note.as_deref(), !no_kernel)
        }
        BundleCommand::Show { file, json } => show::show(file, *json),
        BundleCommand::Run(args) => replay::run(args, paths),
    }
}

fn pack(run: &Path, output: &Output, note: Option<&Path>, with_kernel: bool) -> Result<u8> {
    let note = note.map(|path| Kind::NOTE.read_text(path)).transpose()?;
    let Packed { bytes, sha256 } = bundle::pack(run, output, note, with_kernel)?;
    to_stdout(|out| {
        writeln!(out, "{}: {:.1} MB", output.path().display(), bytes as f64 / 1e6)?;
        Ok(writeln!(out, "sha256 {sha256}")?)
    })?;
    Ok(exit::PASS)
}
