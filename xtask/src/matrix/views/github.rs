//! A matrix as annotations of a GitHub job: workflow commands on stdout. Called by `cmd::matrix`.

use super::super::table::{Row, Standing, Table};
use super::{broken, check_line, counts_line, reason};
use anyhow::Result;
use std::io::Write;

/// GitHub shows this many errors, and as many warnings, of a step.
const SHOWN: usize = 10;

/// An error for each cell that failed, a warning for one that wants a look, and the counts.
pub(crate) fn github(table: &Table, out: &mut impl Write) -> Result<()> {
    let mut unsaid = Vec::new();
    for kind in ["error", "warning"] {
        let rows: Vec<_> = table.rows.iter().filter(|row| self::kind(row) == Some(kind)).collect();
        for row in rows.iter().take(SHOWN) {
            let title = format!("{}: {}", row.standing.name(), row.name);
            writeln!(out, "::{kind} title={}::{}", property(&title), message(&why(row)))?;
        }
        if rows.len() > SHOWN {
            unsaid.push(format!("{} of {} {kind}s are not shown", rows.len() - SHOWN, rows.len()));
        }
    }
    let counts = [vec![counts_line(table)], unsaid].concat().join("; ");
    let title = format!("matrix {}", table.name);
    Ok(writeln!(out, "::notice title={}::{}", property(&title), message(&counts))?)
}

fn kind(row: &Row) -> Option<&'static str> {
    match row.standing {
        Standing::Inconclusive | Standing::UnexpectedPass => Some("warning"),
        standing => standing.is_bad().then_some("error"),
    }
}

fn why(row: &Row) -> String {
    let folder = row.telling().map(|run| format!("run folder: {}", run.folder));
    let lines: Vec<_> =
        reason(row).into_iter().chain(broken(row).map(check_line)).chain(folder).collect();
    lines.join("\n")
}

/// What GitHub's runner reads back in a message.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same in a property, which a colon or a comma would end.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, shown, small};
    use super::*;

    #[test]
    fn what_ends_a_command_or_a_property_is_escaped() {
        insta::assert_snapshot!(shown(github, &hostile()), @r##"
        ::error title=missing%3A trixie/none/quota/own/1/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
        ::error title=fail%3A bookworm/scx_a/quota/own/1/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m%0Alatency.wake.p99: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all%0Arun folder: cells/bookworm/scx_a/quota/own/1/deterministic/1
        ::error title=guest-failed%3A trixie/scx_a/quota/own/1/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m%0Arun folder: cells/trixie/scx_a/quota/own/1/deterministic/1
        ::error title=unrepeatable%3A bookworm/none/wake/own/2/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m%0Arun folder: cells/bookworm/none/wake/own/2/deterministic/1
        ::warning title=unexpected-pass%3A bookworm/scx_a/wake/own/1/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m%0Arun folder: cells/bookworm/scx_a/wake/own/1/deterministic/1
        ::warning title=inconclusive%3A bookworm/none/quota/own/1/deterministic::50 %25 | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m%0Alatency.wake.p99 could not be judged: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all%0Arun folder: cells/bookworm/none/quota/own/1/deterministic/1
        ::notice title=matrix all|kinds::9 cells: 1 pass, 1 known-failure (xfail), 1 unexpected-pass (XPASS), 1 skipped, 1 inconclusive (UNCLEAR), 1 missing, 1 fail, 1 guest-failed, 1 unrepeatable (DIFFERS)
        "##);
    }

    #[test]
    fn a_property_has_no_separators() {
        assert_eq!(property("a,b: 5 %\r\n"), "a%2Cb%3A 5 %25%0D%0A");
    }

    #[test]
    fn no_more_than_github_shows_and_how_many_are_left() {
        let mut table = small(12);
        table.rows.iter_mut().for_each(|row| row.standing = Standing::Fail);
        let text = shown(github, &table);
        assert_eq!(text.lines().filter(|line| line.starts_with("::error ")).count(), SHOWN);
        let last = text.lines().last().unwrap();
        assert!(last.ends_with("24 cells: 24 fail; 14 of 24 errors are not shown"), "{last}");
    }

    #[test]
    fn a_matrix_that_passed_has_its_counts_alone() {
        assert_eq!(shown(github, &small(1)), "::notice title=matrix small::2 cells: 2 pass\n");
    }
}
