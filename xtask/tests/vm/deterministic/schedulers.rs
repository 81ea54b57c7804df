//! Each fault of a sched_ext scheduler with its verdict, the same bytes each time; swaps in the
//! middle of a run; bundles.

use crate::bench::{Run, Vm, of_workers, test_scheduler, xtask};
use serde_json::{Value, json};
use std::process::Command;

const NEW: &str = "debian:trixie-backports/cloud-amd64";
/// Longer than the watchdog's 5 s.
const LONG: &str = r#"{"duration":"20s","workload":{"num_workers":4,"work_type":"PipeIo"}}"#;
const SHORT: &str = r#"{"duration":"300ms","workload":{"num_workers":4,"work_type":"PipeIo"}}"#;

fn vm(scenario: &str) -> Vm {
    let args = ["--deterministic", "--kernel", NEW, "--scheduler", test_scheduler()];
    Vm::new(scenario).args(args)
}

fn under(scenario: &str, args: &[&str]) -> Run {
    vm(scenario).args(["--"]).args(args.iter().copied()).run()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

/// A fault in the kernel's half: ejected for `reason`, soon, with the reports of what ran.
#[track_caller]
fn ejected(fault: &str, reason: &str) -> (Run, Value) {
    let run = under(LONG, &["--fault", fault]);
    let report = run.expect("scheduler-ejected", 4);
    let advice = report["advice"].as_str().unwrap();
    assert!(advice.contains(reason), "{advice}");
    let exit = &report["scheduler"]["exit"];
    assert_eq!((&exit["kind"], &exit["reason"]), (&"ejected".into(), &reason.into()), "{exit}");
    assert_eq!(exit["fell_back"], true);
    assert_eq!(report["workers"].as_array().unwrap().len(), 4);
    let ran_ns = report["record"]["wall_time_ns"].as_u64().unwrap();
    assert!(ran_ns < 12_000_000_000, "it went on for {ran_ns} ns");
    assert!(run.text("scheduler.log").contains(reason), "{}", run.text("scheduler.log"));
    (run, report)
}

#[test]
fn a_guest_with_one_cpu_ends_by_itself() {
    let run = vm(r#"{"duration":"300ms","machine":{"preset":"one-cpu"},"workload":{"num_workers":2,"work_type":"PipeIo"}}"#).run();
    run.expect("pass", 0);
    assert_eq!(run.json("host.json")["ended_by_itself"], true);
}

#[test]
fn a_lost_task_is_a_stall_with_the_kernels_dump() {
    let (run, report) = ejected("lose-task", "runnable task stall");
    assert_eq!(report["scheduler"]["dump"], "scheduler-dump.txt");
    let dump = run.text("scheduler-dump.txt");
    assert!(dump.contains("CPU 0") && !dump.contains("DEBUG DUMP"), "{dump}");
    assert_eq!(check(&report, "scheduler")["outcome"], "fail");
}

#[test]
fn a_scheduler_that_stops_to_dispatch_is_a_stall() {
    ejected("stop-dispatching", "runnable task stall");
}

#[test]
fn a_queue_that_does_not_exist_is_a_runtime_error() {
    let (_, report) = ejected("unknown-dsq", "runtime error");
    let message = report["scheduler"]["exit"]["message"].as_str().unwrap();
    assert!(message.contains("DSQ"), "{message}");
}

#[test]
fn a_schedulers_own_error_has_its_message() {
    let (_, report) = ejected("error", "scx_bpf_error");
    assert!(!report["scheduler"]["exit"]["message"].is_null());
}

#[test]
fn a_scheduler_that_leaves_from_bpf_is_told_from_one_whose_process_ends() {
    let run = under(LONG, &["--fault", "exit-bpf"]);
    let report = run.expect("scheduler-ejected", 4);
    assert_eq!(report["scheduler"]["exit"]["reason"], "unregistered from BPF");
    let run = under(LONG, &["--exit-after", "2000"]);
    let report = run.expect("scheduler-died", 4);
    assert_eq!(report["scheduler"]["exit"]["code"], 3);
    assert!(report["advice"].as_str().unwrap().contains("exit code 3"));
    assert_eq!(report["workers"].as_array().unwrap().len(), 4);
}

#[test]
fn one_that_dies_at_once_did_not_attach_and_its_last_words_are_told() {
    let run = under(SHORT, &["--die"]);
    let report = run.expect("scheduler-not-attached", 4);
    let (advice, log) = (report["advice"].as_str().unwrap(), run.text("scheduler.log"));
    assert!(advice.contains("exit code 7"), "{advice}");
    let words = log.lines().find_map(|line| line.split_once("stderr: ")).unwrap().1;
    assert!(advice.contains(words), "`{words}` is not in: {advice}");
    assert!(report["workers"].as_array().unwrap().is_empty());
}

#[test]
fn one_that_starves_a_worker_and_ends_cleanly_fails_the_run() {
    // If it runs as the gate opens, it keeps its CPU until another one wants it: in the warm-up.
    for poor in [r#""SpinWait""#, r#"{"Bursty":{"burst_duration":"1ms","sleep_duration":"1ms"}}"#] {
        let scenario = format!(
            r#"{{"duration":"2s","warmup":"200ms","expect":{{"run_delay_max":0.9}},"workload":{{
            "num_workers":2,"composed":[{{"num_workers":1,"comm":"poor","work_type":{poor}}}]}}}}"#
        );
        let report = under(&scenario, &["--starve", "poor"]).expect("fail", 1);
        for failed in ["progress", "run_delay_max"] {
            let check = check(&report, failed);
            assert_eq!((&check["outcome"], &check["workers"]), (&"fail".into(), &json!([2])));
        }
        assert_eq!(check(&report, "scheduler")["outcome"], "pass");
        let gap_ns = of_workers(&report, "max_gap_ns")[2];
        assert!(gap_ns > 1_900_000_000 || poor.contains("Bursty"), "{gap_ns}");
    }
}

#[test]
fn one_that_ignores_sigint_fails_a_check_and_is_ended() {
    let report = under(SHORT, &["--ignore-sigint"]).expect("fail", 1);
    assert_eq!(report["scheduler"]["exit"]["by"], "sigterm");
    assert_eq!(check(&report, "scheduler")["outcome"], "fail");
    assert_eq!(check(&report, "progress")["outcome"], "pass");
}

#[test]
fn in_partial_mode_it_has_the_sched_ext_workers_alone() {
    // On CPUs of their own: the fair class goes before SCHED_EXT.
    let scenario = r#"{"duration":"300ms","workload":{"num_workers":2,"sched_policy":"Ext",
        "affinity":{"Exact":[1]},"composed":[{"num_workers":2,"affinity":{"Exact":[0]}}]}}"#;
    let report = under(scenario, &["--partial"]).expect("pass", 0);
    assert_eq!(report["scheduler"]["switch_all"], false);
    let policies: Vec<_> = (0..4).map(|at| &report["workers"][at]["sched_policy"]).collect();
    assert_eq!(policies, ["SCHED_EXT", "SCHED_EXT", "SCHED_OTHER", "SCHED_OTHER"]);
}

#[test]
fn two_runs_are_the_same_bytes_with_events_and_output() {
    let runs = [(); 2].map(|()| under(SHORT, &[]));
    let report = runs[0].expect("pass", 0);
    assert_eq!(report["scheduler"]["ops"], "schedlab_test");
    assert_eq!(report["scheduler"]["switch_all"], true);
    assert!(!report["scheduler"]["events"].as_object().unwrap().is_empty());
    for file in ["report.json", "console.log", "frames.log", "scheduler.log"] {
        assert!(runs[0].text(file) == runs[1].text(file), "{file} differs");
    }
}

#[test]
fn a_scheduler_is_stopped_started_and_replaced_while_workers_run() {
    let scenario = r#"{"workload":{"num_workers":4},"steps":[
        {"name":"with","hold":{"Time":"200ms"},"expect":{}},
        {"name":"without","hold":{"Time":"200ms"},"ops":["StopScheduler"],"expect":{}},
        {"name":"again","hold":{"Time":"200ms"},"ops":[{"StartScheduler":{"args":["--partial"]}}],
         "expect":{}},
        {"name":"other","hold":{"Time":"200ms"},"ops":[{"ReplaceScheduler":{}}],"expect":{}},
        {"name":"after","hold":{"Time":"200ms"},"expect":{}}]}"#;
    let report = under(scenario, &[]).expect("pass", 0);
    // To attach takes longer than any step is held, and none is the shorter for it.
    let times = |field: &str| {
        let steps = report["record"]["steps"].as_array().unwrap();
        steps.iter().map(|step| step[field].as_u64().unwrap() / 1_000_000).collect::<Vec<_>>()
    };
    let held = times("held_ns");
    assert!(held.len() == 5 && held.iter().all(|ms| (200..205).contains(ms)), "{held:?}");
    assert!(times("operations_ns")[3] > 200, "{}", report["record"]["steps"]);
    let swaps = report["record"]["swaps"].as_array().unwrap();
    let ends = swaps.iter().map(|swap| [!swap["from"].is_null(), !swap["to"].is_null()]);
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends, [[true, false], [false, true], [true, true]]);
    assert_eq!(swaps[1]["enable_seq"], json!([1, 2]));
    assert!(swaps[2]["attach_ns"].as_u64() > Some(0) && swaps[2]["stop_ns"].as_u64() > Some(0));
    let later = report["scheduler"]["later"].as_array().unwrap();
    let modes: Vec<_> = later.iter().map(|life| &life["switch_all"]).collect();
    assert_eq!(modes, [false, true]);
    assert_eq!(check(&report, "scheduler")["outcome"], "pass");
}

#[test]
fn a_bundle_replays_the_scheduler_exactly_and_names_it() {
    let run = under(LONG, &["--fault", "error"]);
    run.expect("scheduler-ejected", 4);
    let file = run.file("../bug.tar.zst").display().to_string();
    let bundle = |args: &[&str]| {
        let output = Command::new(xtask()).arg("bundle").args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let folder = run.file("").display().to_string();
    let (code, text) = bundle(&["pack", &folder, "-o", &file, "--no-kernel"]);
    assert_eq!(code, Some(0), "{text}");
    let shown = bundle(&["show", &file]).1;
    assert!(shown.contains("Scheduler: ") && shown.contains("--fault error"), "{shown}");
    // The schedulers come from its initramfs, modules and configuration from the kernel.
    let out = run.file("../replayed").display().to_string();
    let (code, text) = bundle(&["run", &file, "--kernel", NEW, "--out", &out]);
    assert!(text.contains("reproduced exactly: scheduler-ejected, the same bytes"), "{text}");
    assert_eq!(code, Some(0), "{text}");
}
