//! The table of a plan and its results. Called by `cmd::matrix`, after each run and merge.

use super::plan::Planned;
use super::results::CellResult;
use super::rule::Known;
use super::table::{FORMAT, Row, Standing, Table, worst};
use std::collections::BTreeMap;

/// `today`, as `2027-03-31`, decides which known failures have expired.
pub(crate) fn judge(
    name: &str,
    cells: &[&Planned],
    results: &BTreeMap<String, CellResult>,
    today: &str,
) -> Table {
    let row = |planned: &&Planned| row(planned, results.get(&planned.name()), today);
    Table { matrix: FORMAT, name: name.to_owned(), rows: cells.iter().map(row).collect() }
}

/// How one cell stands by its result, or without one.
pub(crate) fn row(planned: &Planned, result: Option<&CellResult>, today: &str) -> Row {
    let (standing, reason) = match (&planned.excluded, result) {
        (Some(why), _) => (Standing::Skipped, Some(why.clone())),
        (None, None) => (Standing::Missing, Some("it was not run to its end".into())),
        (None, Some(result)) => with_known(result, planned.known_failure.as_ref(), today),
    };
    Row {
        name: planned.name(),
        cell: planned.cell.clone(),
        standing,
        reason,
        runs: result.map(|result| result.runs.clone()).unwrap_or_default(),
    }
}

fn with_known(
    result: &CellResult,
    known: Option<&Known>,
    today: &str,
) -> (Standing, Option<String>) {
    let (standing, reason) = by_itself(result);
    let Some(Known { reason: why, expires }) = known else { return (standing, reason) };
    let expired = expires.as_deref().filter(|last| *last < today);
    match (standing, expired) {
        (Standing::Pass, _) => {
            let text = format!("it passes, but is a known failure: {why}; remove that rule");
            (Standing::UnexpectedPass, Some(text))
        }
        (Standing::Fail | Standing::Inconclusive | Standing::GuestFailed, None) => {
            (Standing::KnownFailure, Some(format!("{why} ({})", reason.unwrap_or_default())))
        }
        (Standing::Fail | Standing::Inconclusive | Standing::GuestFailed, Some(last)) => {
            let text = format!("known until {last}: {why} ({})", reason.unwrap_or_default());
            (standing, Some(text))
        }
        _ => (standing, reason),
    }
}

/// The worst run decides.
fn by_itself(result: &CellResult) -> (Standing, Option<String>) {
    if let Some(why) = &result.skipped {
        return (Standing::Skipped, Some(why.clone()));
    }
    if let Some(where_) = &result.differs {
        return (Standing::Unrepeatable, Some(where_.clone()));
    }
    match worst(&result.runs) {
        None => (Standing::Missing, Some("it has no runs".into())),
        Some(run) => {
            let standing = Standing::of(run.verdict);
            let advice = run.advice.clone().unwrap_or_default();
            let text = match standing {
                // That has many names.
                Standing::GuestFailed => format!("{}: {advice}", run.verdict.name()),
                _ => advice,
            };
            (standing, (standing != Standing::Pass).then_some(text))
        }
    }
}

#[cfg(test)]
mod tests;
