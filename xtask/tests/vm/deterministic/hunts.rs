//! `xtask hunt`: what fails is found, grouped and made smaller, a hunt goes on where it was ended,
//! and one that finds nothing says how much it has seen.

use crate::bench::{instead_of_qemu, run_and, signal, xtask};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Two CPUs cannot run four spinners without a pause that one spinner would not have.
const CROWDED: &str = r#"{"name":"crowded","duration":"60ms","workload":{"num_workers":4},
    "expect":{"max_gap":"1ms"}}"#;
const PAIRS: &str =
    r#"{"name":"pairs","duration":"60ms","workload":{"num_workers":4,"work_type":"PipeIo"}}"#;

fn hunt(scenario: &str, dir: &Path, args: &[&str]) -> Output {
    command(scenario, dir, args).output().unwrap()
}

fn command(scenario: &str, dir: &Path, args: &[&str]) -> Command {
    let config = dir.join("scenario.json");
    std::fs::write(&config, scenario).unwrap();
    let mut command = Command::new(xtask());
    command.arg("hunt").arg("--config").arg(config).arg("--out").arg(dir.join("hunt"));
    command.args(args);
    command
}

#[track_caller]
fn said(output: &Output, code: i32, texts: &[&str]) -> String {
    let all = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    assert_eq!(output.status.code(), Some(code), "{all}");
    for text in texts {
        assert!(all.contains(text), "no `{text}` in: {all}");
    }
    all
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_failure_is_found_grouped_made_smaller_and_not_sought_again() {
    let dir = tempfile::tempdir().unwrap();
    let args = |seeds| ["--seeds", seeds, "--tries", "3"];
    let first = hunt(CROWDED, dir.path(), &args("1..2"));
    let report = "2 seeds run, 2 failed in 1 group\n";
    let all = said(&first, 1, &[report, "2 different schedules", "fail: max_gap", "2 seeds: 1, 2"]);
    assert!(all.contains("run twice, with the same bytes: 1"), "{all}");

    let folder = dir.path().join("hunt");
    let group = json(&folder.join("groups/fail-seed-1/group.json"));
    let smallest = Path::new(group["smallest"].as_str().unwrap());
    let scenario = json(&smallest.join("scenario.json"));
    let size = |of: &Value| of["workload"]["num_workers"].as_u64().unwrap();
    let cpus = scenario["machine"]["cpus"].as_u64().unwrap();
    assert!(size(&scenario) < 4 || cpus < 2, "{scenario}");
    assert_eq!(json(&smallest.join("report.json"))["verdict"], "fail");
    let second = json(&folder.join("runs/seed-2/scenario.json"));
    assert_eq!((&second["stagger"], &second["seed"]), (&"5ms".into(), &2.into()), "{second}");
    let again = group["replay"].as_str().unwrap();
    assert!(
        again.starts_with("cargo xtask vm --deterministic --schedule-hash --config /"),
        "{again}"
    );
    let words = again.split_whitespace().skip(2);
    let mut replay = Command::new(xtask());
    replay.args(words).arg("--out").arg(dir.path().join("again"));
    assert_eq!(replay.output().unwrap().status.code(), Some(1));
    for file in ["report.json", "console.log"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert!(read(smallest) == read(&dir.path().join("again")), "{file}");
    }

    let bundle = group["bundle"].as_str().unwrap();
    let shown = Command::new(xtask()).args(["bundle", "show", bundle]).output().unwrap();
    said(&shown, 0, &["with seed 1: fail: max_gap", "What was seen: fail"]);

    // Killed in the middle of a line; one more seed is asked for.
    let results = folder.join("results.jsonl");
    let text = std::fs::read_to_string(&results).unwrap() + "{\"seed\":3,\"ver";
    std::fs::write(&results, text).unwrap();
    let on = hunt(CROWDED, dir.path(), &args("1..3"));
    let all = said(&on, 1, &["1 of 3 seeds are to be run", "3 seeds: 1, 2, 3"]);
    assert!(!all.contains("making seed"), "{all}");

    let other = hunt(CROWDED, dir.path(), &["--duration", "61ms"]);
    said(&other, 2, &["results of another scenario, kernel", "--out"]);
}

#[test]
fn what_fails_on_the_sound_kernel_too_is_not_made_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--seeds", "1", "--passes-on", "bookworm"];
    let output = hunt(CROWDED, dir.path(), &args);
    let all = said(&output, 1, &["1 failed in 1 group", "  fail on `bookworm` too\n"]);
    assert!(all.contains("  not made smaller\n") && !all.contains("--passes-on"), "{all}");
    let group = dir.path().join("hunt/groups/fail-seed-1");
    assert!(group.join("fail-seed-1.tar.zst").exists() && !group.join("elsewhere").exists());
}

#[test]
fn a_hunt_that_finds_nothing_says_how_many_schedules_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--seeds", "1..4", "--shard", "1/2", "--cpus", "1", "--stagger", "2ms"];
    let output = hunt(PAIRS, dir.path(), &args);
    let all = said(&output, 0, &["2 seeds run, 0 failed", "2 different schedules", "seed 1: pass"]);
    assert!(all.contains("seed 3: pass") && !all.contains("seed 2"), "{all}");
    assert!(all.contains(" a minute, 0 failed, "), "{all}");
    let runs = dir.path().join("hunt/runs");
    assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0, "passing runs leave a line only");
}

#[test]
fn an_interrupted_hunt_keeps_its_seeds_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--seeds", "1..2", "--jobs", "1"];
    let ended = run_and(command(PAIRS, dir.path(), &args), "] seed 1: pass", |xtask| {
        signal(i32::try_from(xtask).unwrap(), Signal::INT);
    });
    said(&ended, 130, &["interrupted: the same command goes on from here"]);
    let on = hunt(PAIRS, dir.path(), &args);
    let all =
        said(&on, 0, &["1 of 2 seeds are to be run", "2 seeds run, 0 failed", "seed 2: pass"]);
    assert!(!all.contains("seed 1: pass"), "{all}");
}

#[test]
fn a_seed_that_is_not_the_same_twice_ends_the_hunt() {
    let dir = tempfile::tempdir().unwrap();
    // Its time is another one from the second run on.
    let script = format!(
        "for arg; do shift; [ ! -e {}/hunt/runs/seed-1-again ] || \
         arg=$(printf %s \"$arg\" | sed 's/^shift=2,/shift=3,/'); set -- \"$@\" \"$arg\"; done\n\
         PATH=${{PATH#*:}} exec qemu-system-x86_64 \"$@\"\n",
        dir.path().display()
    );
    let mut command = command(PAIRS, dir.path(), &["--seeds", "1..3", "--jobs", "1"]);
    let path = instead_of_qemu(dir.path(), &script);
    let output = command.env("PATH", path).output().unwrap();
    let broken = "PROMISE BROKEN: seed 1 was run twice and gave other bytes: ";
    let all = said(&output, 4, &[broken, "console.log, line "]);
    assert!(!all.contains("seed 2"), "{all}");
    for run in ["seed-1", "seed-1-again"] {
        assert!(dir.path().join("hunt/runs").join(run).join("report.json").exists(), "{all}");
    }
}

#[test]
fn what_no_seed_could_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (args, text) in [
        (["--seeds", "9..1"], "no seed and no range"),
        (["--shard", "3/2"], "no shard"),
        (["--stagger", "60ms"], "`stagger` is 60ms"),
        (["--disk", "1025K"], "whole MiB"),
    ] {
        said(&hunt(CROWDED, dir.path(), &args), 2, &[text]);
    }
    assert!(!dir.path().join("hunt").exists());
}
