//! One side of a comparison: the runs in a folder, or a baseline that was kept. Called by
//! `cmd::compare`.

use super::metric::{Key, values};
use crate::error::Refusal;
use crate::files::Kind;
use crate::report::RunReport;
use crate::run::Verdict;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Raised when a field of a baseline changes its meaning.
const BASELINE: u32 = 1;
/// Among the facts.
const ACCELERATOR: &str = "accelerator";
const FIX: &str =
    "pass the folder of a finished run or of `vm --repeat`, or a file of `compare --save`";

/// What was measured, without the runs themselves; as JSON it is a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Side {
    baseline: u32,
    /// What ran: kernel, scheduler, scenario, machine, mode; each by name.
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) deterministic: bool,
    /// How many runs ended how.
    pub(crate) verdicts: BTreeMap<String, usize>,
    /// Values of the runs that were measured.
    pub(crate) runs: Vec<BTreeMap<Key, f64>>,
}

impl Side {
    /// Reads a run folder, a folder of several, or a baseline.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return baseline(path);
        }
        let reports: Vec<RunReport> =
            folders(path)?.iter().map(|folder| report(folder)).collect::<Result<_>>()?;
        Ok(Self::of(&reports))
    }

    /// The side of at least one report.
    pub(crate) fn of(reports: &[RunReport]) -> Self {
        let mut verdicts = BTreeMap::new();
        for report in reports {
            *verdicts.entry(report.verdict.name().to_owned()).or_insert(0) += 1;
        }
        let measured = |report: &&RunReport| {
            matches!(report.verdict, Verdict::Pass | Verdict::Fail | Verdict::Inconclusive)
        };
        let accels: BTreeSet<_> =
            reports.iter().map(|report| report.machine.accel.as_str()).collect();
        let accels: Vec<_> = accels.into_iter().collect();
        let mut facts = reports.first().map(facts).unwrap_or_default();
        facts.insert(ACCELERATOR.to_owned(), accels.join(", "));
        Self {
            baseline: BASELINE,
            facts,
            deterministic: reports.iter().all(|report| report.machine.deterministic),
            verdicts,
            runs: reports.iter().filter(measured).map(values).collect(),
        }
    }

    /// What its runs ran under: `kvm`, `tcg`, or both. Older baselines have it as the first word of
    /// the mode.
    pub(crate) fn accelerators(&self) -> &str {
        let of_mode = || self.facts.get("mode").and_then(|mode| mode.split(' ').next());
        self.facts.get(ACCELERATOR).map(String::as_str).or_else(of_mode).unwrap_or_default()
    }

    /// Whether every run was the same: then there is no noise.
    pub(crate) fn is_exact(&self) -> bool {
        self.deterministic && self.runs.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// The run folders of `path`, in the order of their numbers.
pub(crate) fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if path.join("report.json").is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let shown = path.display();
    let entries = path
        .read_dir()
        .with_context(|| Refusal::input(format!("read_dir(`{shown}`) failed"), FIX))?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((number(&path)?, path)))
        .filter(|(_, path)| path.join("report.json").is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(Refusal::input(format!("`{shown}` holds no report.json"), FIX).into());
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn report(folder: &Path) -> Result<RunReport> {
    let path = folder.join("report.json");
    let refusal = |what: &str| Refusal::input(format!("{what}(`{}`) failed", path.display()), FIX);
    let text = Kind::REPORT.read(&path)?;
    serde_json::from_slice(&text).with_context(|| refusal("parse"))
}

fn baseline(path: &Path) -> Result<Side> {
    let refusal = |what: &str| Refusal::input(format!("{what}(`{}`) failed", path.display()), FIX);
    let text = Kind::BASELINE.read(path)?;
    let side: Side = serde_json::from_slice(&text).with_context(|| refusal("parse"))?;
    if side.baseline != BASELINE {
        let message = format!("`{}` is a baseline of version {}", path.display(), side.baseline);
        return Err(Refusal::input(message, "make it again with `compare --save`").into());
    }
    Ok(side)
}

/// What two sides should have in common, or are compared for.
fn facts(report: &RunReport) -> BTreeMap<String, String> {
    let machine = &report.machine;
    let mode = match machine.icount_shift {
        Some(shift) => format!("{} deterministic, icount shift {shift}", machine.accel),
        None => machine.accel.clone(),
    };
    let scheduler =
        report.scheduler.as_ref().map_or_else(|| "none".into(), |scheduler| scheduler.words());
    let scenario = match report.scenario.name.as_str() {
        "" => "workload".into(),
        name => name.to_owned(),
    };
    let shape = machine.shape();
    let args = match report.kernel.args.as_deref() {
        None => "not recorded".into(),
        Some([]) => "none".into(),
        Some(args) => args.join(" "),
    };
    let texts = [
        ("kernel", report.kernel.release.clone()),
        ("kernel image", report.kernel.sha256.clone()),
        ("scheduler", scheduler),
        ("kernel arguments", args),
        ("scenario", scenario),
        ("machine", shape),
        ("mode", mode),
        ("QEMU", machine.qemu.clone()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}
