//! What came of a comparison, as an exit code and the sentences that say why: what B lost against A
//! always counts, how much it may differ is a matter of the gates. Called by `cmd::compare`.

use super::finding::{Basis, Comparison};
use super::gate::{Gate, Standing};
use super::metric::Key;
use super::power::CHANCE;
use super::rank::chance_of_so_low;
use super::side::Side;
use crate::error::exit;
use crate::run::Verdict;
use serde::Serialize;
use std::collections::BTreeSet;

/// Why a comparison is no pass, by kind; without any of it, it is one.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Runs without values.
    pub(crate) lost: Vec<String>,
    /// Metrics of A that B lacks.
    pub(crate) lacking: BTreeSet<Key>,
    /// B's verdict is worse than any of A, or a gate counts that it is another.
    pub(crate) verdict: Option<String>,
    /// Metrics that differ by more than their limit.
    pub(crate) exceeded: BTreeSet<Key>,
    /// Metrics with a limit of which neither is shown.
    pub(crate) open: BTreeSet<Key>,
    /// Names that only one side has, or not every run.
    pub(crate) uneven: BTreeSet<Key>,
    pub(crate) exit_code: u8,
}

impl Outcome {
    pub(crate) fn of(a: &Side, b: &Side, comparison: &Comparison, gates: &[Gate]) -> Self {
        let keys = |standing| comparison.at(standing).map(|finding| finding.key.clone()).collect();
        let any_change = comparison.basis == Basis::Exact && gates.iter().any(Gate::is_either_way);
        let mut outcome = Self {
            lost: [("A", a), ("B", b)].into_iter().filter_map(|(n, side)| lost(n, side)).collect(),
            lacking: lacking(a, b),
            verdict: worse_verdict(a, b).or_else(|| another_verdict(a, b).filter(|_| any_change)),
            exceeded: keys(Standing::Exceeded),
            open: keys(Standing::Open),
            uneven: uneven(a, b),
            exit_code: exit::PASS,
        };
        if any_change {
            let appeared = outcome.uneven.difference(&outcome.lacking).cloned();
            let meant =
                appeared.filter(|key| gates.iter().any(|g| g.is_either_way() && g.means(key)));
            let meant: Vec<_> = meant.collect();
            outcome.exceeded.extend(meant);
        }
        outcome.exit_code = outcome.code(a, b, comparison);
        outcome
    }

    fn code(&self, a: &Side, b: &Side, comparison: &Comparison) -> u8 {
        let guest_lost = |side: &Side| {
            side.lost() > 0 && side.verdicts.keys().any(|v| v.exit_code() == exit::GUEST)
        };
        if guest_lost(b) || a.runs.is_empty() && guest_lost(a) {
            return exit::GUEST;
        }
        if a.runs.is_empty() || b.runs.is_empty() {
            return exit::INCONCLUSIVE;
        }
        let fails = |side: &Side| side.verdicts.contains_key(&Verdict::Fail);
        let failed = self.verdict.is_some() && (fails(b) || !is_open(b));
        if failed || !self.lacking.is_empty() || !self.exceeded.is_empty() {
            return exit::FAIL;
        }
        let compared = comparison.basis != Basis::Accelerators && !comparison.findings.is_empty();
        match compared && self.open.is_empty() && self.verdict.is_none() && b.lost() == 0 {
            true => exit::PASS,
            false => exit::INCONCLUSIVE,
        }
    }

    /// Whether more runs of both sides could say nothing else that matters.
    pub(crate) fn is_decided(&self, comparison: &Comparison, gates: &[Gate]) -> bool {
        match self.exit_code {
            exit::FAIL | exit::GUEST => true,
            _ if comparison.basis == Basis::Exact => true,
            _ if gates.is_empty() => comparison.findings.iter().any(|finding| finding.real),
            _ => self.open.is_empty() && !comparison.findings.is_empty(),
        }
    }

    /// Whether all that there is was compared.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.uneven.is_empty() && self.verdict.is_none()
    }
}

fn lost(name: &str, side: &Side) -> Option<String> {
    let all = side.lost() + side.runs.len();
    match side.lost() {
        0 if all > 0 => None,
        n if n == all => Some(format!("{name} has no values, so that nothing was compared")),
        n => Some(format!("{n} of {all} runs of {name} have no values: {}", side.ended())),
    }
}

/// In every run of A, and in so few of B that it is no chance.
fn lacking(a: &Side, b: &Side) -> BTreeSet<Key> {
    let theirs = b.keys();
    let has = |side: &Side, key: &Key| -> Vec<f64> {
        side.column(key).iter().map(|value| f64::from(u8::from(value.is_some()))).collect()
    };
    let is_lost = |key: &Key| {
        let (ours, others) = (has(a, key), has(b, key));
        let always = ours.iter().all(|has| *has == 1.0);
        always && (!theirs.contains(key) || chance_of_so_low(&ours, &others) <= CHANCE)
    };
    if b.runs.is_empty() {
        return BTreeSet::new();
    }
    a.keys().into_iter().filter(is_lost).collect()
}

fn uneven(a: &Side, b: &Side) -> BTreeSet<Key> {
    let all: BTreeSet<Key> = a.keys().union(&b.keys()).cloned().collect();
    let lacks = |side: &Side, key: &Key| side.column(key).iter().any(Option::is_none);
    all.into_iter().filter(|key| lacks(a, key) || lacks(b, key)).collect()
}

fn is_open(side: &Side) -> bool {
    side.verdicts.contains_key(&Verdict::Inconclusive)
}

/// Of runs that were measured.
fn worse_verdict(a: &Side, b: &Side) -> Option<String> {
    let worst = |side: &Side| {
        let measured = [Verdict::Fail, Verdict::Inconclusive];
        measured.into_iter().position(|verdict| side.verdicts.contains_key(&verdict))
    };
    let is_worse = worst(b).is_some_and(|of_b| worst(a).is_none_or(|of_a| of_b < of_a));
    is_worse.then(|| format!("B ended worse than A: A {}; B {}", a.ended(), b.ended()))
}

fn another_verdict(a: &Side, b: &Side) -> Option<String> {
    let other = !a.verdicts.keys().eq(b.verdicts.keys());
    other.then(|| format!("B ended otherwise than A: A {}; B {}", a.ended(), b.ended()))
}

#[cfg(test)]
mod tests;
