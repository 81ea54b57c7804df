//! A finished table, in every way that was asked for. Called by `cmd::matrix` and its `merge`.

use crate::cli::ViewArgs;
use crate::error::Refusal;
use crate::matrix::{Table, views};
use crate::progress::{json_to_stdout, to_stdout};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// In the folder of a matrix, where it finds the runs.
const PAGE: &str = "page.html";

impl ViewArgs {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.markdown, &self.junit, &self.html].into_iter().flatten()
    }

    /// Refuses a file that could not be written, before hours of work are lost on it.
    pub(super) fn check(&self) -> Result<()> {
        for file in self.files() {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            if file.is_dir() || !folder.is_none_or(Path::is_dir) {
                let message = format!("`{}` cannot be written", file.display());
                return Err(Refusal::input(message, "pass a file in a folder that exists").into());
            }
        }
        Ok(())
    }
}

pub(super) fn show(table: &Table, args: &ViewArgs, folder: &Path) -> Result<()> {
    let page = rendered(|out| views::html(table, out))?;
    for path in [Some(&folder.join(PAGE)), args.html.as_ref()].into_iter().flatten() {
        put(path, File::create(path), &page)?;
    }
    if let Some(path) = &args.markdown {
        // A step's summary may hold more than ours.
        let open = File::options().append(true).create(true).open(path);
        put(path, open, &rendered(|out| views::markdown(table, out))?)?;
    }
    if let Some(path) = &args.junit {
        put(path, File::create(path), &rendered(|out| views::junit(table, out))?)?;
    }
    if args.json {
        return json_to_stdout(table);
    }
    to_stdout(|out| {
        views::text(table, out)?;
        if args.github {
            views::github(table, out)?;
        }
        Ok(writeln!(out, "\nmatrix folder: {}", folder.display())?)
    })
}

fn rendered(print: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    print(&mut bytes)?;
    Ok(bytes)
}

fn put(path: &Path, file: std::io::Result<File>, bytes: &[u8]) -> Result<()> {
    file.and_then(|mut file| file.write_all(bytes)).with_context(|| {
        Refusal::host(format!("write(`{}`) failed", path.display()), "pass another file")
    })
}
