//! Which accelerators the cells of a table ran under: times of one are not those of another. Called
//! by `cmd::matrix` and `views`.

use super::table::Table;
use std::collections::{BTreeMap, BTreeSet};

/// So many cells are named.
const NAMED: usize = 3;

/// In one sentence, if cells of the default mode ran under several.
pub(crate) fn mixed_accelerators(table: &Table) -> Option<String> {
    let mut cells: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in table.rows.iter().filter(|row| !row.cell.is_deterministic()) {
        for run in row.runs.iter().filter(|run| !run.accel.is_empty()) {
            cells.entry(&run.accel).or_default().insert(&row.name);
        }
    }
    if cells.len() < 2 {
        return None;
    }
    let part = |(accel, names): (&&str, &BTreeSet<&str>)| {
        let some: Vec<_> = names.iter().take(NAMED).copied().collect();
        let more = if names.len() > NAMED { ", .." } else { "" };
        format!("{accel} ran {} ({}{more})", names.len(), some.join(", "))
    };
    let parts: Vec<_> = cells.iter().map(part).collect();
    Some(format!(
        "cells of the default mode ran under several accelerators: {}; do not compare their times",
        parts.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Cell, DEFAULT, DETERMINISTIC, OWN};
    use super::super::table::{FORMAT, Row, Standing};
    use super::super::views::fixture;
    use super::*;

    /// A table of one run a cell: its scenario, mode and accelerator.
    fn mixed(cells: &[(&str, &str, &str)]) -> Option<String> {
        let row = |(scenario, mode, accel): &(&str, &str, &str)| {
            let cell = Cell {
                scenario: (*scenario).into(),
                mode: (*mode).into(),
                kernel_args: OWN.into(),
                ..Cell::default()
            };
            let name = cell.name();
            let mut run = fixture::a_run();
            run.accel = (*accel).into();
            Row { name, cell, standing: Standing::Pass, reason: None, runs: vec![run] }
        };
        let rows = cells.iter().map(row).collect();
        mixed_accelerators(&Table { matrix: FORMAT, name: "m".into(), rows })
    }

    #[test]
    fn cells_of_the_default_mode_under_several_accelerators_are_told() {
        let wake = ("wake", DEFAULT, "kvm");
        let text = mixed(&[wake, ("spin", DEFAULT, "tcg"), ("io", DEFAULT, "tcg")]).unwrap();
        assert!(text.contains("kvm ran 1 (//wake///default), tcg ran 2 (//io///"), "{text}");
        assert_eq!(mixed(&[wake, ("spin", DEFAULT, "kvm")]), None);
        // Deterministic cells are always emulated, and older results do not say.
        assert_eq!(mixed(&[wake, ("spin", DETERMINISTIC, "tcg"), ("io", DEFAULT, "")]), None);
    }
}
