//! NUMA in guests with two nodes: memory that moves, memory policies, workers kept to a node.
//! Where pages are is what the kernel says of them, in numa_maps and by move_pages(2).

use crate::bench::{Run, Vm, of_workers};
use serde_json::{Value, json};

/// Four CPUs, two a node.
fn run(scenario: &Value, more: &[&str]) -> Run {
    let args = ["--accel", "tcg", "--cpus", "4", "--numa", "2"];
    Vm::deterministic(&scenario.to_string()).args(args).args(more.iter().copied()).run()
}

fn pages(worker: &Value, node: &str) -> u64 {
    worker["numa_pages"][node].as_u64().unwrap_or(0)
}

#[test]
fn a_working_set_sweeps_from_node_to_node() {
    let sweep = |nodes: Value| {
        json!({"NumaWorkingSetSweep":
            {"region_kb": 2048, "sweep_period_ms": 2, "target_nodes": nodes}})
    };
    let scenario = json!({"iterations": 20, "workload": {
        "num_workers": 2, "work_type": sweep(json!([])),
        "composed": [{"num_workers": 1, "work_type": sweep(json!([1]))}]}});
    let report = run(&scenario, &[]).expect("pass", 0);
    // Worker i began with the i-th node of its list, so the 20th sweep took it to (i + 19) % 2.
    let wholly_on = |node: &str| json!({ node: 512 });
    for (worker, node) in report["workers"].as_array().unwrap().iter().zip(["1", "0", "1"]) {
        assert_eq!(worker["numa_pages"], wholly_on(node), "{worker}");
        assert_eq!(worker["tallies"]["sweeps"], 20);
        assert_eq!(worker["work_units"], 20 * 512, "a unit a page and sweep");
        // Each look at the pages between sweeps found them where they were moved.
        assert!(worker["errors"].is_null(), "{worker}");
        // Moved pages are mapped again without a fault; the first touches are one each.
        assert!(worker["minor_faults"].as_u64().unwrap() >= 512, "{worker}");
    }
}

#[test]
fn a_node_that_is_not_there_fails_the_run_unless_that_is_allowed() {
    let sweep = json!({"NumaWorkingSetSweep":
        {"region_kb": 64, "sweep_period_ms": 1, "target_nodes": [0, 7]}});
    let scenario = |applied: bool| json!({"iterations": 5, "workload": {"work_type": sweep}, "expect": {"applied": applied}});
    let report = run(&scenario(true), &[]).expect("fail", 1);
    let refused = &report["workers"][0]["not_applied"][0];
    assert_eq!((&refused["setting"], &refused["wanted"]), (&json!("target_nodes"), &json!("7")));
    let report = run(&scenario(false), &[]).expect("pass", 0);
    assert_eq!(report["workers"][0]["not_applied"].as_array().unwrap().len(), 1);
}

#[test]
fn memory_comes_from_the_nodes_of_its_policy() {
    let buffer = json!({"CachePressure": {"size_kb": 4096}});
    let set = |policy: Value| json!({"num_workers": 1, "work_type": buffer, "mem_policy": policy, "numa_node": 0});
    let scenario = json!({"iterations": 20, "workload": {
        "work_type": buffer, "mem_policy": {"Bind": [1]}, "mpol_flags": ["STATIC_NODES"],
        "numa_node": 0, "composed": [
            set(json!({"Preferred": 1})), set(json!({"Interleave": [0, 1]})), set(json!("Local"))]}});
    // A huge page is on one node as a whole.
    let report = run(&scenario, &["--kernel-arg", "transparent_hugepage=never"]).expect("pass", 0);
    let [bind, preferred, interleave, local] = &report["workers"].as_array().unwrap()[..] else {
        panic!("{report}")
    };
    // 1024 pages of the buffer; those of the program itself were there before the policy.
    for worker in [bind, preferred] {
        assert!(pages(worker, "1") >= 1024, "{worker}");
    }
    assert!(pages(interleave, "0") >= 500 && pages(interleave, "1") >= 500, "{interleave}");
    assert!(pages(local, "0") >= 1024 && pages(local, "1") < 500, "{local}");
}

#[test]
fn a_worker_stays_on_its_node_and_on_those_of_its_cpus_that_are_there() {
    let set = |node: u32, cpus: &[u32]| {
        json!({"num_workers": 1, "work_type": "Mixed", "numa_node": node,
            "affinity": {"Exact": cpus}})
    };
    let scenario = json!({"iterations": 200, "workload": {
        "num_workers": 3, "work_type": "Mixed", "numa_node": 1,
        "composed": [set(1, &[0, 3])]}});
    let report = run(&scenario, &[]).expect("pass", 0);
    let workers = report["workers"].as_array().unwrap();
    for worker in &workers[..3] {
        let used = worker["cpus_used"].as_array().unwrap();
        assert!(used.iter().all(|cpu| *cpu == 2 || *cpu == 3), "{worker}");
    }
    assert_eq!(workers[3]["cpus_used"], json!([3]), "the CPU that is in both");
    assert_eq!(of_workers(&report, "iterations"), [200; 4]);
}

#[test]
fn a_policy_newer_than_the_kernel_is_said_to_be_refused() {
    let scenario =
        json!({"iterations": 5, "workload": {"mem_policy": {"WeightedInterleave": [0, 1]}}});
    let report = run(&scenario, &["--kernel", "debian:bookworm/cloud-amd64"]).expect("fail", 1);
    let refused = &report["workers"][0]["not_applied"][0];
    assert_eq!(refused["setting"], "mem_policy");
    assert!(refused["wanted"].as_str().unwrap().contains("WeightedInterleave"), "{refused}");
}

#[test]
fn a_node_that_the_guest_or_the_workers_will_not_have_is_refused_before_the_boot() {
    let scenario = json!({"workload": {"numa_node": 1}});
    let outside = json!({"workload": {"affinity": {"Exact": [0, 1]}, "numa_node": 1}});
    for run in [Vm::deterministic(&scenario.to_string()).run(), run(&outside, &[])] {
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(
            run.stderr.contains("`workload.numa_node` is 1") && run.stderr.contains("--numa"),
            "{}",
            run.stderr
        );
    }
}
