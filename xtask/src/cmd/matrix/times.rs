//! How long a run of each cell took on this machine, by past matrices: for estimates alone. Called by
//! `cmd::matrix`.

use crate::files::write_whole;
use crate::matrix::{Cell, Planned};
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longer files are written anew with the last time of each cell.
const MOST_BYTES: u64 = 1 << 20;

/// Which axes a cell has in common with those whose time stands for its own, by their places in the
/// name; the first for which there is one counts. What a run takes is first a matter of the scenario
/// and the mode, then of the number of CPUs, and least of the kernel.
const LIKENESSES: [&[usize]; 4] = [&[SCENARIO, MODE, TOPOLOGY], &[SCENARIO, MODE], &[MODE], &[]];
const SCENARIO: usize = 2;
const TOPOLOGY: usize = 3;
const MODE: usize = 5;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    cell: String,
    ms: u64,
}

/// In the cache; several matrices may add to it at once, a line each.
#[derive(Debug)]
pub(super) struct Times {
    path: PathBuf,
    by_cell: BTreeMap<String, u64>,
}

impl Times {
    pub(super) fn read(paths: &Paths) -> Result<Self> {
        let path = paths.cache_dir("times")?.join("cells.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let times = Self { by_cell: lines.map(|line| (line.cell, line.ms)).collect(), path };
        if text.len() as u64 > MOST_BYTES {
            let lines: String = times.by_cell.iter().map(|(cell, ms)| line(cell, *ms)).collect();
            write_whole(&times.path, lines.as_bytes()).context("write(times) failed")?;
        }
        Ok(times)
    }

    pub(super) fn add(&mut self, cell: &str, wall: Duration) -> Result<()> {
        let ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        if ms == 0 {
            return Ok(());
        }
        self.by_cell.insert(cell.to_owned(), ms);
        let open = File::options().append(true).create(true).open(&self.path);
        open.and_then(|mut file| file.write_all(line(cell, ms).as_bytes()))
            .with_context(|| format!("write(`{}`) failed", self.path.display()))
    }

    /// Of all runs of a cell: as it took last; else the median of the cells that are most like it.
    pub(super) fn estimate(&self, planned: &Planned) -> Option<Duration> {
        let own = self.by_cell.get(&planned.name()).copied();
        let like = || LIKENESSES.iter().find_map(|axes| self.median_of_like(&planned.cell, axes));
        Some(Duration::from_millis(own.or_else(like)?) * planned.runs)
    }

    /// Whether the cell itself was run before.
    pub(super) fn knows(&self, planned: &Planned) -> bool {
        self.by_cell.contains_key(&planned.name())
    }

    /// Of the cells that have the same values as `cell` on `axes`.
    fn median_of_like(&self, cell: &Cell, axes: &[usize]) -> Option<u64> {
        let name = cell.name();
        let wanted: Vec<_> = name.split('/').collect();
        let is_like = |other: &str| {
            let other: Vec<_> = other.split('/').collect();
            axes.iter().all(|axis| other.get(*axis) == wanted.get(*axis))
        };
        let times = self.by_cell.iter().filter(|(other, _)| is_like(other)).map(|(_, ms)| *ms);
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

fn line(cell: &str, ms: u64) -> String {
    let line = serde_json::to_string(&Line { cell: cell.to_owned(), ms });
    line.map(|line| line + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Cell, Recipe};

    fn planned(kernel: &str, scenario: &str, mode: &str) -> Planned {
        let [kernel, scenario, mode] = [kernel, scenario, mode].map(str::to_owned);
        let cell = Cell { kernel, scenario, mode, kernel_args: "own".into(), ..Cell::default() };
        Planned::new(cell, Recipe::default())
    }

    #[test]
    fn a_cell_that_was_never_run_takes_what_the_same_scenario_took_on_other_kernels() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let mut times = Times::read(&paths).unwrap();
        assert_eq!(times.estimate(&planned("a", "wake", "default")), None);
        for (kernel, scenario, mode, ms) in [
            ("a", "wake", "default", 5),
            ("a", "wake", "default", 10),
            ("b", "wake", "default", 20),
            ("c", "wake", "default", 40),
            ("a", "wake", "deterministic", 100),
            ("a", "long", "deterministic", 9_000),
            ("b", "long", "deterministic", 8_000),
            ("c", "long", "deterministic", 7_000),
        ] {
            times.add(&planned(kernel, scenario, mode).name(), Duration::from_millis(ms)).unwrap();
        }
        let again = Times::read(&paths).unwrap();
        assert_eq!(again.by_cell, times.by_cell);
        let estimate = |kernel, scenario, mode| {
            again.estimate(&planned(kernel, scenario, mode)).unwrap().as_millis()
        };
        // Its own last time; that of the scenario in this mode; that of the mode; any at all.
        assert_eq!(estimate("a", "wake", "default"), 10);
        assert_eq!(estimate("new", "wake", "default"), 20);
        assert_eq!(estimate("new", "wake", "deterministic"), 100);
        assert_eq!(estimate("new", "long", "deterministic"), 8_000);
        assert_eq!(estimate("new", "new", "default"), 20);
        assert_eq!(estimate("new", "new", "new"), 100);
        let known = |kernel| again.knows(&planned(kernel, "wake", "default"));
        assert!(known("a") && !known("new"));
    }
}
