//! `matrix.json`: every cell of a matrix with what came of it, in the order of the plan. Made by
//! `cmd::matrix` of a plan and its results, on one machine or of shards; read by `views`.

use super::cell::Cell;
use super::summary::RunSummary;
use crate::error::exit;
use crate::run::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised when a field changes its meaning.
pub(crate) const FORMAT: u32 = 1;

/// The whole matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Version of this document.
    pub(crate) matrix: u32,
    /// Name of the file, without its ending.
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
}

/// A cell and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// As [`Cell::name`] has it.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) standing: Standing,
    /// In words: why it is skipped, why its failure is known, what to do about it. Absent for one
    /// that passed.
    pub(crate) reason: Option<String>,
    /// None of a cell that was not run.
    pub(crate) runs: Vec<RunSummary>,
}

impl Row {
    /// The run that decides how the cell stands.
    pub(crate) fn telling(&self) -> Option<&RunSummary> {
        worst(&self.runs)
    }
}

/// The first of the worst.
pub(super) fn worst(runs: &[RunSummary]) -> Option<&RunSummary> {
    // Of equal ones `max_by_key` takes the last.
    runs.iter().rev().max_by_key(|run| Standing::of(run.verdict))
}

/// How a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Each of its runs passed.
    Pass,
    /// It failed as the file says that it would.
    KnownFailure,
    /// It passed where the file says that it would fail: that line is to go.
    UnexpectedPass,
    /// A rule or a minimum kept it from being run.
    Skipped,
    /// An expectation could not be judged.
    Inconclusive,
    /// There is no result: it was not run to its end.
    Missing,
    /// An expectation does not hold.
    Fail,
    /// The guest died, hung or lost its report; or it could not be booted at all.
    GuestFailed,
    /// The same deterministic run gave other bytes.
    Unrepeatable,
}

impl Standing {
    /// Of a run by itself.
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Interrupted => Self::Missing,
            _ => Self::GuestFailed,
        }
    }

    /// As tables and files spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::KnownFailure => "known-failure",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Missing => "missing",
            Self::Fail => "fail",
            Self::GuestFailed => "guest-failed",
            Self::Unrepeatable => "unrepeatable",
        }
    }

    /// Of a command whose worst cell stands so.
    fn exit_code(self) -> u8 {
        match self {
            Self::Pass | Self::KnownFailure | Self::UnexpectedPass | Self::Skipped => exit::PASS,
            Self::Inconclusive => exit::INCONCLUSIVE,
            Self::Fail => exit::FAIL,
            Self::Missing | Self::GuestFailed | Self::Unrepeatable => exit::GUEST,
        }
    }

    /// Whether someone has to look at it.
    pub(crate) fn is_bad(self) -> bool {
        self.exit_code() != exit::PASS
    }
}

impl Table {
    /// A failed expectation before a lost guest before a doubt, as `hunt` has it.
    pub(crate) fn exit_code(&self) -> u8 {
        let has = |code: &u8| self.rows.iter().any(|row| row.standing.exit_code() == *code);
        let worst = [exit::FAIL, exit::GUEST, exit::INCONCLUSIVE];
        worst.into_iter().find(has).unwrap_or(exit::PASS)
    }

    /// How many cells stand how, the best first.
    pub(crate) fn counts(&self) -> BTreeMap<Standing, usize> {
        let mut counts = BTreeMap::new();
        self.rows.iter().for_each(|row| *counts.entry(row.standing).or_insert(0) += 1);
        counts
    }
}
