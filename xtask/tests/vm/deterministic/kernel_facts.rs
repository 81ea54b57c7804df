//! What the documentation says of Linux and no check of ours asks for: each statement with the
//! behaviour behind it, so that a kernel that does otherwise is noticed.

use crate::bench::{Vm, test_scheduler};
use serde_json::{Value, json};

const NEW: &str = "trixie-backports";
/// Of Debian's kernels: 250 Hz.
const TICK_NS: f64 = 4e6;

fn run(scenario: &Value, kernel: &str, args: &[&str]) -> Value {
    let vm = Vm::new(&scenario.to_string()).args(["--deterministic", "--kernel", kernel]);
    vm.args(args.iter().copied()).run().expect("pass", 0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The part of `step` that each worker ran; of the whole run without one.
fn shares(report: &Value, step: Option<usize>) -> Vec<f64> {
    let workers = report["workers"].as_array().unwrap().iter();
    let part = |worker: &Value| {
        let part = step.map_or(worker, |step| &worker["steps"][step]);
        number(&part["cpu_time_ns"]) / number(&part["wall_time_ns"])
    };
    workers.map(part).collect()
}

#[track_caller]
fn near(measured: f64, expected: f64, by: f64, what: &str) {
    assert!((measured - expected).abs() <= by, "{what}: {measured}, not {expected}");
}

#[test]
fn a_weight_is_forgotten_when_a_cgroup_was_idle_and_slices_end_at_ticks_before_7_3() {
    let idle = |idle: bool| json!({ "SetCpu": { "cgroup": "a", "cpu": { "idle": idle } } });
    let scenario = json!({
        "machine": { "cpus": 1 },
        "cgroups": [
            { "name": "a", "cpu": { "weight": 300 }, "works": [{}] },
            { "name": "b", "works": [{}] }
        ],
        "steps": [
            { "name": "weighted", "hold": { "Time": "400ms" } },
            { "name": "back", "ops": [idle(true), idle(false)], "hold": { "Time": "400ms" } }
        ]
    });
    for (kernel, at_ticks) in [("bookworm", true), ("trixie", true), (NEW, false)] {
        let report = run(&scenario, kernel, &[]);
        near(shares(&report, Some(0))[0], 0.75, 0.05, kernel);
        near(shares(&report, Some(1))[0], 0.5, 0.05, kernel);
        let last = &report["workers"][1]["steps"][1];
        let slice_ns = number(&last["cpu_time_ns"]) / number(&last["timeslices"]);
        assert_eq!(slice_ns > 0.95 * TICK_NS, at_ticks, "{kernel}: slices of {slice_ns} ns");
    }
}

#[test]
fn under_a_sched_ext_fifo_only_its_order_counts_and_slices_end_at_ticks() {
    let pair = |name: &str, cpu: usize, works: Value| json!({ "name": name, "cpuset": { "Exact": [cpu] }, "works": works });
    let mut groups = vec![
        pair("heavy", 0, json!([{}])),
        pair("light", 0, json!([{}])),
        pair("nice", 1, json!([{ "nice": -10 }, { "nice": 10 }])),
        pair("idle", 2, json!([{ "sched_policy": "Idle" }, {}])),
        pair("quota", 3, json!([{}])),
    ];
    groups[0]["cpu"] = json!({ "weight": 1000 });
    groups[4]["cpu"] = json!({ "max": { "quota": "20ms", "period": "100ms" } });
    let scenario = json!({
        "machine": { "cpus": 4 }, "warmup": "50ms", "duration": "600ms", "cgroups": groups
    });
    let report = run(&scenario, NEW, &["--scheduler", test_scheduler()]);
    let shares = shares(&report, None);
    for (worker, share) in shares.iter().take(6).enumerate() {
        near(*share, 0.5, 0.06, &format!("worker {worker}"));
    }
    assert!(shares[6] > 0.9, "a quota of a fifth: {}", shares[6]);
    let nice = &report["workers"][2];
    let slice_ns = number(&nice["cpu_time_ns"]) / number(&nice["timeslices"]);
    // The scheduler gives slices of 5 ms.
    near(slice_ns / TICK_NS, 2.0, 0.2, "slices in ticks");
}

#[test]
fn tasks_of_a_partial_sched_ext_scheduler_have_a_server_beside_fair_tasks_that_never_sleep() {
    let on = |cpu: usize, policy: Value| json!({ "num_workers": 1, "affinity": { "Exact": [cpu] }, "sched_policy": policy });
    let sets = [
        on(0, json!("Ext")),
        on(1, json!("Normal")),
        on(1, json!("Ext")),
        on(1, json!({ "Fifo": 10 })),
    ];
    let scenario = json!({
        "machine": { "cpus": 2 }, "duration": "3s",
        "workload": { "affinity": { "Exact": [0] }, "composed": sets }
    });
    let report = run(&scenario, NEW, &["--scheduler", test_scheduler(), "--", "--partial"]);
    let shares = shares(&report, None);
    for (worker, share) in [(0, 0.95), (1, 0.05), (2, 0.05), (3, 0.05), (4, 0.90)] {
        near(shares[worker], share, 0.02, &format!("worker {worker}"));
    }
}

#[test]
fn a_sched_ext_scheduler_takes_five_percent_of_a_cpu_from_deadline_admission() {
    let spawn = json!({ "Spawn": { "work": {
        "num_workers": 1, "work_type": "IdleChurn",
        "sched_policy": { "Deadline": { "runtime": "92ms", "deadline": "100ms", "period": "100ms" } }
    } } });
    let step = |ops: Value| json!({ "ops": ops, "hold": { "Time": "30ms" } });
    let scenario = json!({
        "machine": { "cpus": 1 }, "workload": { "work_type": "IdleChurn" },
        "steps": [step(json!([spawn])), step(json!(["StopScheduler", spawn]))]
    });
    let vm = Vm::new(&scenario.to_string()).args(["--deterministic", "--kernel", NEW]);
    let report =
        vm.args(["--scheduler", test_scheduler(), "--", "--partial"]).run().expect("fail", 1);
    let refused: Vec<_> = report["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["not_applied"].as_array().is_some_and(|refused| !refused.is_empty()))
        .collect();
    assert_eq!(refused, [false, true, false], "{}", report["workers"]);
}
