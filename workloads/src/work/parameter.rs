//! The parameters of the work types as the reference shows them: how each is written in JSON, in
//! which unit, and what it means. Made by the catalogue's macro.

use super::{AluWidth, CustomFn, FutexLockMode, Phase, WakeMechanism};
use crate::config::SchedClass;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// A parameter of a work type.
#[derive(Debug, Clone, Serialize)]
pub struct Parameter {
    /// As in JSON.
    pub name: &'static str,
    /// What is written there: `integer`, `duration`, `choice`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The values of a choice.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub choices: &'static [&'static str],
    /// Of a number whose name says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// What it means.
    pub doc: String,
    /// `None` where it must be given.
    pub default: Option<Value>,
}

/// Ends of names that say a unit.
const UNITS: [(&str, &str); 5] =
    [("_kb", "KiB"), ("_ms", "ms"), ("_us", "us"), ("_usec", "us"), ("_hz", "Hz")];

impl Parameter {
    /// The parameter `name` of type `T`; the reference fills in its default.
    pub(super) fn new<T: Written>(name: &'static str, doc: &[&str]) -> Self {
        let unit = UNITS.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, unit)| *unit);
        Self { name, kind: T::KIND, choices: T::CHOICES, unit, doc: joined(doc), default: None }
    }
}

/// How a parameter is written in JSON.
pub(super) trait Written {
    const KIND: &'static str;
    const CHOICES: &'static [&'static str] = &[];
}

impl Written for u64 {
    const KIND: &'static str = "integer";
}

impl Written for usize {
    const KIND: &'static str = "integer";
}

impl Written for i32 {
    const KIND: &'static str = "integer";
}

impl Written for Vec<usize> {
    const KIND: &'static str = "list of integers";
}

impl Written for bool {
    const KIND: &'static str = "choice";
    const CHOICES: &'static [&'static str] = &["true", "false"];
}

impl Written for Duration {
    const KIND: &'static str = "duration";
}

impl Written for String {
    const KIND: &'static str = "text";
}

impl Written for CustomFn {
    const KIND: &'static str = "function, not in JSON";
}

impl Written for Phase {
    const KIND: &'static str = "phase";
}

impl Written for Vec<Phase> {
    const KIND: &'static str = "list of phases";
}

impl Written for AluWidth {
    const KIND: &'static str = "choice";
    const CHOICES: &'static [&'static str] =
        &["scalar", "vec128", "vec256", "vec512", "amx", "widest"];
}

impl Written for WakeMechanism {
    const KIND: &'static str = "choice";
    const CHOICES: &'static [&'static str] = &["Pipe", "Futex"];
}

impl Written for SchedClass {
    const KIND: &'static str = "choice";
    const CHOICES: &'static [&'static str] = &["Cfs", "Batch", "Idle", "Rt", "Deadline", "Ext"];
}

impl Written for FutexLockMode {
    const KIND: &'static str = "choice";
    const CHOICES: &'static [&'static str] = &["Plain", "Pi"];
}

/// Lines of a doc comment as running text.
pub(super) fn joined(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn every_parameter_has_a_meaning_and_what_the_catalogue_gives_by_default() {
        for of in WorkType::reference().unwrap() {
            for p in &of.parameters {
                assert!(p.doc.ends_with('.'), "{}.{}: {}", of.name, p.name, p.doc);
                let must_be_given = WorkType::from_name(of.name).is_none();
                assert_eq!(p.default.is_none(), must_be_given, "{}.{}", of.name, p.name);
            }
        }
    }

    #[test]
    fn a_choice_names_all_its_values_and_no_other() {
        for of in WorkType::reference().unwrap() {
            for p in of.parameters.iter().filter(|p| p.kind == "choice") {
                let with = |value: &str| {
                    let json = format!("{{{:?}:{{{:?}:{value}}}}}", of.name, p.name);
                    serde_json::from_str::<WorkType>(&json).map(drop)
                };
                if matches!(p.default, Some(Value::Bool(_))) {
                    p.choices.iter().for_each(|choice| with(choice).unwrap());
                    continue;
                }
                let refusal = with("\"?\"").unwrap_err().to_string();
                let expected: Vec<_> = refusal.split('`').skip(3).step_by(2).collect();
                assert_eq!(p.choices, expected, "{}.{}: {refusal}", of.name, p.name);
            }
        }
    }
}
