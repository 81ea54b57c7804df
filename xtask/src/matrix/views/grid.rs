//! A table as a grid: kernel and scheduler are the columns, everything else the lines. Called by the
//! views that show one.

use super::super::cell::{Cell, NONE, OWN};
use super::super::table::{Row, Table};
use std::collections::{BTreeMap, BTreeSet};

/// Columns and lines in the order of the plan.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    pub(super) columns: Vec<Column<'a>>,
    /// The axes that tell the lines apart: the scenario, and those with several values.
    pub(super) axes: Vec<&'static str>,
    pub(super) lines: Vec<Line<'a>>,
    /// Arguments that kernels were given, and to whom: kernels by name, with the value on the axis
    /// of arguments if that is not its own.
    pub(super) kernel_args: BTreeMap<String, BTreeSet<String>>,
}

/// A kernel, and a scheduler unless all have none.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) kernel: &'a str,
    pub(super) scheduler: Option<&'a str>,
}

#[derive(Debug)]
pub(super) struct Line<'a> {
    /// A value for each of the axes.
    pub(super) labels: Vec<&'a str>,
    /// One a column; none where the file has no such combination.
    pub(super) cells: Vec<Option<&'a Row>>,
}

/// Axes of a column; the others are those of a line.
const OF_COLUMN: usize = 2;

impl<'a> Grid<'a> {
    pub(super) fn of(table: &'a Table) -> Self {
        let values =
            |at: usize| table.rows.iter().map(|row| row.cell.values()[at]).collect::<BTreeSet<_>>();
        let scheduler_told = values(1).iter().any(|scheduler| *scheduler != NONE);
        let told: Vec<usize> = (OF_COLUMN..Cell::AXES.len())
            .filter(|at| *at == OF_COLUMN || values(*at).len() > 1)
            .collect();
        let axes = told.iter().map(|at| Cell::AXES[*at]).collect();
        let kernel_args = kernel_args(table);
        let mut grid = Self { columns: Vec::new(), axes, lines: Vec::new(), kernel_args };
        let (mut columns, mut lines) = (BTreeMap::new(), BTreeMap::new());
        for row in &table.rows {
            let values = row.cell.values();
            let of = |at: usize| values[at];
            let column = *columns.entry((of(0), of(1))).or_insert_with(|| {
                let scheduler = scheduler_told.then_some(of(1));
                grid.columns.push(Column { kernel: of(0), scheduler });
                grid.columns.len() - 1
            });
            let line = *lines.entry(values[OF_COLUMN..].to_vec()).or_insert_with(|| {
                let labels = told.iter().map(|at| of(*at)).collect();
                grid.lines.push(Line { labels, cells: Vec::new() });
                grid.lines.len() - 1
            });
            let cells = &mut grid.lines[line].cells;
            cells.resize(cells.len().max(column + 1), None);
            cells[column] = Some(row);
        }
        let width = grid.columns.len();
        grid.lines.iter_mut().for_each(|line| line.cells.resize(width, None));
        grid
    }
}

fn kernel_args(table: &Table) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for row in &table.rows {
        let Cell { kernel, kernel_args, .. } = &row.cell;
        let who =
            if kernel_args == OWN { kernel.clone() } else { format!("{kernel}/{kernel_args}") };
        for run in row.runs.iter().filter(|run| !run.kernel_args.is_empty()) {
            told.entry(run.kernel_args.join(" ")).or_default().insert(who.clone());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, small};
    use super::*;

    #[test]
    fn only_axes_with_several_values_tell_lines_apart() {
        let table = small(2);
        let grid = Grid::of(&table);
        assert_eq!(grid.axes, ["scenario"]);
        let kernels: Vec<_> = grid.columns.iter().map(|column| column.kernel).collect();
        assert_eq!(kernels, ["linux-6.1", "linux-6.2"]);
        let table = hostile();
        let grid = Grid::of(&table);
        assert_eq!(grid.axes, ["scenario", "seed"]);
        assert!(
            grid.columns
                .iter()
                .any(|column| (column.kernel, column.scheduler) == ("trixie", Some("scx_a")))
        );
        assert!(grid.lines.iter().all(|line| line.cells.len() == grid.columns.len()));
        assert!(grid.lines.iter().flat_map(|line| &line.cells).any(Option::is_none));
    }
}
