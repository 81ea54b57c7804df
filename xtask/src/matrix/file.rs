//! `matrix.toml`: the axes, more combinations, and rules. Called by `plan`.

use super::cell::OWN;
use super::rule::{Exclude, KnownFailure, Minimum, Repeat};
use crate::error::Refusal;
use crate::files::Kind;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::Path;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) axes: Axes,
    /// More combinations; an axis that one does not name is that of the file.
    #[serde(default)]
    pub(super) include: Vec<Axes>,
    #[serde(default)]
    pub(super) exclude: Vec<Exclude>,
    #[serde(default)]
    pub(super) minimum: Vec<Minimum>,
    #[serde(default)]
    pub(super) repeat: Vec<Repeat>,
    #[serde(default)]
    pub(super) known_failure: Vec<KnownFailure>,
}

/// Each value of an axis is combined with each of the others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Axes {
    pub(super) kernels: Option<Vec<Named>>,
    pub(super) schedulers: Option<Vec<Named>>,
    /// Paths from the folder of the file; `*` stands for anything in a file name.
    pub(super) scenarios: Option<Vec<String>>,
    pub(super) topologies: Option<Vec<Text>>,
    pub(super) seeds: Option<Vec<Text>>,
    pub(super) modes: Option<Vec<String>>,
    pub(super) kernel_args: Option<Vec<KernelArgs>>,
}

/// A kernel or a scheduler: its spec, or a name for a spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a spec, or { name = \"..\", spec = \"..\" }")]
pub(super) enum Named {
    Spec(String),
    Named(NamedSpec),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedSpec {
    pub(super) name: String,
    pub(super) spec: String,
    /// Of the scheduler program, or kernel arguments.
    #[serde(default)]
    pub(super) args: Vec<String>,
}

/// Kernel arguments: text with spaces between them, or a name for several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected arguments, or { name = \"..\", args = [\"..\"] }")]
pub(super) enum KernelArgs {
    Text(String),
    Named(NamedArgs),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedArgs {
    pub(super) name: String,
    pub(super) args: Vec<String>,
}

/// Text or a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected text or a number")]
pub(super) enum Text {
    Number(u64),
    Text(String),
}

impl Text {
    pub(super) fn as_text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Named {
    pub(super) fn parts(&self) -> NamedSpec {
        match self {
            Self::Named(named) => named.clone(),
            Self::Spec(spec) => {
                NamedSpec { name: spec.clone(), spec: spec.clone(), args: Vec::new() }
            }
        }
    }
}

impl KernelArgs {
    pub(super) fn parts(&self) -> NamedArgs {
        match self {
            Self::Named(named) => named.clone(),
            Self::Text(text) if text == OWN => NamedArgs { name: OWN.into(), args: Vec::new() },
            Self::Text(text) => NamedArgs {
                name: text.clone(),
                args: text.split_whitespace().map(str::to_owned).collect(),
            },
        }
    }
}

impl Axes {
    /// With the axes of `below` where this has none.
    pub(super) fn over(&self, below: &Self) -> Self {
        fn or<T: Clone>(one: &Option<T>, other: &Option<T>) -> Option<T> {
            one.as_ref().or(other.as_ref()).cloned()
        }
        Self {
            kernels: or(&self.kernels, &below.kernels),
            schedulers: or(&self.schedulers, &below.schedulers),
            scenarios: or(&self.scenarios, &below.scenarios),
            topologies: or(&self.topologies, &below.topologies),
            seeds: or(&self.seeds, &below.seeds),
            modes: or(&self.modes, &below.modes),
            kernel_args: or(&self.kernel_args, &below.kernel_args),
        }
    }
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = Kind::MATRIX.read_text(path)?;
        toml::from_str(&text).with_context(|| {
            Refusal::input(format!("`{shown}` is no matrix"), "mend the line that is shown above")
        })
    }
}
