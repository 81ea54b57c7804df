//! What the work types do to the scheduler, seen in the kernel's counters.

use crate::bench::{Vm, of_workers};
use serde_json::Value;

fn run(scenario: &str, args: &[&str]) -> Value {
    Vm::deterministic(scenario).args(args.iter().copied()).run().expect("pass", 0)
}

fn workload(workers: usize, work_type: &str) -> String {
    format!(r#"{{"duration":"1s","workload":{{"num_workers":{workers},"work_type":{work_type}}}}}"#)
}

#[test]
fn spinners_share_one_cpu_by_preemption_alone() {
    let report = run(&workload(3, "\"SpinWait\""), &["--cpus", "1"]);
    let cpu = of_workers(&report, "cpu_time_ns");
    let wall = of_workers(&report, "wall_time_ns")[0];
    let sum: u64 = cpu.iter().sum();
    assert!(sum > wall * 9 / 10, "{sum} of {wall}");
    assert!(cpu.iter().all(|c| c.abs_diff(sum / 3) < sum / 10), "{cpu:?}");
    // The first touch of a page may wait for another worker's fault on it; nothing else blocks.
    assert!(of_workers(&report, "voluntary_switches").iter().all(|n| *n <= 1));
    assert!(of_workers(&report, "involuntary_switches").iter().all(|n| *n > 10));
    // Each waits while the other two run.
    for (delay, used) in of_workers(&report, "run_delay_ns").iter().zip(&cpu) {
        assert!((delay + used).abs_diff(wall) < wall / 20, "{delay} + {used} is not {wall}");
    }
}

#[test]
fn time_on_a_cpu_and_waiting_for_one_are_within_the_wall_time() {
    let report = run(&workload(16, "\"SpinWait\""), &["--cpus", "2"]);
    for worker in report["workers"].as_array().unwrap() {
        let ns = |field: &str| worker[field].as_u64().unwrap();
        let (sum, wall) = (ns("cpu_time_ns") + ns("run_delay_ns"), ns("wall_time_ns"));
        // The scheduler's clock is not slewed as the wall clock is, by up to 500 ppm.
        assert!(sum <= wall + wall / 2_000, "{sum} of {wall}: {worker}");
        assert!(sum > wall * 95 / 100, "{sum} of {wall}: {worker}");
    }
}

#[test]
fn a_lone_pair_switches_once_an_iteration() {
    for work_type in [r#"{"PipeIo":{"burst_iters":0}}"#, r#"{"FutexPingPong":{"spin_iters":0}}"#] {
        let report = run(&workload(2, work_type), &["--cpus", "1"]);
        let iterations = of_workers(&report, "iterations");
        assert!(iterations[0].abs_diff(iterations[1]) <= 1, "{iterations:?}");
        assert!(iterations[0] > 100, "{iterations:?}");
        let blocked = of_workers(&report, "voluntary_switches");
        let preempted = of_workers(&report, "involuntary_switches");
        for ((blocked, preempted), rounds) in blocked.iter().zip(&preempted).zip(&iterations) {
            // On one CPU the other can only answer after a switch: by blocking, or now and then
            // because the woken partner preempts before the block. Ticks add a few more.
            let switches = blocked + preempted;
            let text = format!("{blocked} + {preempted} switches for {rounds} rounds: {work_type}");
            assert!(switches + 1 >= *rounds && switches <= rounds + rounds / 10 + 300, "{text}");
            assert!(*blocked > rounds / 2, "{text}");
        }
    }
}

/// The stop may come within the last one.
fn assert_each_but_the_last_yield_is_a_sample(worker: &Value) {
    let samples = worker["latency"]["yield"]["count"].as_u64().unwrap();
    let iterations = worker["iterations"].as_u64().unwrap();
    assert!(samples == iterations || samples + 1 == iterations, "{worker}");
}

#[test]
fn yielding_requeues_without_sleeping() {
    let report = run(&workload(2, "\"YieldHeavy\""), &["--cpus", "1"]);
    for worker in report["workers"].as_array().unwrap() {
        assert_each_but_the_last_yield_is_a_sample(worker);
        // Runnable all the time: CPU time and run delay fill the wall time.
        let sum =
            worker["cpu_time_ns"].as_u64().unwrap() + worker["run_delay_ns"].as_u64().unwrap();
        let wall = worker["wall_time_ns"].as_u64().unwrap();
        assert!(sum.abs_diff(wall) < wall / 10, "{sum} of {wall}");
    }
}

#[test]
fn mixed_works_and_gives_way_without_sleeping() {
    let pair = |work_type| run(&workload(2, work_type), &["--cpus", "1"]);
    let (mixed, spin) = (pair("\"Mixed\""), pair("\"SpinWait\""));
    let switches = |report: &Value| of_workers(report, "involuntary_switches").iter().sum::<u64>();
    for worker in mixed["workers"].as_array().unwrap() {
        let count = |field: &str| worker[field].as_u64().unwrap();
        assert_each_but_the_last_yield_is_a_sample(worker);
        assert!(count("work_units") >= count("iterations") * 1024, "{worker}");
        // The first touch of a page may wait for another worker's fault on it.
        assert!(count("voluntary_switches") <= 1, "{worker}");
        let (runnable, wall) =
            (count("cpu_time_ns") + count("run_delay_ns"), count("wall_time_ns"));
        assert!(runnable.abs_diff(wall) < wall / 10, "{runnable} of {wall}");
    }
    // What only ticks do to the spinners, a yield does too.
    let (mixed, spin) = (switches(&mixed), switches(&spin));
    assert!(mixed > spin * 4, "{mixed} switches with yields, {spin} without");
}

#[test]
fn a_burst_leaves_the_cpu_for_its_sleep() {
    let bursty = r#"{"Bursty":{"burst_duration":"10ms","sleep_duration":"30ms"}}"#;
    let report = run(&workload(1, bursty), &["--cpus", "2"]);
    let worker = &report["workers"][0];
    let time = |field: &str| worker[field].as_u64().unwrap();
    // A sleep is as long as asked or longer, on a loaded host too. A burst is wall time, but
    // nothing else wants the CPU in this guest.
    let rounds = time("iterations");
    assert!(time("off_cpu_ns") >= rounds * 30_000_000, "{worker}");
    assert!(time("cpu_time_ns") >= rounds * 8_000_000, "{worker}");
    let iterations = worker["iterations"].as_u64().unwrap();
    let timer = worker["latency"]["timer"]["count"].as_u64().unwrap();
    assert!(timer >= iterations && timer <= iterations + 1, "{timer} sleeps, {iterations} rounds");
    assert!(worker["voluntary_switches"].as_u64().unwrap() >= iterations);
}

#[test]
fn spinners_that_outnumber_the_cpus_are_migrated() {
    let report = run(&workload(3, "\"SpinWait\""), &["--cpus", "2"]);
    let migrations: u64 = of_workers(&report, "migrations").iter().sum();
    assert!(migrations > 0, "three spinners on two CPUs never moved");
    let used = |w: &Value| w["cpus_used"].as_array().unwrap().len();
    assert!(report["workers"].as_array().unwrap().iter().any(|w| used(w) == 2));
}

#[test]
fn an_exact_affinity_is_kept() {
    let scenario = r#"{"duration":"1s","workload":{"num_workers":2,"affinity":{"Exact":[1]}}}"#;
    let report = run(scenario, &["--cpus", "2"]);
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(worker["cpus_used"], serde_json::json!([1]));
        assert_eq!(worker["migrations"], 0);
    }
    let sum: u64 = of_workers(&report, "cpu_time_ns").iter().sum();
    assert!(sum <= of_workers(&report, "wall_time_ns")[0] * 102 / 100, "two workers on one CPU");
}

#[test]
fn fork_exit_makes_a_process_an_iteration() {
    let report = run(&workload(1, "\"ForkExit\""), &["--cpus", "1"]);
    let worker = &report["workers"][0];
    let iterations = worker["iterations"].as_u64().unwrap();
    assert!(iterations > 20);
    // The one CPU goes to every child: most often because the parent sleeps in waitpid, or
    // because the child, being new, preempts it on the way there.
    let [voluntary, involuntary] =
        ["voluntary_switches", "involuntary_switches"].map(|field| worker[field].as_u64().unwrap());
    let switches = format!("{voluntary} + {involuntary} for {iterations}");
    assert!(voluntary + involuntary >= iterations, "{switches}");
    assert!(voluntary > iterations / 2, "{switches}");
}

#[test]
fn every_policy_is_what_the_kernel_holds_at_the_end() {
    let policies = [
        (r#""Normal""#, "SCHED_OTHER"),
        (r#""Batch""#, "SCHED_BATCH"),
        (r#""Idle""#, "SCHED_IDLE"),
        (r#"{"Fifo":7}"#, "SCHED_FIFO 7"),
        (r#"{"RoundRobin":8}"#, "SCHED_RR 8"),
        (
            r#"{"Deadline":{"runtime":"1ms","deadline":"10ms","period":"20ms"}}"#,
            "SCHED_DEADLINE 1000000/10000000/20000000 ns",
        ),
        (r#""Ext""#, "SCHED_EXT"),
    ];
    let sets = policies.map(|(policy, _)| {
        format!(r#"{{"num_workers":1,"work_type":"YieldHeavy","sched_policy":{policy}}}"#)
    });
    let composed = sets[1..].join(",");
    let first = sets[0].trim_end_matches('}');
    let scenario = format!(r#"{{"iterations":50,"workload":{first},"composed":[{composed}]}}}}"#);
    let report = run(&scenario, &["--cpus", "2"]);
    for (worker, (asked, held)) in report["workers"].as_array().unwrap().iter().zip(policies) {
        assert_eq!(worker["sched_policy"], held, "{asked}");
        assert_eq!(worker["iterations"], 50);
    }
}

#[test]
fn nice_gives_the_fair_class_its_weights() {
    let scenario = r#"{"duration":"2s","workload":{"num_workers":1,"nice":0,
        "composed":[{"num_workers":1,"nice":5}]}}"#;
    let report = run(scenario, &["--cpus", "1"]);
    let cpu = of_workers(&report, "cpu_time_ns");
    // sched_prio_to_weight: 1024 for nice 0, 335 for nice 5.
    let ratio = cpu[0] as f64 / cpu[1] as f64;
    assert!((2.6..3.6).contains(&ratio), "{ratio}, the weights say 3.06");
}

#[test]
fn a_run_by_iterations_is_exact() {
    let scenario = r#"{"iterations":500,"workload":{"num_workers":2,"work_type":"FutexPingPong"}}"#;
    let report = run(scenario, &["--cpus", "2"]);
    assert_eq!(of_workers(&report, "iterations"), [500, 500]);
}
