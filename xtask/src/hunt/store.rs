//! What came of each seed, as JSON lines that are only ever added to, so that a hunt goes on where
//! it was ended. Called by `cmd::hunt`.

use super::Signature;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
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
    file: File,
    cells: BTreeMap<u64, Cell>,
}

impl Store {
    /// Opens the file at `path`, or makes it, for a hunt with these `inputs`. A last line that was
    /// not written to its end is dropped.
    pub(crate) fn open(path: &Path, inputs: &str) -> Result<Self> {
        let shown = path.display();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| {
                Refusal::host(format!("open(`{shown}`) failed"), "pass another folder as --out")
            })?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| {
            let fix = "wait for it, or pass another folder as --out";
            Refusal::host(format!("another hunt writes `{shown}`"), fix)
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("read(`{shown}`) failed"))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).with_context(|| format!("truncate(`{shown}`) failed"))?;
        file.seek(SeekFrom::End(0)).with_context(|| format!("seek(`{shown}`) failed"))?;
        let mut store = Self { file, cells: BTreeMap::new() };
        let header = Header { hunt: FORMAT, inputs: inputs.to_owned() };
        match text[..whole].split_once('\n') {
            None => store.write(&header)?,
            Some((first, lines)) => store.cells = cells(first, lines, &header, path)?,
        }
        Ok(store)
    }

    pub(crate) fn add(&mut self, cell: Cell) -> Result<()> {
        self.write(&cell)?;
        self.cells.insert(cell.seed, cell);
        Ok(())
    }

    pub(crate) fn cells(&self) -> &BTreeMap<u64, Cell> {
        &self.cells
    }

    /// In one call, so that only the last line can be torn.
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).context("serialize(result) failed")? + "\n";
        self.file
            .write_all(line.as_bytes())
            .context(Refusal::host("write(results) failed", "free some space"))
    }
}

fn cells(first: &str, lines: &str, header: &Header, path: &Path) -> Result<BTreeMap<u64, Cell>> {
    let fix = "pass another folder as --out, or remove this one";
    if serde_json::from_str::<Header>(first).ok().as_ref() != Some(header) {
        let message = format!(
            "`{}` holds the results of another scenario, kernel, machine or QEMU",
            path.display()
        );
        return Err(Refusal::input(message, fix).into());
    }
    let mut cells = BTreeMap::new();
    for (number, line) in (2..).zip(lines.lines()) {
        let cell: Cell = serde_json::from_str(line).with_context(|| {
            Refusal::input(format!("line {number} of `{}` is no result", path.display()), fix)
        })?;
        cells.insert(cell.seed, cell);
    }
    Ok(cells)
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
