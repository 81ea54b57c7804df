//! The report of a run that is over, from its folder or from a stranger. There is no other way to one than
//! through these checks: a report that contradicts itself, or the frames that the guest sent, was damaged
//! or changed. Called by `cmd::report`, `compare` and `bundle`.

use super::{RunReport, SCHEMA, totals};
use crate::files::Kind;
use crate::run::Verdict;
use anyhow::{Context as _, Result, anyhow};
use guest_init::frame::Decoder;
use guest_init::proto::Message;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use workloads::{Outcome, RunRecord, WorkerReport};

const REPORT: &str = "report.json";
const FRAMES: &str = "frames.log";
/// All counters of a run together are less. So no sum of some of them overflows, and no real run comes
/// near: 10,000 workers may run for days.
const LARGEST_SUM: u64 = i64::MAX as u64;

impl RunReport {
    /// The report in a run folder, with its text.
    pub(crate) fn load(folder: &Path) -> Result<(Self, String)> {
        let path = folder.join(REPORT);
        let text = Kind::REPORT.read_text(&path)?;
        let frames = folder.join(FRAMES);
        // Whoever keeps reports alone has none.
        let frames = frames.exists().then(|| Kind::FRAMES.read(&frames)).transpose()?;
        let report = Self::checked(text.as_bytes(), frames.as_deref())
            .with_context(|| Kind::REPORT.refusal("parse", &path))?;
        Ok((report, text))
    }

    /// The report that these bytes are, if it can be one of the run that sent these frames.
    pub(crate) fn checked(text: &[u8], frames: Option<&[u8]>) -> Result<Self> {
        let report: Self = serde_json::from_slice(text)?;
        let frames = frames.map(Sent::of);
        match report.fault().or_else(|| frames.and_then(|sent| sent.contradicts(&report))) {
            Some(why) => Err(anyhow!(why)),
            None => Ok(report),
        }
    }

    /// Why no run can have made it.
    fn fault(&self) -> Option<String> {
        if self.schema != SCHEMA {
            let schema = self.schema;
            return Some(format!("its schema is {schema}, {SCHEMA} is known here"));
        }
        // That is why the verdict of a lost one is what it is.
        let is_measured = self.is_judged() || self.verdict == Verdict::Inconclusive;
        is_measured.then(|| implausible(&self.workers, &self.record)).flatten().or_else(|| {
            self.is_judged().then(|| self.contradiction().or_else(|| self.other_totals())).flatten()
        })
    }

    /// Whether the checks made the verdict.
    fn is_judged(&self) -> bool {
        matches!(self.verdict, Verdict::Pass | Verdict::Fail)
    }

    fn contradiction(&self) -> Option<String> {
        let named = |outcome| self.checks.iter().find(|check| check.outcome == outcome);
        let dead = || self.workers.iter().find(|worker| worker.exit_info.is_some());
        match (self.verdict, named(Outcome::Fail), named(Outcome::Inconclusive)) {
            (Verdict::Pass, Some(failed), _) => {
                Some(format!("its verdict is pass, but its check `{}` failed", failed.name))
            }
            (Verdict::Pass, None, Some(open)) => {
                Some(format!("its verdict is pass, but its check `{}` is inconclusive", open.name))
            }
            (Verdict::Fail, None, _) => Some("its verdict is fail, but no check failed".into()),
            _ => dead().map(|worker| {
                let verdict = self.verdict.name();
                format!("its verdict is {verdict}, but worker {} died", worker.index)
            }),
        }
    }

    /// Sums that have been there since the first version.
    fn other_totals(&self) -> Option<String> {
        let (said, summed) = (&self.totals, totals(&self.workers, None, None));
        let pairs = [
            ("workers", Some(said.workers as u64), Some(summed.workers as u64)),
            ("iterations", Some(said.iterations), Some(summed.iterations)),
            ("work_units", Some(said.work_units), Some(summed.work_units)),
            ("cpu_time_ns", said.cpu_time_ns, summed.cpu_time_ns),
            ("wall_time_ns", Some(said.wall_time_ns), Some(summed.wall_time_ns)),
        ];
        let (name, said, summed) = pairs.into_iter().find(|(_, said, summed)| said != summed)?;
        let shown = |value: Option<u64>| value.map_or_else(|| "null".into(), |n| n.to_string());
        let (said, summed) = (shown(said), shown(summed));
        Some(format!("`totals.{name}` is {said}, but its workers come to {summed}"))
    }
}

/// The counter that no run comes to, if all of them together are too much for any.
pub(crate) fn implausible(workers: &[WorkerReport], record: &RunRecord) -> Option<String> {
    let mut seen = Counters::default();
    seen.add("workers", workers);
    seen.add("record", record);
    let (path, value) = seen.largest?;
    (seen.sum > u128::from(LARGEST_SUM))
        .then(|| format!("`{path}` is {value}; no run comes to so much"))
}

/// Whole numbers, added up, with the largest.
#[derive(Default)]
struct Counters {
    sum: u128,
    largest: Option<(String, u64)>,
}

impl Counters {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // What cannot be written as JSON was not read from it.
        let value = serde_json::to_value(value).unwrap_or_default();
        self.walk(&mut name.to_owned(), &value);
    }

    fn walk(&mut self, path: &mut String, value: &Value) {
        let length = path.len();
        match value {
            Value::Number(number) => self.take(path, number.as_u64().unwrap_or(0)),
            Value::Array(all) => {
                for (index, value) in all.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.walk(path, value);
                    path.truncate(length);
                }
            }
            Value::Object(all) => {
                for (name, value) in all {
                    path.push('.');
                    path.push_str(name);
                    self.walk(path, value);
                    path.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn take(&mut self, path: &str, value: u64) {
        self.sum += u128::from(value);
        if self.largest.as_ref().is_none_or(|(_, largest)| value > *largest) {
            self.largest = Some((path.to_owned(), value));
        }
    }
}

/// What a guest sent, as far as its report repeats it.
struct Sent {
    release: Option<String>,
    scenario: Option<workloads::Scenario>,
    workers: Vec<WorkerReport>,
    record: Option<RunRecord>,
    is_whole: bool,
}

impl Sent {
    fn of(frames: &[u8]) -> Self {
        let mut decoder = Decoder::default();
        let messages = decoder.push(frames);
        let mut sent = Self {
            release: None,
            scenario: None,
            workers: Vec::new(),
            record: None,
            is_whole: decoder.damage().is_none() && decoder.unfinished() == 0,
        };
        let mut ended = false;
        for message in messages {
            match message {
                Message::Hello(hello) => sent.release = Some(hello.release),
                Message::Plan(plan) => sent.scenario = Some(plan.scenario),
                Message::Worker(worker) => sent.workers.push(*worker),
                Message::Record(record) => sent.record = Some(*record),
                Message::End(_) => ended = true,
                _ => {}
            }
        }
        sent.is_whole &= ended;
        sent.workers.sort_by_key(|worker| worker.index);
        sent
    }

    /// How the report says otherwise than the guest did.
    fn contradicts(&self, report: &RunReport) -> Option<String> {
        if report.is_judged() && !self.is_whole {
            return Some("its frames.log is not whole, or another schedlab's".into());
        }
        let release = self.release.as_ref().is_none_or(|sent| *sent == report.kernel.release);
        let scenario = self.scenario.as_ref().is_none_or(|sent| *sent == report.scenario);
        let record = self.record.as_ref().is_none_or(|sent| *sent == report.record);
        let parts = [
            ("kernel.release", release),
            ("scenario", scenario),
            ("record", record),
            ("workers", self.workers == report.workers),
        ];
        let (name, _) = parts.into_iter().find(|(_, is_same)| !is_same)?;
        Some(format!("its `{name}` is not what the guest sent, which is in frames.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_init::frame::Encoder;
    use serde_json::json;

    const CHECK: &str =
        r#"{"name":"progress","outcome":"pass","unit":"","workers":[],"detail":""}"#;

    fn report() -> Value {
        let check: Value = serde_json::from_str(CHECK).unwrap();
        let worker =
            WorkerReport { iterations: 7, cpu_time_ns: Some(9), ..WorkerReport::default() };
        json!({
            "schema": 1, "verdict": "pass", "advice": null,
            "kernel": {"release": "6.1", "version": "#1", "sha256": "", "features": [],
                "modules": [], "missing_modules": []},
            "machine": {"cpus": 2, "topology": "1s2c1t", "memory_mib": 64, "accel": "tcg",
                "deterministic": true, "qemu": "7.2"},
            "scenario": {"name": "x"}, "checks": [check], "workers": [worker], "splats": [],
            "notes": [], "totals": {"workers": 1, "iterations": 7, "work_units": 0,
                "cpu_time_ns": 9, "wall_time_ns": 0, "latency": {}},
        })
    }

    fn frames(report: &Value) -> String {
        let hello = guest_init::proto::Hello { release: "6.1".into(), ..Default::default() };
        let mut worker = report["workers"][0].clone();
        worker["kind"] = "worker".into();
        let hello = serde_json::to_value(Message::Hello(hello)).unwrap();
        let all = [hello, worker, json!({"kind": "end", "reports": 1})];
        let mut encoder = Encoder::default();
        all.iter().map(|message| encoder.encode(&message.to_string())).collect()
    }

    /// What is said of a report that was changed after its run.
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut changed = report();
        change(&mut changed);
        let text = changed.to_string();
        let refused = RunReport::checked(text.as_bytes(), Some(frames(&report()).as_bytes()));
        refused.map_or_else(|error| error.to_string(), |_| "taken".into())
    }

    #[test]
    fn a_report_that_its_run_made_is_taken() {
        assert_eq!(refused(|_| {}), "taken");
        let text = report().to_string();
        RunReport::checked(text.as_bytes(), None).unwrap();
        // It is not judged, and says so.
        assert_eq!(refused(|r| r["verdict"] = "hang".into()), "taken");
    }

    #[test]
    fn one_that_contradicts_itself_is_not() {
        for (pointer, value, why) in [
            ("/schema", json!(2), "its schema is 2, 1 is known here"),
            (
                "/checks/0/outcome",
                json!("fail"),
                "verdict is pass, but its check `progress` failed",
            ),
            ("/checks/0/outcome", json!("inconclusive"), "`progress` is inconclusive"),
            ("/verdict", json!("fail"), "its verdict is fail, but no check failed"),
            ("/workers/0/exit_info", json!({"signaled": 9}), "but worker 0 died"),
            ("/totals/iterations", json!(8), "`totals.iterations` is 8, but its workers come to 7"),
            ("/totals/cpu_time_ns", json!(null), "`totals.cpu_time_ns` is null"),
        ] {
            let said = refused(|report| *report.pointer_mut(pointer).unwrap() = value);
            assert!(said.contains(why), "{pointer}: {said}");
        }
    }

    #[test]
    fn one_that_says_otherwise_than_its_guest_is_not() {
        for (pointer, value, why) in [
            ("/kernel/release", json!("6.2"), "its `kernel.release` is not what the guest sent"),
            ("/workers/0/role", json!("another"), "its `workers` is not what the guest sent"),
        ] {
            let said = refused(|report| *report.pointer_mut(pointer).unwrap() = value);
            assert!(said.contains(why), "{pointer}: {said}");
        }
        let text = report().to_string();
        let whole = frames(&report());
        let cut = &whole[..whole.len() - 9];
        let torn = RunReport::checked(text.as_bytes(), Some(cut.as_bytes())).unwrap_err();
        assert!(torn.to_string().contains("its frames.log is not whole"), "{torn}");
    }

    #[test]
    fn counters_near_the_end_of_their_numbers_are_named_and_nothing_overflows() {
        let huge = |verdict: &str| {
            let mut report = report();
            report["verdict"] = verdict.into();
            let other = report["workers"][0].clone();
            report["workers"].as_array_mut().unwrap().push(other);
            for field in ["iterations", "work_units", "wall_time_ns", "run_delay_ns"] {
                report["workers"][0][field] = json!(u64::MAX - 1);
                report["workers"][1][field] = json!(u64::MAX - 1);
            }
            RunReport::checked(report.to_string().as_bytes(), None)
        };
        let said = huge("pass").unwrap_err().to_string();
        assert!(said.contains("` is 18446744073709551614; no run comes to so much"), "{said}");
        // A lost run shows what it has.
        let lost = huge("report-lost").unwrap();
        assert_eq!(totals(&lost.workers, None, None).iterations, u64::MAX);
        let mut text = Vec::new();
        crate::report::print_run(&lost, None, &mut text).unwrap();
        crate::compare::Side::of(&[lost]);
    }
}
