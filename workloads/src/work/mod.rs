//! The work types. `catalogue` declares each with its parameters and defaults, a family file
//! holds its loop, `reference` tells people about them. Nothing outside this folder looks at
//! variants: `handle` asks a [`Work`] once per worker what it needs and then runs it.

mod catalogue;
mod custom;
mod generate;
mod parameter;
mod reference;
#[cfg(feature = "schema")]
mod schema;

mod alu;
mod burst;
mod cache;
mod cgroups;
mod chain;
mod churn;
mod class;
mod fan;
mod io;
mod life;
mod lock;
mod memory;
mod pair;
mod queue;
#[cfg(test)]
mod reading;
mod sequence;
mod signal;
mod spin;
mod wait;

pub use alu::AluWidth;
pub use catalogue::WorkType;
pub use chain::WakeMechanism;
pub use custom::{CustomFn, register};
pub use lock::FutexLockMode;
pub use parameter::Parameter;
pub use reference::{RENAMED, Reference, Role, Sampled};
pub use sequence::Phase;

use crate::config::{ConfigError, WorkTypeValidationError};
use crate::report::WorkerReport;
use crate::worker::Worker;

/// What the loop of one type is: `params::X` of the catalogue implements it in a family file.
pub(crate) trait Work: Send + Sync {
    /// Resources that the parent must prepare, and how positions in a group differ.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// What the worker at a position is called, where that depends on parameters.
    fn role(&self, position: usize) -> &'static str {
        (self.needs().role)(position)
    }

    /// The rules that its parameters must keep.
    fn check(&self, _: &mut Rules<'_>) {}

    /// The whole life of one worker, from the open gate to the stop.
    fn run(&self, worker: &mut Worker<'_>) -> Finish;
}

/// How the loop of a worker ended.
#[derive(Debug)]
pub(crate) enum Finish {
    /// It stopped when told to, or had done its iterations.
    Done,
    /// It could not go on: which operation failed, and why.
    Failed(String),
    /// User code made the report by itself.
    Reported(Box<WorkerReport>),
}

/// What one group of a work type needs from the parent before it is forked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Workers that must run together.
    pub(crate) group_size: usize,
    /// Cache lines of memory that the group shares.
    pub(crate) lines: usize,
    /// Pipes that the group shares.
    pub(crate) pipes: usize,
    /// Whether the group shares an eventfd with an epoll.
    pub(crate) events: bool,
    /// What a worker is called in the report, by its position in the group.
    pub(crate) role: fn(position: usize) -> &'static str,
    /// Why a worker must be a process of its own, `None` if it may be a thread.
    pub(crate) own_process: Option<&'static str>,
    /// Whether it changes its own nice level, policy, CPUs or cgroup all the time, so that what
    /// it was given says nothing of its share of CPU time.
    pub(crate) restless: bool,
    /// Whether it chooses its CPUs all the time, and comes back to those of the scenario at the end.
    pub(crate) chooses_cpus: bool,
    /// Whether it is the user's, who may choose settings that the scenario says nothing of.
    pub(crate) user_code: bool,
    /// When it calls sched_yield(2) in its loop.
    pub(crate) yields: Yields,
    /// Whether its loop makes system calls. Where not, it computes all the time.
    pub(crate) system_calls: bool,
}

/// When workers of a type call sched_yield(2), by which some kernels take more from them than the
/// rest of their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yields {
    Never,
    /// After the same work each time, so that workers with the same parameters lose the same.
    Always,
    /// In phases.
    AtTimes,
}

impl Needs {
    /// Those of a worker on its own.
    pub(crate) const PLAIN: Self = Self {
        group_size: 1,
        lines: 0,
        pipes: 0,
        events: false,
        role: |_| "worker",
        own_process: None,
        restless: false,
        chooses_cpus: false,
        user_code: false,
        yields: Yields::Never,
        system_calls: true,
    };
}

impl Default for Needs {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Collects the first rule that a parameter breaks.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    name: &'a str,
    group_idx: usize,
    broken: Option<ConfigError>,
}

impl Rules<'_> {
    /// A duration or a count that must not be zero, because the type needs `rule`.
    pub(crate) fn not_zero<T: PartialEq + Default>(
        &mut self,
        field: &'static str,
        value: &T,
        rule: &'static str,
    ) {
        if *value == T::default() {
            let (name, group_idx) = (self.name.to_owned(), self.group_idx);
            self.broken_by(
                field,
                WorkTypeValidationError::ZeroParam { name, field, rule, group_idx },
            );
        }
    }

    /// A value that breaks a rule of its type, unless `holds`.
    pub(crate) fn require(
        &mut self,
        field: &'static str,
        holds: bool,
        value: u64,
        rule: &'static str,
    ) {
        if !holds {
            let (name, group_idx) = (self.name.to_owned(), self.group_idx);
            self.broken_by(
                field,
                WorkTypeValidationError::BadParam { name, field, value, rule, group_idx },
            );
        }
    }

    fn broken_by(&mut self, field: &str, error: WorkTypeValidationError) {
        if self.broken.is_none() {
            self.broken = Some(error.at(format!("work_type.{}.{field}", self.name)));
        }
    }
}

impl WorkType {
    /// Checks the parameters, and that `num_workers` is a multiple of the group size. The error's
    /// `source` is the typed reason; its place is that of `group_idx`, 0 for the primary set and
    /// i + 1 for `composed[i]`.
    pub fn validate(&self, group_idx: usize, num_workers: usize) -> Result<(), ConfigError> {
        let work = self.work();
        let mut rules = Rules { name: self.name(), group_idx, broken: None };
        work.check(&mut rules);
        if let Some(error) = rules.broken {
            return Err(error);
        }
        let group_size = work.needs().group_size;
        if group_size == 0 || !num_workers.is_multiple_of(group_size) {
            let name = self.name().to_owned();
            return Err(WorkTypeValidationError::NonDivisibleWorkerCount {
                name,
                group_size,
                num_workers,
                group_idx,
            }
            .at("num_workers"));
        }
        Ok(())
    }

    /// Workers that must run together, `None` where each is on its own.
    pub fn worker_group_size(&self) -> Option<usize> {
        Some(self.work().needs().group_size).filter(|size| *size > 1)
    }

    /// The name in the catalogue nearest to a mistyped one.
    pub fn suggest(name: &str) -> Option<&'static str> {
        crate::suggest::nearest(name, Self::ALL_NAMES.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkloadConfig;
    use crate::report::Latency;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn by_name() -> impl Iterator<Item = (&'static str, WorkType)> {
        WorkType::ALL_NAMES.iter().filter_map(|name| Some((*name, WorkType::from_name(name)?)))
    }

    #[test]
    fn names_are_unique_and_look_up_their_type() {
        let names: BTreeSet<_> = WorkType::ALL_NAMES.iter().collect();
        assert_eq!(names.len(), WorkType::ALL_NAMES.len());
        for (name, work_type) in by_name() {
            assert_eq!(work_type.name(), name);
        }
        assert!(WorkType::from_name("Custom").is_none());
        assert!(WorkType::from_name("Sequence").is_none());
        assert!(WorkType::from_name("spinwait").is_none());
    }

    #[test]
    fn every_default_is_valid_and_survives_json() {
        for (name, work_type) in by_name() {
            let workers = work_type.worker_group_size().unwrap_or(1);
            work_type.validate(0, workers).unwrap();
            let json = serde_json::to_string(&work_type).unwrap();
            assert_eq!(serde_json::from_str::<WorkType>(&json).unwrap(), work_type);
            let bare: WorkType = serde_json::from_str(&format!("{name:?}")).unwrap();
            assert_eq!(bare, work_type);
        }
    }

    #[test]
    fn every_type_refuses_an_unknown_parameter() {
        for (name, _) in by_name() {
            let json = format!("{{{name:?}:{{\"no_such\":1}}}}");
            let error = serde_json::from_str::<WorkType>(&json).unwrap_err().to_string();
            assert!(error.contains("no_such"), "{name}: {error}");
        }
    }

    #[test]
    fn a_zero_parameter_is_fine_or_refused_by_name() {
        for (name, work_type) in by_name() {
            let json = serde_json::to_value(&work_type).unwrap();
            let Some(params) = json.get(name).and_then(|p| p.as_object()) else { continue };
            for (field, value) in params {
                let zero = match value {
                    _ if value.is_string() => "\"0s\"",
                    _ if value.is_boolean() => "false",
                    _ if value.is_array() => "[0]",
                    _ => "0",
                };
                let text = format!("{{{name:?}:{{{field:?}:{zero}}}}}");
                let Ok(zeroed) = serde_json::from_str::<WorkType>(&text) else {
                    assert!(value.is_string(), "{text}: only a name may have no zero");
                    continue;
                };
                let workers = work_type.worker_group_size().unwrap_or(1);
                if let Err(error) = zeroed.validate(0, workers) {
                    assert!(error.path.contains(field.as_str()), "{name}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_samples_yields_says_that_it_yields() {
        let sequence = r#"{"Sequence":{"first":{"Spin":"1ms"},"rest":[{"Yield":"1ms"}]}}"#;
        for reference in WorkType::reference().unwrap() {
            let sequence = Some(sequence).filter(|_| reference.name == "Sequence");
            let json = sequence.unwrap_or_else(|| reference.work_type.get());
            let work_type: WorkType = serde_json::from_str(json).unwrap();
            let samples = reference.latency.iter().any(|sampled| sampled.kind == Latency::Yield);
            let yields = work_type.work().needs().yields != Yields::Never;
            assert_eq!(yields, samples, "{}", reference.name);
        }
    }

    #[test]
    fn a_missing_parameter_takes_its_default() {
        let json = r#"{"work_type":{"Bursty":{"burst_duration":"7ms"}}}"#;
        let config: WorkloadConfig = serde_json::from_str(json).unwrap();
        let expected = WorkType::bursty(Duration::from_millis(7), Duration::from_millis(100));
        assert_eq!(config.work_type, expected);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = serde_json::from_str::<WorkType>("\"FutexPingpong\"").unwrap_err().to_string();
        assert!(error.contains("did you mean `FutexPingPong`"), "{error}");
    }
}
