//! `kernel list` and `kernel prune`: what is there to boot, and what of it the cache holds.

use crate::error::exit;
use crate::kernel::{self, Cached, Choice};
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::report::new_table;
use crate::units::mebibytes;
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;

/// A line.
#[derive(Debug, Serialize)]
struct Row {
    name: Option<String>,
    /// None: nothing stands for it any more, and `prune` removes it.
    spec: Option<String>,
    release: Option<String>,
    package: Option<String>,
    /// In the cache; none if it is not there.
    bytes: Option<u64>,
    features: Vec<&'static str>,
}

impl Row {
    fn of(choice: Choice) -> Self {
        let cached = choice.cached.as_ref();
        Self {
            name: choice.name,
            spec: choice.spec,
            release: cached.map(|cached| cached.kernel.release.clone()),
            package: cached.and_then(|cached| cached.kernel.package.clone()),
            bytes: cached.map(|cached| cached.bytes),
            features: cached.map_or_else(Vec::new, |cached| cached.kernel.features()),
        }
    }
}

pub(super) fn list(json: bool, paths: &Paths) -> Result<u8> {
    let rows: Vec<Row> = kernel::list(paths)?.into_iter().map(Row::of).collect();
    let mut table = new_table(&["name", "spec", "release", "cached", "scheduler"]);
    for row in &rows {
        let or_none = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        table.add_row([
            or_none(&row.name),
            or_none(&row.spec),
            or_none(&row.release),
            row.bytes.map_or_else(|| "no".to_owned(), mebibytes),
            row.features.join(", "),
        ]);
    }
    if json {
        json_to_stdout(&rows)?;
        return Ok(exit::PASS);
    }
    let orphans = rows.iter().filter(|row| row.spec.is_none()).count();
    to_stdout(|out| {
        writeln!(out, "{table}")?;
        if orphans > 0 {
            writeln!(out, "\n`cargo xtask kernel prune` removes the {orphans} without a spec.")?;
        }
        Ok(())
    })?;
    Ok(exit::PASS)
}

pub(super) fn prune(all: bool, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let removed = kernel::prune(all, paths, &progress)?;
    drop(progress);
    let bytes = removed.iter().map(|cached| cached.bytes).sum();
    to_stdout(|out| {
        for Cached { kernel, bytes, .. } in &removed {
            writeln!(out, "removed Linux {}, {}", kernel.release, mebibytes(*bytes))?;
        }
        Ok(writeln!(out, "{} kernels, {} freed", removed.len(), mebibytes(bytes))?)
    })?;
    Ok(exit::PASS)
}
