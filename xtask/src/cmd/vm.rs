//! `xtask vm`: one kernel, one scenario, one boot, one report.

mod boot;
mod inputs;
mod schedulers;

pub(super) use inputs::inputs;

use super::deterministic;
use super::input::{self, Input};
use super::kernel::refuse_unfit;
use super::repeat;
use crate::cli::VmArgs;
use crate::error::Refusal;
use crate::files::Kind;
use crate::image::{self, Extra, Packing, Parts};
use crate::kernel::{self, Kernel};
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::qemu::{
    self, Accel, AccelChoice, Attempt, Decision, HostCpu, Icount, Layout, Turns, Wish, forget_kvm,
    lesser_model, telling_lines,
};
use crate::report::{RunReport, implausible, print_run};
use crate::run::{
    Arguments, BootPlan, Compared, DISK_DRIVER, Deterministic, Folder, HostFacts, Observed,
    Timings, Verdict, broken_promise, choose_via, compare_runs, conclude, doubt, doubt_verdict,
    judge_console, judge_schedulers, kernel_image, remove_folder, write_scheduler_files,
};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use workloads::{Plan, Scenario, judge};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
const OLD_INIT: &str = "the guest's PID 1 knows nothing of schedulers; rebuild the --init";
const BLAME_KVM: &str = "; this may be the host's KVM: try --accel tcg";
/// Lines of QEMU's stderr that are shown where none tells of KVM.
const COMPLAINT_LINES: usize = 8;

pub(crate) fn run(args: &VmArgs, paths: &Paths) -> Result<u8> {
    end_on_signals()?;
    if args.repeat > 1 {
        return repeat::run(args, paths);
    }
    let progress = Progress::new();
    let (report, folder) = run_once(args, paths, &progress)?;
    drop(progress);
    match args.json {
        true => json_to_stdout(&report)?,
        false => to_stdout(|out| {
            print_run(&report, kernel_image(folder.path()).as_deref(), out)?;
            Ok(writeln!(out, "\nrun folder: {}", folder.path().display())?)
        })?,
    }
    Ok(report.verdict.exit_code())
}

/// Ctrl-C and SIGTERM end every guest, and no other begins.
pub(super) fn end_on_signals() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("sigaction(SIGINT) failed")?;
    Ok(&INTERRUPTED)
}

pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Everything from the arguments to what QEMU will boot, with the version of QEMU.
pub(super) fn prepare(
    args: &VmArgs,
    paths: &Paths,
    progress: &Progress,
) -> Result<(BootPlan, String)> {
    args.accel.check(args.deterministic, args.guest.cpu_model.as_deref(), args.retry_kvm)?;
    let qemu = qemu::version()?;
    let Input { mut scenario, source } =
        input::load(&input::or_default(args.guest.config.clone(), paths))?;
    let mut notes = input::apply(&args.overrides, &mut scenario)?;
    let layout = source.layout(&args.guest.machine, &scenario)?;
    if args.deterministic {
        deterministic::check(args, layout.memory_mib())?;
        let turns = Turns::of(&qemu);
        turns.check(layout.topology())?;
        notes.extend(turns.note(layout.cpus()).map(str::to_owned));
    }
    notes.iter().for_each(|note| progress.step(note));
    let resolved = source.plan(&scenario, &layout.resolved())?;
    source.check_schedulers(&scenario, args.guest.scheduler.is_some())?;
    if args.guest.init.is_none() {
        input::refuse_unlinked(
            &scenario,
            "pass --init with a program or package that registers it",
        )?;
    }
    let plan = plan(args, (scenario, resolved, notes), layout, &qemu, paths, progress)?;
    Ok((plan, qemu))
}

/// Everything from the arguments to the finished run folder.
pub(crate) fn run_once(
    args: &VmArgs,
    paths: &Paths,
    progress: &Progress,
) -> Result<(RunReport, Folder)> {
    let (plan, qemu) = prepare(args, paths, progress)?;
    run_prepared(args, &plan, &qemu, paths, progress)
}

/// From what [`prepare`] made of these arguments to the finished run folder.
pub(super) fn run_prepared(
    args: &VmArgs,
    plan: &BootPlan,
    qemu: &str,
    paths: &Paths,
    progress: &Progress,
) -> Result<(RunReport, Folder)> {
    if args.retry_kvm {
        forget_kvm(paths)?;
    }
    let folder = Folder::create(args.out.as_deref(), &plan.scenario.name, paths)?;
    folder.write_json("scenario.json", &plan.scenario)?;
    let decision = decide(args, plan, qemu, paths)?;
    let mut facts = host_facts(plan, qemu, &decision);
    let (attempt, seen) = boot::boot(args, plan, decision, &folder, &mut facts, (paths, progress))?;
    if deterministic::learn(plan, &seen, paths)? {
        remove_folder(folder.path())?;
        let (plan, qemu) = prepare(args, paths, progress)?;
        return run_prepared(args, &plan, &qemu, paths, progress);
    }
    let is_sample = seen.is_sample && !args.unchecked && seen.stop.is_guests_own();
    let report = finish(plan, &attempt, facts, seen, &folder, progress)?;
    if is_sample {
        compare_with_boot(args, plan, qemu, &folder, (paths, progress))?;
    }
    Ok((report, folder))
}

/// Runs the same once more from the boot on. Other bytes are a broken promise, and both runs are kept.
fn compare_with_boot(
    args: &VmArgs,
    plan: &BootPlan,
    qemu: &str,
    warm: &Folder,
    (paths, progress): (&Paths, &Progress),
) -> Result<()> {
    let mut name = warm.path().file_name().unwrap_or_default().to_owned();
    name.push("-cold");
    let out = warm.path().with_file_name(name);
    remove_folder(&out)?;
    progress.step("one run in 20 from a snapshot is repeated with a boot, and compared");
    let args = VmArgs { out: Some(out.clone()), cold: true, console: false, ..args.clone() };
    let (_, cold) = run_prepared(&args, plan, qemu, paths, &Progress::silent())?;
    match compare_runs(warm.path(), cold.path())? {
        Compared::Differ(found) => {
            let (one, other) = (warm.path().display(), out.display());
            let what = format!(
                "a run from a snapshot and the same with a boot gave other bytes: {one}, {other}"
            );
            let fix = "report it with bundles of both; until then pass --cold";
            Err(Refusal::guest(broken_promise(&what, &found), fix).into())
        }
        Compared::Same | Compared::Not => remove_folder(&out),
    }
}

/// The accelerator of a run, and the CPU model that goes with it.
pub(super) fn decide(
    args: &VmArgs,
    plan: &BootPlan,
    qemu: &str,
    paths: &Paths,
) -> Result<Decision> {
    let cpu_model = plan.cpu_model.as_deref();
    match args.deterministic {
        true => Ok(deterministic::accel(plan.cpu_model.clone())),
        false => args.accel.decide(Wish { qemu, cpu_model }, paths),
    }
}

/// The line that says why runs of these arguments do not get KVM, as far as it is known before one.
pub(super) fn kvm_notice(args: &VmArgs, paths: &Paths) -> Result<Option<String>> {
    if args.deterministic || args.accel != AccelChoice::Auto {
        return Ok(None);
    }
    let (qemu, cpu_model) = (&qemu::version()?, args.guest.cpu_model.as_deref());
    Ok(args.accel.decide(Wish { qemu, cpu_model }, paths)?.notice)
}

/// Judges what was seen, and writes the last files of the run.
pub(super) fn finish(
    plan: &BootPlan,
    attempt: &Attempt,
    mut facts: HostFacts,
    seen: Observed,
    folder: &Folder,
    progress: &Progress,
) -> Result<RunReport> {
    let record = seen.record.clone().unwrap_or_default();
    let mut checks = match implausible(&seen.reports, &record) {
        // No number of it can be judged; the verdict says why.
        Some(_) => Vec::new(),
        None => judge(&plan.scenario, &plan.resolved, &record, &seen.reports),
    };
    checks.extend(judge_console(&seen, &plan.scenario));
    checks.extend(judge_schedulers(&seen));
    // A deterministic guest has no time of the host's.
    if plan.deterministic.is_none() {
        doubt(&seen.load, &mut checks);
    }
    let (verdict, advice) = match plan.attaches() > 0 && knows_no_schedulers(&seen) {
        true => (Verdict::GuestError, Some(OLD_INIT.into())),
        false => conclude(&seen, &plan.scenario, &plan.layout, &checks),
    };
    let (verdict, advice) = match plan.deterministic {
        None => doubt_verdict(&seen.load, seen.console.has_only_lockups(), (verdict, advice)),
        Some(_) => (verdict, advice),
    };
    let advice = advice.map(|text| text + &blame_kvm(attempt, verdict, &seen));
    if !matches!(verdict, Verdict::Pass | Verdict::Fail | Verdict::Inconclusive) {
        show_last_lines(&seen, progress);
    }
    facts.timings = Some(timings(&seen));
    facts.load = Some(seen.load);
    facts.ended_by_itself = Some(seen.stop.is_guests_own());
    folder.write_json("host.json", &facts)?;
    let dump = write_scheduler_files(&seen, folder)?;
    let judged = (verdict, advice, checks);
    let report = RunReport::new(plan, attempt, &facts.qemu, seen, dump, judged);
    folder.write_json("report.json", &report)?;
    Ok(report)
}

/// What to try where the host's KVM may be at fault.
fn blame_kvm(attempt: &Attempt, verdict: Verdict, seen: &Observed) -> String {
    let lost = matches!(verdict, Verdict::QemuFailed | Verdict::BootFailed);
    if attempt.accel != Accel::Kvm || !lost {
        return String::new();
    }
    match lesser_model(attempt.cpu_model.as_deref(), &seen.complaints) {
        Some(option) => format!("; this KVM cannot give all of that CPU: try {option}"),
        None => BLAME_KVM.into(),
    }
}

/// Whether the guest ran a workload to its end and did not start the scheduler that it carries.
fn knows_no_schedulers(seen: &Observed) -> bool {
    seen.schedulers.is_empty() && seen.end.as_ref().is_some_and(|end| end.error.is_none())
}

fn plan(
    args: &VmArgs,
    (scenario, resolved, mut notes): (Scenario, Plan, Vec<String>),
    layout: Layout,
    qemu: &str,
    paths: &Paths,
    progress: &Progress,
) -> Result<BootPlan> {
    let kernel = resolve_kernel(args, paths, progress)?;
    refuse_unfit(&kernel)?;
    let (spec, words) = (args.guest.scheduler.as_deref(), &args.guest.scheduler_args);
    let schedulers = schedulers::resolve(spec, words, &scenario, paths, progress)?;
    schedulers::refuse_unfit(&kernel, &schedulers, &scenario)?;
    let modules = image::modules(&kernel, args.deterministic, paths)?;
    modules.remarks().for_each(|remark| {
        progress.step(&remark);
        notes.push(remark);
    });
    let virtio_disk = !args.deterministic
        && (!modules.lacks(DISK_DRIVER) || kernel.has_built_in("CONFIG_VIRTIO_BLK"));
    let disk = if args.deterministic { deterministic::disk(&args.disk) } else { args.disk.clone() };
    let kernel_args = [scenario.machine.kernel_args.as_slice(), &args.guest.kernel_arg].concat();
    let arguments = Arguments {
        // The accelerator is not decided yet, and TCG has more of them.
        emulated: true,
        deterministic: args.deterministic.then(|| layout.cpus()),
        disk: &disk,
        schedule_hash: args.schedule_hash,
        by_order: args.deterministic
            && deterministic::stops(&kernel, &kernel_args, (paths, progress)),
        extra: &kernel_args,
    };
    let via = choose_via(args.config_via, &scenario, &arguments, virtio_disk)?;
    let init = match &args.guest.init {
        Some(init) => image::user_init(init, paths, progress)?,
        None => image::guest_init(paths, progress)?,
    };
    let init = Kind::PROGRAM.read(&init)?;
    let parts = Parts {
        init: &init,
        modules,
        extra: Extra::schedulers(&schedulers)?.on(&kernel).and(&args.programs)?,
        scenario: image::scenario_text(via, &scenario)?,
    };
    let mode = || -> Result<_> {
        let icount = Icount::of(args.icount_shift, qemu);
        Ok(Deterministic { icount, host_cpu: HostCpu::choose(paths)? })
    };
    Ok(BootPlan {
        order: deterministic::order(via, scenario.seed, args.schedule_hash),
        image: image::build(parts, Packing::of(&kernel), paths, progress)?,
        schedulers: schedulers.into_iter().map(|(_, carried)| carried).collect(),
        kernel,
        scenario,
        resolved,
        notes,
        via,
        deterministic: args.deterministic.then(mode).transpose()?,
        cpu_model: args.guest.cpu_model.clone(),
        layout,
        disk,
        schedule_hash: args.schedule_hash,
        kernel_args,
        recorded_words: None,
    })
}

fn resolve_kernel(args: &VmArgs, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    let spec = match &args.guest.kernel {
        Some(spec) => spec.clone(),
        None => kernel::default_spec(paths)?,
    };
    kernel::resolve(&spec, paths, progress)
}

pub(super) fn host_facts(plan: &BootPlan, qemu: &str, decision: &Decision) -> HostFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    HostFacts {
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        command: std::env::args().collect(),
        qemu: qemu.to_owned(),
        accel: decision.attempt.accel.name().to_owned(),
        accel_reason: decision.reason.clone(),
        host_cpu: plan.host_cpu().map(HostCpu::index),
        main_loop_first: plan.host_cpu().map(HostCpu::main_first),
        kernel_image: plan.kernel.image.clone(),
        kernel_package: plan.kernel.package.clone(),
        initramfs: plan.image.path.clone(),
        initramfs_sha256: plan.image.sha256.clone(),
        host_release: read("/proc/sys/kernel/osrelease"),
        host_cpus: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        load_average: read("/proc/loadavg"),
        limits: None,
        load: None,
        timings: None,
        ended_by_itself: None,
        start: None,
    }
}

fn timings(seen: &Observed) -> Timings {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Timings { boot_ms: seen.boot.map(ms), run_ms: seen.run.map(ms), total_ms: ms(seen.total) }
}

fn show_last_lines(seen: &Observed, progress: &Progress) {
    progress.step("last lines of the console:");
    seen.console.recent.iter().for_each(|line| progress.step(format!("  {line}")));
    // Of a failure of KVM what tells is in the middle of a register dump, behind warnings.
    let telling = telling_lines(&seen.complaints);
    let all = if telling.is_empty() { seen.complaints.lines().collect() } else { telling };
    for line in all.into_iter().take(COMPLAINT_LINES) {
        progress.step(format!("QEMU: {line}"));
    }
}
