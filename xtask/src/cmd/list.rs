//! `xtask list`: work types, kernels, machines and scenarios to choose from, for people or as JSON.

use super::input;
use crate::cli::{ListArgs, Listed};
use crate::error::exit;
use crate::kernel::{self, Named};
use crate::paths::Paths;
use crate::progress::{json_to_stdout, to_stdout};
use crate::qemu::{PRESETS, Preset};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use workloads::{Reference, WorkSpec, WorkType};

/// What was asked for; the rest is absent.
#[derive(Debug, Serialize)]
struct Listing {
    #[serde(skip_serializing_if = "Option::is_none")]
    work_types: Option<Vec<Reference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernels: Option<Vec<Named>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<&'static [Preset]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenarios: Option<Vec<Ready>>,
}

/// A scenario of the repository.
#[derive(Debug, Serialize)]
struct Ready {
    file: String,
    purpose: String,
    work_types: BTreeSet<String>,
}

pub(crate) fn run(args: &ListArgs, paths: &Paths) -> Result<u8> {
    let listing = Listing::of(args.what, paths)?;
    match args.json {
        true => json_to_stdout(&listing)?,
        false => to_stdout(|out| listing.print(out))?,
    }
    Ok(exit::PASS)
}

impl Listing {
    fn of(what: Option<Listed>, paths: &Paths) -> Result<Self> {
        let wanted = |kind| what.is_none_or(|what| what == kind);
        Ok(Self {
            work_types: wanted(Listed::WorkTypes).then(WorkType::reference).transpose()?,
            kernels: wanted(Listed::Kernels).then(|| kernel::named(paths)).transpose()?,
            machines: wanted(Listed::Machines).then_some(PRESETS),
            scenarios: wanted(Listed::Scenarios).then(|| ready(paths)).transpose()?,
        })
    }

    fn print(&self, out: &mut impl Write) -> Result<()> {
        if let Some(types) = &self.work_types {
            writeln!(
                out,
                "Work types: workers in a group, what each does, JSON with the defaults"
            )?;
            for family in types.chunk_by(|a, b| a.family == b.family) {
                writeln!(out, "\n  {}:", family.first().map_or("", |of| of.family))?;
                for Reference { name, group_size, summary, work_type, .. } in family {
                    writeln!(out, "    {name:26}{group_size}  {summary}  {work_type}")?;
                }
            }
        }
        if let Some(kernels) = &self.kernels {
            writeln!(
                out,
                "\nKernels (--kernel takes these names, paths and debian:SUITE/FLAVOUR):"
            )?;
            for Named { name, spec, text } in kernels {
                writeln!(out, "  {name:24} {spec}  {text}")?;
            }
        }
        if let Some(machines) = self.machines {
            writeln!(
                out,
                "\nMachines (--machine takes these names; the options after them change them):"
            )?;
            for Preset { name, text, machine } in machines {
                writeln!(out, "  {name:24} {text}: {machine}")?;
            }
        }
        if let Some(scenarios) = &self.scenarios {
            writeln!(out, "\nScenarios:")?;
            for Ready { file, purpose, work_types } in scenarios {
                let types = work_types.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                writeln!(out, "  {file:32} {purpose} ({types})")?;
            }
        }
        Ok(())
    }
}

fn ready(paths: &Paths) -> Result<Vec<Ready>> {
    let dir = paths.repo.join("scenarios");
    let entries =
        std::fs::read_dir(&dir).with_context(|| format!("read_dir(`{}`) failed", dir.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    let ready = |file: &PathBuf| {
        let scenario = input::load(file)?.scenario;
        let specs = scenario.all_specs();
        let name = |spec: &WorkSpec| spec.work_type.name().to_owned();
        Ok(Ready {
            file: file.strip_prefix(&paths.repo).unwrap_or(file).display().to_string(),
            purpose: scenario.purpose.clone(),
            work_types: specs.iter().map(name).collect::<BTreeSet<_>>(),
        })
    };
    files.iter().map(ready).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn listing(what: Option<Listed>) -> Listing {
        let repo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        Listing::of(what, &Paths::below(repo)).unwrap()
    }

    #[test]
    fn a_list_has_what_was_asked_for_and_nothing_else() {
        for (what, keys) in [
            (Some(Listed::WorkTypes), &["work_types"][..]),
            (Some(Listed::Kernels), &["kernels"]),
            (Some(Listed::Machines), &["machines"]),
            (Some(Listed::Scenarios), &["scenarios"]),
            (None, &["kernels", "machines", "scenarios", "work_types"]),
        ] {
            let json = serde_json::to_value(listing(what)).unwrap();
            assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
            assert!(json.as_object().unwrap().values().all(|of| !of[0].is_null()), "{json}");
        }
    }

    #[test]
    fn every_ready_scenario_has_its_own_name_and_is_in_the_readme_with_its_purpose() {
        let repo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let readme = std::fs::read_to_string(repo.join("README.md")).unwrap();
        for Ready { file, purpose, .. } in ready(&Paths::below(repo)).unwrap() {
            let file = Path::new(&file);
            let stem = file.file_stem().unwrap().to_str().unwrap();
            assert_eq!(input::load(&repo.join(file)).unwrap().scenario.name, stem);
            assert!(!purpose.is_empty(), "{stem}");
            let row = format!("\n| [{stem}]({}) | {purpose} |\n", file.display());
            assert!(readme.contains(&row), "README.md lacks{row}");
        }
    }

    #[test]
    fn every_type_has_a_line_that_ends_with_what_a_scenario_takes() {
        let mut printed = Vec::new();
        listing(Some(Listed::WorkTypes)).print(&mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        for name in WorkType::ALL_NAMES {
            let mut lines = printed
                .lines()
                .filter(|line| line.split_whitespace().next().is_some_and(|word| word == *name));
            let (line, another) = (lines.next().unwrap(), lines.next());
            let (_, json) = line.rsplit_once("  ").unwrap();
            serde_json::from_str::<WorkType>(json).unwrap();
            assert_eq!(another, None, "{name}");
        }
    }
}
