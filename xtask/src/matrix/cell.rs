//! A cell of a matrix by its values on the axes. Called by everything of `matrix`.

use serde::{Deserialize, Serialize};

/// One combination; each value is the name that the file has for it. Cells of one matrix differ
/// in their names, and a name stays the same whatever other cells there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) kernel: String,
    /// `none`, or a sched_ext scheduler.
    pub(crate) scheduler: String,
    pub(crate) scenario: String,
    /// `own`: what the scenario says; else as `vm` takes it.
    pub(crate) topology: String,
    /// `own`: what the scenario says; else a number.
    pub(crate) seed: String,
    /// `deterministic` or `default`.
    pub(crate) mode: String,
    /// `own`: what the kernel of the file and the scenario say; else the name of those that come
    /// behind them.
    #[serde(default = "own", skip_serializing_if = "is_own")]
    pub(crate) kernel_args: String,
}

/// What an axis has that is the scenario's own.
pub(crate) const OWN: &str = "own";
/// No sched_ext scheduler.
pub(crate) const NONE: &str = "none";
pub(crate) const DETERMINISTIC: &str = "deterministic";
pub(crate) const DEFAULT: &str = "default";

impl Cell {
    pub(super) const AXES: [&str; 7] =
        ["kernel", "scheduler", "scenario", "topology", "seed", "mode", "kernel_args"];

    /// `kernel/scheduler/scenario/topology/seed/mode`, and `/kernel_args` unless these are its own:
    /// also where its runs are kept.
    pub(crate) fn name(&self) -> String {
        let values = self.values();
        let told = if is_own(&self.kernel_args) { &values[..values.len() - 1] } else { &values };
        told.join("/")
    }

    /// Those on the axes.
    pub(super) fn values(&self) -> [&str; 7] {
        let Self { kernel, scheduler, scenario, topology, seed, mode, kernel_args } = self;
        [kernel, scheduler, scenario, topology, seed, mode, kernel_args]
    }

    pub(crate) fn is_deterministic(&self) -> bool {
        self.mode == DETERMINISTIC
    }
}

fn own() -> String {
    OWN.to_owned()
}

fn is_own(value: &str) -> bool {
    value == OWN
}
