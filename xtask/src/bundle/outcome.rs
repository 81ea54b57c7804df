//! What a replay says about the bundle: the same bytes, the same result for a reason that is known,
//! or not the same. Pure; called by `cmd::bundle`.

use super::Bundle;
use super::compare::{self, Difference};
use super::manifest::{Expected, Manifest};
use super::member::{CONSOLE, FRAMES, REPORT};
use crate::error::exit;
use crate::qemu::Accel;
use crate::report::RunReport;
use crate::run::Verdict;
use serde::Serialize;
use serde_json::Value;

/// How a replay compares with the recorded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The same bytes.
    Exactly,
    /// The same verdict and checks; why the bytes are not the same is known.
    Reproduced,
    /// Another verdict, another check, or other bytes without a reason.
    NotReproduced,
}

/// A finished replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) report: RunReport,
    /// As it was written.
    pub(crate) report_json: Vec<u8>,
    pub(crate) console: Vec<u8>,
    pub(crate) frames: Vec<u8>,
    pub(crate) accel: Accel,
    pub(crate) kernel_sha256: String,
    pub(crate) initramfs_sha256: String,
    pub(crate) ended_by_itself: bool,
    /// Whether a debugger could stop it.
    pub(crate) was_debugged: bool,
}

/// What a replay came to, as `bundle run --json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) outcome: Outcome,
    pub(crate) recorded: Verdict,
    pub(crate) now: Verdict,
    /// Checks that came out otherwise: name, recorded, now.
    pub(crate) checks: Vec<[String; 3]>,
    /// Why bytes may differ.
    pub(crate) reasons: Vec<String>,
    /// Absent too where another kernel came to the same result: it says something else in line 1.
    pub(crate) first_difference: Option<Difference>,
}

impl Judgement {
    /// A guest that failed in another way than the recorded one has its own code.
    pub(crate) fn exit_code(&self) -> u8 {
        match (self.outcome, self.now.exit_code()) {
            (Outcome::Exactly | Outcome::Reproduced, _) => exit::PASS,
            (_, code @ (exit::GUEST | exit::INTERRUPTED)) if self.now != self.recorded => code,
            _ => exit::FAIL,
        }
    }
}

/// Compares a replay with what the bundle recorded.
pub(crate) fn judge(bundle: &Bundle, replayed: &Replayed) -> Judgement {
    let manifest = &bundle.manifest;
    let expected = &manifest.expected;
    let found = Expected::of(replayed.report.verdict, &replayed.report.checks);
    let reasons = reasons(bundle, replayed);
    let is_same_result = *expected == found;
    let first_difference = first_difference(bundle, replayed, is_same_result);
    let outcome = match (&first_difference, is_same_result) {
        (None, _) => Outcome::Exactly,
        (Some(_), true) if !reasons.is_empty() => Outcome::Reproduced,
        _ => Outcome::NotReproduced,
    };
    let is_same_kernel = replayed.kernel_sha256 == manifest.boot.kernel.sha256;
    Judgement {
        outcome,
        recorded: expected.verdict,
        now: found.verdict,
        checks: other_checks(expected, &found),
        reasons,
        first_difference: first_difference.filter(|_| is_same_kernel || !is_same_result),
    }
}

/// Everything that is known to change the bytes.
fn reasons(bundle: &Bundle, replayed: &Replayed) -> Vec<String> {
    let Manifest { boot, schedlab, .. } = &bundle.manifest;
    let mut reasons = Vec::new();
    let qemu = &replayed.report.machine.qemu;
    if *qemu != boot.qemu {
        reasons.push(format!("QEMU {qemu} here, {} then", boot.qemu));
    }
    if replayed.kernel_sha256 != boot.kernel.sha256 {
        let (now, then) = (&replayed.report.kernel.release, &boot.kernel.release);
        reasons.push(format!("another kernel: Linux {now} here, {then} then"));
    } else if replayed.initramfs_sha256 != boot.initramfs_sha256 {
        reasons.push("the initramfs was made anew and is not the same to the byte".into());
    }
    if boot.icount_shift.is_none() {
        reasons.push("the run was not deterministic".into());
    }
    if replayed.accel != boot.accel {
        let (now, then) = (replayed.accel.name(), boot.accel.name());
        reasons.push(format!("{now} here, {then} then"));
    }
    if !bundle.is_rebuilt() {
        let here = env!("CARGO_PKG_VERSION");
        reasons.push(format!(
            "this schedlab ({here}) boots guests otherwise than the one that packed it ({schedlab})"
        ));
    }
    if replayed.was_debugged {
        reasons.push("a debugger could reach the guest".into());
    }
    if !bundle.manifest.ended_by_itself || !replayed.ended_by_itself {
        reasons.push("the host ended the guest, at an instant of its own".into());
    }
    reasons
}

/// Where a replay with the same result first differs is in the console; where the result is
/// another one, that comes first.
fn first_difference(bundle: &Bundle, now: &Replayed, same_result: bool) -> Option<Difference> {
    let recorded: Value = serde_json::from_slice(bundle.member(REPORT)).ok()?;
    let report: Value = serde_json::from_slice(&now.report_json).ok()?;
    let values = || compare::values(REPORT, &recorded, &report);
    let lines = || {
        compare::lines(CONSOLE, bundle.member(CONSOLE), &now.console)
            .or_else(|| compare::lines(FRAMES, bundle.member(FRAMES), &now.frames))
    };
    if same_result { lines().or_else(values) } else { values().or_else(lines) }
}

/// The first line of the console that differs, as far as the replay has come.
pub(crate) fn first_unlike(bundle: &Bundle, now: &Replayed) -> Option<Difference> {
    let recorded = bundle.member(CONSOLE);
    let length = recorded.len().min(now.console.len());
    compare::lines(CONSOLE, &recorded[..length], &now.console)
}

fn other_checks(expected: &Expected, found: &Expected) -> Vec<[String; 3]> {
    let outcome = |all: &Expected, name: &str| {
        let check = all.checks.iter().find(|check| check.name == name);
        check.map_or_else(
            || "not made".into(),
            |check| format!("{:?}", check.outcome).to_lowercase(),
        )
    };
    let mut names: Vec<&str> = Vec::new();
    for check in expected.checks.iter().chain(&found.checks) {
        if !names.contains(&check.name.as_str()) {
            names.push(&check.name);
        }
    }
    let pairs = names.into_iter().map(|name| (name, outcome(expected, name), outcome(found, name)));
    pairs
        .filter(|(_, then, now)| then != now)
        .map(|(name, then, now)| [name.into(), then, now])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{CONSOLE_LOG, forged, open, report, whole};
    use super::*;

    /// A replay of the small bundle to the byte.
    fn replayed(bundle: &Bundle) -> Replayed {
        let boot = &bundle.manifest.boot;
        Replayed {
            report: report(&bundle.scenario),
            report_json: bundle.member(REPORT).to_vec(),
            console: bundle.member(CONSOLE).to_vec(),
            frames: bundle.member(FRAMES).to_vec(),
            accel: boot.accel,
            kernel_sha256: boot.kernel.sha256.clone(),
            initramfs_sha256: boot.initramfs_sha256.clone(),
            ended_by_itself: true,
            was_debugged: false,
        }
    }

    fn judged(change: impl FnOnce(&mut Replayed)) -> Judgement {
        let bundle = open(&whole()).unwrap();
        let mut replayed = replayed(&bundle);
        change(&mut replayed);
        judge(&bundle, &replayed)
    }

    fn with_console(replayed: &mut Replayed) {
        replayed.console = CONSOLE_LOG.to_ascii_uppercase();
    }

    fn with_verdict(replayed: &mut Replayed, verdict: Verdict) {
        replayed.report.verdict = verdict;
        replayed.report_json = serde_json::to_vec(&replayed.report).unwrap();
    }

    #[test]
    fn the_same_bytes_are_reproduced_exactly() {
        let same = judged(|_| {});
        assert_eq!((same.outcome, same.exit_code()), (Outcome::Exactly, exit::PASS));
        assert!(same.first_difference.is_none() && same.reasons.is_empty());
    }

    #[test]
    fn the_same_result_needs_a_reason_for_other_bytes() {
        let unexplained = judged(with_console);
        assert_eq!((unexplained.outcome, unexplained.exit_code()), (Outcome::NotReproduced, 1));
        let place = unexplained.first_difference.unwrap();
        assert_eq!((place.file, place.place.as_str()), (CONSOLE, "line 1"));
        let explained: [fn(&mut Replayed); 6] = [
            |r| r.report.machine.qemu = "9.0".into(),
            |r| r.kernel_sha256 = "another".into(),
            |r| r.initramfs_sha256 = "another".into(),
            |r| r.accel = Accel::Kvm,
            |r| r.ended_by_itself = false,
            |r| r.was_debugged = true,
        ];
        for reason in explained {
            let explained = judged(|replayed| {
                with_console(replayed);
                reason(replayed);
            });
            assert_eq!((explained.outcome, explained.exit_code()), (Outcome::Reproduced, 0));
            assert_eq!(explained.reasons.len(), 1, "{:?}", explained.reasons);
        }
    }

    #[test]
    fn a_bundle_that_promises_less_is_held_to_less() {
        let outcome = |change: fn(&mut Manifest)| {
            let bundle = open(&forged(whole(), change)).unwrap();
            let mut replayed = replayed(&bundle);
            with_console(&mut replayed);
            judge(&bundle, &replayed).outcome
        };
        assert_eq!(outcome(|_| {}), Outcome::NotReproduced);
        assert_eq!(outcome(|m| m.ended_by_itself = false), Outcome::Reproduced);
        assert_eq!(outcome(|m| m.boot.icount_shift = None), Outcome::Reproduced);
        assert_eq!(outcome(|m| m.boot.arguments_sha256 = "0".repeat(64)), Outcome::Reproduced);
    }

    #[test]
    fn another_verdict_or_check_is_not_reproduced_whatever_the_reason() {
        let passed = judged(|replayed| {
            replayed.report.machine.qemu = "9.0".into();
            with_verdict(replayed, Verdict::Pass);
        });
        assert_eq!((passed.outcome, passed.exit_code()), (Outcome::NotReproduced, exit::FAIL));
        assert_eq!(passed.first_difference.unwrap().place, "verdict");
        let died = judged(|replayed| with_verdict(replayed, Verdict::Panic));
        assert_eq!((died.outcome, died.exit_code()), (Outcome::NotReproduced, exit::GUEST));
        let check = judged(|replayed| {
            replayed.report.checks[0].outcome = workloads::Outcome::Pass;
            replayed.report_json = serde_json::to_vec(&replayed.report).unwrap();
        });
        assert_eq!(check.checks, [["progress", "fail", "pass"].map(str::to_owned)]);
        assert_eq!(check.outcome, Outcome::NotReproduced);
    }
}
