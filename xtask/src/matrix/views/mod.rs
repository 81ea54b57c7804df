//! A finished matrix as people and CI read it: a file a form, each a function of the table alone, so
//! that the same table gives the same bytes. Called by `cmd::matrix`.

mod data;
mod github;
mod grid;
mod html;
mod junit;
mod markdown;
mod text;

pub(crate) use github::github;
pub(crate) use html::html;
pub(crate) use junit::junit;
pub(crate) use markdown::markdown;
pub(crate) use text::text;

#[cfg(test)]
pub(super) mod fixture;

use super::table::{Row, Standing, Table};
use crate::report::show_value;
use workloads::{Check, Outcome};

/// In a cell of a table: capitals where someone has to look. Expected failures are as kselftest
/// calls them.
fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Pass => "pass",
        Standing::KnownFailure => "xfail",
        Standing::UnexpectedPass => "XPASS",
        Standing::Skipped => "skip",
        Standing::Inconclusive => "UNCLEAR",
        Standing::Missing => "MISSING",
        Standing::Fail => "FAIL",
        Standing::GuestFailed => "GUEST",
        Standing::Unrepeatable => "DIFFERS",
    }
}

/// What did not hold in the run that decides, or could not be judged.
fn broken(row: &Row) -> impl Iterator<Item = &Check> {
    let checks = row.telling().map(|run| run.checks.as_slice()).unwrap_or_default();
    checks.iter().filter(|check| check.outcome != Outcome::Pass)
}

/// A check in one line: `wake_p99: 3.20 ms, bound 2.00 ms; slowest worker`.
fn check_line(check: &Check) -> String {
    let Check { name, measured, bound, unit, detail, .. } = check;
    let unclear = match check.outcome {
        Outcome::Inconclusive => " could not be judged",
        _ => "",
    };
    let (measured, bound) = (show_value(*measured, unit), show_value(*bound, unit));
    clean(&format!("{name}{unclear}: {measured}, bound {bound}; {detail}"))
}

/// Why, in one line.
fn reason(row: &Row) -> Option<String> {
    row.reason.as_deref().map(clean)
}

/// Text of a guest or a file without what ends a line, drives a terminal or is no character of XML.
fn clean(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_control() => ' ',
        '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => ' ',
        c => c,
    };
    text.chars().map(plain).collect::<String>().trim_end().to_owned()
}

/// How many cells stand how, with the word for it where that is not its beginning:
/// `12 cells: 9 pass, 2 known-failure (xfail), 1 fail`.
fn counts_line(table: &Table) -> String {
    let counts = table.counts();
    let counts = counts.iter().map(|(standing, count)| match (standing.name(), word(*standing)) {
        (name, word) if name.starts_with(&word.to_lowercase()) => format!("{count} {name}"),
        (name, word) => format!("{count} {name} ({word})"),
    });
    let cells = match table.rows.len() {
        1 => "1 cell".to_owned(),
        many => format!("{many} cells"),
    };
    format!("{cells}: {}", counts.collect::<Vec<_>>().join(", "))
}
