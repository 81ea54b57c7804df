//! A table for whoever reads it. Called by `cmd::matrix`.

use super::Table;
use anyhow::Result;
use std::io::Write;

/// A line a cell.
pub(crate) fn text(table: &Table, out: &mut impl Write) -> Result<()> {
    for row in &table.rows {
        let reason = row.reason.as_deref().unwrap_or_default();
        writeln!(out, "{}: {} {reason}", row.name, row.standing.name())?;
    }
    let counts = table.counts().into_iter();
    let counts: Vec<_> = counts.map(|(standing, n)| format!("{n} {}", standing.name())).collect();
    Ok(writeln!(out, "{}", counts.join(", "))?)
}

pub(crate) use text as markdown;
pub(crate) use text as junit;
pub(crate) use text as html;
pub(crate) use text as github;
