//! A matrix as the summary of a GitHub step. Called by `cmd::matrix`.

use super::super::accelerators::mixed_accelerators;
use super::super::table::{Row, Standing, Table};
use super::grid::Grid;
use super::{broken, clean, counts_line, reason, word};
use crate::report::show_value;
use anyhow::Result;
use std::io::Write;
use workloads::{Check, Outcome};

/// GitHub refuses a summary of more than 1 MiB; a thousand bytes are for the last line.
const LIMIT: usize = (1 << 20) - 1000;

/// Counts, the grid, what someone has to look at, and the rest that is no plain pass, as far as there
/// is room.
pub(crate) fn markdown(table: &Table, out: &mut impl Write) -> Result<()> {
    let mut text = format!("## {}\n\n{}\n", plain(&table.name), plain(&counts_line(table)));
    if let Some(mixed) = mixed_accelerators(table) {
        text.push_str(&format!("\n{}\n", plain(&mixed)));
    }
    let mut left_out = Vec::new();
    let grid = grid(&Grid::of(table));
    match text.len() + grid.len() > LIMIT {
        true => left_out.push("the grid".to_owned()),
        false => text.push_str(&grid),
    }
    let (bad, rest): (Vec<_>, Vec<_>) = table
        .rows
        .iter()
        .filter(|row| row.standing != Standing::Pass)
        .partition(|row| row.standing.is_bad());
    let parts = bad.iter().map(|row| details(row)).chain(rest.iter().map(|row| item(row)));
    let mut cut = 0;
    for part in parts {
        // Once one does not fit none follows, so that what is there is a beginning.
        match cut > 0 || text.len() + part.len() > LIMIT {
            true => cut += 1,
            false => text.push_str(&part),
        }
    }
    if cut > 0 {
        left_out.push(format!("{cut} of {} cells", bad.len() + rest.len()));
    }
    if !left_out.is_empty() {
        let left_out = left_out.join(" and ");
        text.push_str(&format!("\nLeft out, as a summary has at most 1 MiB: {left_out}.\n"));
    }
    Ok(writeln!(out, "{}", text.trim_end())?)
}

fn grid(grid: &Grid<'_>) -> String {
    let mut lines = Vec::new();
    let axes = grid.axes.iter().map(|axis| (*axis).to_owned());
    let titles = grid.columns.iter().map(|column| match column.scheduler {
        Some(scheduler) => format!("{}<br>{}", plain(column.kernel), plain(scheduler)),
        None => plain(column.kernel),
    });
    let header: Vec<String> = axes.chain(titles).collect();
    lines.push(header.join(" | "));
    lines.push(vec!["---"; header.len()].join(" | "));
    for line in &grid.lines {
        let words = line.cells.iter().map(|row| match row {
            Some(row) if row.standing.is_bad() => format!("**{}**", word(row.standing)),
            Some(row) => word(row.standing).to_owned(),
            None => String::new(),
        });
        let cells: Vec<_> = line.labels.iter().map(|label| plain(label)).chain(words).collect();
        lines.push(cells.join(" | "));
    }
    let told = grid.kernel_args.iter().map(|(args, who)| {
        let who: Vec<_> = who.iter().map(|name| plain(name)).collect();
        format!("\nKernel arguments of {}: <code>{}</code>\n", who.join(", "), plain(args))
    });
    let told: String = told.collect();
    lines.iter().map(|line| format!("\n| {line} |")).collect::<String>() + "\n" + &told
}

/// A cell that someone has to look at, closed at first.
fn details(row: &Row) -> String {
    let (name, standing) = (plain(&row.name), row.standing.name());
    let mut text =
        format!("\n<details><summary><b>{standing}</b> <code>{name}</code></summary>\n\n");
    if let Some(reason) = reason(row) {
        text.push_str(&format!("{}\n\n", plain(&reason)));
    }
    let checks: String = broken(row).map(check).collect();
    if !checks.is_empty() {
        text.push_str("| check | outcome | measured | bound | what |\n|---|---|--:|--:|---|\n");
        text.push_str(&checks);
        text.push('\n');
    }
    if let Some(run) = row.telling() {
        let (kernel, machine) = (plain(&run.linux()), plain(&run.place()));
        let folder = plain(&run.folder);
        text.push_str(&format!("Linux {kernel}, {machine}, run folder <code>{folder}</code>\n\n"));
    }
    text + "</details>\n"
}

fn check(check: &Check) -> String {
    let outcome = match check.outcome {
        Outcome::Inconclusive => "inconclusive",
        _ => "fail",
    };
    let value = |value| plain(&show_value(value, &check.unit));
    let (measured, bound) = (value(check.measured), value(check.bound));
    let (name, what) = (plain(&check.name), plain(&check.detail));
    format!("| {name} | {outcome} | {measured} | {bound} | {what} |\n")
}

/// A cell of which the reason says all.
fn item(row: &Row) -> String {
    let (name, standing) = (plain(&row.name), row.standing.name());
    let reason = reason(row).map(|reason| format!(": {}", plain(&reason))).unwrap_or_default();
    format!("\n- {standing} <code>{name}</code>{reason}")
}

/// Text that is neither Markdown nor HTML. Character references serve in both.
fn plain(text: &str) -> String {
    const SPECIAL: &str = "&<>|\\`*_[]#~@!\"'";
    let escaped = |c: char| match SPECIAL.contains(c) {
        true => format!("&#{};", u32::from(c)),
        false => c.to_string(),
    };
    clean(text).chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, shown, small, synthetic};
    use super::*;

    #[test]
    fn nothing_of_a_guest_is_markup() {
        insta::assert_snapshot!(shown(markdown, &hostile()), @r##"
        ## all&#124;kinds

        9 cells: 1 pass, 1 known-failure (xfail), 1 unexpected-pass (XPASS), 1 skipped, 1 inconclusive (UNCLEAR), 1 missing, 1 fail, 1 guest-failed, 1 unrepeatable (DIFFERS)

        | scenario | seed | bookworm<br>none | trixie<br>none | bookworm<br>scx&#95;a | trixie<br>scx&#95;a |
        | --- | --- | --- | --- | --- | --- |
        | wake | 1 | pass | xfail | XPASS | skip |
        | quota | 1 | **UNCLEAR** | **MISSING** | **FAIL** | **GUEST** |
        | wake | 2 | **DIFFERS** |  |  |  |

        <details><summary><b>inconclusive</b> <code>bookworm/none/quota/own/1/deterministic</code></summary>

        50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m

        | check | outcome | measured | bound | what |
        |---|---|--:|--:|---|
        | latency.wake.p99 | inconclusive | 3.21 ms | 2.00 ms | 99th percentile of wake-ups &#124; all |

        Linux 6.12.0-amd64, 4 CPUs (1s4c1t), 1024 MiB, tcg, run folder <code>cells/bookworm/none/quota/own/1/deterministic/1</code>

        </details>

        <details><summary><b>missing</b> <code>trixie/none/quota/own/1/deterministic</code></summary>

        50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m

        </details>

        <details><summary><b>fail</b> <code>bookworm/scx&#95;a/quota/own/1/deterministic</code></summary>

        50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m

        | check | outcome | measured | bound | what |
        |---|---|--:|--:|---|
        | latency.wake.p99 | fail | 3.21 ms | 2.00 ms | 99th percentile of wake-ups &#124; all |

        Linux 6.12.0-amd64, 4 CPUs (1s4c1t), 1024 MiB, tcg, run folder <code>cells/bookworm/scx&#95;a/quota/own/1/deterministic/1</code>

        </details>

        <details><summary><b>guest-failed</b> <code>trixie/scx&#95;a/quota/own/1/deterministic</code></summary>

        50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m

        Linux 6.12.0-amd64, 4 CPUs (1s4c1t), 1024 MiB, tcg, run folder <code>cells/trixie/scx&#95;a/quota/own/1/deterministic/1</code>

        </details>

        <details><summary><b>unrepeatable</b> <code>bookworm/none/wake/own/2/deterministic</code></summary>

        50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m

        Linux 6.12.0-amd64, 4 CPUs (1s4c1t), 1024 MiB, tcg, run folder <code>cells/bookworm/none/wake/own/2/deterministic/1</code>

        </details>

        - known-failure <code>trixie/none/wake/own/1/deterministic</code>: 50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m
        - unexpected-pass <code>bookworm/scx&#95;a/wake/own/1/deterministic</code>: 50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m
        - skipped <code>trixie/scx&#95;a/wake/own/1/deterministic</code>: 50 % &#124; &#60;script&#62;alert(1)&#60;/script&#62; &#93;&#93;&#62; &#96;a&#96; &#42;b&#42; ::error::x,  &#91;31m
        "##);
    }

    #[test]
    fn what_passed_has_a_grid_and_no_more() {
        let text = shown(markdown, &small(12));
        assert!(!text.contains("details") && text.contains("24 cells: 24 pass"), "{text}");
    }

    #[test]
    fn a_summary_that_githubs_limit_cuts_says_so() {
        let mut table = synthetic(200, 1);
        let long = "x".repeat(10_000);
        for row in &mut table.rows {
            (row.standing, row.reason) = (Standing::Fail, Some(long.clone()));
        }
        let text = shown(markdown, &table);
        assert!(text.len() < 1 << 20 && text.len() > 1_000_000, "{}", text.len());
        let last = text.lines().last().unwrap();
        let shown = text.matches("<details>").count();
        assert!(last.contains(&format!("{} of 200 cells", 200 - shown)), "{last}");
    }
}
