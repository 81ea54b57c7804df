//! Which verdict is reached by what was seen, and which of several comes first.

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
        snapshot: None,
        is_sample: false,
        stops: false,
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
    let error = |s: &mut Observed| s.end = Some(End { error: Some("no".into()), ..End::default() });
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
    let hello = |change: fn(&mut Hello)| verdict(move |seen| change(seen.hello.as_mut().unwrap()));
    assert_eq!(hello(|h| h.nodes = 1), Verdict::GuestError);
    assert_eq!(hello(|h| h.cpus = 3), Verdict::GuestError);
    assert_eq!(hello(|h| h.threads_per_core = Some(1)), Verdict::GuestError);
    assert_eq!(hello(|h| h.dies = Some(1)), Verdict::GuestError);
    assert_eq!(hello(|h| h.dies = Some(2)), Verdict::Pass);
    assert_eq!(hello(|h| h.nodes = 3), Verdict::Pass, "more is a note in the report");
}

#[test]
fn a_guest_that_cannot_stop_says_what_to_pass_and_an_old_one_what_to_rebuild() {
    let judged = |stop: Option<Result<(), String>>| {
        let hello = Hello { protocol: VERSION, stop, ..Hello::default() };
        let seen = Observed { hello: Some(hello.clone()), stops: true, ..good() };
        no_stop(&seen, &hello)
    };
    assert_eq!(judged(Some(Ok(()))), None);
    let locked = judged(Some(Err("iopl(3) failed: EPERM".into()))).unwrap();
    assert!(locked.contains("EPERM; pass --config-via"), "{locked}");
    assert!(judged(None).unwrap().contains("rebuild the --init"));
}
