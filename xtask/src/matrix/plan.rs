//! The cells of a matrix, in order, with what the rules say of each. Made of the file by
//! `cmd::matrix`, kept beside the results, so that shards and `merge` agree on it.

use super::cell::{Cell, DEFAULT, DETERMINISTIC, NONE, OWN};
use super::file::{Axes, File, KernelArgs, Named, NamedArgs, NamedSpec, Text};
use super::rule::{Choice, Known, Pattern, fault_of_date};
use super::scenarios;
use crate::error::Refusal;
use crate::files::sha256;
use crate::hunt::{Seeds, Shard};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Raised when a field changes its meaning.
const FORMAT: u32 = 1;
/// One deterministic cell in so many is run once more than it is asked for.
const SAMPLE: usize = 20;
const MOST_RUNS: u32 = 1000;

/// Every cell of the matrix, whoever runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    matrix: u32,
    /// The name of the file without its ending.
    pub(crate) name: String,
    pub(crate) cells: Vec<Planned>,
}

/// A cell, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) cell: Cell,
    /// How often it is run: 0 if a rule keeps it from that.
    pub(crate) runs: u32,
    /// Which rule does, in its words.
    pub(crate) excluded: Option<String>,
    /// The oldest Linux on which it is run.
    pub(crate) minimum: Option<String>,
    pub(crate) known_failure: Option<Known>,
    /// What it is run with. Facts of one host are not compared with those of another.
    #[serde(skip)]
    pub(crate) recipe: Recipe,
}

/// What of a cell is not in its names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recipe {
    pub(crate) kernel: String,
    pub(crate) kernel_args: Vec<String>,
    pub(crate) scheduler: Option<(String, Vec<String>)>,
    pub(crate) scenario: PathBuf,
}

impl Planned {
    /// A cell of which no rule says anything.
    pub(crate) fn new(cell: Cell, recipe: Recipe) -> Self {
        Self { cell, runs: 1, excluded: None, minimum: None, known_failure: None, recipe }
    }

    pub(crate) fn name(&self) -> String {
        self.cell.name()
    }
}

impl Plan {
    /// The plan of the file at `path`: of it the cells whose names one of `filters` matches, if
    /// there are any.
    pub(crate) fn read(path: &Path, filters: &[String]) -> Result<Self> {
        let file = File::read(path)?;
        let mut cells = combine(&file, path)?;
        apply(&file, path, &mut cells)?;
        let filters: Vec<_> =
            filters.iter().map(|filter| Pattern::from(format!("*{filter}*"))).collect();
        let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| f.has(name));
        cells.retain(|cell| chosen(&cell.name()));
        if cells.is_empty() {
            let message = format!("`{}` has no such cell", path.display());
            return Err(Refusal::input(message, "see `--list` for their names").into());
        }
        sample(&mut cells);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { matrix: FORMAT, name, cells })
    }

    /// The cells of `shard`: the same ones whatever other cells there are.
    pub(crate) fn of(&self, shard: Option<Shard>) -> Vec<&Planned> {
        let has = |cell: &&Planned| shard.is_none_or(|shard| shard.has(number(&cell.name())));
        self.cells.iter().filter(has).collect()
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.matrix == FORMAT
    }
}

/// A number of a name that is as good as random and always the same.
fn number(name: &str) -> u64 {
    let digits = &sha256(name.as_bytes())[..16];
    u64::from_str_radix(digits, 16).unwrap_or(0)
}

/// Each axis with each, then what is included, in the order of the file and each cell once.
fn combine(file: &File, path: &Path) -> Result<Vec<Planned>> {
    let mut cells = Vec::new();
    let mut names = BTreeSet::new();
    for axes in
        std::iter::once(file.axes.clone()).chain(file.include.iter().map(|i| i.over(&file.axes)))
    {
        for cell in product(&axes, path)? {
            let name = cell.name();
            if cell.cell.values().contains(&"") {
                let message = format!("`{}`: a name in `{name}` is empty", path.display());
                return Err(Refusal::input(message, "write one with a letter or a digit").into());
            }
            if names.insert(name.clone()) {
                cells.push(cell);
            } else if cells.iter().any(|other| other.name() == name && *other != cell) {
                let message = format!("`{}`: two cells are called `{name}`", path.display());
                return Err(Refusal::input(
                    message,
                    "give their kernels, schedulers or kernel arguments names",
                )
                .into());
            }
        }
    }
    Ok(cells)
}

fn product(axes: &Axes, path: &Path) -> Result<Vec<Planned>> {
    let named = |list: &[Named]| list.iter().map(Named::parts).collect::<Vec<_>>();
    let kernels = axes.kernels.as_deref().map(named).with_context(|| {
        let message = format!("`{}` has no `kernels` under [axes]", path.display());
        Refusal::input(message, "name some, as kernels = [\"trixie\"]")
    })?;
    let none = || named(&[Named::Spec(NONE.into())]);
    let schedulers = axes.schedulers.as_deref().map_or_else(none, named);
    if let Some(idle) = schedulers.iter().find(|with| with.spec == NONE && !with.args.is_empty()) {
        let message = format!("`{}`: `{}` has args and no scheduler", path.display(), idle.name);
        return Err(Refusal::input(message, "leave out `args`, or name a scheduler").into());
    }
    let scenarios = scenarios::find(axes.scenarios.as_deref(), path)?;
    let machines = machines(axes, path)?;
    let kernel_args = kernel_args(axes, path)?;
    let mut cells = Vec::new();
    for kernel in &kernels {
        for scheduler in &schedulers {
            for (scenario, file) in &scenarios {
                for more in &kernel_args {
                    let recipe = recipe(kernel, more, scheduler, file);
                    cells.extend(machines.iter().map(|[topology, seed, mode]| {
                        let with = &scheduler.name;
                        let args = &more.name;
                        let names = [&kernel.name, with, scenario, topology, seed, mode, args];
                        planned(names.map(String::as_str), recipe.clone())
                    }));
                }
            }
        }
    }
    Ok(cells)
}
/// What a cell is run with beside the machine.
fn recipe(kernel: &NamedSpec, more: &NamedArgs, scheduler: &NamedSpec, scenario: &Path) -> Recipe {
    let with = || (scheduler.spec.clone(), scheduler.args.clone());
    Recipe {
        kernel: kernel.spec.clone(),
        kernel_args: [kernel.args.as_slice(), &more.args].concat(),
        scheduler: (scheduler.spec != NONE).then(with),
        scenario: scenario.to_owned(),
    }
}

/// Sets of kernel arguments. One called as a number would be taken for the folder of a run.
fn kernel_args(axes: &Axes, path: &Path) -> Result<Vec<NamedArgs>> {
    let Some(list) = &axes.kernel_args else {
        return Ok(vec![KernelArgs::Text(OWN.into()).parts()]);
    };
    let all: Vec<_> = list.iter().map(KernelArgs::parts).collect();
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    for NamedArgs { name, args } in &all {
        if args.is_empty() != (name == OWN) || is_number(name) {
            let message = format!("`{}`: `{name}` is no set of kernel arguments", path.display());
            let fix = "write them as text, or `own` for none beside those of kernel and scenario";
            return Err(Refusal::input(message, fix).into());
        }
    }
    Ok(all)
}

/// Topology, seed and mode, each with each.
fn machines(axes: &Axes, path: &Path) -> Result<Vec<[String; 3]>> {
    let modes = axes.modes.clone().unwrap_or_else(|| vec![DETERMINISTIC.into()]);
    if let Some(bad) = modes.iter().find(|mode| ![DETERMINISTIC, DEFAULT].contains(&mode.as_str()))
    {
        let message = format!("`{}`: `{bad}` is no mode", path.display());
        let fix = format!("write `{DETERMINISTIC}` or `{DEFAULT}`");
        return Err(Refusal::input(message, fix).into());
    }
    let topologies = match &axes.topologies {
        None => vec![OWN.to_owned()],
        Some(list) => list.iter().map(Text::as_text).collect(),
    };
    let seeds = seeds(axes.seeds.as_deref(), path)?;
    let mut all = Vec::new();
    for topology in &topologies {
        for seed in &seeds {
            all.extend(modes.iter().map(|mode| [topology, seed, mode].map(String::clone)));
        }
    }
    Ok(all)
}

/// `own`, numbers and ranges.
fn seeds(list: Option<&[Text]>, path: &Path) -> Result<Vec<String>> {
    let Some(list) = list else { return Ok(vec![OWN.to_owned()]) };
    let mut all = Vec::new();
    for text in list.iter().map(Text::as_text) {
        if text == OWN {
            all.push(text);
            continue;
        }
        let seeds: Seeds = text.parse().map_err(|why| {
            Refusal::input(format!("`{}`: {why}", path.display()), "or write `own`")
        })?;
        all.extend(seeds.of(None).iter().map(u64::to_string));
    }
    Ok(all)
}

/// Names become folders.
fn planned(names: [&str; 7], recipe: Recipe) -> Planned {
    let [kernel, scheduler, scenario, topology, seed, mode, kernel_args] = names.map(|name| {
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || "_-.,:".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        name.trim_start_matches(['.', '-']).to_owned()
    });
    let cell = Cell { kernel, scheduler, scenario, topology, seed, mode, kernel_args };
    Planned::new(cell, recipe)
}

/// The rules in the order of the file; one that chooses no cell is a mistake.
fn apply(file: &File, path: &Path, cells: &mut [Planned]) -> Result<()> {
    let chosen = |what: &str,
                  choice: &Choice,
                  cells: &mut [Planned],
                  change: &dyn Fn(&mut Planned)| {
        let mut count = 0;
        for planned in cells.iter_mut().filter(|planned| choice.has(&planned.cell)) {
            change(planned);
            count += 1;
        }
        let message =
            format!("`{}`: [[{what}]] of {{ {} }} chooses no cell", path.display(), choice.words());
        if count > 0 {
            Ok(())
        } else {
            Err(Refusal::input(message, "see `--list` for their names"))
        }
    };
    let bad =
        |what: String, fix: &str| Refusal::input(format!("`{}`: {what}", path.display()), fix);
    for rule in &file.repeat {
        if !(1..=MOST_RUNS).contains(&rule.runs) {
            let what = format!("[[repeat]] has runs = {}", rule.runs);
            return Err(bad(what, &format!("write 1 to {MOST_RUNS}")).into());
        }
        chosen("repeat", &rule.cells, cells, &|planned| planned.runs = rule.runs)?;
    }
    for rule in &file.minimum {
        if !crate::kernel::is_release(&rule.linux) {
            let what = format!("[[minimum]] has linux = \"{}\"", rule.linux);
            return Err(bad(what, "write it as 6.12").into());
        }
        chosen("minimum", &rule.cells, cells, &|planned| {
            planned.minimum = Some(rule.linux.clone())
        })?;
    }
    for rule in &file.known_failure {
        if let Some(fault) = rule.expires.as_deref().and_then(fault_of_date) {
            return Err(bad(format!("[[known_failure]] {fault}"), "write the last day").into());
        }
        let known = Known { reason: rule.reason.clone(), expires: rule.expires.clone() };
        chosen("known_failure", &rule.cells, cells, &|planned| {
            planned.known_failure = Some(known.clone())
        })?;
    }
    for rule in &file.exclude {
        chosen("exclude", &rule.cells, cells, &|planned| {
            (planned.excluded, planned.runs) = (Some(rule.reason.clone()), 0);
        })?;
    }
    Ok(())
}

/// Which of the cells that run once are run again is a matter of their names, so that shards agree.
fn sample(cells: &mut [Planned]) {
    let mut some: Vec<_> = cells
        .iter_mut()
        .filter(|planned| planned.cell.is_deterministic() && planned.runs == 1)
        .collect();
    some.sort_by_key(|planned| number(&planned.name()));
    let count = some.len().div_ceil(SAMPLE);
    some.into_iter().take(count).for_each(|planned| planned.runs += 1);
}

#[cfg(test)]
mod keys;
#[cfg(test)]
mod tests;
