//! Locks, queues, events and signals in a guest: counters compared with each other, because a
//! loaded host bends every time.

use crate::bench::{Vm, of_workers};
use serde_json::Value;

/// A run by iterations on `cpus` CPUs. A worker's errors fail the run's verdict or the test.
fn run(iterations: u64, workers: usize, work_type: &str, cpus: &str) -> Value {
    let workload = format!(r#"{{"num_workers":{workers},"work_type":{work_type}}}"#);
    let scenario = format!(r#"{{"iterations":{iterations},"workload":{workload}}}"#);
    let report = Vm::deterministic(&scenario).args(["--cpus", cpus]).run().expect("pass", 0);
    for worker in report["workers"].as_array().unwrap() {
        assert!(worker["errors"].is_null() && worker["not_applied"].is_null(), "{worker}");
    }
    report
}

fn sum(report: &Value, role: &str, field: &str) -> u64 {
    let workers = report["workers"].as_array().unwrap().iter();
    workers.filter(|w| w["role"] == role).map(|w| w.pointer(field).unwrap().as_u64().unwrap()).sum()
}

#[test]
fn a_mutex_never_has_two_holders() {
    let work_type = r#"{"MutexContention":{"contenders":4,"hold_iters":100000,"work_iters":100}}"#;
    let report = run(200, 4, work_type, "2");
    assert_eq!(of_workers(&report, "iterations"), [200; 4]);
    assert_eq!(sum(&report, "contender", "/latency/lock/count"), 800);
    // Held through many ticks: some have to wait, and waiting is sleeping.
    assert!(of_workers(&report, "voluntary_switches").iter().sum::<u64>() > 20);
}

#[test]
fn the_stop_lets_nobody_in_who_gave_up_waiting() {
    // Nearly all of the time somebody holds the mutex and the others wait, so the stop meets them.
    let work_type = r#"{"MutexContention":{"contenders":8,"hold_iters":20000,"work_iters":0}}"#;
    let workload = format!(r#"{{"num_workers":8,"work_type":{work_type}}}"#);
    // Whoever runs takes it again before a woken one gets there, so not all may get it at all.
    let expect = r#"{"progress":false}"#;
    let scenario = format!(r#"{{"duration":"300ms","workload":{workload},"expect":{expect}}}"#);
    let report = Vm::deterministic(&scenario).args(["--cpus", "2"]).run().expect("pass", 0);
    for worker in report["workers"].as_array().unwrap() {
        // A second holder would find the first one's mark, or miss its own.
        assert!(worker["errors"].is_null(), "{worker}");
        let locks = worker["latency"]["lock"]["count"].as_u64().unwrap_or(0);
        let held = locks - worker["iterations"].as_u64().unwrap();
        assert!(held <= 1, "the last turn may end with the stop: {worker}");
    }
}

/// The median time that high waits for the lock, with medium working a hundred times as long as
/// low holds it.
fn inversion(mode: &str) -> u64 {
    let work_type = format!(
        r#"{{"PriorityInversion":{{"hold_iters":20000,"work_iters":2000000,"pi_mode":"{mode}"}}}}"#
    );
    let report = run(40, 3, &work_type, "1");
    assert_eq!(sum(&report, "low", "/iterations"), 40);
    for role in ["high", "low"] {
        assert_eq!(
            sum(&report, role, "/latency/lock/count"),
            sum(&report, role, "/iterations"),
            "{role}"
        );
    }
    assert_eq!(sum(&report, "high", "/iterations"), 40, "high takes part in every round");
    assert_eq!(sum(&report, "medium", "/iterations"), 40);
    sum(&report, "high", "/latency/lock/p50_ns")
}

#[test]
fn priority_inheritance_spares_high_the_work_of_medium() {
    let (plain, pi) = (inversion("Plain"), inversion("Pi"));
    assert!(pi * 4 < plain, "{pi} ns with inheritance, {plain} ns without");
}

#[test]
fn each_item_is_consumed_once() {
    let work_type = r#"{"ProducerConsumerImbalance":{"producers":2,"consumers":3,
        "produce_rate_hz":1000000,"queue_depth_target":4}}"#;
    let report = run(1000, 5, work_type, "2");
    assert_eq!(sum(&report, "producer", "/iterations"), 2000);
    assert_eq!(sum(&report, "consumer", "/iterations"), 2000);
}

#[test]
fn each_event_is_read_once() {
    let work_type = r#"{"EpollStorm":{"producers":2,"consumers":3,"events_per_burst":16}}"#;
    let report = run(100, 5, work_type, "2");
    let written = sum(&report, "producer", "/tallies/events_written");
    assert_eq!(written, 2 * 100 * 16);
    assert_eq!(sum(&report, "consumer", "/tallies/events_read"), written);
}

#[test]
fn each_signal_is_delivered() {
    for cpus in ["1", "2"] {
        let report = run(100, 2, "\"SignalStorm\"", cpus);
        for worker in report["workers"].as_array().unwrap() {
            assert_eq!(worker["tallies"]["signals_sent"], 1600);
            assert_eq!(worker["tallies"]["signals_received"], 1600);
        }
    }
}
