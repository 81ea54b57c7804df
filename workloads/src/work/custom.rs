//! `Custom`: the user's own work function. A user links `guest-init` with functions given to
//! [`register`]; scenarios name them. The host has no such functions and keeps the name only.

use super::reference::{Documented, Facts};
use super::{Finish, Needs, Work, WorkType};
use crate::report::WorkerReport;
use crate::worker::Worker;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// Runs until the flag is true and returns the report; the caller adds no telemetry to it.
pub type CustomFn = fn(&AtomicBool) -> WorkerReport;

static REGISTRY: Mutex<Vec<(String, CustomFn)>> = Mutex::new(Vec::new());

/// Makes `run` available to scenarios as `{"Custom": {"name": name}}`. Call it before a scenario
/// is parsed; a later registration of the same name wins.
pub fn register(name: impl Into<String>, run: CustomFn) {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), run));
}

pub(super) struct Custom(pub(super) CustomFn);

impl Custom {
    /// The registered function, or a stand-in that reports that there is none.
    pub(super) fn named(name: String) -> WorkType {
        let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let run = registry.iter().rev().find(|(known, _)| *known == name).map(|(_, run)| *run);
        WorkType::Custom { name, run: run.unwrap_or(unregistered) }
    }
}

impl WorkType {
    /// Whether this is a `Custom` whose function this program does not have.
    pub fn is_unresolved(&self) -> bool {
        matches!(self, Self::Custom { run, .. } if std::ptr::fn_addr_eq(*run, unregistered as CustomFn))
    }

    /// [`WorkType::Custom`] with this function.
    pub fn custom(name: impl Into<String>, run: CustomFn) -> Self {
        Self::Custom { name: name.into(), run }
    }
}

fn unregistered(_: &AtomicBool) -> WorkerReport {
    WorkerReport::default()
}

impl Documented for Custom {
    const FACTS: Facts = Facts { example: r#"{"Custom":{"name":"mine"}}"#, ..Facts::PLAIN };
}

impl Work for Custom {
    fn needs(&self) -> Needs {
        Needs { user_code: true, ..Needs::default() }
    }

    fn run(&self, worker: &mut Worker<'_>) -> Finish {
        Finish::Reported(Box::new((self.0)(worker.stop_flag())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mine(_: &AtomicBool) -> WorkerReport {
        WorkerReport { work_units: 7, ..WorkerReport::default() }
    }

    #[test]
    fn a_scenario_finds_a_registered_function_by_name() {
        let json = r#"{"Custom":{"name":"mine"}}"#;
        assert!(serde_json::from_str::<WorkType>(json).unwrap().is_unresolved());
        register("mine", mine);
        let found: WorkType = serde_json::from_str(json).unwrap();
        assert_eq!(found, WorkType::custom("mine", mine));
        assert_eq!(found.name(), "mine");
    }
}
