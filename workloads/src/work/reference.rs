//! What the reference says of each work type: an entry of the catalogue, what its family file
//! states beside the loop, and what follows from its defaults. `cargo xtask docs` makes a page of
//! it and `cargo xtask list` a table. Nothing here is in guest-init, which asks for none of it.

use super::parameter::{Parameter, joined};
use super::{Needs, Work, WorkType};
use crate::report::Latency;
use serde::Serialize;
use serde_json::value::RawValue;

/// Kernel functions of the catalogue that had another name: now, before, the first release with
/// the new one.
pub const RENAMED: &[(&str, &str, &str)] = &[
    ("wakeup_preempt", "check_preempt_curr", "6.7"),
    ("sched_balance_rq", "load_balance", "6.10"),
    ("reweight_task_fair", "reweight_task", "6.12"),
    ("anon_pipe_write", "pipe_write", "6.15"),
];

/// Everything that there is to say about one work type.
#[derive(Debug, Clone, Serialize)]
pub struct Reference {
    /// As in scenarios and reports.
    pub name: &'static str,
    /// What kind of type it is.
    pub family: &'static str,
    /// What it does, in a sentence.
    pub summary: String,
    /// What else to know before using it; may be empty.
    pub details: String,
    /// Which behaviour to test it is for.
    pub choose: &'static str,
    /// The kernel functions that it drives.
    pub kernel: &'static str,
    /// In the order of the constructor.
    pub parameters: Vec<Parameter>,
    /// Workers that run together, as a sum of numbers and parameters.
    pub group: &'static str,
    /// The same with default parameters.
    pub group_size: usize,
    /// Who they are, in the order of their positions.
    pub roles: Vec<Role>,
    /// Which right it takes for what, and what happens without; `None` if it needs none.
    pub privilege: Option<&'static str>,
    /// Why its workers must be processes, or `None` if they may be threads of one.
    pub own_process: Option<&'static str>,
    /// What it samples.
    pub latency: Vec<Sampled>,
    /// The type with its defaults, as it stands in a scenario.
    pub work_type: Box<RawValue>,
    /// A workload of one group of it.
    pub example: Box<RawValue>,
}

/// What some workers of a group are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// As in reports.
    pub name: &'static str,
    /// How many of them a group has with default parameters.
    pub workers: usize,
}

/// A kind of latency sample that a type takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// What the sample means.
    pub kind: Latency,
    /// Whose or of what it is, and when there is one.
    pub of: &'static str,
}

impl WorkType {
    /// What there is to say about each type of the catalogue, family by family.
    pub fn reference() -> Result<Vec<Reference>, serde_json::Error> {
        let mut lines = Self::lines();
        lines.sort_by_key(|line| line.family);
        lines.into_iter().map(Line::resolve).collect()
    }
}

/// What a type is chosen by. The reference has them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Compute,
    Memory,
    Sleep,
    Disk,
    Wake,
    Contend,
    RealTime,
    Churn,
    Own,
}

impl Family {
    const fn title(self) -> &'static str {
        match self {
            Self::Compute => "Computing",
            Self::Memory => "Caches and memory",
            Self::Sleep => "Sleeping",
            Self::Disk => "Disk I/O",
            Self::Wake => "Waking each other",
            Self::Contend => "Locks, queues, signals",
            Self::RealTime => "Real-time against fair",
            Self::Churn => "Tasks and their settings",
            Self::Own => "Your own",
        }
    }
}

/// What a type states beside its loop because only people want to know it.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) group: &'static str,
    pub(super) latency: &'static [(Latency, &'static str)],
    pub(super) privilege: Option<&'static str>,
    /// The JSON of a type without defaults.
    pub(super) example: &'static str,
}

impl Facts {
    /// Every worker on its own, no samples, no right needed.
    pub(super) const PLAIN: Self = Self { group: "1", latency: &[], privilege: None, example: "" };
}

/// A type that the reference knows: `params::X`, in its family file.
pub(super) trait Documented {
    const FACTS: Facts = Facts::PLAIN;
}

/// An entry of the catalogue with the facts of its type.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) family: Family,
    /// As rustdoc has it: a line each, an empty one between paragraphs.
    pub(super) doc: &'static [&'static str],
    pub(super) kernel: &'static str,
    pub(super) choose: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) facts: Facts,
}

impl Line {
    /// What the type does in a sentence, and what else to know.
    pub(super) fn texts(&self) -> (String, String) {
        match self.doc.iter().position(|line| line.is_empty()) {
            Some(end) => (joined(&self.doc[..end]), joined(&self.doc[end..])),
            None => (joined(self.doc), String::new()),
        }
    }

    fn resolve(mut self) -> Result<Reference, serde_json::Error> {
        let default = WorkType::from_name(self.name);
        if let Some(default) = &default {
            let value = serde_json::to_value(default)?;
            let params = value.get(self.name);
            for parameter in &mut self.parameters {
                parameter.default = params.and_then(|of| of.get(parameter.name)).cloned();
            }
        }
        let work_type = match default {
            Some(work_type) => work_type,
            None => serde_json::from_str(self.facts.example)?,
        };
        let work = work_type.work();
        let Needs { group_size, own_process, .. } = work.needs();
        let (summary, details) = self.texts();
        let work_type = serde_json::value::to_raw_value(&work_type)?;
        let workload = format!(r#"{{"num_workers":{group_size},"work_type":{work_type}}}"#);
        let latency = self.facts.latency.iter();
        Ok(Reference {
            name: self.name,
            family: self.family.title(),
            summary,
            details,
            choose: self.choose,
            kernel: self.kernel,
            parameters: self.parameters,
            group: self.facts.group,
            group_size,
            roles: roles(&*work, group_size),
            privilege: self.facts.privilege,
            own_process,
            latency: latency.map(|(kind, of)| Sampled { kind: *kind, of }).collect(),
            work_type,
            example: RawValue::from_string(workload)?,
        })
    }
}

/// Neighbours of one name are one role.
fn roles(work: &dyn Work, group_size: usize) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for name in (0..group_size).map(|position| work.role(position)) {
        match roles.last_mut().filter(|role| role.name == name) {
            Some(role) => role.workers += 1,
            None => roles.push(Role { name, workers: 1 }),
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkloadConfig;
    use serde_json::{Map, Value};
    use std::collections::BTreeSet;

    fn all() -> Vec<Reference> {
        WorkType::reference().unwrap()
    }

    /// The default parameters by name.
    fn defaults(of: &Reference) -> Map<String, Value> {
        let default = |p: &Parameter| Some((p.name.to_owned(), p.default.clone()?));
        of.parameters.iter().filter_map(default).collect()
    }

    #[test]
    fn every_type_is_there_once_and_families_are_together() {
        let entries = all();
        let names: BTreeSet<_> = entries.iter().map(|of| of.name).collect();
        assert_eq!(names, WorkType::ALL_NAMES.iter().copied().collect());
        assert_eq!(names.len(), entries.len());
        let mut families: Vec<_> = entries.iter().map(|of| of.family).collect();
        families.dedup();
        assert_eq!(families.iter().collect::<BTreeSet<_>>().len(), families.len());
    }

    #[test]
    fn every_summary_is_one_sentence() {
        for Reference { name, summary, .. } in all() {
            assert!(summary.ends_with('.') && summary.len() < 140, "{name}: {summary}");
            assert_eq!(summary.matches(['.', '!', '?']).count(), 1, "{name}: {summary}");
            assert!(summary.starts_with(char::is_uppercase), "{name}: {summary}");
        }
    }

    #[test]
    fn every_type_says_what_it_is_for_and_which_kernel_functions_it_drives() {
        let mut seen = BTreeSet::new();
        for of in all() {
            assert!(!of.choose.is_empty() && !of.choose.ends_with('.'), "{}", of.name);
            assert!(seen.insert(of.choose), "{}: as another type", of.name);
            assert!(of.kernel.contains('`') != (of.name == "Custom"), "{}", of.name);
        }
    }

    #[test]
    fn a_renamed_function_is_called_by_its_new_name_only() {
        let kernel: Vec<_> = all().iter().map(|of| of.kernel).collect();
        for (now, before, _) in RENAMED {
            assert!(kernel.iter().any(|text| text.contains(&format!("`{now}`"))), "{now}");
            assert!(!kernel.iter().any(|text| text.contains(&format!("`{before}`"))), "{before}");
        }
    }

    #[test]
    fn every_example_is_a_valid_workload_with_the_defaults() {
        for of in all() {
            let config: WorkloadConfig = serde_json::from_str(of.example.get()).unwrap();
            config.validate().unwrap();
            let json: Value = serde_json::from_str(of.example.get()).unwrap();
            let work_type = &json["work_type"];
            assert!(work_type == of.name || work_type[of.name].is_object(), "{work_type}");
            for (field, default) in defaults(&of) {
                assert_eq!(work_type[of.name][field.as_str()], default, "{}.{field}", of.name);
            }
        }
    }

    /// `a + b + 1` with these parameters.
    fn sum(formula: &str, params: &Map<String, Value>) -> u64 {
        let term = |term: &str| term.parse().unwrap_or_else(|_| params[term].as_u64().unwrap());
        formula.split(" + ").map(term).sum()
    }

    #[test]
    fn a_group_formula_gives_the_group_size() {
        for of in all() {
            let params = defaults(&of);
            assert_eq!(sum(of.group, &params), of.group_size as u64, "{}", of.name);
            assert_eq!(of.roles.iter().map(|role| role.workers).sum::<usize>(), of.group_size);
            for (field, default) in &params {
                let Some(number) = default.as_u64() else { continue };
                let mut params = params.clone();
                params[field] = (number + 3).into();
                let json = serde_json::json!({ of.name: params }).to_string();
                let work_type: WorkType = serde_json::from_str(&json).unwrap();
                let size = work_type.worker_group_size().unwrap_or(1) as u64;
                assert_eq!(sum(of.group, &params), size, "{json}");
            }
        }
    }

    #[test]
    fn a_type_that_changes_policy_or_nice_names_its_privilege() {
        for of in all() {
            let changes = matches!(
                of.name,
                "AsymmetricWaker"
                    | "PreemptStorm"
                    | "PriorityInversion"
                    | "RtStarvation"
                    | "NiceSweep"
                    | "PolicyChurn"
            );
            let named = of.privilege.is_some_and(|text| text.contains("CAP_SYS_NICE"));
            assert_eq!(changes, named, "{}", of.name);
            assert!(of.privilege.is_none_or(|text| text.contains("without")), "{}", of.name);
        }
    }
}
