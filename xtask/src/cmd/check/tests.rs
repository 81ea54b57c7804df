//! Scenario files looked at through the command line's own arguments.

use super::{Outcome, look_at, look_at_all, table};
use crate::cli::{CheckArgs, Cli, Command};
use crate::error::exit;
use clap::Parser as _;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;
use workloads::Scenario;

const RICH: &str = r#"{"name":"rich","purpose":"all of it","warmup":"500ms",
    "workload":{"num_workers":8,"work_type":{"Bursty":{"burst_duration":"2ms"}},
        "composed":[{"num_workers":2,"nice":10,"pcomm":"java"}]},
    "cgroups":[{"name":"web/front","cpuset":{"Exact":[0,1]},"mems":[0],
        "cpu":{"weight":300,"max":{"quota":"50ms"}},"memory":{"max":"64M"},
        "works":[{"workers_pct":100,"work_type":"PipeIo","affinity":"SingleCpu"}]}],
    "steps":[{"name":"calm","hold":{"Time":"2s"}},
        {"hold":{"Time":"1s"},"expect":{"max_gap":"1s"},"ops":[
            {"AddCgroup":{"name":"x","works":[{"work_type":"Mixed","sched_policy":{"Fifo":9}}]}},
            {"CpuOffline":1}]},
        {"hold":{"Loop":{"interval":"100ms","time":"1s"}},
            "ops":[{"SetCpu":{"cgroup":"web","cpu":{"weight":10}}}]}],
    "expect":{"fairness_min":0.5,"applied":false,"latency":{"wake":{"p50":"1ms"}}}}"#;

/// Files with these texts, and the arguments that name them after `options`.
fn files(texts: &[&str], options: &[&str]) -> (CheckArgs, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = |(at, text): (usize, &&str)| {
        let path = dir.path().join(format!("{at}.json"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = texts.iter().enumerate().map(file).collect();
    let words = ["xtask", "check"].iter().chain(options).map(PathBuf::from).chain(paths);
    match Cli::parse_from(words).command {
        Command::Check(args) => (*args, dir),
        other => panic!("{other:?}"),
    }
}

fn looked_at(text: &str, options: &[&str]) -> (Outcome, u8) {
    let (args, _dir) = files(&[text], options);
    look_at(&args.files[0], &args)
}

fn printed(text: &str, options: &[&str]) -> String {
    match looked_at(text, options).0 {
        Outcome::Checked { scenario, plan, .. } => {
            let mut out = Vec::new();
            table::print("f.json", &scenario, &plan, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
        Outcome::Refused { error, .. } => panic!("{error}"),
    }
}

/// Words of the line in `text` whose first words are `begin`.
#[track_caller]
fn line(text: &str, begin: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = text.lines().map(words).find(|line| line.starts_with(begin));
    line.unwrap_or_else(|| panic!("no `{begin}` in\n{text}"))
}

#[test]
fn a_plan_is_shown_from_the_machine_to_the_expectations() {
    let text = printed(RICH, &["--topology", "2s2c", "--numa", "2"]);
    for expected in [
        "f.json: ok",
        "rich: all of it",
        "4s and what operations take after a warm-up of 500ms, seed 0",
        "4 CPUs (2s2c1t), 1024 MiB",
        "node 1: llc 1: CPUs 2-3, a core each",
        "note: its operations change the machine",
        "web 0-3 (of its parent) - - -",
        "web/front 0-1 0 300 50ms in 100ms memory.max 64M",
        "0 / at once Bursty 8 - processes Normal - any burst_duration 2ms",
        "1 / at once SpinWait 2 - threads of java Normal 10 any",
        // A worker for each of its two CPUs, all on the first of them.
        "2 web/front at once PipeIo 2 1 of 2 processes Normal - 0 burst_iters 1024",
        "3 x step 1 Mixed 1 - processes Fifo 9 - any",
        "calm 0s 2s - -",
        "1 2s 1s AddCgroup x x is made",
        "x: set 3 begins, 1 x Mixed",
        "CpuOffline 1 CPU 1 goes off line",
        "2 3s 1s, 10 rounds of 100ms SetCpu cgroup web, cpu weight 10 web: cpu.weight = 10",
        "fairness_min the run 0.5",
        "applied the run not looked at",
        "latency.wake.p50 the run 1ms",
        "max_gap step 1 1s",
    ] {
        assert!(line(&text, expected).starts_with(expected), "{text}");
    }
}

#[test]
fn a_plain_workload_has_no_empty_tables() {
    let text = printed("{}", &[]);
    assert!(!text.contains("cgroup   CPUs") && !text.contains("what changes"), "{text}");
    let by_number = printed(r#"{"iterations":7,"seed":3}"#, &[]);
    line(&by_number, "7 iterations a worker, at most 1m, seed 3");
}

#[test]
fn what_the_machine_lacks_is_refused_with_its_place() {
    let text = "{\n\"affinity\":{\"Exact\":[3]}}";
    let (Outcome::Refused { error, .. }, code) = looked_at(text, &[]) else { panic!("taken") };
    assert!(error.contains("line 2 column 12") && error.contains("CPUs 3 are not"), "{error}");
    assert_eq!(code, exit::BAD_INPUT);
    assert_eq!(looked_at(text, &["--cpus", "4"]).1, exit::PASS);
}

#[test]
fn one_refused_file_of_several_is_enough_and_all_are_looked_at() {
    let (args, _dir) = files(&["{", "{}", "{\"sed\":1}", "{}"], &[]);
    let (outcomes, code) = look_at_all(&args);
    let refused: Vec<bool> =
        outcomes.iter().map(|outcome| matches!(outcome, Outcome::Refused { .. })).collect();
    assert_eq!((refused.as_slice(), code), (&[true, false, true, false][..], exit::BAD_INPUT));
    let (args, _dir) = files(&["{}", "{}"], &[]);
    assert_eq!(look_at_all(&args).1, exit::PASS);
}

#[test]
fn json_has_the_scenario_as_it_was_read_and_the_plan() {
    let (outcome, _) = looked_at(RICH, &["--cpus", "4", "--seed", "9"]);
    let json = serde_json::to_value(outcome).unwrap();
    let scenario: Scenario = serde_json::from_value(json["scenario"].clone()).unwrap();
    assert_eq!(scenario, Scenario { seed: 9, ..Scenario::parse(RICH).unwrap() });
    assert_eq!(json["plan"]["sets"][2]["workers"], 2);
    assert_eq!(json["plan"]["cgroups"][1]["cpus"], "0-1");
    assert_eq!(json["plan"]["steps"][2]["rounds"], 10);
    assert_eq!(json["plan"]["sets"][3]["sched_policy"]["Fifo"], 9);
    let (refused, _) = looked_at("[]", &[]);
    let json = serde_json::to_value(refused).unwrap();
    assert!(json["error"].as_str().unwrap().contains("line 1") && json["plan"] == Value::Null);
}

#[test]
fn a_work_type_of_the_command_line_is_planned_with() {
    let text = printed(r#"{"num_workers":4}"#, &["--work-type", "PipeIo"]);
    line(&text, "0 / at once PipeIo 4 2 of 2");
    let odd = printed(r#"{"num_workers":3}"#, &["--work-type", "PipeIo"]);
    line(&odd, "note: workload keeps its work type");
    line(&odd, "0 / at once SpinWait 3");
    let custom = printed(r#"{"work_type":{"Custom":{"name":"mine"}}}"#, &[]);
    line(&custom, "note: `mine` is a function of yours");
}
