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
    let error = seen.end.as_ref()?.error.as_ref()?;
    Some((Verdict::GuestError, error.clone()))
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
mod tests {
    use super::*;
    use crate::progress::Progress;
    use crate::qemu::MachineTexts;
    use crate::run::console::Console;
    use crate::run::printed::Comparison;
    use guest_init::frame::Damage;
    use guest_init::proto::{End, Plan, Printed, line_sum};
    use std::time::Duration;
    use workloads::{ExitInfo, WorkerReport};

    /// A run of one worker in which nothing went wrong.
    pub(in crate::run) fn good() -> Observed {
        Observed {
            accel: Accel::Tcg,
            stop: Stop::Ended(QemuEnd::Exited(0)),
            hello: Some(Hello { protocol: VERSION, cpus: 4, nodes: 2, ..Hello::default() }),
            plan: Some(Plan {
                workers: 1,
                scenario: Scenario::default(),
                source: "cmdline".into(),
                io: "/tmp".into(),
                modules: Vec::new(),
            }),
            notes: Vec::new(),
            reports: vec![WorkerReport::default()],
            record: None,
            schedulers: Vec::new(),
            scheduler_output: Vec::new(),
            end: Some(End { reports: 1, ..End::default() }),
            damage: Damage::default(),
            unfinished: 0,
            console: Console::new(Vec::new(), false),
            printed: None,
            cmdline: "console=ttyS0".into(),
            complaints: String::new(),
            halted: None,
            boot: Some(Duration::ZERO),
            run: Some(Duration::ZERO),
            total: Duration::ZERO,
            stopped_at_s: None,
            load: crate::run::load::HostLoad::default(),
        }
    }

    fn layout() -> Layout {
        let texts =
            MachineTexts { topology: Some("2s1c2t"), numa: Some("2"), ..MachineTexts::default() };
        texts.parse().unwrap().layout().unwrap()
    }

    fn verdict(change: impl FnOnce(&mut Observed)) -> Verdict {
        let mut seen = good();
        change(&mut seen);
        let (verdict, advice) = conclude(&seen, &Scenario::default(), &layout(), &[]);
        assert_eq!(advice.is_none(), verdict == Verdict::Pass);
        verdict
    }

    #[test]
    fn nothing_wrong_is_a_pass() {
        assert_eq!(verdict(|_| {}), Verdict::Pass);
    }

    #[test]
    fn no_result_is_never_a_pass() {
        assert_eq!(verdict(|s| s.end = None), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.reports.clear()), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.plan = None), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.hello = None), Verdict::BootFailed);
        assert_eq!(verdict(|s| s.damage.missing = 1), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.damage.bad_lines = 1), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.unfinished = 3), Verdict::ReportLost);
        let other = |s: &mut Observed| s.plan.as_mut().unwrap().scenario.seed = 9;
        assert_eq!(verdict(other), Verdict::ReportLost);
        assert_eq!(verdict(|s| s.stop = Stop::Ended(QemuEnd::Signaled(9))), Verdict::QemuFailed);
    }

    #[test]
    fn counters_that_no_run_comes_to_are_damage_and_not_a_result() {
        let huge = |s: &mut Observed| s.reports[0].iterations = u64::MAX;
        assert_eq!(verdict(huge), Verdict::ReportLost);
        let mut seen = good();
        huge(&mut seen);
        let advice = conclude(&seen, &Scenario::default(), &layout(), &[]).1.unwrap();
        assert!(advice.contains("`workers[0].iterations` is 18446744073709551615"), "{advice}");
    }

    #[test]
    fn a_qemu_that_was_told_to_end_is_no_guest_that_ended() {
        let told = |s: &mut Observed| s.stop = Stop::Ended(QemuEnd::Told(15));
        assert_eq!(verdict(told), Verdict::QemuFailed);
        assert!(Stop::Ended(QemuEnd::Exited(0)).is_guests_own());
        let others = [QemuEnd::Told(15), QemuEnd::Signaled(9), QemuEnd::Exited(1)];
        assert!(others.into_iter().all(|end| !Stop::Ended(end).is_guests_own()));
        assert!(!Stop::Finished.is_guests_own() && !Stop::Silence.is_guests_own());
    }

    #[test]
    fn a_panic_is_a_failed_boot_before_pid_1_and_a_panic_after() {
        let panic = |s: &mut Observed| s.console.panic = Some("Kernel panic".into());
        assert_eq!(verdict(panic), Verdict::Panic);
        assert_eq!(
            verdict(|s| {
                panic(s);
                s.hello = None;
            }),
            Verdict::BootFailed
        );
    }

    #[test]
    fn an_argument_that_takes_away_our_init_is_named() {
        let advice = |cmdline: &str, hello: Option<Hello>| {
            let mut seen = Observed { hello, cmdline: cmdline.into(), ..good() };
            seen.console.panic = Some("Kernel panic".into());
            conclude(&seen, &Scenario::default(), &layout(), &[]).1.unwrap()
        };
        for word in ["rdinit=/nowhere", "noinitrd"] {
            let text = advice(&format!("console=ttyS0 {word} quiet"), None);
            assert!(text.contains(&format!("`--kernel-arg {word}`")), "{text}");
            assert!(text.contains("--init"), "{text}");
        }
        assert!(!advice("console=ttyS0 init=/x", None).contains("--kernel-arg"));
        assert!(!advice("rdinit=/nowhere", good().hello).contains("rdinit"), "it spoke");
    }

    #[test]
    fn lost_lines_leave_it_open_whether_the_kernel_complained() {
        let mut seen = good();
        seen.console.push(b"** 3 printk messages dropped **\n", &Progress::new());
        let check = judge_console(&seen, &Scenario::default()).unwrap();
        assert_eq!(check.outcome, Outcome::Inconclusive, "{}", check.detail);
        seen.console.push(b"[ 1.0] bad: scheduling from the idle thread!\n", &Progress::new());
        assert_eq!(judge_console(&seen, &Scenario::default()).unwrap().outcome, Outcome::Fail);
    }

    #[test]
    fn a_console_with_a_hole_is_a_lost_report_and_what_it_shows_counts_first() {
        let lines = vec![line_sum(Some(1_000_000), "bad"), line_sum(Some(1_000_001), "lost")];
        let printed = Printed { lines, stamped: true, tainted: Some(0), ..Printed::default() };
        let text = b"[    1.000000] bad\n";
        let hole = || Some(Comparison::of(text, printed.clone()));
        assert_eq!(verdict(|s| s.printed = hole()), Verdict::ReportLost);
        let seen = Observed { printed: hole(), ..good() };
        let check = judge_console(&seen, &Scenario::default()).unwrap();
        assert_eq!(check.outcome, Outcome::Inconclusive, "{}", check.detail);
        assert_eq!(
            verdict(|s| s.printed = Some(Comparison::of(b"", Printed::default()))),
            Verdict::Pass
        );
        let splat = |s: &mut Observed| {
            s.printed = hole();
            s.console.push(b"[ 1.0] BUG: x\n", &Progress::silent());
        };
        assert_eq!(verdict(splat), Verdict::Splat);
        let dead = |s: &mut Observed| {
            s.printed = hole();
            s.end = None;
        };
        assert_eq!(verdict(dead), Verdict::ReportLost);
    }

    #[test]
    fn a_tainted_kernel_without_a_complaint_is_no_pass_of_no_splat() {
        let printed = |tainted| Printed { tainted: Some(tainted), ..Printed::default() };
        let outcome = |tainted, line: &[u8]| {
            let mut seen = good();
            seen.printed = Some(Comparison::of(b"", printed(tainted)));
            seen.console.push(line, &Progress::silent());
            judge_console(&seen, &Scenario::default()).unwrap().outcome
        };
        assert_eq!(outcome(1 << 12, b""), Outcome::Pass);
        assert_eq!(outcome(1 << 9, b""), Outcome::Inconclusive);
        assert_eq!(outcome(1 << 9, b"[ 1.0] WARNING: x\n"), Outcome::Fail);
    }

    #[test]
    fn the_panic_that_our_nmi_makes_is_still_a_hang() {
        assert_eq!(
            verdict(|s| {
                s.stop = Stop::Silence;
                s.console.panic = Some("Kernel panic".into());
            }),
            Verdict::Hang
        );
    }

    #[test]
    fn a_host_that_stood_still_is_no_hang() {
        let still = |s: &mut Observed| s.stop = Stop::StoodStill;
        assert_eq!(verdict(still), Verdict::Inconclusive);
        assert!(is_lost(Verdict::Inconclusive, &[]), "no check is the reason");
    }

    #[test]
    fn a_dead_worker_and_a_guests_own_error_have_names() {
        assert_eq!(
            verdict(|s| s.reports[0].exit_info = Some(ExitInfo::Signaled(9))),
            Verdict::WorkerDied
        );
        let error =
            |s: &mut Observed| s.end = Some(End { error: Some("no".into()), ..End::default() });
        assert_eq!(verdict(error), Verdict::GuestError);
        let foreign = |s: &mut Observed| s.hello = Some(Hello::default());
        assert_eq!(verdict(foreign), Verdict::GuestError);
    }

    #[test]
    fn a_guest_that_runs_under_something_else_is_not_judged() {
        let under = |accel, name: Option<&str>| {
            verdict(|seen| {
                seen.accel = accel;
                seen.hello.as_mut().unwrap().hypervisor = name.map(str::to_owned);
            })
        };
        let [kvm, tcg] = ["KVMKVMKVM", "TCGTCGTCGTCG"];
        assert_eq!(under(Accel::Kvm, Some(tcg)), Verdict::GuestError);
        assert_eq!(under(Accel::Tcg, Some(kvm)), Verdict::GuestError);
        for (accel, name) in [(Accel::Kvm, kvm), (Accel::Tcg, tcg)] {
            assert_eq!(under(accel, Some(name)), Verdict::Pass);
            assert_eq!(under(accel, None), Verdict::Pass, "an older PID 1, or a hidden name");
        }
    }

    #[test]
    fn of_a_failure_of_kvm_the_advice_has_what_tells() {
        let text = "warning: a\nKVM internal error. Suberror: 1\nemulation failure\nRIP=12 RFL=6\n";
        let mut seen = good();
        (seen.stop, seen.complaints) = (Stop::Halted, text.into());
        seen.halted = Some("internal-error".into());
        let text = "QEMU stopped the guest (internal-error): KVM internal error. Suberror: 1, \
                    emulation failure, RIP=12; see qemu.log";
        assert_eq!(stopped_by_us(&seen).unwrap().1, text);
        seen.complaints = "q: error: failed to set MSR 0x10a to 0x69\nq: Assertion `x'\n".into();
        seen.stop = Stop::Ended(QemuEnd::Signaled(6));
        let advice = kernel_died(&seen).unwrap().1;
        assert!(advice.ends_with("failed to set MSR 0x10a to 0x69"), "{advice}");
    }

    #[test]
    fn a_splat_is_a_verdict_unless_the_scenario_lets_it_pass() {
        let mut seen = good();
        let quiet = judge_console(&seen, &Scenario::default()).unwrap();
        assert_eq!((quiet.outcome, quiet.measured), (Outcome::Pass, Some(0.0)));
        let line = "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/sched/core.c:1 x+0x1/0x2\n";
        seen.console.push(line.as_bytes(), &Progress::new());
        assert_eq!(judge_console(&seen, &Scenario::default()).unwrap().outcome, Outcome::Fail);
        assert_eq!(spoiled(&seen, true).unwrap().0, Verdict::Splat);
        assert_eq!(spoiled(&seen, false), None);
    }

    #[test]
    fn a_guest_with_less_than_was_asked_for_is_not_judged() {
        let hello =
            |change: fn(&mut Hello)| verdict(move |seen| change(seen.hello.as_mut().unwrap()));
        assert_eq!(hello(|h| h.nodes = 1), Verdict::GuestError);
        assert_eq!(hello(|h| h.cpus = 3), Verdict::GuestError);
        assert_eq!(hello(|h| h.threads_per_core = Some(1)), Verdict::GuestError);
        assert_eq!(hello(|h| h.dies = Some(1)), Verdict::GuestError);
        assert_eq!(hello(|h| h.dies = Some(2)), Verdict::Pass);
        assert_eq!(hello(|h| h.nodes = 3), Verdict::Pass, "more is a note in the report");
    }
}
