//! Types that sleep, read, and change their own settings, seen in the kernel's counters.

use crate::bench::{Vm, of_workers};
use serde_json::{Value, json};

fn run(scenario: &str, args: &[&str]) -> Value {
    Vm::deterministic(scenario).args(args.iter().copied()).run().expect("pass", 0)
}

/// `work_type` for so many iterations.
fn counted(iterations: u64, work_type: &str) -> String {
    format!(
        r#"{{"iterations":{iterations},"workload":{{"num_workers":1,"work_type":{work_type}}}}}"#
    )
}

/// The first worker, which had no error and could apply everything.
#[track_caller]
fn sound(report: &Value) -> &Value {
    for worker in report["workers"].as_array().unwrap() {
        assert!(worker["errors"].is_null(), "{}", worker["errors"]);
        assert!(worker["not_applied"].is_null(), "{}", worker["not_applied"]);
    }
    &report["workers"][0]
}

#[track_caller]
fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn samples(worker: &Value, kind: &str) -> u64 {
    worker["latency"][kind]["count"].as_u64().unwrap_or(0)
}

#[test]
fn affinity_churn_migrates_about_every_other_iteration() {
    for iterations in [400, 2000] {
        let work_type = r#"{"AffinityChurn":{"spin_iters":64}}"#;
        let report = run(&counted(iterations, work_type), &["--cpus", "2"]);
        let worker = sound(&report);
        assert_eq!(worker["cpus_used"], json!([0, 1]));
        assert_eq!(samples(worker, "yield"), iterations);
        // One of two CPUs at random is the other one every second time. A bound task is not
        // balanced, so nothing else moves it.
        let moves = number(worker, "migrations");
        let usual = iterations * 2 / 5..=iterations * 3 / 5;
        assert!(usual.contains(&moves), "{moves} moves in {iterations} iterations");
    }
}

#[test]
fn nice_and_policy_are_what_was_set_and_come_back() {
    // The worker reads back what it sets and, at the end, what was configured: a difference is
    // an error. The sets differ from the defaults, so that those would not do.
    let scenario = r#"{"iterations":400,"workload":{"num_workers":1,"nice":7,
        "work_type":"NiceSweep","composed":[
        {"num_workers":1,"work_type":"NiceSweep","sched_policy":"Batch","nice":-3},
        {"num_workers":1,"work_type":"PolicyChurn","sched_policy":{"RoundRobin":3}},
        {"num_workers":1,"work_type":"PolicyChurn","sched_policy":"Idle","nice":5},
        {"num_workers":1,"work_type":"PolicyChurn","sched_policy":
            {"Deadline":{"runtime":"1ms","deadline":"10ms","period":"10ms"}}}]}}"#;
    let report = run(scenario, &["--cpus", "2"]);
    sound(&report);
    assert_eq!(of_workers(&report, "iterations"), [400; 5]);
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(samples(worker, "yield"), 400);
    }
}

#[test]
fn idle_churn_blocks_once_an_iteration_and_precise_timing_is_less_late() {
    let set = |precise| {
        format!(
            r#""num_workers":1,"work_type":{{"IdleChurn":{{"burst_duration":"200us",
            "sleep_duration":"2ms","precise_timing":{precise}}}}}"#
        )
    };
    let (usual, precise) = (set(false), set(true));
    let scenario = format!(
        r#"{{"iterations":500,"workload":{{{usual},"affinity":{{"Exact":[1]}},
        "composed":[{{{precise},"affinity":{{"Exact":[0]}}}}]}}}}"#
    );
    let report = run(&scenario, &["--cpus", "2"]);
    sound(&report);
    for worker in report["workers"].as_array().unwrap() {
        let (blocked, slept) = (number(worker, "voluntary_switches"), samples(worker, "timer"));
        assert_eq!(slept, 500);
        // A wake-up may come before the block is complete; hardly ever.
        assert!((450..=550).contains(&blocked), "{blocked} switches for {slept} sleeps");
    }
    // 50 us of slack, which an idle CPU uses up, against 1 ns. A noisy host makes wake-ups late,
    // never early, so the best tenth of them shows the slack.
    let tenth = |i: usize| {
        let histogram = report["workers"][i]["latency"]["timer"]["histogram"].as_array().unwrap();
        let mut seen = 0;
        let bucket = histogram.iter().find(|bucket| {
            seen += bucket[1].as_u64().unwrap();
            seen >= 50
        });
        bucket.unwrap()[0].as_u64().unwrap()
    };
    assert!(tenth(1) < tenth(0), "precise {} ns, usual {} ns", tenth(1), tenth(0));
}

#[test]
fn random_reads_reach_the_disk_one_by_one() {
    let report = run(&counted(300, "\"IoRandRead\""), &["--cpus", "2"]);
    let worker = sound(&report);
    let disk = &report["totals"]["disk"];
    assert_eq!(samples(worker, "io"), 300);
    assert_eq!(worker["io_target"], report["totals"]["io"]);
    // Past the page cache, so that none is served from memory.
    let reads = number(disk, "reads");
    assert!((300..=330).contains(&reads), "{disk}");
    assert_eq!((number(disk, "writes"), number(disk, "flushes")), (0, 0), "{disk}");
    assert!(number(worker, "voluntary_switches") > 150, "{worker}");
}

#[test]
fn a_convoy_reads_writes_and_flushes() {
    let report = run(&counted(320, "\"IoConvoy\""), &["--cpus", "2"]);
    let worker = sound(&report);
    let disk = &report["totals"]["disk"];
    assert_eq!(samples(worker, "io"), 320 + 320 + 320 / 16);
    assert!((320..=350).contains(&number(disk, "reads")), "{disk}");
    // The kernel counts an empty flush among the writes, but no bytes for it.
    assert!((320..=340).contains(&number(disk, "writes")), "{disk}");
    assert_eq!(number(disk, "written_bytes"), 320 * 4096, "{disk}");
    assert_eq!(number(disk, "flushes"), 320 / 16, "{disk}");
}

#[test]
fn without_a_disk_reads_go_to_a_file_and_say_whether_direct() {
    let report = run(&counted(50, "\"IoRandRead\""), &["--cpus", "1", "--disk", "none"]);
    let target = sound(&report)["io_target"].as_str().unwrap();
    assert!(target.starts_with("file in /tmp"), "{target}");
}

#[test]
fn cgroup_churn_goes_round_and_comes_home() {
    let work_type = r#"{"CgroupChurn":{"groups":3,"cycle_ms":2}}"#;
    let scenario =
        format!(r#"{{"iterations":100,"workload":{{"num_workers":2,"work_type":{work_type}}}}}"#);
    let report = run(&scenario, &["--cpus", "2"]);
    sound(&report);
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(worker["cgroup"], "/");
        assert_eq!(number(worker, "iterations"), 100);
    }
}

#[test]
fn numa_churn_on_one_node_stays_where_it_is() {
    let work_type = r#"{"NumaMigrationChurn":{"period_ms":2}}"#;
    let report = run(&counted(50, work_type), &["--cpus", "2"]);
    assert_eq!(samples(sound(&report), "timer"), 50);
}

#[test]
fn every_phase_of_a_sequence_leaves_its_trace() {
    let work_type = r#"{"Sequence":{"first":{"Spin":"5ms"},
        "rest":[{"Sleep":"5ms"},{"Yield":"5ms"},{"Io":"5ms"}]}}"#;
    let report = run(&counted(20, work_type), &["--cpus", "2"]);
    let worker = sound(&report);
    assert_eq!(worker["io_target"], "file in /tmp");
    let (writes, sleeps) = (samples(worker, "io"), samples(worker, "timer"));
    assert!(writes >= 20 && samples(worker, "yield") >= 20, "{worker}");
    // One a sleep phase, and one after each write.
    assert_eq!(sleeps, 20 + writes);
    assert!(number(worker, "voluntary_switches") >= 20, "{worker}");
    // The spin phases alone are 100 ms of CPU time, unless the guest lost its CPU.
    assert!(number(worker, "off_cpu_ns") >= 20 * 5_000_000, "{worker}");
    assert!(number(worker, "wall_time_ns") >= 20 * 20_000_000, "{worker}");
}
