//! From what was seen to one verdict and one sentence of advice. No result is never a pass, and
//! everything that is not an expectation has a name of its own. Called by `cmd::vm`.

use super::console::is_of_time;
use super::scheduler::scheduler_failed;
use super::watch::{Observed, Stop};
use crate::error::exit;
use crate::qemu::{Accel, Difference, Layout, QemuEnd, kvm_failure};
use crate::report::implausible;
use guest_init::proto::{Hello, VERSION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workloads::{Check, Outcome, Scenario};

/// The name of a run's end.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every expectation holds.
    Pass,
    /// An expectation does not hold.
    Fail,
    /// Something could not be measured.
    Inconclusive,
    /// PID 1 never spoke.
    BootFailed,
    /// The kernel panicked after PID 1 had spoken.
    Panic,
    /// PID 1 fell silent.
    Hang,
    /// The run took longer than it may.
    Timeout,
    /// Reports are missing or damaged.
    ReportLost,
    /// The guest said that it could not do what was asked.
    GuestError,
    /// A worker died.
    WorkerDied,
    /// QEMU failed, was killed or halted the guest.
    QemuFailed,
    /// The kernel complained on its console.
    Splat,
    /// A sched_ext scheduler ended, or took too long, before it was attached.
    SchedulerNotAttached,
    /// The kernel disabled a sched_ext scheduler, or it attached anew by itself.
    SchedulerEjected,
    /// The process of a sched_ext scheduler ended by itself.
    SchedulerDied,
    /// The user ended the run.
    Interrupted,
}

impl Verdict {
    /// The exit code of a command whose run ended so.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Pass => exit::PASS,
            Self::Fail => exit::FAIL,
            Self::Inconclusive => exit::INCONCLUSIVE,
            Self::Interrupted => exit::INTERRUPTED,
            _ => exit::GUEST,
        }
    }

    /// The name as reports spell it.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|v| Some(v.as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

/// Whether a run of this verdict was lost to what was done to its QEMU from outside: it was killed, or
/// it stood still and was given up. Such a run says nothing of another one with the same inputs.
pub(crate) fn is_lost(verdict: Verdict, checks: &[Check]) -> bool {
    let is_undecided = checks.iter().any(|check| check.outcome == Outcome::Inconclusive);
    match verdict {
        Verdict::QemuFailed => true,
        Verdict::Inconclusive => !is_undecided,
        _ => false,
    }
}

/// The verdict on `seen`, of which `scenario` and `layout` were asked and whose reports gave
/// `checks`; with advice unless it passed.
pub(crate) fn conclude(
    seen: &Observed,
    scenario: &Scenario,
    layout: &Layout,
    checks: &[Check],
) -> (Verdict, Option<String>) {
    let trouble = stopped_by_us(seen)
        .or_else(|| kernel_died(seen))
        .or_else(|| scheduler_failed(seen))
        .or_else(|| guest_error(seen, layout))
        .or_else(|| incomplete(seen))
        .or_else(|| another_scenario(seen, scenario))
        .or_else(|| spoiled(seen, scenario.expect.no_splat))
        .or_else(|| lost_console(seen));
    if let Some((verdict, advice)) = trouble {
        let init = not_our_init(seen).filter(|_| verdict == Verdict::BootFailed);
        let advice = [Some(advice), init].into_iter().flatten().collect::<Vec<_>>().join(". ");
        return (verdict, Some(advice));
    }
    let with = |outcome: Outcome| {
        let names = checks.iter().filter(|c| c.outcome == outcome).map(|c| c.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match (with(Outcome::Fail), with(Outcome::Inconclusive)) {
        (failed, _) if !failed.is_empty() => {
            (Verdict::Fail, Some(format!("not as expected: {failed}; see the checks")))
        }
        (_, unknown) if !unknown.is_empty() => {
            (Verdict::Inconclusive, Some(format!("could not be judged: {unknown}; see the checks")))
        }
        _ => (Verdict::Pass, None),
    }
}

fn stopped_by_us(seen: &Observed) -> Option<(Verdict, String)> {
    let (verdict, advice) = match seen.stop {
        Stop::Interrupted => (Verdict::Interrupted, "ended by the user"),
        Stop::Reached => (Verdict::Interrupted, "stopped at the time that the user gave"),
        Stop::Halted => {
            let status = seen.halted.as_deref().unwrap_or("unknown");
            let why = kvm_failure(&seen.complaints).map(|why| format!(": {why}; see qemu.log"));
            let text = format!("QEMU stopped the guest ({status}){}", why.unwrap_or_default());
            return Some((Verdict::QemuFailed, text));
        }
        Stop::StoodStill => {
            let still = seen.load.qemu_stood_still_s;
            let text = format!(
                "QEMU stood still for {still:.0} s: it was stopped, or this host gave it no CPU. \
                 That says nothing of the guest. Run it again; if the host is to stand still for so \
                 long, raise --hang-after"
            );
            return Some((Verdict::Inconclusive, text));
        }
        Stop::BootTimeout => (
            Verdict::BootFailed,
            "PID 1 did not speak in time: is the kernel's serial console 8250 built in? \
             On a slow host raise --boot-timeout",
        ),
        Stop::Silence => return Some((Verdict::Hang, hang(seen))),
        Stop::Timeout => (
            Verdict::Timeout,
            "PID 1 lives but the run does not end; back-traces are in console.log. \
             On a slow host raise --timeout",
        ),
        Stop::Ended(_) | Stop::Finished => return None,
    };
    Some((verdict, advice.to_owned()))
}

fn hang(seen: &Observed) -> String {
    let found = seen.console.backtraces.conclusion();
    let found = found.map_or_else(String::new, |found| format!(" {found}."));
    format!(
        "PID 1 (SCHED_FIFO 99) got no CPU; the back-traces after the NMI are in console.log.{found} \
         On a slow host raise --hang-after"
    )
}

fn kernel_died(seen: &Observed) -> Option<(Verdict, String)> {
    if let Some(panic) = &seen.console.panic {
        return Some(match seen.hello {
            None => (
                Verdict::BootFailed,
                format!(
                    "{panic}. Before PID 1 spoke: does this kernel take an initramfs and /init?"
                ),
            ),
            Some(_) => (Verdict::Panic, format!("{panic}. The back-trace is in console.log")),
        });
    }
    match seen.stop {
        Stop::Ended(QemuEnd::Exited(0)) | Stop::Finished => None,
        Stop::Ended(end) => {
            let last = || seen.complaints.lines().next_back().map(str::to_owned);
            let complaint = kvm_failure(&seen.complaints).or_else(last);
            let complaint = complaint.unwrap_or_else(|| "it said nothing".into());
            Some((Verdict::QemuFailed, format!("QEMU ended ({end:?}): {complaint}")))
        }
        _ => None,
    }
}

/// The argument of the user's that makes a kernel run another init than ours, and what to do.
fn not_our_init(seen: &Observed) -> Option<String> {
    let words = || seen.cmdline.split_whitespace();
    let word = words().rev().find(|word| word.starts_with("rdinit="));
    let word = word.or_else(|| words().find(|word| *word == "noinitrd"))?;
    Some(format!(
        "`--kernel-arg {word}` keeps the kernel from schedlab's `/init`; leave it out, and pass an \
         init of your own by --init"
    ))
}

fn incomplete(seen: &Observed) -> Option<(Verdict, String)> {
    if seen.hello.is_none() {
        let text = "the guest ended before PID 1 spoke; console.log shows how far it came";
        return Some((Verdict::BootFailed, text.into()));
    }
    let lost = |what: String| {
        Some((Verdict::ReportLost, format!("{what}; see frames.log and console.log")))
    };
    let Some(end) = &seen.end else {
        return lost("the guest ended without a last frame".into());
    };
    if !seen.damage.is_none() || seen.unfinished > 0 {
        let damage = seen.damage;
        return lost(format!(
            "{} frames are missing and {} lines are damaged",
            damage.missing, damage.bad_lines
        ));
    }
    let planned = seen.plan.as_ref().map_or(0, |plan| plan.workers);
    if let Some(why) = implausible(&seen.reports, &seen.record.clone().unwrap_or_default()) {
        return lost(why);
    }
    if seen.reports.len() != planned || end.reports != planned {
        return lost(format!(
            "{planned} reports were announced, {} sent, {} arrived",
            end.reports,
            seen.reports.len()
        ));
    }
    None
}

fn guest_error(seen: &Observed, layout: &Layout) -> Option<(Verdict, String)> {
    let hello = seen.hello.as_ref()?;
    let spoken = hello.protocol;
    if spoken != VERSION {
        let text =
            format!("the guest speaks protocol {spoken}, this host {VERSION}; rebuild the --init");
        return Some((Verdict::GuestError, text));
    }
    if let Some(text) = another_hypervisor(seen.accel, hello) {
        return Some((Verdict::GuestError, text));
    }
    // Before the guest's own error, which may come of it.
    let lacking = layout.differences(hello).into_iter().find_map(Difference::shortfall);
    if let Some(text) = lacking {
        return Some((Verdict::GuestError, text));
    }
    if let Some(text) = no_stop(seen, hello) {
        return Some((Verdict::GuestError, text));
    }
    let error = seen.end.as_ref()?.error.as_ref()?;
    Some((Verdict::GuestError, error.clone()))
}

/// Why the guest did not stop to be told what to do, if it was to.
fn no_stop(seen: &Observed, hello: &Hello) -> Option<String> {
    if !seen.stops {
        return None;
    }
    match hello.stop.as_ref() {
        Some(Ok(())) => None,
        Some(Err(why)) => Some(format!(
            "PID 1 cannot stop the machine before its scenario: {why}; pass --config-via cmdline or \
             --config-via initramfs, each run then begins with a boot"
        )),
        None => Some("PID 1 is of an older schedlab and knows no stop; rebuild the --init".into()),
    }
}

/// The guest's CPU names who runs it. One that names nobody is hidden by its model.
fn another_hypervisor(accel: Accel, hello: &Hello) -> Option<String> {
    let found = hello.hypervisor.as_deref().filter(|name| *name != accel.hypervisor())?;
    let asked = accel.name();
    Some(format!("{asked} was asked for, the guest's CPU says that it runs under `{found}`"))
}

/// Expectations on what only the host sees: the console. Without reports there are no checks.
pub(crate) fn judge_console(seen: &Observed, scenario: &Scenario) -> Option<Check> {
    if !scenario.expect.no_splat || seen.reports.is_empty() {
        return None;
    }
    let count = seen.console.unexpected().count();
    let doubt = doubt_console(seen);
    #[expect(clippy::cast_precision_loss, reason = "a console has no 2^53 lines")]
    let measured = count as f64;
    Some(Check {
        name: "no_splat".into(),
        step: None,
        outcome: match (count, &doubt) {
            (0, None) => Outcome::Pass,
            (0, Some(_)) => Outcome::Inconclusive,
            _ => Outcome::Fail,
        },
        measured: Some(measured),
        bound: Some(0.0),
        unit: "lines".into(),
        workers: Vec::new(),
        detail: match doubt.filter(|_| count == 0) {
            Some(doubt) => doubt,
            None => {
                "complaints of the kernel on its console that no --allow-splat lets pass".into()
            }
        },
    })
}

/// Why a console without complaints does not show that there were none.
fn doubt_console(seen: &Observed) -> Option<String> {
    let lost = |loss| format!("the console lost lines, which may be complaints: {loss}");
    let dropped = seen.console.loss().map(lost);
    let compared = seen.printed.as_ref();
    dropped
        .or_else(|| compared?.hole())
        .or_else(|| compared?.doubt(&seen.console.complaints(), is_of_time))
}

/// Bytes of the console that did not get to the disk. What was seen there counts before that.
fn lost_console(seen: &Observed) -> Option<(Verdict, String)> {
    Some((Verdict::ReportLost, seen.printed.as_ref()?.hole()?))
}

/// What came back is an answer only if it answers what was asked.
fn another_scenario(seen: &Observed, scenario: &Scenario) -> Option<(Verdict, String)> {
    let differs = seen.plan.as_ref().is_some_and(|plan| plan.scenario != *scenario);
    let text = "the guest ran another scenario than it was sent; see the plan in frames.log";
    differs.then(|| (Verdict::ReportLost, text.into()))
}

fn spoiled(seen: &Observed, no_splat: bool) -> Option<(Verdict, String)> {
    let dead: Vec<_> =
        seen.reports.iter().filter_map(|r| Some((r, r.exit_info.as_ref()?))).collect();
    if let Some((worker, how)) = dead.first() {
        let count = dead.len();
        let (index, tid) = (worker.index, worker.tid);
        return Some((
            Verdict::WorkerDied,
            format!("{count} died; first worker {index} (tid {tid}): {how:?}"),
        ));
    }
    let splat = seen.console.unexpected().next().filter(|_| no_splat)?;
    Some((
        Verdict::Splat,
        format!(
            "console.log:{}: {}; --allow-splat REGEX lets a known one pass",
            splat.line, splat.text
        ),
    ))
}

#[cfg(test)]
pub(super) use tests::good as fixture;

#[cfg(test)]
mod tests;
