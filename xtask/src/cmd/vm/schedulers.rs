//! The sched_ext schedulers of a run: those of `--scheduler` and of the scenario's steps, on a
//! kernel that can have them. Called by `vm`.

use crate::error::Refusal;
use crate::kernel::{Has, Kernel};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::scheduler::{self, Scheduler};
use anyhow::Result;
use guest_init::proto::{Carried, initramfs};
use workloads::{Scenario, SchedPolicy};

/// Who needs them, in the table of needs.
const BY: &str = "sched_ext schedulers";

/// What the image is to carry: that of `--scheduler` first.
pub(super) fn resolve(
    spec: Option<&str>,
    args: &[String],
    scenario: &Scenario,
    paths: &Paths,
    progress: &Progress,
) -> Result<Vec<(Scheduler, Carried)>> {
    let names = scenario.schedulers(spec.is_some()).map_err(|broken| {
        let message = format!("`{}` {}", broken.path, broken.why);
        Refusal::input(message, "mend the scenario, or pass --scheduler")
    })?;
    let mut all: Vec<(Scheduler, Carried)> = Vec::new();
    if let Some(spec) = spec {
        let found = scheduler::resolve(spec, paths, progress)?;
        let carried = Carried { args: args.to_vec(), at_start: true, ..carried(&found, None) };
        all.push((found, carried));
    }
    for name in names.into_iter().flatten() {
        if !all.iter().any(|(_, carried)| carried.name == name) {
            let found = scheduler::resolve(name, paths, progress)?;
            let carried = carried(&found, Some(name));
            all.push((found, carried));
        }
    }
    Ok(all)
}

/// How guest-init knows it: by the name that the scenario has for it, or else its own.
fn carried(found: &Scheduler, name: Option<&str>) -> Carried {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' };
    let name = name.unwrap_or(&found.name);
    let folder: String = name.chars().map(plain).collect();
    Carried {
        name: name.to_owned(),
        version: found.version.clone(),
        sha256: found.sha256.clone(),
        path: format!("{}/{folder}/scheduler", initramfs::SCHEDULER_FILES),
        args: Vec::new(),
        at_start: false,
    }
}

/// Refuses a kernel that cannot have these schedulers, or SCHED_EXT workers, by what it lacks.
pub(super) fn refuse_unfit(
    kernel: &Kernel,
    all: &[(Scheduler, Carried)],
    scenario: &Scenario,
) -> Result<()> {
    let named = format!("kernel `{}` (Linux {})", kernel.spec, kernel.release);
    if !all.is_empty() {
        let findings = kernel.findings();
        let lacking = findings.iter().filter(|need| need.by.contains(BY) && need.has == Has::No);
        let options: Vec<_> = lacking.flat_map(|need| need.options).copied().collect();
        if !options.is_empty() {
            let message =
                format!("{named} has no sched_ext schedulers: it lacks {}", options.join(", "));
            let fix = "use --kernel trixie-backports or base-sched-ext, or build it with them";
            return Err(Refusal::input(message, fix).into());
        }
    }
    for (scheduler, carried) in all {
        if let Some(minimum) = &scheduler.minimum_kernel
            && kernel.is_older_than(minimum)
        {
            let message = format!("{} needs Linux {minimum}, {named} is older", carried.name);
            return Err(Refusal::input(message, "pass a newer --kernel").into());
        }
    }
    let is_ext = |spec: &workloads::WorkSpec| spec.sched_policy == SchedPolicy::Ext;
    if scenario.all_specs().iter().any(is_ext) && kernel.lacks("CONFIG_SCHED_CLASS_EXT") {
        let message = format!(
            "{named} has no SCHED_EXT, which the scenario's `sched_policy` asks for: it lacks \
             CONFIG_SCHED_CLASS_EXT"
        );
        return Err(Refusal::input(message, "use another kernel or another policy").into());
    }
    Ok(())
}
