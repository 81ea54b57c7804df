//! `xtask cache`: what the cache has, whether it is whole, and less of it. Called by `main`.

use crate::cli::CacheCommand;
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::to_stdout;
use crate::report::new_table;
use crate::snapshot::{LIMIT_BYTES, Stored, prune, stored};
use crate::units::mebibytes;
use anyhow::Result;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

const MIB: u64 = 1 << 20;
/// Of a name, as much as tells snapshots apart.
const SHORT: usize = 12;

pub(crate) fn run(command: &CacheCommand, paths: &Paths) -> Result<u8> {
    match command {
        CacheCommand::List => list(paths),
        CacheCommand::Verify => verify(paths),
        CacheCommand::Prune { keep_mib } => remove(keep_mib * MIB, paths),
    }
}

fn list(paths: &Paths) -> Result<u8> {
    let snapshots = stored(paths)?;
    let mut table = new_table(&["snapshot", "kernel", "QEMU", "size", "uses", "last use"]);
    for stored in &snapshots {
        let facts = stored.facts.as_ref();
        let qemu = facts.and_then(|facts| facts.qemu.split(' ').next()).unwrap_or("unreadable");
        table.add_row([
            short(stored),
            facts.map(|facts| facts.kernel.clone()).unwrap_or_default(),
            qemu.to_owned(),
            mebibytes(stored.bytes),
            stored.uses.to_string(),
            ago(stored.last_use),
        ]);
    }
    to_stdout(|out| {
        writeln!(out, "cache: {}", paths.cache.display())?;
        if !snapshots.is_empty() {
            writeln!(out, "{table}")?;
        }
        let bytes: u64 = snapshots.iter().map(|stored| stored.bytes).sum();
        let (count, limit) = (snapshots.len(), mebibytes(LIMIT_BYTES));
        Ok(writeln!(out, "{count} snapshots, {}; at most {limit}", mebibytes(bytes))?)
    })?;
    Ok(exit::PASS)
}

/// A damaged one is removed: it is made again when it is wanted.
fn verify(paths: &Paths) -> Result<u8> {
    let mut damaged = 0;
    let all = stored(paths)?;
    for stored in &all {
        let Some(fault) = stored.fault() else { continue };
        damaged += 1;
        let what = if stored.remove()? { "it is removed" } else { "it is in use, and stays" };
        to_stdout(|out| Ok(writeln!(out, "{}: {fault}; {what}", short(stored))?))?;
    }
    let whole = all.len() - damaged;
    to_stdout(|out| Ok(writeln!(out, "{whole} of {} snapshots are whole", all.len())?))?;
    Ok(if damaged == 0 { exit::PASS } else { exit::FAIL })
}

fn remove(keep_bytes: u64, paths: &Paths) -> Result<u8> {
    let removed = prune(keep_bytes, paths)?;
    let bytes: u64 = removed.iter().map(|stored| stored.bytes).sum();
    let count = removed.len();
    to_stdout(|out| Ok(writeln!(out, "{count} snapshots removed, {}", mebibytes(bytes))?))?;
    Ok(exit::PASS)
}

fn short(stored: &Stored) -> String {
    stored.name().chars().take(SHORT).collect()
}

fn ago(then: SystemTime) -> String {
    match then.elapsed() {
        Ok(age) if then > SystemTime::UNIX_EPOCH => {
            let whole = Duration::from_secs(age.as_secs());
            format!("{} ago", humantime::format_duration(whole))
        }
        _ => "never".into(),
    }
}
