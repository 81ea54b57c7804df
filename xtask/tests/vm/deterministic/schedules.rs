//! `--schedule-hash`: the same seed takes the same decisions, another one others, on every kernel,
//! and a run whose switches were not all seen has no hash.

use crate::bench::Vm;
use serde_json::Value;

const PAIRS: &str = r#"{"name":"pairs","duration":"150ms","stagger":"5ms","workload":{
    "num_workers":4,"work_type":"PipeIo","composed":[{"num_workers":2,"work_type":"SpinWait"}]}}"#;

fn hashed(scenario: &str, args: &[&str]) -> Vm {
    Vm::new(scenario).args(["--deterministic", "--schedule-hash"]).args(args.iter().copied())
}

fn schedule(report: &Value) -> &Value {
    &report["record"]["schedule"]
}

#[test]
fn the_same_seed_is_the_same_sequence_and_another_seed_another() {
    let same = hashed(PAIRS, &["--repeat", "2"]).run();
    assert_eq!(same.code, 0, "{}{}", same.stdout, same.stderr);
    let first = same.json("1/report.json");
    let other = hashed(PAIRS, &["--seed", "2"]).run();
    let report = other.expect("pass", 0);
    let (first, other_run) = (schedule(&first), schedule(&report));
    for (one, two) in [("order_hash", "order_hash"), ("timed_hash", "timed_hash")] {
        assert_eq!(first[one].as_str().unwrap().len(), 16, "{first}");
        assert_ne!(first[one], other_run[two]);
    }
    assert_ne!(first["order_hash"], first["timed_hash"]);
    assert!(other.stdout.contains(" context switches: order "), "{}", other.stdout);
}

#[test]
fn every_switch_of_the_workers_is_among_those_hashed() {
    // The oldest kernel, four CPUs and a warm-up.
    let args = ["--kernel", "bookworm", "--cpus", "4"];
    let scenario = PAIRS.replace(r#""duration""#, r#""warmup":"50ms","duration""#);
    let report = hashed(&scenario, &args).run().expect("pass", 0);
    let schedule = schedule(&report);
    assert_eq!((&schedule["lost"], &schedule["unavailable"]), (&0.into(), &Value::Null));
    let totals = &report["totals"];
    let counted =
        ["voluntary_switches", "involuntary_switches"].map(|f| totals[f].as_u64().unwrap());
    let switches = schedule["switches"].as_u64().unwrap();
    assert!(switches > counted.iter().sum(), "{switches} of {counted:?}");
}

#[test]
fn what_a_cpu_does_after_it_came_back_is_hashed_on_every_kernel() {
    // Pinned to the CPU that came back, so that the switches of that step are on it alone.
    let scenario = r#"{"workload":{"num_workers":2,"work_type":"PipeIo"},"steps":[
        {"ops":[{"CpuOffline":1}],"hold":{"Time":"30ms"}},
        {"ops":[{"CpuOnline":1},{"SetAffinity":{"affinity":{"Exact":[1]}}}],
         "hold":{"Time":"60ms"}}]}"#;
    for kernel in ["bookworm", "trixie", "trixie-backports"] {
        let report = hashed(scenario, &["--kernel", kernel]).run().expect("pass", 0);
        let schedule = schedule(&report);
        assert_eq!((&schedule["lost"], &schedule["unavailable"]), (&0.into(), &Value::Null));
        assert_eq!(schedule["order_hash"].as_str().map(str::len), Some(16), "{kernel}");
        let of_step = |step: usize| -> u64 {
            let fields = ["voluntary_switches", "involuntary_switches"];
            let workers = report["workers"].as_array().unwrap().iter();
            workers
                .flat_map(|worker| {
                    fields.map(|field| worker["steps"][step][field].as_u64().unwrap())
                })
                .sum()
        };
        let (on_the_other, on_it) = (of_step(0), of_step(1));
        let switches = schedule["switches"].as_u64().unwrap();
        assert!(on_it > 100 && switches >= on_the_other + on_it, "{kernel}: {on_it}, {switches}");
    }
}

#[test]
fn a_run_that_is_not_asked_for_it_has_none() {
    let report = Vm::new(r#"{"duration":"50ms"}"#).run().expect("pass", 0);
    assert_eq!(report["record"]["schedule"], Value::Null);
}
