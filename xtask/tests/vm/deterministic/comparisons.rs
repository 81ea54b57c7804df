//! `xtask compare` on runs of guests: twice the work is a difference that gates, a run against
//! itself is none, and a baseline stands for its run.

use crate::bench::{Run, Vm, xtask};
use std::process::{Command, Output};

fn run(spin_iters: u32) -> Run {
    let scenario = format!(
        r#"{{"name":"pairs","duration":"200ms","workload":{{"num_workers":4,
            "work_type":{{"FutexPingPong":{{"spin_iters":{spin_iters}}}}}}}}}"#
    );
    Vm::deterministic(&scenario).run()
}

fn compare(args: &[&str]) -> Output {
    Command::new(xtask()).arg("compare").args(args).output().unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32, texts: &[&str]) {
    let all = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    assert_eq!(output.status.code(), Some(code), "{all}");
    for text in texts {
        assert!(all.contains(text), "no `{text}` in: {all}");
    }
}

#[test]
fn twice_the_work_is_a_difference_and_a_run_against_itself_is_none() {
    let (one, other) = (run(4096), run(8192));
    one.expect("pass", 0);
    other.expect("pass", 0);
    let folder = |run: &Run| run.file("").to_str().unwrap().to_owned();
    let (a, b) = (folder(&one), folder(&other));
    let both = compare(&[&a, &b, "--threshold", "throughput=20%"]);
    let texts = ["every difference is real", "worse by more than the threshold: throughput\n"];
    said(&both, 1, &texts);
    said(&compare(&[&a, &b, "--threshold", "throughput=90%"]), 0, &["worse"]);
    said(&compare(&[&b, &a, "--threshold", "throughput=20%"]), 0, &["better"]);
    said(&compare(&[&a, &a, "--threshold", "0%"]), 0, &["\nno difference\n"]);

    let dir = tempfile::tempdir().unwrap();
    let baseline = dir.path().join("baseline.json");
    let baseline = baseline.to_str().unwrap();
    said(&compare(&[&a, "--save", baseline]), 0, &[]);
    said(&compare(&[baseline, &a, "--threshold", "0%"]), 0, &["\nno difference\n"]);
    let against = compare(&[baseline, &b, "--threshold", "20%", "--json"]);
    said(&against, 1, &["\"basis\": \"exact\"", "\"exceeded\": ["]);
    said(&compare(&[baseline, &b, "--repeat", "2"]), 2, &["a baseline cannot be run again"]);
    said(&compare(&[&a, "/nowhere"]), 2, &["read_dir(`/nowhere`) failed", "--save"]);
}

#[test]
fn runs_again_in_turn_have_a_seed_each() {
    let one = run(1024);
    let folder = one.file("").to_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("again");
    let again = compare(&[&folder, &folder, "--repeat", "2", "--out", out.to_str().unwrap()]);
    said(&again, 0, &["a 1 of 2: pass", "b 2 of 2: pass", "fewer than 6 runs a side"]);
    let of = |name: &str| std::fs::read(out.join(name).join("report.json")).unwrap();
    assert!(of("a/1") == of("b/1") && of("a/2") == of("b/2"));
    assert!(of("a/1") != of("a/2"), "another seed is another run");
}
