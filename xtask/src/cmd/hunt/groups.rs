//! Failures that are the same one, and the smallest scenario that was found for each. Called by
//! `cmd::hunt`.

use super::replay;
use super::runs::Hunt;
use crate::bundle;
use crate::cmd::vm;
use crate::error::{exit, exit_code};
use crate::files::{Kind, Output};
use crate::hunt::{Cell, Shrunk, Signature, shrink, undecided};
use crate::progress::Progress;
use crate::run::{remove_folder, write_json};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use workloads::Scenario;

/// Seeds of a group that are shown.
const SHOWN: usize = 8;

/// Failures with one signature; `group.json` of its folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Group {
    signature: Signature,
    verdict: String,
    seeds: Vec<u64>,
    /// The run folder of the smallest scenario that fails so.
    smallest: PathBuf,
    /// A bundle of that run.
    bundle: PathBuf,
    /// What makes it smaller than the first.
    changes: Vec<String>,
    /// Scenarios that were run for it.
    tries: usize,
    /// What the first is on the sound kernel, if that is another than a pass.
    elsewhere: Option<String>,
    /// How to run it again.
    replay: String,
}

/// Groups the failures among `cells` and shrinks the first of each, unless that was done before.
pub(super) fn reduce(
    hunt: &Hunt<'_>,
    cells: &[&Cell],
    budget: usize,
    progress: &Progress,
) -> Result<Vec<Group>> {
    let mut groups: BTreeMap<&Signature, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        if let Some(signature) = &cell.signature {
            groups.entry(signature).or_default().push(cell);
        }
    }
    groups
        .into_iter()
        .map(|(signature, cells)| one(hunt, signature, &cells, budget, progress))
        .collect()
}

fn one(
    hunt: &Hunt<'_>,
    signature: &Signature,
    cells: &[&Cell],
    budget: usize,
    progress: &Progress,
) -> Result<Group> {
    let (first, verdict) = (cells[0].seed, cells[0].verdict.name());
    let seeds = cells.iter().map(|cell| cell.seed).collect();
    let folder = hunt.folder().join("groups").join(format!("{verdict}-seed-{first}"));
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let file = folder.join("group.json");
    let before = Kind::OF_RUN.read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let group = match before {
        Some(before) => Group { seeds, ..before },
        None => {
            progress.step(format!("making seed {first} smaller: {signature}"));
            make_folder(&folder)?;
            let elsewhere = elsewhere(hunt, first, &folder)?;
            let budget = if elsewhere.is_some() { 0 } else { budget };
            let (shrunk, smallest) = make_smaller(hunt, cells[0], budget, &folder, progress)?;
            let words: Vec<String> = std::env::args().collect();
            let replay = replay::command(&words, &smallest, hunt.cpus_in_scenario);
            let Shrunk { changes, tries, .. } = shrunk;
            let note = note(signature, first, &changes);
            let bundle = folder.join(format!("{verdict}-seed-{first}.tar.zst"));
            let output = Output::at(bundle.clone()).map_err(anyhow::Error::msg)?;
            bundle::pack(&smallest, &output, Some(note), true)?;
            let signature = signature.clone();
            Group { signature, verdict, seeds, smallest, bundle, changes, tries, elsewhere, replay }
        }
    };
    write_json(&file, &group)?;
    Ok(group)
}

/// Empty, whatever an interrupted hunt left there.
fn make_folder(folder: &Path) -> Result<()> {
    remove_folder(folder)?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("create_dir_all(`{}`) failed", folder.display()))
}

/// Why a failure need not be made smaller: the sound kernel is not sound.
fn elsewhere(hunt: &Hunt<'_>, seed: u64, folder: &Path) -> Result<Option<String>> {
    let bad = hunt.elsewhere(&hunt.scenario(seed), &folder.join("elsewhere"))?;
    ensure!(!vm::interrupted(), "interrupted");
    let kernel = hunt.sound_kernel.as_deref().unwrap_or_default();
    Ok(bad.map(|verdict| format!("{} on `{kernel}` too", verdict.name())))
}

/// The smallest scenario and the folder of its run.
fn make_smaller(
    hunt: &Hunt<'_>,
    first: &Cell,
    budget: usize,
    folder: &Path,
    progress: &Progress,
) -> Result<(Shrunk, PathBuf)> {
    let [trial, kept] = ["try", "smallest"].map(|name| folder.join(name));
    let mut tries = 0;
    let mut fails_so = |scenario: &_| {
        tries += 1;
        let other = otherwise(hunt, first, scenario, &trial)?;
        ensure!(!vm::interrupted(), "interrupted");
        if other.is_none() {
            remove_folder(&kept)?;
            std::fs::rename(&trial, &kept)
                .with_context(|| format!("rename(`{}`) failed", trial.display()))?;
        }
        let what = other.as_deref().unwrap_or("still fails so");
        progress.step(format!("  smaller scenario {tries} of at most {budget} {what}"));
        Ok(other.is_none())
    };
    let shrunk = shrink(hunt.scenario(first.seed), budget, &mut fails_so)?;
    remove_folder(&trial)?;
    let smallest = if shrunk.changes.is_empty() { hunt.run_folder(first.seed) } else { kept };
    let smallest = std::path::absolute(&smallest).unwrap_or(smallest);
    Ok((shrunk, smallest))
}

/// Runs `scenario` into `trial`, and on the sound kernel if it fails as the `first` did; why it is
/// not the same failure, if so.
fn otherwise(
    hunt: &Hunt<'_>,
    first: &Cell,
    scenario: &Scenario,
    trial: &Path,
) -> Result<Option<String>> {
    let report = match hunt.boot(scenario, trial, false) {
        Ok(report) => report,
        // Parts of it need what was left out.
        Err(error) if exit_code(&error) == exit::BAD_INPUT => return Ok(Some("cannot run".into())),
        Err(error) => return Err(error),
    };
    if Signature::of(&report) != first.signature {
        return Ok(Some("does not".into()));
    }
    if !undecided(&report).is_subset(&first.undecided) {
        return Ok(Some("leaves a check undecided".into()));
    }
    let bad = hunt.elsewhere(scenario, &trial.with_file_name("elsewhere"))?;
    Ok(bad.map(|verdict| format!("is {} on the sound kernel", verdict.name())))
}

/// What a bundle says to whoever gets it.
fn note(signature: &Signature, seed: u64, changes: &[String]) -> String {
    let smaller = match changes {
        [] => "as it was".to_owned(),
        changes => format!("made smaller: {}", changes.join("; ")),
    };
    format!(
        "Found by `cargo xtask hunt` with seed {seed}: {signature}. The scenario is {smaller}.\n"
    )
}

impl Group {
    pub(super) fn print(&self, out: &mut impl Write) -> Result<()> {
        let shown: Vec<_> = self.seeds.iter().take(SHOWN).map(u64::to_string).collect();
        let more = if self.seeds.len() > SHOWN { " .." } else { "" };
        writeln!(out, "\n{}", self.signature)?;
        writeln!(out, "  {} seeds: {}{more}", self.seeds.len(), shown.join(", "))?;
        let changes = match self.changes.as_slice() {
            [] if self.elsewhere.is_some() => "not made smaller".to_owned(),
            [] => format!("none of {} smaller scenarios fails so", self.tries),
            changes => format!("made smaller in {} runs: {}", self.tries, changes.join("; ")),
        };
        if let Some(elsewhere) = &self.elsewhere {
            writeln!(out, "  {elsewhere}")?;
        }
        writeln!(out, "  {changes}")?;
        writeln!(out, "  smallest: {}", self.smallest.display())?;
        writeln!(out, "  bundle: {}", self.bundle.display())?;
        Ok(writeln!(out, "  again: {}", self.replay)?)
    }
}
