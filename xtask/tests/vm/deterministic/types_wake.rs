//! What the types that wake do to the scheduler, seen in the kernel's counters: fans, chains and
//! workers of different classes.

use crate::bench::{Vm, of_workers};
use serde_json::Value;

fn run(scenario: &str, cpus: &str) -> Value {
    Vm::deterministic(scenario).args(["--cpus", cpus]).run().expect("pass", 0)
}

fn rounds(iterations: u64, workers: usize, work_type: &str) -> String {
    let workload = format!(r#"{{"num_workers":{workers},"work_type":{work_type}}}"#);
    format!(r#"{{"iterations":{iterations},"workload":{workload}}}"#)
}

fn seconds(seconds: u64, workers: usize, work_type: &str) -> String {
    let workload = format!(r#"{{"num_workers":{workers},"work_type":{work_type}}}"#);
    format!(r#"{{"duration":"{seconds}s","workload":{workload}}}"#)
}

fn workers(report: &Value) -> &[Value] {
    report["workers"].as_array().unwrap()
}

fn count(worker: &Value, field: &str) -> u64 {
    worker[field].as_u64().unwrap_or_else(|| panic!("{field} in {worker}"))
}

fn wakes(worker: &Value) -> u64 {
    worker["latency"]["wake"]["count"].as_u64().unwrap_or(0)
}

fn policies(report: &Value) -> Vec<&str> {
    workers(report).iter().map(|w| w["sched_policy"].as_str().unwrap()).collect()
}

#[test]
fn a_fan_wakes_every_receiver_once_a_round() {
    let work_type = r#"{"FutexFanOut":{"fan_out":3,"spin_iters":16}}"#;
    let report = run(&seconds(1, 8, work_type), "1");
    for group in workers(&report).chunks(4) {
        let rounds = count(&group[0], "iterations");
        assert!(rounds > 20 && group[0]["role"] == "messenger", "{rounds}");
        for worker in group {
            assert!(count(worker, "iterations").abs_diff(rounds) <= 1, "{worker}");
            // On one CPU a round ends for a worker only after another one ran.
            let switches =
                count(worker, "voluntary_switches") + count(worker, "involuntary_switches");
            assert!(switches + 2 >= rounds, "{switches} switches, {rounds} rounds: {worker}");
        }
        for receiver in &group[1..] {
            let samples = wakes(receiver);
            assert!(samples > rounds / 2 && samples <= rounds + 1, "{receiver}");
        }
        assert_eq!(wakes(&group[0]), 0, "only receivers sample");
    }
}

#[test]
fn a_computing_receiver_sleeps_and_multiplies_in_each_round() {
    let work_type = r#"{"FanOutCompute":{"fan_out":2,"cache_footprint_kb":64,"operations":3,"sleep_usec":200}}"#;
    let report = run(&rounds(100, 3, work_type), "2");
    assert_eq!(of_workers(&report, "iterations"), [100; 3]);
    let all = workers(&report);
    for receiver in &all[1..] {
        // One for the wake-up and one for each product.
        assert_eq!(count(receiver, "work_units"), 100 * 4);
        assert_eq!(receiver["latency"]["timer"]["count"], 100);
        // A round blocks in the sleep, and until the next one unless this receiver was the last.
        let blocked = count(receiver, "voluntary_switches");
        assert!((100..=230).contains(&blocked), "{receiver}");
        // 52^3 multiplications, three times, are far more than the messenger ever does.
        assert!(count(receiver, "cpu_time_ns") > count(&all[0], "cpu_time_ns"), "{report}");
    }
    let blocked: u64 = all[1..].iter().map(|receiver| count(receiver, "voluntary_switches")).sum();
    assert!(blocked >= 280, "{report}");
}

#[test]
fn the_herd_wakes_once_a_batch() {
    let work_type = r#"{"ThunderingHerd":{"waiters":5,"batches":20,"inter_batch_ms":5}}"#;
    let report = run(&rounds(100, 6, work_type), "2");
    assert_eq!(of_workers(&report, "iterations"), [100; 6]);
    let all = workers(&report);
    assert_eq!(count(&all[0], "work_units"), 105, "a unit a batch, one more a series");
    assert_eq!(all[0]["latency"]["timer"]["count"], 100);
    for waiter in &all[1..] {
        // Asleep by far when the batch comes, so it is woken, and nothing else blocks it.
        assert!((90..=100).contains(&wakes(waiter)), "{waiter}");
        assert!((90..=110).contains(&count(waiter, "voluntary_switches")), "{waiter}");
        assert_eq!(count(waiter, "work_units"), 100);
    }
}

#[test]
fn a_chain_runs_one_stage_at_a_time() {
    for wake in ["Pipe", "Futex"] {
        let work_type =
            format!(r#"{{"WakeChain":{{"depth":4,"wake":"{wake}","work_per_hop":"100us"}}}}"#);
        let report = run(&rounds(300, 8, &work_type), "1");
        assert_eq!(of_workers(&report, "iterations"), [300; 8]);
        for stage in workers(&report) {
            // Between two turns of a stage another one ran, so it blocked or was preempted.
            let blocked = count(stage, "voluntary_switches");
            assert!(blocked + count(stage, "involuntary_switches") + 1 >= 300, "{wake}: {stage}");
            assert!(blocked > 150 && blocked <= 320, "{wake}: {stage}");
            assert!(wakes(stage) > 150 && wakes(stage) <= 300, "{wake}: {stage}");
        }
    }
}

#[test]
fn each_ring_has_one_runnable_stage_at_any_time() {
    for wake in ["Pipe", "Futex"] {
        let work_type =
            format!(r#"{{"WakeChain":{{"depth":4,"wake":"{wake}","work_per_hop":"2ms"}}}}"#);
        // A batch task does not preempt who wakes it, which would stay runnable for a hop longer.
        let scenario = format!(
            r#"{{"duration":"2s","workload":{{"num_workers":8,"sched_policy":"Batch",
            "work_type":{work_type}}}}}"#
        );
        let report = run(&scenario, "1");
        // On a CPU or waiting for it, by the kernel's counters: over the four stages of a ring
        // that is all of the time once, with two rings at one CPU too. A tick between the wake-up
        // and the sleep adds a little.
        for ring in workers(&report).chunks(4) {
            let runnable = |w: &Value| count(w, "cpu_time_ns") + count(w, "run_delay_ns");
            let sum: u64 = ring.iter().map(runnable).sum();
            let wall = ring.iter().map(|w| count(w, "wall_time_ns")).max().unwrap();
            let text = format!("{wake}: runnable for {sum} of {wall} ns");
            assert!(sum > wall * 9 / 10 && sum < wall * 5 / 4, "{text}");
        }
    }
}

#[test]
fn a_real_time_side_preempts_its_fair_partner() {
    let burst = r#""burst_iters":64"#;
    for (waker, wakee, fair) in [("Rt", "Cfs", 1), ("Cfs", "Rt", 0)] {
        let work_type = format!(
            r#"{{"AsymmetricWaker":{{"waker_class":"{waker}","wakee_class":"{wakee}",{burst}}}}}"#
        );
        let report = run(&rounds(300, 2, &work_type), "1");
        assert_eq!(of_workers(&report, "iterations"), [300; 2]);
        let real_time = 1 - fair;
        assert_eq!(policies(&report)[fair], "SCHED_OTHER");
        assert_eq!(policies(&report)[real_time], "SCHED_FIFO 50");
        // The real-time side runs the moment that it is woken, so the other never gets to its
        // sleep first.
        let preempted = of_workers(&report, "involuntary_switches");
        assert!(preempted[fair] > 270, "{waker} wakes {wakee}: {preempted:?}");
        assert!(preempted[real_time] < 100, "{waker} wakes {wakee}: {preempted:?}");
        // The wakee was asleep nearly always all the same.
        let samples = wakes(&workers(&report)[1]);
        assert!((270..=300).contains(&samples), "{waker} wakes {wakee}: {samples}");
    }
}

#[test]
fn every_class_is_really_set() {
    let work_type = r#"{"AsymmetricWaker":{"waker_class":"Batch","wakee_class":"Idle"}}"#;
    let report = run(&rounds(20, 2, work_type), "2");
    assert_eq!(policies(&report), ["SCHED_BATCH", "SCHED_IDLE"]);
    assert_eq!(of_workers(&report, "iterations"), [20; 2]);
    // 2 us in 10 ms: an emulated CPU may not get through one round of it in this time, but the
    // worker sees the stop and reports.
    let work_type = r#"{"AsymmetricWaker":{"waker_class":"Cfs","wakee_class":"Deadline"}}"#;
    let report = Vm::deterministic(&seconds(2, 2, work_type))
        .args(["--cpus", "2"])
        .run()
        .json("report.json");
    assert_eq!(policies(&report), ["SCHED_OTHER", "SCHED_DEADLINE 2000/1000000/10000000 ns"]);
    assert!(workers(&report).iter().all(|w| w["completed"] == true), "{report}");
}

#[test]
fn a_storm_preempts_the_spinners_once_a_burst() {
    let work_type =
        r#"{"PreemptStorm":{"cfs_workers":2,"rt_burst_iters":1024,"rt_sleep_us":2000}}"#;
    let report = run(&seconds(2, 3, work_type), "1");
    assert_eq!(policies(&report), ["SCHED_FIFO 1", "SCHED_OTHER", "SCHED_OTHER"]);
    let bursts = of_workers(&report, "iterations")[0];
    let preempted = of_workers(&report, "involuntary_switches");
    // Each burst begins while one of the two spins; the slices of the two add to that.
    assert!(bursts > 50, "{bursts}");
    assert!(preempted[1] + preempted[2] + 5 >= bursts * 9 / 10, "{bursts}: {preempted:?}");
    let blocked = of_workers(&report, "voluntary_switches");
    assert!(blocked[0] + 5 >= bursts, "{bursts}: {blocked:?}");
    assert!(blocked[1] < 10 && blocked[2] < 10, "spinners never sleep: {blocked:?}");
}

#[test]
fn real_time_spinners_leave_the_rest_to_the_fair_ones() {
    let work_type = r#"{"RtStarvation":{"rt_workers":1,"cfs_workers":2,"rt_priority":40}}"#;
    let report = run(&seconds(3, 3, work_type), "1");
    assert_eq!(policies(&report), ["SCHED_FIFO 40", "SCHED_OTHER", "SCHED_OTHER"]);
    let cpu = of_workers(&report, "cpu_time_ns");
    let delay = of_workers(&report, "run_delay_ns");
    let wall = of_workers(&report, "wall_time_ns")[0];
    // RT throttling or the fair server gives the fair class 5 %.
    assert!(cpu[1] + cpu[2] < cpu[0] / 4, "{cpu:?}");
    assert!(delay[1] > wall / 2 && delay[2] > wall / 2, "{delay:?} of {wall}");
    assert!(delay[0] < wall / 4, "{delay:?} of {wall}");
}
