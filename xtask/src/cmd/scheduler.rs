//! `xtask scheduler`: building sched_ext schedulers, and what there is.

use crate::cli::SchedulerCommand;
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::report::new_table;
use crate::scheduler::{self, Entry, Library, Scheduler};
use crate::units::mebibytes;
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;

pub(crate) fn run(command: &SchedulerCommand, paths: &Paths) -> Result<u8> {
    match command {
        SchedulerCommand::Build { name } => build(name, paths),
        SchedulerCommand::List { json } => list(*json, paths),
    }
}

fn build(name: &str, paths: &Paths) -> Result<u8> {
    let entry = scheduler::find(name, paths)?;
    let progress = Progress::new();
    scheduler::build(&entry, paths, &progress)?;
    // What `vm` will find, read from the program.
    let Scheduler { name, version, file, sha256, libraries, minimum_kernel, .. } =
        scheduler::resolve(name, paths, &progress)?;
    drop(progress);
    let version = version.map_or_else(String::new, |version| format!(" {version}"));
    let kernel =
        minimum_kernel.map_or_else(String::new, |it| format!(", for Linux {it} and newer"));
    to_stdout(|out| {
        writeln!(out, "{name}{version}{kernel}")?;
        writeln!(out, "program {} sha256 {sha256}", file.display())?;
        for Library { guest_path, file } in libraries {
            writeln!(out, "library {guest_path} from {}", file.display())?;
        }
        Ok(())
    })?;
    Ok(exit::PASS)
}

/// A line.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// None: it is of this repository.
    version: Option<String>,
    minimum_kernel: Option<String>,
    /// Of the program; none if it is not built, or not of these sources.
    bytes: Option<u64>,
    text: String,
}

impl Row {
    fn of(entry: Entry, paths: &Paths) -> Result<Self> {
        let bytes = scheduler::built(&entry, paths)?.map(|built| built.bytes);
        let Entry { name, version, minimum_kernel, text, .. } = entry;
        Ok(Self { name, version, minimum_kernel, bytes, text })
    }
}

fn list(json: bool, paths: &Paths) -> Result<u8> {
    let entries = scheduler::all(paths)?.into_iter();
    let rows: Vec<Row> = entries.map(|entry| Row::of(entry, paths)).collect::<Result<_>>()?;
    if json {
        json_to_stdout(&rows)?;
        return Ok(exit::PASS);
    }
    let mut table = new_table(&["name", "version", "kernel", "built", "what"]);
    for row in &rows {
        let or_none = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        table.add_row([
            row.name.clone(),
            or_none(&row.version),
            or_none(&row.minimum_kernel),
            row.bytes.map_or_else(|| "no".to_owned(), mebibytes),
            row.text.clone(),
        ]);
    }
    to_stdout(|out| {
        writeln!(out, "{table}\n\nkernel: the oldest that it is meant for.")?;
        Ok(writeln!(out, "`cargo xtask scheduler build NAME` builds one.")?)
    })?;
    Ok(exit::PASS)
}
