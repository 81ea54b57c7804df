//! `xtask list`: work types, kernels and scenarios to choose from.

use super::input;
use crate::error::exit;
use crate::kernel;
use crate::paths::Paths;
use crate::progress::to_stdout;
use anyhow::{Context as _, Result};
use std::io::Write;
use workloads::WorkType;

pub(crate) fn run(paths: &Paths) -> Result<u8> {
    to_stdout(|out| list(paths, out))?;
    Ok(exit::PASS)
}

fn list(paths: &Paths, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Work types, with their default parameters:")?;
    for name in WorkType::ALL_NAMES {
        let shape = match WorkType::from_name(name) {
            Some(work_type) => serde_json::to_string(&work_type)?,
            None if *name == "Sequence" => {
                r#"{"Sequence":{"first":{"Spin":"100ms"},"rest":[{"Sleep":"50ms"}]}}"#.into()
            }
            None => format!("{{\"{name}\":{{\"name\":\"..\"}}}}"),
        };
        writeln!(out, "  {shape}")?;
    }
    writeln!(out, "\nKernels (--kernel takes these names, paths and debian:SUITE/FLAVOUR):")?;
    for entry in kernel::named(paths)? {
        writeln!(out, "  {:24} {}  {}", entry.name, entry.spec, entry.text)?;
    }
    writeln!(out, "\nScenarios:")?;
    list_scenarios(paths, out)
}

fn list_scenarios(paths: &Paths, out: &mut impl Write) -> Result<()> {
    let dir = paths.repo.join("scenarios");
    let entries =
        std::fs::read_dir(&dir).with_context(|| format!("read_dir(`{}`) failed", dir.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
        let scenario = input::load(file)?;
        let types: Vec<_> =
            scenario.workload.specs().iter().map(|spec| spec.work_type.name().to_owned()).collect();
        let shown = file.strip_prefix(&paths.repo).unwrap_or(file).display().to_string();
        writeln!(
            out,
            "  {shown:24} {} workers: {}",
            scenario.workload.total_workers(),
            types.join(" + ")
        )?;
    }
    Ok(())
}
