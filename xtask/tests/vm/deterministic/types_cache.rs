//! The cache, memory and ALU types: their effect in the kernel's counters, one against another.
//! Runs are by iterations, so that a slow host changes no number here.

use crate::bench::{Vm, of_workers};
use serde_json::{Value, json};

fn run(scenario: &Value, cpus: &str) -> Value {
    Vm::deterministic(&scenario.to_string()).args(["--cpus", cpus]).run().expect("pass", 0)
}

fn count(worker: &Value, field: &str) -> u64 {
    worker[field].as_u64().unwrap_or_else(|| panic!("{field} in {worker}"))
}

/// Distinct pages that `touches` random ones of `pages` hit, on average.
fn distinct(pages: f64, touches: i32) -> f64 {
    pages * (1.0 - (1.0 - 1.0 / pages).powi(touches))
}

#[test]
fn page_fault_churn_faults_once_a_distinct_page() {
    const ROUNDS: u64 = 200;
    let churn = |region_kb: u64| json!({"PageFaultChurn": {"region_kb": region_kb, "touches_per_cycle": 64, "spin_iters": 0}});
    // 16384 pages, so that nearly all touches are distinct, and 64, so that every third is not.
    let report = run(
        &json!({"iterations": ROUNDS, "workload": {"num_workers": 1, "work_type": churn(65536),
            "composed": [{"num_workers": 1, "work_type": churn(256)}]}}),
        "2",
    );
    for (worker, pages) in report["workers"].as_array().unwrap().iter().zip([16384.0, 64.0]) {
        assert_eq!(count(worker, "iterations"), ROUNDS);
        assert_eq!(count(worker, "work_units"), ROUNDS * 64, "a unit a touch");
        let expected = ROUNDS as f64 * distinct(pages, 64);
        // The draws vary by some tens; the rest of the worker faults some tens of times too.
        let faults = count(worker, "minor_faults") as f64;
        let text = format!("{faults} faults, expected {expected} of {pages} pages");
        assert!(faults > expected * 0.97 && faults < expected * 1.03 + 200.0, "{text}");
        assert_eq!(count(worker, "major_faults"), 0);
    }
}

#[test]
fn cache_pipe_on_one_cpu_switches_once_an_iteration() {
    const ROUNDS: u64 = 1000;
    let report = run(
        &json!({"iterations": ROUNDS, "workload": {"num_workers": 2, "work_type":
            {"CachePipe": {"size_kb": 32, "burst_iters": 64}}}}),
        "1",
    );
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(count(worker, "iterations"), ROUNDS);
        assert_eq!(count(worker, "work_units"), ROUNDS * (64 + 1), "the burst and the token");
        let blocked = count(worker, "voluntary_switches");
        let preempted = count(worker, "involuntary_switches");
        // The other can only answer after a switch: by blocking, or because the woken partner
        // preempts before the block. Ticks add a few more.
        let switches = blocked + preempted;
        let text = format!("{blocked} + {preempted} switches for {ROUNDS} rounds");
        assert!(switches + 1 >= ROUNDS && switches <= ROUNDS * 11 / 10 + 300, "{text}");
        assert!(blocked > ROUNDS / 2, "{text}");
        assert!(count(&worker["latency"]["wake"], "count") <= ROUNDS, "{worker}");
    }
}

#[test]
fn cache_types_touch_memory_and_only_the_yielding_one_gives_way() {
    const ROUNDS: u64 = 500;
    let report = run(
        &json!({"iterations": ROUNDS, "workload": {"num_workers": 1, "work_type": "CachePressure",
            "composed": [{"num_workers": 1, "work_type": "CacheYield"}]}}),
        "1",
    );
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(count(worker, "iterations"), ROUNDS);
        assert_eq!(count(worker, "work_units"), ROUNDS * 1024);
    }
    let [pressure, yielding] = [&report["workers"][0], &report["workers"][1]];
    assert_eq!(pressure["latency"], json!({}));
    assert_eq!(count(&yielding["latency"]["yield"], "count"), ROUNDS);
    // A yield that lets another run is a switch on purpose; nothing blocks in either.
    let [stays, gives_way] = [pressure, yielding].map(|w| count(w, "voluntary_switches"));
    assert!(stays <= 1, "{stays}");
    assert!(gives_way <= ROUNDS + 1, "{gives_way}");
}

#[test]
fn alu_hot_runs_in_each_width_and_says_which() {
    const WIDTHS: [&str; 6] = ["widest", "scalar", "vec128", "vec256", "vec512", "amx"];
    let alu = |width: &str| json!({"AluHot": {"width": width}});
    let composed: Vec<_> = WIDTHS[1..]
        .iter()
        .map(|width| json!({"num_workers": 1, "work_type": alu(width)}))
        .collect();
    let report = run(
        &json!({"iterations": 300, "workload": {"num_workers": 1, "work_type": alu(WIDTHS[0]),
            "composed": composed}}),
        "2",
    );
    assert_eq!(of_workers(&report, "iterations"), [300; 6]);
    assert_eq!(of_workers(&report, "work_units"), [300 * 1024; 6]);
    let used: Vec<_> =
        report["workers"].as_array().unwrap().iter().map(|w| w["alu_width"].as_str()).collect();
    // Which vectors there are depends on the CPU that QEMU shows; SSE2 is always there. The names
    // sort by width.
    let widest = used[0].unwrap();
    assert!(["vec128", "vec256", "vec512"].contains(&widest), "{used:?}");
    for (asked, used) in WIDTHS.iter().zip(&used).skip(1) {
        let there = *asked != "amx" && *asked <= widest;
        let expected = if there { (*asked).into() } else { format!("{widest} instead of {asked}") };
        assert_eq!(*used, Some(expected.as_str()));
    }
}

#[test]
fn spinning_siblings_and_ipc_phases_never_block() {
    let ipc = json!({"IpcVariance": {"hot_iters": 1000, "cold_iters": 24, "period_iters": 4}});
    let report = run(
        &json!({"iterations": 200, "workload": {"num_workers": 2, "work_type": "SmtSiblingSpin",
            "composed": [{"num_workers": 1, "work_type": ipc}]}}),
        "2",
    );
    assert_eq!(of_workers(&report, "iterations"), [200; 3]);
    assert_eq!(of_workers(&report, "work_units"), [200 * 1024, 200 * 1024, 200 * 4 * 1024]);
    // The first touch of a page may wait for another worker's fault on it.
    assert!(of_workers(&report, "voluntary_switches").iter().all(|n| *n <= 1));
}
