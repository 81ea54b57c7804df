//! A matrix on a terminal. Called by `cmd::matrix`.

use super::super::table::{Row, Standing, Table};
use super::grid::Grid;
use super::{broken, check_line, clean, counts_line, reason, word};
use crate::report::new_table;
use anyhow::Result;
use std::io::Write;

/// Columns that do not fit into this many characters go into a further table.
const WIDTH: usize = 120;
/// Between two columns of a table.
const GAP: usize = 2;

/// The grid, every cell that is not a plain pass, and how many stand how.
pub(crate) fn text(table: &Table, out: &mut impl Write) -> Result<()> {
    let grid = Grid::of(table);
    for columns in blocks(&grid) {
        print_block(&grid, &columns, out)?;
    }
    for (args, who) in &grid.kernel_args {
        let who: Vec<_> = who.iter().map(|name| clean(name)).collect();
        writeln!(out, "kernel arguments of {}: {}\n", who.join(", "), clean(args))?;
    }
    for row in table.rows.iter().filter(|row| row.standing != Standing::Pass) {
        print_cell(row, out)?;
    }
    Ok(writeln!(out, "{}: {}", clean(&table.name), counts_line(table))?)
}

/// The columns in parts, each as wide as it may be beside the labels.
fn blocks(grid: &Grid<'_>) -> Vec<Vec<usize>> {
    let longest = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| text.chars().count() + GAP).max().unwrap_or(0)
    };
    let label = |at: usize| {
        longest(&mut grid.lines.iter().map(|line| line.labels[at]).chain([grid.axes[at]]))
    };
    let labels: usize = (0..grid.axes.len()).map(label).sum();
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut used = 0;
    for (at, column) in grid.columns.iter().enumerate() {
        let words = grid.lines.iter().filter_map(|line| line.cells[at]);
        let titles = [column.kernel, column.scheduler.unwrap_or_default()];
        let width = longest(&mut words.map(|row| word(row.standing)).chain(titles));
        if blocks.is_empty() || used + width > WIDTH {
            blocks.push(Vec::new());
            used = labels;
        }
        used += width;
        if let Some(block) = blocks.last_mut() {
            block.push(at);
        }
    }
    blocks
}

/// Kernel above scheduler, so that a column stays narrow.
fn print_block(grid: &Grid<'_>, columns: &[usize], out: &mut impl Write) -> Result<()> {
    let titles = columns.iter().map(|at| {
        let column = &grid.columns[*at];
        match column.scheduler {
            Some(scheduler) => format!("{}\n{}", clean(column.kernel), clean(scheduler)),
            None => clean(column.kernel),
        }
    });
    let header: Vec<String> =
        grid.axes.iter().map(|axis| (*axis).to_owned()).chain(titles).collect();
    let mut shown = new_table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for line in &grid.lines {
        let words = columns.iter().map(|at| line.cells[*at].map_or("", |row| word(row.standing)));
        let words = words.map(str::to_owned);
        shown.add_row(line.labels.iter().map(|label| clean(label)).chain(words));
    }
    Ok(writeln!(out, "{}\n", shown.trim_fmt())?)
}

fn print_cell(row: &Row, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}: {}", row.standing.name(), clean(&row.name))?;
    if let Some(reason) = reason(row) {
        writeln!(out, "  {reason}")?;
    }
    for check in broken(row) {
        writeln!(out, "  {}", check_line(check))?;
    }
    if let Some(run) = row.telling() {
        writeln!(out, "  {}", clean(&run.folder))?;
    }
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, shown, small};
    use super::*;

    #[test]
    fn one_column_is_one_table() {
        insta::assert_snapshot!(shown(text, &small(1)), @r##"
         scenario        linux-6.1
         idle-placement  pass
         wake            pass

        small: 2 cells: 2 pass
        "##);
    }

    #[test]
    fn twelve_columns_are_tables_that_do_not_wrap() {
        let text = shown(text, &small(12));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let heads = text.lines().filter(|line| line.trim_start().starts_with("scenario"));
        assert_eq!(heads.count(), 2, "{text}");
        for column in 1..=12 {
            let title = format!("linux-6.{column}");
            assert_eq!(text.split_whitespace().filter(|w| *w == title).count(), 1, "{text}");
        }
    }

    #[test]
    fn every_standing_says_why_and_where() {
        insta::assert_snapshot!(shown(text, &hostile()), @r##"
         scenario  seed  bookworm  trixie   bookworm  trixie
                         none      none     scx_a     scx_a
         wake      1     pass      xfail    XPASS     skip
         quota     1     UNCLEAR   MISSING  FAIL      GUEST
         wake      2     DIFFERS

        known-failure: trixie/none/wake/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          latency.wake.p99: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all
          cells/trixie/none/wake/own/1/deterministic/1

        unexpected-pass: bookworm/scx_a/wake/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          cells/bookworm/scx_a/wake/own/1/deterministic/1

        skipped: trixie/scx_a/wake/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m

        inconclusive: bookworm/none/quota/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          latency.wake.p99 could not be judged: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all
          cells/bookworm/none/quota/own/1/deterministic/1

        missing: trixie/none/quota/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m

        fail: bookworm/scx_a/quota/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          latency.wake.p99: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all
          cells/bookworm/scx_a/quota/own/1/deterministic/1

        guest-failed: trixie/scx_a/quota/own/1/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          cells/trixie/scx_a/quota/own/1/deterministic/1

        unrepeatable: bookworm/none/wake/own/2/deterministic
          50 % | <script>alert(1)</script> ]]> `a` *b* ::error::x,  [31m
          cells/bookworm/none/wake/own/2/deterministic/1

        all|kinds: 9 cells: 1 pass, 1 known-failure (xfail), 1 unexpected-pass (XPASS), 1 skipped, 1 inconclusive (UNCLEAR), 1 missing, 1 fail, 1 guest-failed, 1 unrepeatable (DIFFERS)
        "##);
    }
}
