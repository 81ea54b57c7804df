//! What came of each cell, as JSON lines that are only ever added to. Called by `cmd::matrix`.

use super::plan::Plan;
use super::summary::RunSummary;
use crate::files::{Kind, sha256};
use crate::lines::Lines;
use crate::terminal::from_json;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Raised when lines change their meaning.
const FORMAT: u32 = 1;
/// In the folder of a matrix.
const RESULTS: &str = "results.jsonl";
pub(crate) const PLAN: &str = "plan.json";

/// One cell that was run to its end, or could not be run at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellResult {
    /// Its name.
    pub(crate) cell: String,
    /// Hash of everything that its runs depend on; none if it was not run.
    pub(crate) inputs: Option<String>,
    /// Why it cannot be run here or anywhere, by the kernel, the scenario or the machine.
    pub(crate) skipped: Option<String>,
    /// Where two deterministic runs of it first differ.
    pub(crate) differs: Option<String>,
    pub(crate) runs: Vec<RunSummary>,
}

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    results: u32,
    /// Hash of the plan.
    plan: String,
}

impl Header {
    fn of(plan: &Plan) -> Result<Self> {
        let text = serde_json::to_string(plan).context("serialize(plan) failed")?;
        Ok(Self { results: FORMAT, plan: sha256(text.as_bytes()) })
    }
}

/// An open results file, ours alone.
#[derive(Debug)]
pub(crate) struct Results {
    lines: Lines,
    cells: BTreeMap<String, CellResult>,
}

impl Results {
    /// Opens the file in `folder`, or makes it, for this plan.
    pub(crate) fn open(folder: &Path, plan: &Plan) -> Result<Self> {
        let (lines, cells) = Lines::open(&folder.join(RESULTS), &Header::of(plan)?, "plan")?;
        Ok(Self { lines, cells: by_name(cells) })
    }

    pub(crate) fn add(&mut self, cell: CellResult) -> Result<()> {
        self.lines.add(&cell)?;
        self.cells.insert(cell.cell.clone(), cell);
        Ok(())
    }

    /// By the names of the cells.
    pub(crate) fn cells(&self) -> &BTreeMap<String, CellResult> {
        &self.cells
    }
}

/// What `folder` holds of this plan by now, by the names of the cells.
pub(crate) fn kept_results(folder: &Path, plan: &Plan) -> Result<BTreeMap<String, CellResult>> {
    Lines::read(&folder.join(RESULTS), &Header::of(plan)?, "plan").map(by_name)
}

fn by_name(cells: Vec<CellResult>) -> BTreeMap<String, CellResult> {
    cells.into_iter().map(|cell| (cell.cell.clone(), cell)).collect()
}

/// The plan that is kept in `folder`.
pub(crate) fn kept_plan(folder: &Path) -> Result<Plan> {
    let path = folder.join(PLAN);
    let refusal = |what: &str| Kind::PLAN.refusal(what, &path);
    let text = Kind::PLAN.read(&path)?;
    let plan: Plan = from_json(&text).with_context(|| refusal("parse"))?;
    if plan.is_readable() { Ok(plan) } else { Err(refusal("another version: parse").into()) }
}
