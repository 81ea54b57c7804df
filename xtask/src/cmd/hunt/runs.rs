//! The runs of a hunt: what they have in common, its hash, and one seed. Called by `cmd::hunt`.

use crate::cli::{HuntArgs, VmArgs};
use crate::cmd::input::{self, Input};
use crate::cmd::vm;
use crate::error::Refusal;
use crate::files::sha256;
use crate::hunt::{Cell, Signature, undecided};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::report::RunReport;
use crate::run::{
    Compared, Verdict, broken_promise, compare_runs, remove_folder, resolved, write_file,
};
use crate::terminal::cleaned;
use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use workloads::{Machine, Scenario};

/// Longer than the tick of a kernel with 250 Hz, so that workers begin anywhere between two.
const STAGGER: Duration = Duration::from_millis(5);
/// No more of the duration than this part, unless the user says so.
const STAGGER_PART: u32 = 10;

/// What all runs of a hunt have in common.
#[derive(Debug)]
pub(super) struct Hunt<'a> {
    args: VmArgs,
    scenario: Scenario,
    inputs: String,
    folder: PathBuf,
    /// `--passes-on`.
    pub(super) sound_kernel: Option<String>,
    /// Whether the number of CPUs is the scenario's, so that it can be made smaller.
    pub(super) cpus_in_scenario: bool,
    paths: &'a Paths,
}

/// One seed.
pub(super) enum Ran {
    Cell(Cell),
    /// It was run twice and was not the same: a bug of ours, described.
    Broken(String),
}

impl<'a> Hunt<'a> {
    /// Refuses what no seed could run, and makes the folder.
    pub(super) fn prepare(args: &HuntArgs, paths: &'a Paths, progress: &Progress) -> Result<Self> {
        let mut vm = vm_args(args)?;
        let config = input::or_default(args.guest.config.clone(), paths);
        let Input { mut scenario, source } = input::load(&config)?;
        input::apply(&vm.overrides, &mut scenario)?.iter().for_each(|note| progress.step(note));
        stagger(args.stagger, &mut scenario)?;
        let cpus = source.layout(&vm.guest.machine, &scenario)?.cpus();
        let cpus_in_scenario = only_cpus(&vm, &scenario.machine);
        if cpus_in_scenario {
            scenario.machine.cpus = u16::try_from(cpus).ok();
            vm.guest.machine.cpus = None;
        }
        vm.overrides.duration = None;
        vm.overrides.work_type = None;
        scenario.seed = 0;
        let file = tempfile::NamedTempFile::new().context("create(scenario) failed")?;
        write_file(file.path(), resolved(&scenario)?.as_bytes())?;
        vm.guest.config = Some(file.path().to_owned());
        let sound_kernel = args.passes_on.clone();
        let inputs = inputs(&vm, sound_kernel.as_deref(), paths, progress)?;
        let folder = folder(args, &scenario.name, &inputs, paths);
        std::fs::create_dir_all(folder.join("runs")).with_context(|| {
            let message = format!("create_dir_all(`{}`) failed", folder.display());
            Refusal::host(message, "pass a folder that can be written as --out")
        })?;
        vm.guest.config = None;
        Ok(Self { args: vm, scenario, inputs, folder, sound_kernel, cpus_in_scenario, paths })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn inputs(&self) -> &str {
        &self.inputs
    }

    pub(super) fn scenario(&self, seed: u64) -> Scenario {
        Scenario { seed, ..self.scenario.clone() }
    }

    /// Runs a seed, twice if it is one of the sample. The folder of a run that passed is removed.
    pub(super) fn run_seed(&self, seed: u64, again: bool) -> Result<Ran> {
        let folder = self.run_folder(seed);
        let report = self.boot(&self.scenario(seed), &folder, false)?;
        let mut repeated = again && report.verdict != Verdict::Interrupted;
        if repeated {
            let second = self.folder.join("runs").join(format!("seed-{seed}-again"));
            let other = self.boot(&self.scenario(seed), &second, true)?;
            if other.verdict == Verdict::Interrupted {
                return Ok(Ran::Cell(cell(seed, &other, false)));
            }
            match compare_runs(&folder, &second)? {
                Compared::Same => {}
                Compared::Not => repeated = false,
                Compared::Differ(found) => {
                    let (one, other) = (folder.display(), second.display());
                    let what =
                        format!("seed {seed} was run twice and gave other bytes: {one}, {other}");
                    return Ok(Ran::Broken(broken_promise(&what, &found)));
                }
            }
            remove_folder(&second)?;
        }
        if report.verdict == Verdict::Pass {
            remove_folder(&folder)?;
        }
        Ok(Ran::Cell(cell(seed, &report, repeated)))
    }

    /// Where the run of a seed is kept.
    pub(super) fn run_folder(&self, seed: u64) -> PathBuf {
        self.folder.join("runs").join(format!("seed-{seed}"))
    }

    /// Runs `scenario` into `folder`, which may hold what an interrupted hunt left.
    /// One that is `cold` begins with a boot.
    pub(super) fn boot(&self, scenario: &Scenario, folder: &Path, cold: bool) -> Result<RunReport> {
        self.boot_on(self.args.guest.kernel.clone(), scenario, folder, cold)
    }

    /// What becomes of `scenario` on the sound kernel, if there is one and it does not pass there.
    /// Nothing is kept of the run.
    pub(super) fn elsewhere(&self, scenario: &Scenario, folder: &Path) -> Result<Option<Verdict>> {
        let Some(kernel) = &self.sound_kernel else { return Ok(None) };
        let report = self.boot_on(Some(kernel.clone()), scenario, folder, false)?;
        remove_folder(folder)?;
        Ok(Some(report.verdict).filter(|verdict| *verdict != Verdict::Pass))
    }

    fn boot_on(
        &self,
        kernel: Option<String>,
        scenario: &Scenario,
        folder: &Path,
        cold: bool,
    ) -> Result<RunReport> {
        remove_folder(folder)?;
        let config = folder.with_extension("json");
        write_file(&config, resolved(scenario)?.as_bytes())?;
        let out = Some(folder.to_owned());
        let mut args = VmArgs { out, cold, unchecked: true, ..self.args.clone() };
        args.guest.config = Some(config.clone());
        args.guest.kernel = kernel;
        let ran = vm::run_once(&args, self.paths, &Progress::silent());
        std::fs::remove_file(&config)
            .with_context(|| format!("unlink(`{}`) failed", config.display()))?;
        cleaned(&ran?.0)
    }
}

fn cell(seed: u64, report: &RunReport, repeated: bool) -> Cell {
    let schedule = report.record.schedule.as_ref();
    let order_hash = schedule.and_then(|schedule| schedule.order_hash.clone());
    Cell {
        seed,
        verdict: report.verdict,
        signature: Signature::of(report),
        undecided: undecided(report),
        order_hash,
        repeated,
    }
}

/// What `vm` would be told for each of the runs.
fn vm_args(args: &HuntArgs) -> Result<VmArgs> {
    let mut vm = VmArgs {
        guest: args.guest.clone(),
        icount_shift: args.icount_shift,
        disk: args.disk.clone(),
        ..VmArgs::of(["--deterministic", "--schedule-hash"].map(OsStr::new))?
    };
    vm.overrides.duration = args.duration;
    vm.overrides.work_type.clone_from(&args.work_type);
    Ok(vm)
}

/// The option, else the scenario's own, else the usual one.
fn stagger(asked: Option<Duration>, scenario: &mut Scenario) -> Result<()> {
    if scenario.stagger.is_zero() || asked.is_some() {
        let usual = STAGGER.min(scenario.effective_duration() / STAGGER_PART);
        scenario.stagger = asked.unwrap_or(usual);
    }
    scenario.validate().map_err(|broken| {
        let message = format!("`{}` {}", broken.path, broken.why);
        Refusal::input(message, "change --stagger or --duration").into()
    })
}

/// Whether nothing but a number of CPUs was asked for, here or in the scenario.
fn only_cpus(vm: &VmArgs, of_scenario: &Machine) -> bool {
    let asked = &vm.guest.machine;
    let Machine { preset, topology, numa, numa_distance, .. } = of_scenario;
    let texts = [preset, topology, numa, numa_distance];
    let shaped = asked.machine.is_some() || asked.topology.is_some();
    !shaped && asked.numa.is_none() && texts.iter().all(|text| text.is_none())
}

/// The hash of all that a run depends on, but the seed: that of a seed 0 that is not run.
fn inputs(
    vm: &VmArgs,
    sound_kernel: Option<&str>,
    paths: &Paths,
    progress: &Progress,
) -> Result<String> {
    let sound = match sound_kernel {
        None => None,
        Some(spec) => {
            let mut other = vm.clone();
            other.guest.kernel = Some(spec.to_owned());
            Some(vm::prepare(&other, paths, progress)?.0.kernel.sha256)
        }
    };
    let (plan, qemu) = vm::prepare(vm, paths, progress)?;
    let run = vm::inputs(vm, &plan, &qemu, None)?;
    Ok(sha256(format!("{run}\n{sound:?}").as_bytes()))
}

/// The one that was asked for, else one that the same inputs always get, so that they go on there.
fn folder(args: &HuntArgs, name: &str, inputs: &str, paths: &Paths) -> PathBuf {
    let shard = args.shard.map(|shard| shard.suffix()).unwrap_or_default();
    let name = crate::run::file_name(name);
    let usual =
        || paths.target.join("schedlab/hunts").join(format!("{name}-{}{shard}", &inputs[..12]));
    args.out.clone().unwrap_or_else(usual)
}
