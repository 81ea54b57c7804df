//! `kernel types`: every work type on each of some kernels, seen to run in a guest. All types take
//! turns in one guest a kernel, each in a step of its own.

use super::written;
use crate::cli::{KernelTypesArgs, VmArgs};
use crate::cmd::vm;
use crate::error::exit;
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::report::RunReport;
use crate::run::Verdict;
use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};
use workloads::{Reference, WorkType, WorkerReport};

/// An init with a work function, for the type that runs one.
const INIT: &str = "examples/custom-init";
/// What types take that cannot be left out.
const REQUIRED: [(&str, &str); 2] = [
    ("Sequence", r#"{"first":{"Spin":"1ms"},"rest":[{"Sleep":"1ms"}]}"#),
    ("Custom", r#"{"name":"frames"}"#),
];
const RUNS: &str = "runs";

/// All of what is printed.
#[derive(Debug, Serialize)]
struct Table {
    date: String,
    hold: String,
    kernels: Vec<Column>,
}

/// One kernel.
#[derive(Debug, Serialize)]
struct Column {
    spec: String,
    release: String,
    version: String,
    qemu: String,
    verdict: Verdict,
    advice: Option<String>,
    features: Vec<String>,
    /// What the guest remarked: places that are not there, settings that did not take.
    notes: Vec<String>,
    /// By name, in the order of the catalogue: `runs`, or why it did not.
    types: Vec<(&'static str, String)>,
}

pub(super) fn types(args: &KernelTypesArgs, paths: &Paths) -> Result<u8> {
    vm::end_on_signals()?;
    let progress = Progress::new();
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let config = dir.path().join("types.json");
    let types = WorkType::reference().context("the catalogue has a type without JSON")?;
    std::fs::write(&config, scenario(&types, args.hold).to_string())
        .with_context(|| format!("write(`{}`) failed", config.display()))?;
    let specs = match args.specs.is_empty() {
        true => vec![written(&None, paths)?],
        false => args.specs.clone(),
    };
    let mut kernels = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        progress.step(format!("kernel {} of {}: {spec}", index + 1, specs.len()));
        let mut vm_args = vm_args(spec, &config, &dir.path().join(index.to_string()), paths)?;
        vm_args.guest.hang_after = args.hang_after;
        let (report, folder) = vm::run_once(&vm_args, paths, &progress)?;
        if matches!(report.verdict, Verdict::Interrupted) {
            return Ok(report.verdict.exit_code());
        }
        if !matches!(report.verdict, Verdict::Pass | Verdict::Fail) {
            folder.keep(&paths.runs)?;
        }
        kernels.push(Column::of(spec, report, &types));
    }
    drop(progress);
    let hold = humantime::format_duration(args.hold).to_string();
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = now.split('T').next().unwrap_or_default().to_owned();
    let table = Table { date, hold, kernels };
    match args.json {
        true => json_to_stdout(&table)?,
        false => to_stdout(|out| Ok(write!(out, "{}", table.page()?)?))?,
    }
    Ok(if table.kernels.iter().all(Column::all_run) { exit::PASS } else { exit::FAIL })
}

/// A step a type: the workers of the step before it stop, one group of its own starts.
fn scenario(types: &[Reference], hold: Duration) -> Value {
    let hold = humantime::format_duration(hold).to_string();
    let step = |(index, of): (usize, &Reference)| {
        let required = REQUIRED.iter().find(|(name, _)| *name == of.name);
        let parameters = required.and_then(|(_, text)| serde_json::from_str::<Value>(text).ok());
        let work_type = match parameters {
            Some(parameters) => json!({ of.name: parameters }),
            None => json!(of.name),
        };
        let work = json!({ "work_type": work_type, "num_workers": of.group_size });
        let spawn = json!({ "Spawn": { "cgroup": "types", "work": work } });
        let stop = (index > 0).then(|| json!({ "Stop": "types" }));
        let ops: Vec<Value> = stop.into_iter().chain([spawn]).collect();
        json!({ "name": of.name, "ops": ops, "hold": { "Time": hold } })
    };
    let steps: Vec<Value> = types.iter().enumerate().map(step).collect();
    json!({ "name": "types", "cgroups": [{ "name": "types" }], "steps": steps })
}

fn vm_args(spec: &str, config: &Path, out: &Path, paths: &Paths) -> Result<VmArgs> {
    let init = paths.repo.join(INIT);
    // The guest's own time: on a loaded host some workers would not get to their first step.
    let words = ["--deterministic", "--kernel", spec];
    let mut words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    for (option, path) in [("--config", config), ("--out", out), ("--init", &init)] {
        words.extend([OsStr::new(option), path.as_os_str()]);
    }
    VmArgs::of(words)
}

impl Column {
    fn of(spec: &str, report: RunReport, types: &[Reference]) -> Self {
        let lost = report.workers.is_empty().then(|| report.verdict.name());
        // Sets are numbered in the order in which the steps start them.
        let cell = |(index, of): (usize, &Reference)| {
            let workers = report.workers.iter().filter(|worker| worker.group_idx == index);
            let why = lost.clone().or_else(|| why_not(workers));
            (of.name, why.unwrap_or_else(|| RUNS.to_owned()))
        };
        Self {
            types: types.iter().enumerate().map(cell).collect(),
            spec: spec.to_owned(),
            release: report.kernel.release,
            version: report.kernel.version,
            qemu: report.machine.qemu,
            verdict: report.verdict,
            advice: report.advice,
            features: report.kernel.features,
            notes: report.notes,
        }
    }

    fn all_run(&self) -> bool {
        self.types.iter().all(|(_, cell)| cell == RUNS)
    }
}

fn in_a_file(worker: &WorkerReport) -> bool {
    worker.io_target.as_ref().is_some_and(|target| !target.starts_with("/dev/"))
}

/// The first reason why one of them did not do its work.
fn why_not<'a>(workers: impl Iterator<Item = &'a WorkerReport>) -> Option<String> {
    let mut seen = 0;
    for worker in workers {
        seen += 1;
        let refused = worker.not_applied.first();
        let why = match worker {
            _ if worker.exit_info.is_some() => worker.exit_info.as_ref().map(|e| format!("{e:?}")),
            _ if worker.failed.is_some() => worker.failed.clone(),
            _ if refused.is_some() => refused.map(|one| format!("{}: {}", one.setting, one.error)),
            _ if !worker.errors.is_empty() => worker.errors.keys().next().cloned(),
            _ if in_a_file(worker) => {
                Some("runs on a file in memory: the guest has no disk".into())
            }
            _ if worker.work_units == 0 => Some("did no work".to_owned()),
            _ => None,
        };
        if why.is_some() {
            return why;
        }
    }
    (seen == 0).then(|| "not started".to_owned())
}

const HEAD: &str = "\
# Work types on kernels

<!-- Made by `cargo xtask kernel types SPEC... > docs/kernels.md`. Edit `xtask/src/cmd/kernel/types.rs`, not this page. -->

Which work types did their work on which kernel, seen in a deterministic guest of each. All types take turns in one guest, a
group of each in a step of its own; `Custom` is the function of `examples/custom-init`. To make this table anew, on these or other kernels:

";

impl Table {
    /// The whole as a page of Markdown.
    fn page(&self) -> Result<String> {
        let mut page = HEAD.to_owned();
        let specs: Vec<_> = self.kernels.iter().map(|kernel| kernel.spec.as_str()).collect();
        writeln!(page, "    cargo xtask kernel types {}\n", specs.join(" "))?;
        let qemu = self.kernels.first().map_or("", |kernel| &kernel.qemu);
        writeln!(page, "Made on {}, with {} a type, by QEMU {qemu}.\n", self.date, self.hold)?;
        page.push_str(
            "| | kernel | Linux | scheduler features | verdict |\n|---|---|---|---|---|\n",
        );
        for (letter, kernel) in self.lettered() {
            let Column { spec, release, features, verdict, .. } = kernel;
            let (features, verdict) = (features.join(", "), verdict.name());
            writeln!(page, "| {letter} | `{spec}` | {release} | {features} | {verdict} |")?;
        }
        let reasons = self.matrix(&mut page)?;
        for (index, reason) in reasons.iter().enumerate() {
            writeln!(page, "{}. {reason}", index + 1)?;
        }
        page.push_str("\nWhat the guests remarked:\n\n");
        for (letter, kernel) in self.lettered() {
            for note in kernel.advice.iter().chain(&kernel.notes) {
                writeln!(page, "- {letter}: {note}")?;
            }
        }
        Ok(page)
    }

    fn lettered(&self) -> impl Iterator<Item = (char, &Column)> {
        ('A'..='Z').zip(&self.kernels)
    }

    /// A line a type; gives what the numbers in it stand for.
    fn matrix(&self, page: &mut String) -> Result<Vec<String>> {
        let letters: String = self.lettered().map(|(letter, _)| format!(" {letter} |")).collect();
        let rule = "---|".repeat(self.kernels.len());
        writeln!(page, "\n| work type |{letters}\n|---|{rule}")?;
        let mut reasons: Vec<String> = Vec::new();
        let types = self.kernels.first().map_or(&[][..], |kernel| &kernel.types);
        for (index, (name, _)) in types.iter().enumerate() {
            write!(page, "| {name} |")?;
            for kernel in &self.kernels {
                let cell = kernel.types.get(index).map_or(RUNS, |(_, cell)| cell);
                let number = reasons.iter().position(|reason| reason == cell);
                match number {
                    _ if cell == RUNS => write!(page, " {RUNS} |")?,
                    Some(number) => write!(page, " no ({}) |", number + 1)?,
                    None => {
                        reasons.push(cell.to_owned());
                        write!(page, " no ({}) |", reasons.len())?;
                    }
                }
            }
            page.push('\n');
        }
        page.push('\n');
        Ok(reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(work_type: &str) -> WorkerReport {
        WorkerReport { work_type: work_type.to_owned(), work_units: 1, ..WorkerReport::default() }
    }

    #[test]
    fn the_scenario_has_a_step_a_type_and_is_one_that_can_run() {
        let types = WorkType::reference().unwrap();
        let text = scenario(&types, Duration::from_millis(100)).to_string();
        let scenario = workloads::Scenario::parse(&text).unwrap();
        assert_eq!(scenario.steps.len(), WorkType::ALL_NAMES.len());
    }

    #[test]
    fn a_type_runs_only_if_all_its_workers_did_what_was_asked() {
        let good = worker("SpinWait");
        assert_eq!(why_not([&good, &good].into_iter()), None);
        assert_eq!(why_not([].into_iter()).as_deref(), Some("not started"));
        let idle = WorkerReport { work_units: 0, ..good.clone() };
        assert_eq!(why_not([&good, &idle].into_iter()).as_deref(), Some("did no work"));
        let errors = [("fork: EAGAIN".to_owned(), 3)].into();
        let failing = WorkerReport { errors, ..good.clone() };
        assert_eq!(why_not([&failing].into_iter()).as_deref(), Some("fork: EAGAIN"));
        let in_memory = WorkerReport { io_target: Some("/tmp/x".into()), ..good.clone() };
        assert!(why_not([&in_memory].into_iter()).unwrap().contains("no disk"));
        let on_disk = WorkerReport { io_target: Some("/dev/vda".into()), ..good };
        assert_eq!(why_not([&on_disk].into_iter()), None);
    }

    #[test]
    fn a_page_numbers_each_reason_once() {
        let column = |spec: &str, cells: [&str; 3]| Column {
            spec: spec.into(),
            release: "7.3.4".into(),
            version: String::new(),
            qemu: "7.2".into(),
            verdict: Verdict::Pass,
            advice: None,
            features: vec!["eevdf".into()],
            notes: vec!["no tracefs".into()],
            types: ["A", "B", "C"].into_iter().zip(cells.map(String::from)).collect(),
        };
        let kernels =
            vec![column("one", [RUNS, "why", "why"]), column("two", [RUNS, RUNS, "else"])];
        let table = Table { date: "2026-01-02".into(), hold: "300ms".into(), kernels };
        let page = table.page().unwrap();
        let body = page.split_once("Made on ").unwrap().1;
        insta::assert_snapshot!(body, @r"
        2026-01-02, with 300ms a type, by QEMU 7.2.

        | | kernel | Linux | scheduler features | verdict |
        |---|---|---|---|---|
        | A | `one` | 7.3.4 | eevdf | pass |
        | B | `two` | 7.3.4 | eevdf | pass |

        | work type | A | B |
        |---|---|---|
        | A | runs | runs |
        | B | no (1) | runs |
        | C | no (1) | no (2) |

        1. why
        2. else

        What the guests remarked:

        - A: no tracefs
        - B: no tracefs
        ");
    }
}
