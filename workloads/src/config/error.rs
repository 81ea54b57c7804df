//! Why a configuration is refused. `scenario` adds line and column, the command line the file.

use thiserror::Error;

/// A field that cannot be as it is, with its path inside the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} {why}")]
pub struct ConfigError {
    /// Dotted path to the field, `composed[0].num_workers`.
    pub path: String,
    /// The value and the rule that it breaks.
    pub why: String,
    /// The typed reason, where it concerns a work type or a policy.
    pub source: Option<WorkTypeValidationError>,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into(), source: None }
    }

    /// The same refusal seen from the structure that holds the field.
    pub(crate) fn below(mut self, place: &str) -> Self {
        self.path.insert_str(0, place);
        self
    }
}

/// A rule of a work type or of a scheduling policy that a value breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkTypeValidationError {
    /// Workers come in groups and the count is not a multiple.
    #[error("is {num_workers}, but {name} runs in groups of {group_size}: use a multiple of it")]
    NonDivisibleWorkerCount {
        /// The work type.
        name: String,
        /// Workers in one group.
        group_size: usize,
        /// Workers asked for.
        num_workers: usize,
        /// 0 for the primary set, i + 1 for `composed[i]`.
        group_idx: usize,
    },
    /// A parameter that must not be zero is.
    #[error("is zero; {name} needs {rule}")]
    ZeroParam {
        /// The work type.
        name: String,
        /// The parameter.
        field: &'static str,
        /// What it is for, so why zero makes no sense.
        rule: &'static str,
        /// 0 for the primary set, i + 1 for `composed[i]`.
        group_idx: usize,
    },
    /// A parameter breaks a rule of its type: too small, too large, overflowing.
    #[error("is {value}; {name} needs {rule}")]
    BadParam {
        /// The work type.
        name: String,
        /// The parameter.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it must be, and why.
        rule: &'static str,
        /// 0 for the primary set, i + 1 for `composed[i]`.
        group_idx: usize,
    },
    /// `runtime <= deadline <= period`, runtime at least 1024 ns: sched(7), `__checkparam_dl`.
    #[error("breaks runtime <= deadline <= period with runtime >= 1024 ns: {detail}")]
    DeadlineOrder {
        /// The values as given.
        detail: String,
        /// 0 for the primary set, i + 1 for `composed[i]`.
        group_idx: usize,
    },
}

impl WorkTypeValidationError {
    /// The refusal at the field that has to change.
    pub(crate) fn at(self, path: impl Into<String>) -> ConfigError {
        ConfigError { path: path.into(), why: self.to_string(), source: Some(self) }
    }
}
