//! Workers as threads of the runner and as threads of a container, in a guest.

use crate::bench::{Vm, of_workers};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn run(scenario: &Value) -> Value {
    Vm::new(&scenario.to_string()).args(["--cpus", "2"]).run().expect("pass", 0)
}

#[test]
fn threads_of_one_process_are_scheduled_and_counted_one_by_one() {
    let report = run(&json!({"iterations": 300, "workload": {
        "clone_mode": "Thread", "num_workers": 2, "comm": "hands", "nice": 3,
        "work_type": {"PipeIo": {"burst_iters": 16}},
        "composed": [{"num_workers": 1, "work_type": {"PageFaultChurn": {"touches_per_cycle": 32}}}]}}));
    let pids: BTreeSet<u64> = of_workers(&report, "pid").into_iter().collect();
    assert_eq!((pids.len(), of_workers(&report, "tid").len()), (1, 3));
    assert_eq!(of_workers(&report, "iterations"), [300; 3]);
    let [server, returner, faults] = &report["workers"].as_array().unwrap()[..] else { panic!() };
    for worker in [server, returner] {
        assert_eq!(
            (&worker["comm"], &worker["sched_policy"]),
            (&json!("hands"), &json!("SCHED_OTHER"))
        );
        // Each has its own switches and none of the other's page faults.
        let switches = |field: &str| worker[field].as_u64().unwrap();
        let all = switches("voluntary_switches") + switches("involuntary_switches");
        assert!(all >= 150 && switches("minor_faults") < 2000, "{worker}");
    }
    assert!(faults["minor_faults"].as_u64().unwrap() > 300 * 28, "{faults}");
    assert!(faults["voluntary_switches"].as_u64().unwrap() < 100, "{faults}");
}

#[test]
fn a_container_is_one_process_with_its_name_for_all_its_sets() {
    let report = run(&json!({"iterations": 200, "workload": {"composed": [
        {"num_workers": 2, "pcomm": "java", "work_type": {"CachePipe": {"burst_iters": 16}}},
        {"num_workers": 2, "pcomm": "java", "work_type": "SignalStorm", "comm": "GC"},
        {"num_workers": 1, "pcomm": "chrome"}]}}));
    let workers = report["workers"].as_array().unwrap();
    let pid = |index: usize| workers[index]["pid"].as_u64().unwrap();
    assert_eq!([pid(2), pid(3), pid(4)], [pid(1); 3]);
    assert_eq!(BTreeSet::from([pid(0), pid(1), pid(5)]).len(), 3);
    let comms: Vec<_> = workers[1..].iter().map(|w| w["comm"].as_str().unwrap()).collect();
    assert_eq!(comms, ["java", "java", "GC", "GC", "chrome"]);
    assert_eq!(of_workers(&report, "iterations"), [200; 6]);
    for worker in &workers[3..5] {
        assert_eq!(worker["tallies"]["signals_received"], 200 * 16, "{worker}");
    }
}

#[test]
fn a_thread_that_panics_is_the_only_one_lost() {
    for place in [json!({"clone_mode": "Thread"}), json!({"pcomm": "crowd"})] {
        let mut workload = json!({"num_workers": 2, "work_type": "FutexPingPong"});
        let mut broken = json!({"num_workers": 1, "work_type": {"Custom": {"name": "panic-self"}}});
        let mut beside = json!({"num_workers": 2, "work_type": "FutexPingPong"});
        match place.get("pcomm") {
            Some(name) => [&mut broken, &mut beside].map(|set| set["pcomm"] = name.clone()).into(),
            None => vec![workload["clone_mode"] = json!("Thread")],
        };
        workload["composed"] = json!([broken, beside]);
        let scenario = json!({"duration": "1s", "workload": workload});
        let report = Vm::new(&scenario.to_string()).test_init().run().expect("worker-died", 4);
        let workers = report["workers"].as_array().unwrap();
        let panicked = workers[2]["exit_info"]["panicked"].as_str().unwrap();
        assert!(panicked.contains("as asked"), "{panicked}");
        for worker in [0, 1, 3, 4].map(|index| &workers[index]) {
            assert_eq!(worker["completed"], true, "{place}: {worker}");
        }
    }
}
