//! One cell of a matrix: from its names to what is kept of its runs. Called by `cmd::matrix`.

use super::budget::{Budget, Share, available_memory_mib};
use crate::cli::{MatrixArgs, VmArgs};
use crate::cmd::input;
use crate::cmd::kernel::refuse_unfit;
use crate::cmd::vm;
use crate::error::{Refusal, exit, exit_code};
use crate::image;
use crate::jobs::host_cpus;
use crate::kernel::{self, Kernel};
use crate::matrix::{CellResult, OWN, Planned, RunSummary};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu::PRESETS;
use crate::run::{BootPlan, Compared, Verdict, broken_promise, compare_runs, remove_folder};
use crate::scheduler;
use crate::terminal::cleaned;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Everything that is there once for all cells.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    kernels: BTreeMap<String, Kernel>,
    budget: Budget,
    hang_after: Option<Duration>,
    paths: &'a Paths,
}

/// What came of an attempt.
pub(super) enum Ran {
    /// It has a result of the same inputs already.
    Kept(CellResult),
    New(CellResult, Duration),
    Interrupted,
}

impl<'a> Cells<'a> {
    /// Fetches and builds what the cells need, each once, and refuses what no boot could mend.
    pub(super) fn prepare(
        cells: &[&Planned],
        asked: &MatrixArgs,
        paths: &'a Paths,
        progress: &Progress,
    ) -> Result<Self> {
        let shard = asked.shard.map(|shard| format!(" of shard {shard}")).unwrap_or_default();
        let to_run: Vec<_> = cells.iter().filter(|planned| planned.excluded.is_none()).collect();
        progress.step(format!("{} cells{shard}, {} to be run", cells.len(), to_run.len()));
        let mut read = BTreeSet::new();
        for planned in &to_run {
            arguments(planned)?;
            if read.insert(&planned.recipe.scenario) {
                input::load(&planned.recipe.scenario)?;
            }
        }
        let mut kernels = BTreeMap::new();
        for spec in to_run.iter().map(|planned| &planned.recipe.kernel) {
            if !kernels.contains_key(spec) {
                let kernel = kernel::resolve(spec, paths, progress)?;
                refuse_unfit(&kernel)?;
                kernels.insert(spec.clone(), kernel);
            }
        }
        let mut specs: Vec<_> =
            to_run.iter().filter_map(|p| Some(&p.recipe.scheduler.as_ref()?.0)).collect();
        specs.sort();
        specs.dedup();
        for spec in specs {
            scheduler::resolve(spec, paths, progress)?;
        }
        if !to_run.is_empty() {
            image::guest_init(paths, progress)?;
        }
        let budget = Budget::new(host_cpus(), available_memory_mib());
        Ok(Self { kernels, budget, hang_after: asked.hang_after, paths })
    }

    /// Runs a cell into its folder below `folder`, as often as it is planned, when there is room
    /// on this host; `begins` is told then.
    pub(super) fn run(
        &self,
        planned: &Planned,
        kept: Option<&CellResult>,
        folder: &Path,
        begins: impl FnOnce(),
    ) -> Result<Ran> {
        if vm::interrupted() {
            return Ok(Ran::Interrupted);
        }
        let skip = |why: String| {
            let result = result(planned, None, Some(why));
            match kept == Some(&result) {
                true => Ran::Kept(result),
                false => Ran::New(result, Duration::ZERO),
            }
        };
        if let Some(why) = self.too_old(planned) {
            return Ok(skip(why));
        }
        let mut args = arguments(planned)?;
        args.guest.hang_after = self.hang_after;
        let (plan, qemu) = match vm::prepare(&args, self.paths, &Progress::silent()) {
            // The kernel, the scenario and the machine do not fit together.
            Err(error) if exit_code(&error) == exit::BAD_INPUT => {
                return Ok(skip(format!("{error:#}")));
            }
            prepared => prepared?,
        };
        let attempt = vm::decide(&args, &plan, &qemu, self.paths)?.attempt;
        let (accel, cpu) = (attempt.accel.name(), plan.cpu(&attempt));
        let under = Some((accel, cpu.as_str())).filter(|_| !args.deterministic);
        let inputs = vm::inputs(&args, &plan, &qemu, under)?;
        if let Some(kept) = kept.filter(|kept| kept.inputs.as_ref() == Some(&inputs)) {
            return Ok(Ran::Kept(kept.clone()));
        }
        let (cpus, memory_mib) = (plan.layout.cpus(), plan.layout.memory_mib());
        let _share = self.budget.take(Share::of_guest(args.deterministic, cpus, memory_mib));
        if vm::interrupted() {
            return Ok(Ran::Interrupted);
        }
        begins();
        let began = Instant::now();
        let mut result = result(planned, Some(inputs), None);
        for number in 1..=planned.runs {
            let again = self.boot(&args, (&plan, &qemu), number, folder, &mut result)?;
            if !again {
                return Ok(Ran::Interrupted);
            }
        }
        // KVM may have been on trial.
        if let Some(under) = ran_under(&result.runs).filter(|_| !args.deterministic) {
            result.inputs = Some(vm::inputs(&args, &plan, &qemu, Some(under))?);
        }
        Ok(Ran::New(result, began.elapsed() / planned.runs.max(1)))
    }

    /// One run. A deterministic one that is the same as the first is not kept.
    fn boot(
        &self,
        args: &VmArgs,
        (plan, qemu): (&BootPlan, &str),
        number: u32,
        folder: &Path,
        result: &mut CellResult,
    ) -> Result<bool> {
        let place = |number: u32| format!("runs/{}/{number}", result.cell);
        let out = folder.join(place(number));
        remove_folder(&out)?;
        let args = VmArgs { out: Some(out.clone()), ..args.clone() };
        let (report, _) = vm::run_prepared(&args, plan, qemu, self.paths, &Progress::silent())?;
        if report.verdict == Verdict::Interrupted {
            return Ok(false);
        }
        if args.deterministic && number > 1 {
            match compare_runs(&folder.join(place(1)), &out)? {
                Compared::Same => {
                    remove_folder(&out)?;
                    return Ok(true);
                }
                Compared::Not => {}
                Compared::Differ(found) => {
                    let what = format!("run {number} of {} gave other bytes", result.cell);
                    result.differs.get_or_insert_with(|| broken_promise(&what, &found));
                }
            }
        }
        result.runs.push(RunSummary::of(&cleaned(&report)?, place(number)));
        Ok(true)
    }

    fn too_old(&self, planned: &Planned) -> Option<String> {
        let minimum = planned.minimum.as_ref()?;
        let kernel = self.kernels.get(&planned.recipe.kernel)?;
        let why = format!("needs Linux {minimum}, this is {}", kernel.release);
        kernel.is_older_than(minimum).then_some(why)
    }
}

/// The accelerator and the CPU of all of these runs; of different ones, what no run has.
fn ran_under(runs: &[RunSummary]) -> Option<(&str, &str)> {
    let mut all = runs.iter().map(|run| (run.accel.as_str(), run.cpu_model.as_str()));
    let first = all.next()?;
    Some(if all.all(|other| other == first) { first } else { ("several", "") })
}

fn result(planned: &Planned, inputs: Option<String>, skipped: Option<String>) -> CellResult {
    CellResult { cell: planned.name(), inputs, skipped, differs: None, runs: Vec::new() }
}

/// What `vm` is told for a cell.
pub(super) fn arguments(planned: &Planned) -> Result<VmArgs> {
    let (cell, recipe) = (&planned.cell, &planned.recipe);
    let mut words = vec!["--kernel".to_owned(), recipe.kernel.clone()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    option("--config", &recipe.scenario.display().to_string());
    match cell.topology.as_str() {
        OWN => {}
        cpus if cpus.parse::<u32>().is_ok() => option("--cpus", cpus),
        name if PRESETS.iter().any(|preset| preset.name == name) => option("--machine", name),
        topology => option("--topology", topology),
    }
    if cell.seed != OWN {
        option("--seed", &cell.seed);
    }
    for arg in &recipe.kernel_args {
        option("--kernel-arg", arg);
    }
    if let Some((spec, _)) = &recipe.scheduler {
        option("--scheduler", spec);
    }
    if cell.is_deterministic() {
        words.push("--deterministic".into());
    }
    if let Some((_, args)) = recipe.scheduler.as_ref().filter(|(_, args)| !args.is_empty()) {
        words.push("--".into());
        words.extend(args.iter().cloned());
    }
    VmArgs::of(words.iter().map(OsStr::new)).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let message = format!("cell `{}` cannot be: {why}", planned.name());
        Refusal::input(message, "mend the axis in the matrix file").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Cell, Recipe};

    fn planned(topology: &str, seed: &str) -> Planned {
        let text = |text: &str| text.to_owned();
        let cell = Cell {
            kernel: text("k"),
            scheduler: text("s"),
            scenario: text("wake"),
            topology: text(topology),
            seed: text(seed),
            mode: text("deterministic"),
            kernel_args: text("own"),
        };
        let recipe = Recipe {
            kernel: text("./bzImage"),
            kernel_args: vec![text("preempt=lazy"), text("-x")],
            scheduler: Some((text("scx_a"), vec![text("--slice"), text("5")])),
            scenario: "wake.json".into(),
        };
        Planned::new(cell, recipe)
    }

    #[test]
    fn a_cell_is_told_to_vm_as_a_user_would() {
        let args = arguments(&planned("2s2c1t", "7")).unwrap();
        assert_eq!(args.guest.kernel.as_deref(), Some("./bzImage"));
        assert_eq!(args.guest.scheduler_args, ["--slice", "5"]);
        assert_eq!(args.guest.kernel_arg, ["preempt=lazy", "-x"]);
        assert_eq!(args.overrides.seed, Some(7));
        assert!(args.deterministic && args.guest.machine.topology.is_some());
        let own = arguments(&planned("own", "own")).unwrap();
        assert!(own.guest.machine.topology.is_none() && own.overrides.seed.is_none());
        assert!(arguments(&planned("8", "1")).unwrap().guest.machine.cpus.is_some());
        assert!(arguments(&planned("laptop", "1")).unwrap().guest.machine.machine.is_some());
    }

    #[test]
    fn runs_under_several_accelerators_are_those_of_no_accelerator() {
        let run = |accel: &str| RunSummary {
            accel: accel.into(),
            cpu_model: "max".into(),
            ..crate::matrix::a_run()
        };
        assert_eq!(ran_under(&[run("tcg"), run("tcg")]), Some(("tcg", "max")));
        assert_eq!(ran_under(&[run("kvm"), run("tcg")]), Some(("several", "")));
        assert_eq!(ran_under(&[]), None);
    }

    #[test]
    fn a_broken_scenario_is_refused_before_anything_and_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("broken.json");
        std::fs::write(&file, r#"{"workload":{"num_wokers":2}}"#).unwrap();
        let mut planned = planned("own", "own");
        planned.recipe.scenario = file;
        let paths = Paths::below(dir.path());
        let asked = MatrixArgs::of(["matrix.toml"]).unwrap();
        let error = Cells::prepare(&[&planned], &asked, &paths, &Progress::silent()).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        assert!(error.to_string().contains("num_wokers"), "{error}");
    }

    #[test]
    fn an_axis_that_vm_does_not_take_is_refused_by_the_name_of_its_cell() {
        let error = arguments(&planned("2x3", "1")).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        let text = error.to_string();
        assert!(text.contains("`k/s/wake/2x3/1/deterministic` cannot be"), "{text}");
        assert!(text.contains("--topology"), "{text}");
    }
}
