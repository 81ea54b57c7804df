//! A finished table, in every way that was asked for. Called by `cmd::matrix` and its `merge`.

use crate::cli::ViewArgs;
use crate::files::Output;
use crate::matrix::{Table, views};
use crate::progress::{json_to_stdout, to_stdout};
use anyhow::Result;
use std::io::Write as _;
use std::path::Path;

/// In the folder of a matrix, where it finds the runs.
const PAGE: &str = "page.html";

pub(super) fn show(table: &Table, args: &ViewArgs, folder: &Path) -> Result<()> {
    let page = rendered(|out| views::html(table, out))?;
    let own = Output::at(folder.join(PAGE)).map_err(anyhow::Error::msg)?;
    for file in [Some(&own), args.html.as_ref()].into_iter().flatten() {
        file.write(&page)?;
    }
    if let Some(file) = &args.markdown {
        // A step's summary may hold more than ours.
        file.add(&rendered(|out| views::markdown(table, out))?)?;
    }
    if let Some(file) = &args.junit {
        file.write(&rendered(|out| views::junit(table, out))?)?;
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
