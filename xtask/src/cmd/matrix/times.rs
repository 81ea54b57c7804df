//! How long a run of each cell took on this machine, by past matrices: for estimates alone. Called by
//! `cmd::matrix`.

use crate::files::write_whole;
use crate::matrix::Planned;
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

    /// Of all runs of a cell: as it took last, else as the median of all cells.
    pub(super) fn estimate(&self, planned: &Planned) -> Option<Duration> {
        let known = self.by_cell.get(&planned.name()).copied().or_else(|| self.median())?;
        Some(Duration::from_millis(known) * planned.runs)
    }

    /// Whether the cell itself was run before.
    pub(super) fn knows(&self, planned: &Planned) -> bool {
        self.by_cell.contains_key(&planned.name())
    }

    fn median(&self) -> Option<u64> {
        let mut all: Vec<_> = self.by_cell.values().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
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

    fn planned(kernel: &str) -> Planned {
        Planned::new(Cell { kernel: kernel.into(), ..Cell::default() }, Recipe::default())
    }

    #[test]
    fn the_last_time_of_a_cell_is_its_estimate_and_the_median_that_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let mut times = Times::read(&paths).unwrap();
        assert_eq!(times.estimate(&planned("a")), None);
        for (kernel, ms) in [("a", 5), ("a", 10), ("b", 20), ("c", 40)] {
            times.add(&planned(kernel).name(), Duration::from_millis(ms)).unwrap();
        }
        let again = Times::read(&paths).unwrap();
        assert_eq!(again.by_cell, times.by_cell);
        let estimate = |kernel| again.estimate(&planned(kernel)).unwrap().as_millis();
        assert_eq!([estimate("a"), estimate("c"), estimate("new")], [10, 40, 20]);
        assert!(again.knows(&planned("a")) && !again.knows(&planned("new")));
    }
}
