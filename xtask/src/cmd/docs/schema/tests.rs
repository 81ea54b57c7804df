//! The schemas in the hands of a validator that is not ours.

use super::mutants::mutants;
use super::samples::samples;
use super::{report, scenario};
use crate::report::{KernelFacts, MachineFacts, RunReport, totals};
use crate::run::{Splat, Verdict};
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use workloads::{Check, Outcome, RunRecord, Scenario, Topology, WorkerReport, WorkloadConfig};

/// A compiled schema.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn of(name: &str) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let files = [("scenario.schema.json", scenario()), ("report.schema.json", report())];
        for (file, text) in files {
            let json = serde_json::from_str(&text.unwrap()).unwrap();
            compiler.add_resource(&format!("file:///schema/{file}"), json).unwrap();
        }
        let index = compiler.compile(&format!("file:///schema/{name}"), &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// Why `value` is refused, if it is.
    fn refusal(&self, value: &Value) -> Option<String> {
        let refused = self.schemas.validate(value, self.index).err();
        refused.map(|error| format!("{error:#}"))
    }

    #[track_caller]
    fn accept(&self, value: &Value, what: impl std::fmt::Display) {
        if let Some(why) = self.refusal(value) {
            panic!("{what}: {why}\n{value:#}");
        }
    }
}

fn scenarios() -> Validator {
    Validator::of("scenario.schema.json")
}

fn reports() -> Validator {
    Validator::of("report.schema.json")
}

fn repo() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn json_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let deeper = |path: PathBuf| if path.is_dir() { json_files(&path) } else { vec![path] };
    let files = entries.flat_map(deeper);
    files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect()
}

/// The objects that a page shows as fenced or indented blocks.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repo().join(page)).unwrap();
    let plain = text.replace("```json\n", "\u{1}").replace("\n```", "\u{1}");
    let fenced = plain.split('\u{1}').skip(1).step_by(2).map(str::to_owned);
    let lines: Vec<&str> = text.lines().collect();
    let runs = lines.chunk_by(|a, b| a.starts_with("    ") && b.starts_with("    "));
    let objects = runs.filter(|run| run[0].starts_with("    {"));
    fenced.chain(objects.map(|run| run.join("\n"))).collect()
}

#[test]
fn every_scenario_and_example_is_valid_and_so_is_what_it_resolves_to() {
    let validator = scenarios();
    let files = [json_files(&repo().join("scenarios")), json_files(&repo().join("examples"))];
    assert!(files.iter().all(|files| !files.is_empty()), "{files:?}");
    let read = |file: PathBuf| (file.display().to_string(), std::fs::read_to_string(file).unwrap());
    let files = files.into_iter().flatten().map(read);
    let pages = ["README.md", "docs/work-types.md"].map(|page| (page, blocks(page)));
    assert!(pages.iter().all(|(_, blocks)| !blocks.is_empty()));
    let blocks = pages
        .into_iter()
        .flat_map(|(page, blocks)| blocks.into_iter().map(move |block| (page.to_owned(), block)));
    for (place, text) in files.chain(blocks) {
        validator.accept(&serde_json::from_str(&text).unwrap(), &place);
        let scenario =
            Scenario::parse(&text).unwrap_or_else(|why| panic!("{place}: {why}\n{text}"));
        validator.accept(&serde_json::to_value(scenario).unwrap(), format!("{place}, resolved"));
    }
}

/// The scenario that has everything, and all other kinds of scenario.
fn samples_of_scenarios() -> Vec<Value> {
    let schema = serde_json::from_str(&scenario().unwrap()).unwrap();
    let mut all = samples(&schema, &schema);
    // Taken out of the text before serde sees it.
    all.iter_mut().filter_map(Value::as_object_mut).for_each(|all| drop(all.remove("$schema")));
    all
}

#[test]
fn what_the_schema_allows_is_read() {
    let validator = scenarios();
    let all = samples_of_scenarios();
    assert!(all.len() > 50, "{}", all.len());
    for sample in all {
        validator.accept(&sample, "a sample");
        let bare = || serde_json::from_value::<WorkloadConfig>(sample.clone()).map(drop);
        // Rules may be broken, but no field is taken for one of the other kind of file.
        if let Err(why) = Scenario::parse(&sample.to_string()) {
            assert!(!why.message.starts_with("unknown field"), "{why}: {sample:#}");
        }
        let whole = serde_json::from_value::<Scenario>(sample.clone()).map(drop);
        if let Err(why) = whole.or_else(|why| bare().map_err(|bare| format!("{why}; {bare}"))) {
            panic!("{why}: {sample:#}");
        }
    }
}

#[test]
fn what_serde_refuses_the_schema_refuses_and_little_else() {
    let validator = scenarios();
    let whole = samples_of_scenarios().swap_remove(0);
    let (mut refused, mut taken) = (0, 0);
    for mutant in mutants(&whole) {
        let read = serde_json::from_value::<Scenario>(mutant.document.clone());
        let refusal = validator.refusal(&mutant.document);
        let now = mutant.document.pointer(&mutant.place);
        let place = &mutant.place;
        match (&read, &refusal) {
            (Err(why), None) => panic!("{place} {now:?} is allowed, but {why}"),
            (Err(_), Some(_)) => refused += 1,
            (Ok(_), None) => taken += 1,
            // A bound of `xtask check`.
            (Ok(_), Some(_)) if mutant.was.is_number() => {}
            // serde reads the fields of a struct from a list too.
            (Ok(_), Some(_)) if now.is_some_and(Value::is_array) => {}
            (Ok(_), Some(why)) => panic!("{place} {now:?} can be read, but {why}"),
        }
    }
    assert!(refused > 1000 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn wrong_files_are_refused_for_what_is_wrong_with_them() {
    let validator = scenarios();
    for (text, place, why) in [
        (r#"{"sed":1}"#, "", "'sed' not allowed"),
        (r#"{"workload":{"num_worker":2}}"#, "/workload", "'num_worker' not allowed"),
        (r#"{"workload":{"$schema":"x"}}"#, "/workload", "'$schema' not allowed"),
        (r#"{"seed":"1"}"#, "/seed", "want integer"),
        (r#"{"seed":-1}"#, "/seed", "must be >=0"),
        (r#"{"duration":"5"}"#, "/duration", "does not match pattern"),
        (r#"{"work_type":"SpinWiat"}"#, "/work_type", "'SpinWait'"),
        (r#"{"work_type":"Custom"}"#, "/work_type", "want object"),
        (r#"{"work_type":{"Custom":{}}}"#, "/work_type/Custom", "missing properties 'name'"),
        (r#"{"work_type":{"Mixed":{},"SpinWait":{}}}"#, "/work_type", "'Mixed' not allowed"),
        (r#"{"work_type":{"PipeIo":{"burst":1}}}"#, "/work_type/PipeIo", "'burst' not allowed"),
        (r#"{"mpol_flags":["STATIC"]}"#, "/mpol_flags/0", "'STATIC_NODES'"),
        (r#"{"sched_policy":{"Fifo":99}}"#, "/sched_policy/Fifo", "must be <=98"),
        (r#"{"nice":20}"#, "/nice", "must be <=19"),
        (r#"{"uid":4294967295}"#, "/uid", "must be <=4294967294"),
        (r#"{"expect":{"fairness_min":1.5}}"#, "/expect/fairness_min", "must be <=1"),
        (r#"{"cgroups":[{"memory":{"max":"64MB"}}]}"#, "/cgroups/0/memory/max", "pattern"),
        (r#"{"cgroups":[{"cpuset":{"Exact":"0-x"}}]}"#, "/cgroups/0/cpuset/Exact", "pattern"),
        (r#"{"cgroups":[{"cpu":{"max":{}}}]}"#, "/cgroups/0/cpu/max", "properties 'quota'"),
        (r#"{"steps":[{"hold":{"Fraction":0}}]}"#, "/steps/0/hold/Fraction", "must be > 0"),
        (r#"{"steps":[{"ops":[{"Thaw":"a","Freeze":"a"}]}]}"#, "/steps/0/ops/0", "not allowed"),
    ] {
        let refusal = validator.refusal(&serde_json::from_str(text).unwrap()).unwrap_or_default();
        let at_place = |line: &&str| line.trim_start().starts_with(&format!("- at '{place}' "));
        assert!(
            refusal.lines().filter(at_place).any(|line| line.contains(why)),
            "{text}: {refusal}"
        );
        let planned =
            Scenario::parse(text).map(|scenario| scenario.plan(&Topology::flat(2)).is_ok());
        assert!(!planned.unwrap_or(false), "{text}");
    }
}

#[test]
fn durations_are_those_that_can_be_read() {
    let validator = scenarios();
    for text in [
        "5s",
        " 1h  30min ",
        "1m30s",
        "1.5s",
        "2 us",
        "3\u{b5}s",
        "7nanos",
        "1M",
        "2 years",
        "0s",
        "",
        "5",
        "s",
        "5 parsecs",
        "1,5s",
        "-1s",
        "1s!",
        "1. s",
        ".5s",
        "5S",
        "1e3s",
    ] {
        let allowed = validator.refusal(&json!({ "duration": text })).is_none();
        let read = serde_json::from_value::<Scenario>(json!({ "duration": text }));
        assert_eq!(allowed, read.is_ok(), "`{text}`: {read:?}");
    }
}

/// A worker of whom everything is known.
fn known_worker(schema: &Value) -> WorkerReport {
    let sample = samples(schema, &schema["$defs"]["WorkerReport"]).swap_remove(0);
    serde_json::from_value(sample).unwrap()
}

fn a_report(workers: Vec<WorkerReport>) -> RunReport {
    RunReport {
        schema: 1,
        verdict: Verdict::BootFailed,
        advice: Some("text".into()),
        kernel: KernelFacts {
            tainted: Some(0),
            release: "7.3".into(),
            version: "#1".into(),
            sha256: "00".into(),
            package: None,
            args: Some(vec!["preempt=lazy".into()]),
            features: vec!["eevdf".into()],
            modules: Vec::new(),
            missing_modules: Vec::new(),
        },
        machine: MachineFacts {
            cpus: 2,
            topology: "1s2c1t".into(),
            nodes: 1,
            threads_per_core: None,
            llcs: vec!["0-1".into()],
            numa: Vec::new(),
            icount_shift: None,
            memory_mib: 1024,
            accel: "tcg".into(),
            hypervisor: Some("TCGTCGTCGTCG".into()),
            cpu_model: Some("max".into()),
            deterministic: false,
            qemu: "7.2".into(),
            clocksource: None,
        },
        scheduler: None,
        scenario: Scenario::parse("{}").unwrap(),
        scenario_source: None,
        checks: vec![Check {
            name: "wake_p99".into(),
            step: Some(0),
            outcome: Outcome::Inconclusive,
            measured: None,
            bound: Some(0.5),
            unit: "ns".into(),
            workers: vec![0],
            detail: "text".into(),
        }],
        record: RunRecord { cgroups: BTreeMap::new(), ..RunRecord::default() },
        totals: totals(&workers, None, None),
        workers,
        splats: vec![Splat { name: "bug".into(), line: 1, text: "BUG".into(), allowed_by: None }],
        notes: Vec::new(),
    }
}

#[test]
fn a_report_is_valid_and_may_have_more() {
    let schema: Value = serde_json::from_str(&report().unwrap()).unwrap();
    let validator = reports();
    let workers = vec![WorkerReport::default(), known_worker(&schema)];
    let mut made = serde_json::to_value(a_report(workers)).unwrap();
    validator.accept(&made, "a report");
    made["added"] = json!(1);
    made["workers"][0]["added"] = json!(1);
    validator.accept(&made, "a report of tomorrow");
}

#[test]
fn what_is_no_report_is_refused() {
    let validator = reports();
    let made = serde_json::to_value(a_report(vec![WorkerReport::default()])).unwrap();
    for (place, wrong, why) in [
        ("/schema", json!(2), "must be 1"),
        ("/verdict", json!("passed"), "must be"),
        ("/workers/0/iterations", Value::Null, "want integer"),
        ("/scenario/workload/nice", json!(20), "must be <=19"),
        ("/scenario/sed", json!(1), "not allowed"),
    ] {
        let mut wronged = made.clone();
        match wronged.pointer_mut(place) {
            Some(value) => *value = wrong,
            None => {
                let (object, field) = place.rsplit_once('/').unwrap();
                wronged.pointer_mut(object).unwrap()[field] = wrong;
            }
        }
        let refusal = validator.refusal(&wronged).unwrap_or_default();
        assert!(refusal.contains(why), "{place}: {refusal}");
    }
    for field in made.as_object().unwrap().keys() {
        let mut wronged = made.clone();
        wronged.as_object_mut().unwrap().remove(field);
        let refusal = validator.refusal(&wronged).unwrap_or_default();
        assert!(refusal.contains(&format!("missing properties '{field}'")), "{refusal}");
    }
}

#[test]
fn the_guest_is_built_without_schemas() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--package", "guest-init", "--edges", "normal", "--prefix", "none"])
        .current_dir(repo())
        .output()
        .unwrap();
    let crates = String::from_utf8(tree.stdout).unwrap();
    assert!(crates.contains("\nworkloads v") && !crates.contains("schemars"), "{crates}");
}
