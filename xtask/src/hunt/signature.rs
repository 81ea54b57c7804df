//! What makes two failures the same one: the verdict, and which checks failed or what the kernel
//! said, without values. Called by `cmd::hunt`.

use crate::report::RunReport;
use crate::run::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use workloads::{Check, Outcome};

/// Characters of a message that count.
const COUNTED: usize = 160;

/// Equal for failures that are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Signature(String);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Signature {
    /// That of a run; none if it passed.
    pub(crate) fn of(report: &RunReport) -> Option<Self> {
        let splat = report.splats.iter().find(|splat| splat.allowed_by.is_none());
        let said = match report.verdict {
            Verdict::Pass => return None,
            Verdict::Fail => checks(&report.checks, Outcome::Fail),
            Verdict::Inconclusive => checks(&report.checks, Outcome::Inconclusive),
            Verdict::Splat => plain(splat.map_or("", |splat| &splat.text)),
            // What follows the first sentence is advice.
            _ => plain(report.advice.iter().flat_map(|text| text.split(". ")).next().unwrap_or("")),
        };
        Some(Self(format!("{}: {said}", report.verdict.name())))
    }
}

/// The checks that were inconclusive. A smaller scenario must not have others: it would not pass
/// where the fault is mended.
pub(crate) fn undecided(report: &RunReport) -> BTreeSet<String> {
    names(&report.checks, Outcome::Inconclusive).map(str::to_owned).collect()
}

fn checks(checks: &[Check], outcome: Outcome) -> String {
    names(checks, outcome).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn names(checks: &[Check], outcome: Outcome) -> impl Iterator<Item = &str> {
    checks.iter().filter(move |check| check.outcome == outcome).map(|check| check.name.as_str())
}

/// `text` with `#` for every number, decimal or hexadecimal: they are addresses, ids and times.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest
            .strip_prefix("0x")
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
        if let Some(digits) = hex {
            rest = digits.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            plain.push('#');
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            plain.push('#');
        } else {
            rest = &rest[first.len_utf8()..];
            plain.push(first);
        }
    }
    plain.chars().take(COUNTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A report as a run folder has it.
    fn report(change: serde_json::Value) -> RunReport {
        let mut report = json!({"schema": 1, "verdict": "fail", "advice": "see the checks",
            "kernel": {"release": "7", "version": "", "sha256": "", "features": [], "modules": [],
                "missing_modules": []},
            "machine": {"cpus": 2, "topology": "1s2c1t", "memory_mib": 1, "accel": "tcg",
                "deterministic": true, "qemu": "", "clocksource": null},
            "scheduler": null, "scenario": {}, "scenario_source": null, "checks": [], "workers": [],
            "totals": {"workers": 0, "iterations": 0, "work_units": 0, "wall_time_ns": 0,
                "latency": {}}, "splats": [], "notes": []});
        report.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(report).unwrap()
    }

    fn signature(change: serde_json::Value) -> String {
        Signature::of(&report(change)).unwrap().to_string()
    }

    fn check(name: &str, outcome: &str, measured: f64) -> serde_json::Value {
        json!({"name": name, "outcome": outcome, "measured": measured, "bound": 1.0, "unit": "",
            "workers": [1], "detail": ""})
    }

    #[test]
    fn failed_checks_count_by_name_and_not_by_value_or_order() {
        let of = |checks: &[serde_json::Value]| signature(json!({"checks": checks}));
        let (gap, wake) = (check("max_gap", "fail", 5.0), check("wake_p99", "fail", 6.0));
        let quiet = check("progress", "pass", 1.0);
        let both = of(&[gap, quiet, wake.clone()]);
        assert_eq!(both, "fail: max_gap, wake_p99");
        assert_eq!(both, of(&[wake.clone(), check("max_gap", "fail", 9.0)]));
        assert_ne!(both, of(&[wake]));
        let step = of(&[check("step a: wake_p99", "fail", 2.0)]);
        assert_eq!(step, "fail: step a: wake_p99");
    }

    #[test]
    fn inconclusive_checks_are_told_beside_the_failed_ones() {
        let checks = [check("progress", "fail", 0.0), check("wake_p99", "inconclusive", 0.0)];
        let report = report(json!({"checks": checks}));
        assert_eq!(Signature::of(&report).unwrap().to_string(), "fail: progress");
        assert_eq!(undecided(&report), BTreeSet::from(["wake_p99".to_owned()]));
    }

    #[test]
    fn a_splat_is_its_first_line_without_numbers() {
        let splat = |cpu: u32, at: &str, allowed: Option<&str>| {
            json!({"name": "warning", "line": 9,
            "text": format!("WARNING: CPU: {cpu} PID: 7 at kernel/sched/core.c:{cpu} x+{at}"),
            "allowed_by": allowed})
        };
        let of = |splats: &[serde_json::Value]| {
            signature(json!({"verdict": "splat", "advice": "console.log:9", "splats": splats}))
        };
        let one = of(&[splat(1, "0x1f/0x20", None)]);
        assert_eq!(one, "splat: WARNING: CPU: # PID: # at kernel/sched/core.c:# x+#/#");
        assert_eq!(one, of(&[splat(8, "0x2/0x9", None), splat(2, "0x1", None)]));
        let known = json!({"name": "bug", "line": 1, "text": "BUG: known", "allowed_by": "known"});
        assert_eq!(one, of(&[known, splat(1, "0x1f/0x20", None)]));
    }

    #[test]
    fn other_ends_are_what_they_say_first_and_a_pass_is_none() {
        let of = |advice: &str| signature(json!({"verdict": "panic", "advice": advice}));
        let panic = of("Kernel panic - not syncing: at 0xffff12. The back-trace is in console.log");
        assert_eq!(panic, "panic: Kernel panic - not syncing: at #");
        assert_eq!(panic, of("Kernel panic - not syncing: at 0x3. The"));
        assert!(Signature::of(&report(json!({"verdict": "pass", "advice": null}))).is_none());
    }
}
