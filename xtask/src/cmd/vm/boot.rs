//! From a decision about the accelerator to a guest that was watched to its end. Called by `cmd::vm`.

use super::INTERRUPTED;
use crate::cli::VmArgs;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu::{self, Attempt, Bounds, Decision};
use crate::run::{
    BootPlan, BootRecord, Console, Folder, HostFacts, Limits, Observed, Stop, conclude, watch,
};
use crate::snapshot::Start;
use anyhow::Result;

/// Where the files of guests that KVM lost are kept, each attempt in a folder of its number.
const KVM_TRIAL: &str = "kvm-trial";

/// Boots and watches. A guest that KVM lost before PID 1 spoke is booted again as far as
/// [`Decision::after_loss`] says, and what the last one shows of KVM is remembered.
pub(super) fn boot(
    args: &VmArgs,
    plan: &BootPlan,
    mut decision: Decision,
    folder: &Folder,
    facts: &mut HostFacts,
    (paths, progress): (&Paths, &Progress),
) -> Result<(Attempt, Observed)> {
    for number in 1.. {
        if let Some(notice) = &decision.notice {
            progress.step(notice);
        }
        decision.attempt.accel.name().clone_into(&mut facts.accel);
        facts.accel_reason.clone_from(&decision.reason);
        let seen = boot_with(&decision.attempt, args, plan, folder, facts, (paths, progress))?;
        if seen.hello.is_some() {
            decision.learn(paths)?;
        }
        // Of a guest that was not left to run nothing is known.
        let left_alone = !matches!(seen.stop, Stop::Interrupted | Stop::StoodStill);
        let is_lost = seen.hello.is_none() && left_alone;
        let why = || conclude(&seen, &plan.scenario, &plan.layout, &[]).1.unwrap_or_default();
        let asked = plan.cpu_model.as_deref();
        let next = is_lost.then(|| decision.after_loss(asked, &why(), &seen.complaints)).flatten();
        match next {
            None => return Ok((decision.attempt, seen)),
            Some(next) => decision = next,
        }
        folder.set_aside(&format!("{KVM_TRIAL}/{number}"))?;
    }
    unreachable!("each attempt takes something away")
}

fn boot_with(
    attempt: &Attempt,
    args: &VmArgs,
    plan: &BootPlan,
    folder: &Folder,
    facts: &mut HostFacts,
    (paths, progress): (&Paths, &Progress),
) -> Result<Observed> {
    let mut guest = plan.guest(attempt, folder)?;
    // Snapshots with programs of `bench` would be used once.
    let start = match args.cold || !args.programs.commands.is_empty() {
        true => Start::cold(&guest, folder.path())?,
        false => Start::warm(&guest, plan, &facts.qemu, folder.path(), (paths, progress))?,
    };
    guest.memory = start.memory(&guest.layout);
    facts.start = Some(start.name().to_owned());
    let cpu = plan.host_cpu();
    folder.write_arguments(&qemu::arguments(&guest), cpu)?;
    let usual = plan.limits(attempt.accel, args.guest.hang_after);
    let limits = Limits {
        boot: args.boot_timeout.unwrap_or(usual.boot),
        run: args.timeout.unwrap_or(usual.run),
        ..usual
    };
    facts.limits = Some(limits);
    let allowed: Vec<_> =
        args.guest.allow_splat.iter().map(|regex| regex.as_str().to_owned()).collect();
    folder.write_json("host.json", facts)?;
    let record = BootRecord::new(plan, &guest, &facts.qemu, &allowed);
    folder.write_json("boot.json", &record)?;
    let doing = if start.snapshot().is_some() { "going on with" } else { "booting" };
    progress.step(format!("{doing} Linux {} ({})", plan.kernel.release, attempt.accel.name()));
    let seen = watch(
        (&guest, start),
        Bounds { cpu, ..Bounds::default() },
        limits,
        Console::new(args.guest.allow_splat.clone(), args.console),
        &INTERRUPTED,
        progress,
    )?;
    if seen.snapshot.is_some() {
        let snapshot = seen.snapshot.clone();
        folder.write_json("boot.json", &BootRecord { snapshot, ..record })?;
    }
    Ok(seen)
}
