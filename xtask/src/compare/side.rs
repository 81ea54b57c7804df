//! One side of a comparison: the runs in a folder, or a baseline that was kept. Called by
//! `cmd::compare`.

use super::metric::{Key, values};
use crate::error::Refusal;
use crate::files::{Kind, sha256};
use crate::report::RunReport;
use crate::run::{Verdict, is_lost, resolved};
use crate::terminal::{cleaned, from_json};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use workloads::Scenario;

/// Raised when a field of a baseline changes its meaning.
const BASELINE: u32 = 1;
/// Among the facts.
const ACCELERATOR: &str = "accelerator";
/// Of its runs, in their order.
const SEEDS: &str = "seeds";
const AGAIN: &str = "make it again with `compare --save`";
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
    pub(crate) verdicts: BTreeMap<Verdict, usize>,
    /// Values of the runs that were measured.
    pub(crate) runs: Vec<BTreeMap<Key, f64>>,
}

impl Side {
    /// Reads a run folder, a folder of several, or a baseline.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return baseline(path);
        }
        let folders = folders(path)?;
        let reports: Vec<RunReport> =
            folders.iter().map(|folder| report(folder)).collect::<Result<_>>()?;
        for (other, folder) in reports.iter().zip(&folders).skip(1) {
            if let Some(what) = unlike(&reports[0], other) {
                let (one, two) = (folders[0].display(), folder.display());
                let message =
                    format!("`{one}` and `{two}` are not runs of one guest: another {what}");
                return Err(Refusal::input(message, "pass one of them").into());
            }
        }
        Ok(Self::of(&reports))
    }

    /// The side of at least one report.
    pub(crate) fn of(reports: &[RunReport]) -> Self {
        let mut verdicts = BTreeMap::new();
        for report in reports {
            *verdicts.entry(report.verdict).or_insert(0) += 1;
        }
        let measured = |report: &&RunReport| {
            let ended =
                matches!(report.verdict, Verdict::Pass | Verdict::Fail | Verdict::Inconclusive);
            ended && !is_lost(report.verdict, &report.checks)
        };
        let accels: BTreeSet<_> =
            reports.iter().map(|report| report.machine.accel.as_str()).collect();
        let accels: Vec<_> = accels.into_iter().collect();
        let mut facts = reports.first().map(facts).unwrap_or_default();
        facts.insert(ACCELERATOR.to_owned(), accels.join(", "));
        let seeds: Vec<_> = reports.iter().map(|report| report.scenario.seed.to_string()).collect();
        facts.insert(SEEDS.to_owned(), seeds.join(", "));
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

    /// `tcg deterministic, icount shift 2`.
    pub(super) fn mode(&self) -> Option<&str> {
        self.facts.get("mode").map(String::as_str)
    }

    /// What it ran as, in a few words.
    pub(crate) fn ran_as(&self) -> &str {
        match self.accelerators() {
            several if several.contains(',') => several,
            one => self.mode().unwrap_or(one),
        }
    }

    /// Whether every run was the same: then there is no noise.
    pub(crate) fn is_exact(&self) -> bool {
        let same = self.runs.windows(2).all(|pair| pair[0] == pair[1]);
        self.deterministic && same && !self.runs.is_empty()
    }

    /// Whether each run has a counterpart in `other` of the same seed, so that any difference of the
    /// two is real.
    pub(super) fn is_paired_with(&self, other: &Self) -> bool {
        let seeds = self.facts.get(SEEDS).is_some_and(|all| other.facts.get(SEEDS) == Some(all));
        self.deterministic && other.deterministic && seeds && self.lost() + other.lost() == 0
    }

    /// Names that any of its runs has.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.runs.iter().flat_map(|run| run.keys().cloned()).collect()
    }

    /// A value for each run, or none where it lacks the metric.
    pub(super) fn column(&self, key: &Key) -> Vec<Option<f64>> {
        self.runs.iter().map(|run| run.get(key).copied()).collect()
    }

    pub(super) fn values(&self, key: &Key) -> Vec<f64> {
        self.column(key).into_iter().flatten().collect()
    }

    /// How many runs have no values: their guest was lost, or they were given up.
    pub(crate) fn lost(&self) -> usize {
        self.verdict_count().saturating_sub(self.runs.len())
    }

    /// A baseline may say anything.
    fn verdict_count(&self) -> usize {
        self.verdicts.values().copied().fold(0, usize::saturating_add)
    }

    /// `5 pass, 1 hang`.
    pub(crate) fn ended(&self) -> String {
        let ended: Vec<_> =
            self.verdicts.iter().map(|(verdict, n)| format!("{n} {}", verdict.name())).collect();
        if ended.is_empty() { "none".into() } else { ended.join(", ") }
    }
}

/// The run folders of `path`, in the order of their numbers.
pub(crate) fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if path.join("report.json").is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let shown = path.display();
    let refusal = || Refusal::input(format!("read_dir(`{shown}`) failed"), FIX);
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    let mut found = Vec::new();
    for entry in path.read_dir().with_context(refusal)? {
        let path = entry.with_context(refusal)?.path();
        found.extend(number(&path).map(|number| (number, path)));
    }
    found.sort();
    if let Some((_, broken)) = found.iter().find(|(_, path)| !path.join("report.json").is_file()) {
        let message = format!("`{}` holds no report.json: its run did not end", broken.display());
        return Err(Refusal::input(message, "run it again, or move that folder away").into());
    }
    if found.is_empty() {
        return Err(Refusal::input(format!("`{shown}` holds no report.json"), FIX).into());
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn report(folder: &Path) -> Result<RunReport> {
    RunReport::load(folder).and_then(|(report, _)| cleaned(&report))
}

fn baseline(path: &Path) -> Result<Side> {
    let refusal = |what: &str| Refusal::input(format!("{what}(`{}`) failed", path.display()), FIX);
    let text = Kind::BASELINE.read(path)?;
    let side: Side = from_json(&text).with_context(|| refusal("parse"))?;
    if side.baseline != BASELINE {
        let message = format!("`{}` is a baseline of version {}", path.display(), side.baseline);
        return Err(Refusal::input(message, AGAIN).into());
    }
    if let Some(why) = useless(&side) {
        return Err(Refusal::input(format!("`{}` {why}", path.display()), AGAIN).into());
    }
    Ok(side)
}

/// Why nothing can be compared with a baseline.
fn useless(side: &Side) -> Option<String> {
    if side.runs.is_empty() || side.runs.iter().any(BTreeMap::is_empty) {
        return Some("is a baseline with a run without values, or without any run".into());
    }
    if side.verdict_count() < side.runs.len() {
        return Some("is a baseline with more runs than verdicts".into());
    }
    let unknown = side.keys().into_iter().find(|key| key.metric().is_none())?;
    Some(format!("is a baseline of another version: `{}` is no metric here", unknown.metric))
}

/// In which fact, but for the accelerator, two runs of one side differ.
fn unlike(one: &RunReport, other: &RunReport) -> Option<String> {
    let (one, other) = (facts(one), facts(other));
    let found = one.iter().find(|(name, value)| *name != "mode" && other.get(*name) != Some(value));
    found.map(|(name, _)| name.clone())
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
    // Its seed is no matter of what it is.
    let any_seed = Scenario { seed: 0, ..report.scenario.clone() };
    let hash = resolved(&any_seed).map(|text| sha256(text.as_bytes())).unwrap_or_default();
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
        ("scenario hash", hash),
        ("machine", shape),
        ("mode", mode),
        ("QEMU", machine.qemu.clone()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// A side whose runs have these values, in the order of the columns.
#[cfg(test)]
pub(super) fn side_of(deterministic: bool, columns: &[(&str, &[f64])]) -> Side {
    let run = |index: usize| -> BTreeMap<Key, f64> {
        columns.iter().map(|(name, all)| (Key::from((*name).to_owned()), all[index])).collect()
    };
    let runs: Vec<_> = (0..columns[0].1.len()).map(run).collect();
    Side {
        baseline: BASELINE,
        facts: BTreeMap::new(),
        deterministic,
        verdicts: BTreeMap::from([(Verdict::Pass, runs.len())]),
        runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_that_says_nothing_or_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baseline.json");
        let load = |runs: &str, passed: usize| {
            let text = format!(
                r#"{{"baseline":1,"facts":{{}},"deterministic":true,"verdicts":{{"pass":{passed}}},
                    "runs":{runs}}}"#
            );
            std::fs::write(&file, text).unwrap();
            Side::load(&file).map(|side| side.ended()).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(load(r#"[{"throughput":1.0}]"#, 1).unwrap(), "1 pass");
        for (runs, passed, why) in [
            ("[]", 1, "without any run"),
            ("[{}]", 1, "without values"),
            (r#"[{"throughput":1.0},{"throughput":1.0}]"#, 1, "more runs than verdicts"),
            (r#"[{"wake_p42 of PipeIo":1.0}]"#, 1, "`wake_p42` is no metric here"),
        ] {
            let error = load(runs, passed).unwrap_err();
            assert!(error.contains(why), "{runs}: {error}");
        }
    }

    #[test]
    fn a_run_of_several_that_did_not_end_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for number in ["1", "2", "notes"] {
            std::fs::create_dir(dir.path().join(number)).unwrap();
        }
        std::fs::write(dir.path().join("1/report.json"), "{}").unwrap();
        let error = folders(dir.path()).unwrap_err().to_string();
        assert!(error.contains("/2` holds no report.json: its run did not end"), "{error}");
        std::fs::write(dir.path().join("2/report.json"), "{}").unwrap();
        assert_eq!(folders(dir.path()).unwrap().len(), 2);
    }
}
