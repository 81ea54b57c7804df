//! Scenario files as commands take them. Called by `vm`, `host`, `check` and `list`.

use crate::cli::Overrides;
use crate::error::Refusal;
use crate::files::Kind;
use crate::paths::Paths;
use crate::qemu::{Layout, MachineArgs, MachineTexts};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use workloads::{Machine, Plan, Scenario, ScenarioError, Topology, WorkType, nearest};

const DEFAULT: &str = "scenarios/wake.json";

/// A scenario and where it came from.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) scenario: Scenario,
    pub(super) source: Source,
}

/// A scenario file, for refusals that come after parsing.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

/// The file to use when the user names none.
pub(super) fn or_default(config: Option<PathBuf>, paths: &Paths) -> PathBuf {
    config.unwrap_or_else(|| paths.repo.join(DEFAULT))
}

/// Reads and validates a scenario; a nameless one is called after its file.
pub(super) fn load(path: &Path) -> Result<Input> {
    let text = Kind::SCENARIO.read_text(path)?;
    let source = Source { path: path.to_owned(), text };
    let mut scenario = Scenario::parse(&source.text).map_err(|error| source.refusal(&error))?;
    if scenario.name.is_empty() {
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(Input { scenario, source })
}

impl Source {
    /// What `scenario`, which was read from here, comes to on a machine of this `topology`.
    pub(super) fn plan(&self, scenario: &Scenario, topology: &Topology) -> Result<Plan> {
        let plan = scenario.plan(topology);
        plan.map_err(|broken| {
            let refusal = self.refusal(&ScenarioError::of(broken, &self.text));
            refusal.or("; or give the guest more by --cpus, --topology or --numa").into()
        })
    }

    /// Refuses steps that swap schedulers where that cannot work; `at_start` is whether one runs
    /// from the beginning.
    pub(super) fn check_schedulers(&self, scenario: &Scenario, at_start: bool) -> Result<()> {
        scenario.schedulers(at_start).map(drop).map_err(|broken| {
            let refusal = self.refusal(&ScenarioError::of(broken, &self.text));
            refusal.or("; or pass --scheduler").into()
        })
    }

    /// The guest that the command line asks for, or else the scenario.
    pub(super) fn layout(&self, asked: &MachineArgs, scenario: &Scenario) -> Result<Layout> {
        let Machine { preset, cpus, topology, numa, numa_distance, memory, kernel_args: _ } =
            &scenario.machine;
        let cpus = cpus.map(|cpus| cpus.to_string());
        let texts = MachineTexts {
            machine: preset.as_deref(),
            cpus: cpus.as_deref(),
            topology: topology.as_deref(),
            numa: numa.as_deref(),
            numa_distance: numa_distance.as_deref(),
            memory: memory.as_deref(),
        };
        let below = texts.parse().and_then(|below| {
            // By itself it must be one too, whatever the command line puts in its place.
            below.clone().layout().map(|_| below)
        });
        let below = below.map_err(|error| {
            let why = format!("cannot be made: {error}");
            self.refusal(&ScenarioError::at("machine".into(), why, &self.text))
        })?;
        asked.clone().over(below).layout()
    }

    fn refusal(&self, error: &ScenarioError) -> Refusal {
        let path = self.path.display();
        Refusal::input(
            format!("{path}: {error}"),
            format!("mend the file; `cargo xtask check {path}` checks it again"),
        )
    }
}

/// Applies what the command line says over the scenario; returns what could not be done to all of
/// it.
pub(super) fn apply(overrides: &Overrides, scenario: &mut Scenario) -> Result<Vec<String>> {
    scenario.duration = overrides.duration.or(scenario.duration);
    scenario.seed = overrides.seed.unwrap_or(scenario.seed);
    let notes = match &overrides.work_type {
        Some(name) => scenario.override_work_type(&work_type(name)?),
        None => Vec::new(),
    };
    scenario.validate().map_err(|broken| {
        Refusal::input(format!("`{}` {}", broken.path, broken.why), "change the option")
    })?;
    Ok(notes)
}

/// A type that can be had by its name alone.
fn work_type(name: &str) -> Result<WorkType> {
    WorkType::from_name(name).with_context(|| {
        let message = match WorkType::ALL_NAMES.contains(&name) {
            true => format!("--work-type {name}: this type has no default parameters"),
            false => format!("--work-type {name}: no such work type"),
        };
        let fix = match nearest(name, WorkType::ALL_NAMES.iter().copied()) {
            Some(near) if near != name => format!("did you mean `{near}`?"),
            _ => "`cargo xtask list work-types` shows what there is".into(),
        };
        Refusal::input(message, fix)
    })
}

/// A function of the user's that no program here has linked in.
pub(super) fn refuse_unlinked(scenario: &Scenario, fix: &str) -> Result<()> {
    match scenario.all_specs().iter().find(|spec| spec.work_type.is_unresolved()) {
        None => Ok(()),
        Some(spec) => {
            let name = spec.work_type.name();
            Err(Refusal::input(format!("no Custom function `{name}` is linked in"), fix).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;
    use crate::keys::named_by;
    use std::collections::BTreeSet;

    /// The guest that a scenario with this `machine` gets, and what its kernel is told.
    fn effect(machine: &str) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("it.json");
        std::fs::write(&path, format!("{{\"machine\":{machine}}}"))?;
        let Input { scenario, source } = load(&path)?;
        let layout = source.layout(&MachineArgs::default(), &scenario)?;
        Ok(format!("{layout:?} {:?}", scenario.machine.kernel_args))
    }

    #[test]
    fn each_key_of_a_scenarios_machine_makes_another_guest() {
        let changes = [
            ("preset", "{}", r#"{"preset":"laptop"}"#),
            ("cpus", "{}", r#"{"cpus":3}"#),
            ("topology", "{}", r#"{"topology":"1s3c2t"}"#),
            ("numa", "{}", r#"{"numa":"2"}"#),
            ("numa_distance", r#"{"numa":"2"}"#, r#"{"numa":"2","numa_distance":"33"}"#),
            ("memory", "{}", r#"{"memory":"2G"}"#),
            ("kernel_args", "{}", r#"{"kernel_args":["nosmt"]}"#),
        ];
        let known = named_by(&render(&effect(r#"{"none_such":1}"#).unwrap_err()));
        let changed: BTreeSet<_> = changes.iter().map(|(key, ..)| (*key).to_owned()).collect();
        assert_eq!(known, changed);
        for (key, from, to) in changes {
            assert_ne!(effect(from).unwrap(), effect(to).unwrap(), "{key}");
        }
        let both = render(&effect(r#"{"cpus":3,"topology":"1s3c2t"}"#).unwrap_err());
        assert!(both.contains("`machine.cpus` does nothing: `topology` says"), "{both}");
    }
}
