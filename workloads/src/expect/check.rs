//! One expectation, judged: what was measured, against what, and who broke it. Made by the rules
//! in this folder, printed by the host.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bound holds.
    Pass,
    /// The bound is broken.
    Fail,
    /// There was nothing to compare with the bound.
    Inconclusive,
}

/// One expectation, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Name of the expectation; of a step's it begins with `step NAME: `.
    pub name: String,
    /// Index of the step that it is about; absent for the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What was found.
    pub outcome: Outcome,
    /// The value that was compared.
    pub measured: Option<f64>,
    /// What it was compared with.
    pub bound: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// Indices of the workers that broke the bound.
    pub workers: Vec<usize>,
    /// What was compared, or why it could not be.
    pub detail: String,
}

/// On which side of a bound values must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    AtLeast,
    AtMost,
}

/// The value of a worker, a set or a cgroup, or why there is none.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Whose it is.
    pub(super) workers: Vec<usize>,
    /// What to say of it if it is the worst; empty where the workers say enough.
    pub(super) what: String,
    pub(super) value: Result<f64, String>,
}

impl Reading {
    pub(super) fn of_worker(worker: usize, value: Result<f64, String>) -> Self {
        Self { workers: vec![worker], what: String::new(), value }
    }

    /// Something that could not be measured at all.
    pub(super) fn none(why: impl Into<String>) -> Self {
        Self { workers: Vec::new(), what: String::new(), value: Err(why.into()) }
    }
}

impl Check {
    /// One that holds, so far.
    pub(super) fn new(name: &str, unit: &str, detail: &str) -> Self {
        Self {
            name: name.into(),
            step: None,
            outcome: Outcome::Pass,
            measured: None,
            bound: None,
            unit: unit.into(),
            workers: Vec::new(),
            detail: detail.into(),
        }
    }

    pub(super) fn inconclusive(self, why: &str) -> Self {
        Self { outcome: Outcome::Inconclusive, detail: format!("{}: {why}", self.detail), ..self }
    }

    /// The worst of `readings` decides. One that is missing leaves it open, unless another one
    /// breaks the bound already; `none` says why there may be no reading at all.
    pub(super) fn by_worst(
        self,
        limit: Limit,
        bound: f64,
        readings: Vec<Reading>,
        none: &str,
    ) -> Self {
        let badness = |value: f64| match limit {
            Limit::AtLeast => bound - value,
            Limit::AtMost => value - bound,
        };
        let known = || readings.iter().filter_map(|r| Some((r, *r.value.as_ref().ok()?)));
        let worst = known().max_by(|a, b| badness(a.1).total_cmp(&badness(b.1)));
        let check = Self { measured: worst.map(|(_, value)| value), bound: Some(bound), ..self };
        let broken: BTreeSet<usize> = known()
            .filter(|(_, value)| badness(*value) > 0.0)
            .flat_map(|(reading, _)| reading.workers.iter().copied())
            .collect();
        let fails = worst.is_some_and(|(_, value)| badness(value) > 0.0);
        let missing = readings.iter().find_map(|reading| reading.value.as_ref().err());
        match (worst, missing) {
            (_, Some(why)) if !fails => check.inconclusive(why),
            (None, _) => check.inconclusive(none),
            (Some((reading, _)), _) => {
                let detail = match reading.what.as_str() {
                    "" => check.detail,
                    what => format!("{}: {what}", check.detail),
                };
                let outcome = if fails { Outcome::Fail } else { Outcome::Pass };
                Self { outcome, workers: broken.into_iter().collect(), detail, ..check }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53 ns, which is 104 days")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(values: &[Result<f64, String>]) -> Check {
        let readings = values.iter().enumerate();
        let readings = readings.map(|(worker, value)| Reading::of_worker(worker, value.clone()));
        Check::new("x", "ns", "what").by_worst(Limit::AtMost, 2.0, readings.collect(), "nobody")
    }

    #[test]
    fn a_missing_value_leaves_it_open_and_never_hides_a_broken_bound() {
        let missing = || Err("no counter".to_owned());
        let open = judged(&[Ok(1.0), missing()]);
        assert_eq!((open.outcome, open.measured), (Outcome::Inconclusive, Some(1.0)));
        assert_eq!(open.detail, "what: no counter");
        let broken = judged(&[missing(), Ok(3.0), Ok(2.0), Ok(4.0)]);
        assert_eq!((broken.outcome, broken.workers), (Outcome::Fail, vec![1, 3]));
        assert_eq!(judged(&[Ok(2.0)]).outcome, Outcome::Pass);
        assert_eq!(judged(&[]).detail, "what: nobody");
    }
}
