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
    let texts = [
        "every difference is real",
        "of the same name",
        "differs by more than the limit: throughput\n",
    ];
    said(&both, 1, &texts);
    said(&compare(&[&a, &b, "--threshold", "throughput=90%"]), 0, &["worse"]);
    said(&compare(&[&b, &a, "--threshold", "throughput=20%"]), 0, &["better"]);
    said(&compare(&[&a, &a, "--threshold", "0%"]), 0, &["\nno difference in "]);

    let dir = tempfile::tempdir().unwrap();
    let baseline = dir.path().join("baseline.json");
    let baseline = baseline.to_str().unwrap();
    said(&compare(&[&a, "--save", baseline]), 0, &[]);
    said(&compare(&[baseline, &a, "--threshold", "0%"]), 0, &["\nno difference in "]);
    let against = compare(&[baseline, &b, "--threshold", "20%", "--json"]);
    said(&against, 1, &["\"basis\": \"exact\"", "\"exceeded\": ["]);
    said(&compare(&[baseline, &b, "--repeat", "2"]), 2, &["a baseline cannot be run again"]);
    said(&compare(&[&a, "/nowhere"]), 2, &["read_dir(`/nowhere`) failed", "--save"]);
    said(&compare(&[&a, &b, "--max-change", "0%"]), 1, &["differs by more than the limit"]);
    said(&compare(&[&a, &a, "--max-change", "0%"]), 0, &["within the limit"]);
    said(&compare(&[&a, &b, "--threshold", "lock_p99=5%"]), 2, &["A has no `lock_p99`"]);

    // A folder of two different runs is no side.
    let mixed = dir.path().join("mixed");
    for (number, run) in [("1", &one), ("2", &other)] {
        std::fs::create_dir_all(mixed.join(number)).unwrap();
        std::fs::copy(run.file("report.json"), mixed.join(number).join("report.json")).unwrap();
    }
    let mixed = compare(&[&a, mixed.to_str().unwrap()]);
    said(&mixed, 2, &["are not runs of one guest: another scenario"]);

    // What B lost is no agreement.
    let lost = dir.path().join("lost");
    std::fs::create_dir(&lost).unwrap();
    let altered = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut report = one.json("report.json");
        change(&mut report);
        std::fs::write(lost.join("report.json"), report.to_string()).unwrap();
        compare(&[&a, lost.to_str().unwrap(), "--threshold", "90%"])
    };
    let hung = altered(&|report| report["verdict"] = "hang".into());
    said(&hung, 4, &["B has no values, so that nothing was compared"]);
    let failed = altered(&|report| {
        report["verdict"] = "fail".into();
        report["checks"][0]["outcome"] = "fail".into();
    });
    said(&failed, 1, &["B ended worse than A: A 1 pass; B 1 fail"]);
    let silent = altered(&|report| {
        let workers = report["workers"].as_array_mut().unwrap();
        workers.iter_mut().for_each(|worker| worker["latency"] = serde_json::json!({}));
    });
    said(&silent, 1, &["B lacks what A has: wake_p50, wake_p99"]);
}

#[test]
fn runs_again_are_of_the_recorded_guest_whoever_made_them() {
    let scenario = r#"{"name":"pairs","duration":"200ms","workload":{"num_workers":2,
        "work_type":{"FutexPingPong":{"spin_iters":1024}}}}"#;
    let shape = ["--config-via", "initramfs", "--topology", "1s2c1t", "--icount-shift", "3"];
    let one = Vm::deterministic(scenario).args(shape).run();
    one.expect("pass", 0);
    let folder = one.file("").to_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("again");
    let again = compare(&[&folder, &folder, "--repeat", "2", "--out", out.to_str().unwrap()]);
    said(&again, 0, &["a 1 of 2: pass", "b 2 of 2: pass", "--repeat"]);
    let of = |name: &str| std::fs::read(out.join(name).join("report.json")).unwrap();
    assert!(of("a/1") == of("b/1") && of("a/2") == of("b/2"));
    assert!(of("a/1") != of("a/2"), "another seed is another run");
    // A folder of such runs, whose command line is not that of `vm`.
    let [a, b] = ["a", "b"].map(|side| out.join(side).to_str().unwrap().to_owned());
    said(&compare(&[&a, &b, "--max-change", "0%"]), 0, &["which are exact, 0 of "]);
    let third = dir.path().join("third");
    let ran = compare(&[&a, &b, "--repeat", "1", "--out", third.to_str().unwrap()]);
    said(&ran, 0, &["b 1 of 1: pass", "deterministic, icount shift 3", "\nno difference"]);
    assert!(std::fs::read(third.join("b/1/report.json")).unwrap() == of("a/1"));
    // What is no longer as it was is not booted.
    let boot = out.join("a/2/boot.json");
    let text = std::fs::read_to_string(&boot).unwrap();
    let other = text.replacen("\"1s2c1t\"", "\"1s1c2t\"", 1);
    assert_ne!(text, other);
    std::fs::write(&boot, other).unwrap();
    let again = |a: &str, texts: &[&str]| said(&compare(&[a, &b, "--repeat", "1"]), 2, texts);
    again(&a, &["not runs of one guest: another machine"]);
    again(&format!("{a}/2"), &["boots guests otherwise than the one of"]);
    let host = out.join("a/1/host.json");
    let mut facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&host).unwrap()).unwrap();
    facts["kernel_image"] = facts["initramfs"].clone();
    std::fs::write(&host, facts.to_string()).unwrap();
    again(&format!("{a}/1"), &["which the run was booted with, has changed since"]);
}
