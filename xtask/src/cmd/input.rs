//! Scenario files as commands take them. Called by `vm`, `host` and `check`.

use crate::cli::Overrides;
use crate::error::Refusal;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use workloads::Scenario;

const DEFAULT: &str = "scenarios/wake.json";

/// The file to use when the user names none.
pub(super) fn or_default(config: Option<PathBuf>, paths: &Paths) -> PathBuf {
    config.unwrap_or_else(|| paths.repo.join(DEFAULT))
}

/// Reads and validates a scenario; a nameless one is called after its file.
pub(super) fn load(path: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| {
        Refusal::input(
            format!("read(`{}`) failed", path.display()),
            "pass a scenario file as --config; scenarios/ has ready ones",
        )
    })?;
    let mut scenario = Scenario::parse(&text).map_err(|error| {
        Refusal::input(
            format!("{}: {error}", path.display()),
            format!("mend the file; `cargo xtask check {}` checks it again", path.display()),
        )
    })?;
    if scenario.name.is_empty() {
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(scenario)
}

/// Applies what the command line says over the scenario.
pub(super) fn apply(overrides: &Overrides, scenario: &mut Scenario) -> Result<()> {
    scenario.duration = overrides.duration.or(scenario.duration);
    scenario.seed = overrides.seed.unwrap_or(scenario.seed);
    scenario.validate().map_err(|(path, why)| {
        Refusal::input(format!("`{path}` {why}"), "change the option").into()
    })
}

/// A function of the user's that no program here has linked in.
pub(super) fn refuse_unlinked(scenario: &Scenario, fix: &str) -> Result<()> {
    let specs = scenario.workload.specs();
    match specs.iter().find(|spec| spec.work_type.is_unresolved()) {
        None => Ok(()),
        Some(spec) => {
            let name = spec.work_type.name();
            Err(Refusal::input(format!("no Custom function `{name}` is linked in"), fix).into())
        }
    }
}
