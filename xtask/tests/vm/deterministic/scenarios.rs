//! The ready scenarios: each passes in deterministic mode, and everything it expects was measured.

use crate::bench::Vm;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Scenarios in which schedulers differ most from kernel to kernel.
const TELLING: &[&str] = &["cgroup-weights", "freezer", "rt-starvation"];
/// How long those run here that people run for longer.
const SHORTENED: &[(&str, &str)] = &[("wake", "500ms"), ("io", "500ms")];

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

/// What is wrong with a run of `file` on `kernel`, if anything is.
fn fault(kernel: &str, file: &Path) -> Option<String> {
    let name = stem(file);
    let scenario = std::fs::read_to_string(file).unwrap();
    let shortened = SHORTENED.iter().find(|(of, _)| *of == name);
    let length = shortened.map(|(_, length)| ["--duration", length]).into_iter().flatten();
    let vm = Vm::new(&scenario).args(["--deterministic", "--kernel", kernel]).args(length);
    let run = vm.run();
    let report = match run.code {
        0 => run.json("report.json"),
        code => return Some(format!("{name} on {kernel}: exit {code}\n{}", run.stdout)),
    };
    let checks = report["checks"].as_array().unwrap();
    let open: Vec<&Value> = checks.iter().filter(|check| check["outcome"] != "pass").collect();
    let passed = report["verdict"] == "pass" && open.is_empty() && !checks.is_empty();
    (!passed).then(|| format!("{name} on {kernel}: {}, {open:?}", report["verdict"]))
}

/// Runs all, so that one that fails does not hide the others.
#[track_caller]
fn assert_passes(kernel: &str, wanted: impl Fn(&str) -> bool) {
    let files = files();
    let wanted: Vec<_> = files.iter().filter(|file| wanted(stem(file))).collect();
    assert!(wanted.len() >= TELLING.len(), "{wanted:?}");
    let faults: Vec<_> = wanted.into_iter().filter_map(|file| fault(kernel, file)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// In two tests, so that they run side by side.
#[test]
fn ready_scenarios_from_a_to_h_pass_on_the_default_kernel() {
    assert_passes("trixie-backports", |name| name < "i");
}

#[test]
fn ready_scenarios_from_i_on_pass_on_the_default_kernel() {
    assert_passes("trixie-backports", |name| name >= "i");
}

#[test]
fn telling_scenarios_pass_on_eevdf_without_sched_ext() {
    assert_passes("trixie", |name| TELLING.contains(&name));
}

#[test]
fn telling_scenarios_pass_on_cfs() {
    assert_passes("bookworm", |name| TELLING.contains(&name));
}
