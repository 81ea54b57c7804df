//! What came of each seed, as JSON lines that are only ever added to, so that a hunt goes on where
//! it was ended. Called by `cmd::hunt`.

use super::Signature;
use crate::lines::Lines;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Raised when lines change their meaning.
const FORMAT: u32 = 2;

/// One seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) seed: u64,
    pub(crate) verdict: crate::run::Verdict,
    /// None if it passed.
    pub(crate) signature: Option<Signature>,
    /// Checks that were inconclusive.
    pub(crate) undecided: BTreeSet<String>,
    /// Of the context switches; none where they could not be hashed.
    pub(crate) order_hash: Option<String>,
    /// Whether it was run again and was the same bytes.
    pub(crate) repeated: bool,
}

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    hunt: u32,
    /// Hash of everything that a run depends on, but the seed.
    inputs: String,
}

/// An open results file, ours alone.
#[derive(Debug)]
pub(crate) struct Store {
    lines: Lines,
    cells: BTreeMap<u64, Cell>,
}

impl Store {
    /// Opens the file at `path`, or makes it, for a hunt with these `inputs`.
    pub(crate) fn open(path: &Path, inputs: &str) -> Result<Self> {
        let header = Header { hunt: FORMAT, inputs: inputs.to_owned() };
        let another = "scenario, kernel, machine or QEMU";
        let (lines, cells): (_, Vec<Cell>) = Lines::open(path, &header, another)?;
        Ok(Self { lines, cells: cells.into_iter().map(|cell| (cell.seed, cell)).collect() })
    }

    pub(crate) fn add(&mut self, cell: Cell) -> Result<()> {
        self.lines.add(&cell)?;
        self.cells.insert(cell.seed, cell);
        Ok(())
    }

    pub(crate) fn cells(&self) -> &BTreeMap<u64, Cell> {
        &self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code};
    use crate::run::Verdict;

    fn cell(seed: u64) -> Cell {
        let order_hash = Some("00ff".into());
        Cell {
            seed,
            verdict: Verdict::Pass,
            signature: None,
            undecided: BTreeSet::new(),
            order_hash,
            repeated: false,
        }
    }

    fn path() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        (dir, path)
    }

    #[test]
    fn what_was_added_is_there_again() {
        let (_dir, path) = path();
        let mut store = Store::open(&path, "abc").unwrap();
        (1..4).for_each(|seed| store.add(cell(seed)).unwrap());
        drop(store);
        let again = Store::open(&path, "abc").unwrap();
        assert_eq!(again.cells().values().cloned().collect::<Vec<_>>(), [1, 2, 3].map(cell));
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_torn() {
        let (_dir, path) = path();
        let mut store = Store::open(&path, "abc").unwrap();
        store.add(cell(1)).unwrap();
        let kept = std::fs::read(&path).unwrap();
        store.add(cell(2)).unwrap();
        drop(store);
        let all = std::fs::read(&path).unwrap();
        for length in 0..all.len() {
            std::fs::write(&path, &all[..length]).unwrap();
            let mut store = Store::open(&path, "abc").unwrap();
            let expected = usize::from(length >= kept.len());
            assert_eq!(store.cells().len(), expected, "{length} bytes");
            store.add(cell(9)).unwrap();
            drop(store);
            assert_eq!(Store::open(&path, "abc").unwrap().cells().len(), expected + 1);
        }
    }

    #[test]
    fn other_inputs_and_broken_lines_are_refused() {
        let (_dir, path) = path();
        drop(Store::open(&path, "abc").unwrap());
        let error = Store::open(&path, "abd").unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        assert!(error.to_string().contains("another scenario, kernel"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "oops\n").unwrap();
        let error = Store::open(&path, "abc").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn two_hunts_do_not_write_one_file() {
        let (_dir, path) = path();
        let _first = Store::open(&path, "abc").unwrap();
        assert_eq!(exit_code(&Store::open(&path, "abc").unwrap_err()), exit::HOST);
    }
}
