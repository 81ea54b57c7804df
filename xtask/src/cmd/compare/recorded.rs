//! A finished run, ready to be booted again as it was: by what `boot.json` says, with the very
//! kernel and image, never by what a name stands for today. Called by `again`.

use crate::cmd::vm;
use crate::compare::folders;
use crate::error::Refusal;
use crate::files::{Kind, sha256};
use crate::image::{self, Image};
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu::{self, Accel, AccelChoice, Attempt, Bounds, Decision, Wish};
use crate::report::RunReport;
use crate::run::{
    BootPlan, BootRecord, CMDLINE_BYTES, ConfigVia, Console, Disk, Folder, HostFacts, Limits,
    arguments_sha256, command_line, phase_ns, resolved, watch,
};
use crate::snapshot::Start;
use anyhow::{Context as _, Result};
use regex::Regex;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use workloads::{Plan, Scenario};

const ONE_AGAIN: &str = "pass the folder of a finished run; a baseline cannot be run again";
const REPORT: &str = "report.json";
const NEW_RUN: &str = "run it again, and compare that run";

/// All that it takes to boot a run again.
#[derive(Debug)]
pub(super) struct Recorded {
    boot: BootRecord,
    scenario: Scenario,
    kernel: PathBuf,
    initramfs: PathBuf,
    limits: Option<Limits>,
}

impl Recorded {
    /// Of the runs in `path`, which must be runs of one guest. Refuses what can no longer be
    /// booted as it was.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            let message = format!("`{}` is no folder", path.display());
            return Err(Refusal::input(message, ONE_AGAIN).into());
        }
        let all = folders(path)?;
        let first = Self::read(&all[0])?;
        for folder in &all[1..] {
            let other = Self::read(folder)?;
            if let Some(what) = first.unlike(&other) {
                let (one, two) = (all[0].display(), folder.display());
                let message = format!("`{one}` and `{two}` are not runs of one guest: {what}");
                return Err(Refusal::input(message, "pass one of them").into());
            }
        }
        first.check(&all[0])?;
        Ok(first)
    }

    fn read(folder: &Path) -> Result<Self> {
        let host: HostFacts = parse(folder, "host.json")?;
        Ok(Self {
            boot: parse(folder, "boot.json")?,
            scenario: parse(folder, "scenario.json")?,
            kernel: host.kernel_image,
            initramfs: host.initramfs,
            limits: host.limits,
        })
    }

    /// In what two runs are not those of one guest with two seeds.
    fn unlike(&self, other: &Self) -> Option<&'static str> {
        let scenario = |of: &Self| Scenario { seed: 0, ..of.scenario.clone() };
        match unlike(&self.boot, &other.boot) {
            None if scenario(self) != scenario(other) => Some("another scenario"),
            found => found,
        }
    }

    /// Whether the files of the run belong together, and what it was booted with is still there.
    fn check(&self, folder: &Path) -> Result<()> {
        let shown = folder.display();
        let refuse = |what: String| Err(Refusal::input(what, NEW_RUN).into());
        let report: RunReport = parse(folder, REPORT)?;
        let same = report.kernel.sha256 == self.boot.kernel.sha256
            && report.machine.deterministic == self.boot.icount_shift.is_some()
            && report.scenario == self.scenario;
        if !same {
            return refuse(format!("report.json in `{shown}` is of another run than boot.json"));
        }
        if let Disk::Image { path } = &self.boot.disk {
            let path = path.display();
            return refuse(format!(
                "the run wrote to the disk image `{path}`, which no run restores"
            ));
        }
        let guest = self.boot.guest(&resolved(&self.scenario)?)?;
        if arguments_sha256(&guest) != self.boot.arguments_sha256 {
            return refuse(format!(
                "this schedlab boots guests otherwise than the one of `{shown}`"
            ));
        }
        unchanged(&self.kernel, &self.boot.kernel.sha256)?;
        unchanged(&self.initramfs, &self.boot.initramfs_sha256)?;
        Ok(())
    }

    /// Whether all of its runs are the same if they have the same seed.
    pub(super) fn is_deterministic(&self) -> bool {
        self.boot.icount_shift.is_some()
    }

    /// What the user is told before the first boot.
    pub(super) fn remark(&self, qemu: &str) -> Option<String> {
        let recorded = &self.boot.qemu;
        let text = || format!("recorded with QEMU {recorded}; both sides now run with {qemu}");
        (recorded != qemu).then(text)
    }

    /// One run, with another seed if one is given.
    pub(super) fn run(
        &self,
        seed: Option<u64>,
        out: &Path,
        qemu: &str,
        interrupted: &AtomicBool,
        paths: &Paths,
    ) -> Result<RunReport> {
        let plan = self.plan(seed, qemu, paths)?;
        let decision = self.decide(qemu, paths)?;
        let folder = Folder::create(Some(out), &plan.scenario.name, paths)?;
        let mut guest = plan.guest(&decision.attempt, &folder)?;
        let progress = Progress::silent();
        let start = Start::warm(&guest, &plan, qemu, folder.path(), (paths, &progress))?;
        guest.memory = start.memory(&guest.layout);
        let record = BootRecord::new(&plan, &guest, qemu, &self.boot.allow_splat);
        if let Some(what) = unlike(&record, &self.boot) {
            let message = format!("the new run would not be of the recorded guest: {what}");
            return Err(Refusal::input(message, NEW_RUN).into());
        }
        folder.write_json("scenario.json", &plan.scenario)?;
        folder.write_arguments(&qemu::arguments(&guest), plan.host_cpu())?;
        folder.write_json("boot.json", &record)?;
        let limits = self.limits.unwrap_or_else(|| plan.limits(guest.accel, None));
        let mut facts = vm::host_facts(&plan, qemu, &decision);
        facts.limits = Some(limits);
        facts.start = Some(start.name().to_owned());
        folder.write_json("host.json", &facts)?;
        let bounds = Bounds { cpu: plan.host_cpu(), ..Bounds::default() };
        let console = Console::new(self.allowed()?, false);
        let seen = watch((&guest, start), bounds, limits, console, interrupted, &progress)?;
        vm::finish(&plan, &decision.attempt, facts, seen, &folder, &progress)
    }

    fn allowed(&self) -> Result<Vec<Regex>> {
        let patterns = self.boot.allow_splat.iter().map(|text| Regex::new(text));
        patterns.collect::<Result<_, _>>().context("regex(allow_splat) failed")
    }

    /// The recorded accelerator, or none.
    fn decide(&self, qemu: &str, paths: &Paths) -> Result<Decision> {
        let cpu_model = self.boot.cpu_model.clone();
        if self.boot.accel == Accel::Kvm {
            // Whether it opens.
            AccelChoice::Kvm.decide(Wish { qemu, cpu_model: cpu_model.as_deref() }, paths)?;
        }
        Ok(Decision::as_recorded(Attempt { accel: self.boot.accel, cpu_model }))
    }

    fn plan(&self, seed: Option<u64>, qemu: &str, paths: &Paths) -> Result<BootPlan> {
        let boot = &self.boot;
        let seed = seed.unwrap_or(self.scenario.seed);
        let scenario = Scenario { seed, ..self.scenario.clone() };
        let files = (self.kernel()?, self.image(&scenario, paths)?);
        let resolved = self.resolved(&scenario)?;
        let mut plan = boot.plan(files, (scenario, resolved), qemu, paths)?;
        if seed != self.scenario.seed {
            plan.order.iter_mut().for_each(|order| order.phase_ns = phase_ns(seed));
        }
        Ok(plan)
    }

    /// What the scenario comes to, if it still travels as it did.
    fn resolved(&self, scenario: &Scenario) -> Result<Plan> {
        let boot = &self.boot;
        let line = command_line(boot.kernel_args.clone(), Some(&resolved(scenario)?));
        if boot.scenario_via == ConfigVia::Cmdline && line.len() >= CMDLINE_BYTES {
            let message = "with another seed the scenario is too long for the kernel command line";
            let fix = "run both with --config-via initramfs, and compare those runs";
            return Err(Refusal::input(message, fix).into());
        }
        let refused = |broken| {
            let message = format!("the recorded scenario is refused: {broken}");
            Refusal::input(message, NEW_RUN)
        };
        Ok(scenario.plan(&boot.machine.layout()?.resolved()).map_err(refused)?)
    }

    /// Looked at before each run: somebody may build a kernel meanwhile.
    fn kernel(&self) -> Result<Kernel> {
        unchanged(&self.kernel, &self.boot.kernel.sha256)?;
        Ok(self.boot.kernel_at("as recorded", self.kernel.clone()))
    }

    fn image(&self, scenario: &Scenario, paths: &Paths) -> Result<Image> {
        let bytes = unchanged(&self.initramfs, &self.boot.initramfs_sha256)?;
        let carried = image::scenario_text(self.boot.scenario_via, scenario)?;
        let (path, sha256) = match carried {
            None => (self.initramfs.clone(), self.boot.initramfs_sha256.clone()),
            Some(text) => {
                let image = image::with_scenario(&bytes, text, paths)?;
                (image.path, image.sha256)
            }
        };
        Ok(self.boot.image_at(path, sha256))
    }
}

/// In what two guests differ, but for the seed of their scenario and the QEMU that ran them.
fn unlike(one: &BootRecord, other: &BootRecord) -> Option<&'static str> {
    let image = one.initramfs_sha256 == other.initramfs_sha256
        || one.scenario_via == ConfigVia::Initramfs && other.scenario_via == one.scenario_via;
    let same = [
        ("another kernel", one.kernel.sha256 == other.kernel.sha256),
        ("another image", image && one.modules == other.modules),
        ("another scheduler", one.schedulers == other.schedulers),
        ("another accelerator", one.accel == other.accel),
        ("another mode", one.icount_shift == other.icount_shift),
        ("another CPU model", one.cpu_model == other.cpu_model),
        ("another machine", one.machine == other.machine),
        ("another disk", one.disk == other.disk),
        ("other kernel arguments", one.kernel_args == other.kernel_args),
        ("another way of the scenario", one.scenario_via == other.scenario_via),
        ("other splats allowed", one.allow_splat == other.allow_splat),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

fn parse<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(name);
    let kind = if name == REPORT { Kind::REPORT } else { Kind::OF_RUN };
    serde_json::from_slice(&kind.read(&path)?)
        .with_context(|| Refusal::input(format!("parse(`{}`) failed", path.display()), NEW_RUN))
}

/// The bytes of a file that the run was booted with.
fn unchanged(path: &Path, expected: &str) -> Result<Vec<u8>> {
    let refusal = |what: &str| {
        let message = format!("`{}`, which the run was booted with, {what}", path.display());
        let fix = "boot it from a copy that stays as it is, and compare that run; of a bundle, \
                   `bundle run` makes a run that keeps both files";
        Refusal::input(message, fix)
    };
    let bytes = Kind::IMAGE.read(path).with_context(|| refusal("cannot be read"))?;
    match sha256(&bytes) == expected {
        true => Ok(bytes),
        false => Err(refusal("has changed since").into()),
    }
}
