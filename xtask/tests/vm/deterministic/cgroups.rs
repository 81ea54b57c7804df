//! Cgroups of scenarios: what the scheduler does with weights, quotas and CPU sets, and that
//! tasks are where they should be. Deterministic runs, so that bounds can be tight.

use crate::bench::{Run, Vm};
use serde_json::Value;

fn deterministic(scenario: &str, args: &[&str]) -> Run {
    Vm::deterministic(scenario).args(args.iter().copied()).run()
}

/// CPU time of a cgroup in its wall time, in a record of run or step.
fn cpu_share(record: &Value, cgroup: &str) -> f64 {
    let used = &record["cgroups"][cgroup];
    let ns = |field: &str| used[field].as_f64().unwrap_or_else(|| panic!("{field} in {used}"));
    ns("cpu_time_ns") / ns("wall_time_ns")
}

#[track_caller]
fn assert_near(value: f64, expected: f64, tolerance: f64) {
    let relative = (value - expected).abs() / expected;
    assert!(relative <= tolerance, "{value} is {relative} from {expected}");
}

/// Cgroups of weight 1:2:4 with `works` each, as a field of a scenario.
fn one_two_four(works: &str) -> String {
    let group = |(name, weight): (&str, u64)| {
        format!(r#"{{"name":"{name}","cpu":{{"weight":{weight}}},"works":{works}}}"#)
    };
    let groups = [("one", 100), ("two", 200), ("four", 400)].map(group);
    format!(r#""cgroups":[{}]"#, groups.join(","))
}

/// Asserts that they got by weight what there was of `cpus` CPUs, in a record of run or step.
#[track_caller]
fn assert_by_weight(record: &Value, cpus: u8) {
    for (name, part) in [("one", 1.0), ("two", 2.0), ("four", 4.0)] {
        assert_near(cpu_share(record, name), f64::from(cpus) * part / 7.0, 0.03);
    }
}

#[test]
fn weights_1_2_4_give_a_seventh_two_and_four() {
    let groups = one_two_four(r#"[{"num_workers":2}]"#);
    let scenario = format!(r#"{{"duration":"2s",{groups},"expect":{{"weight_tolerance":0.03}}}}"#);
    let report = deterministic(&scenario, &["--cpus", "1"]).expect("pass", 0);
    assert_by_weight(&report["record"], 1);
}

#[test]
fn weights_1_2_4_hold_on_each_of_two_cpus() {
    let on = |cpu: u8| format!(r#"{{"num_workers":1,"affinity":{{"Exact":[{cpu}]}}}}"#);
    let groups = one_two_four(&format!("[{},{}]", on(0), on(1)));
    let scenario = format!(r#"{{"duration":"2s",{groups}}}"#);
    let report = deterministic(&scenario, &["--cpus", "2"]).expect("pass", 0);
    assert_by_weight(&report["record"], 2);
}

/// The load balancer has a second to spread six free workers; then the weights hold.
#[test]
fn weights_1_2_4_hold_for_workers_that_the_kernel_places() {
    let groups = one_two_four(r#"[{"num_workers":2}]"#);
    let scenario = format!(
        r#"{{{groups},"steps":[{{"hold":{{"Time":"1s"}}}},{{"hold":{{"Time":"2s"}},
        "expect":{{"weight_tolerance":0.03}}}}]}}"#
    );
    let args = ["--cpus", "2", "--seed", "1", "--kernel", "bookworm"];
    let report = deterministic(&scenario, &args).expect("pass", 0);
    assert_by_weight(&report["record"]["steps"][1], 2);
}

#[test]
fn a_quota_of_half_a_cpu_gives_half_a_cpu() {
    let scenario = r#"{"duration":"2s","cgroups":[{"name":"half","cpu":{"max":{"quota":"10ms","period":"20ms"}},
        "works":[{"num_workers":3}]}],"expect":{"quota_tolerance":0.02}}"#;
    // A hundred periods, so that one more or less at the ends is within the bound.
    let report = deterministic(scenario, &[]).expect("pass", 0);
    assert_near(cpu_share(&report["record"], "half"), 0.5, 0.02);
    let used = &report["record"]["cgroups"]["half"];
    let (periods, throttled) = (used["periods"].as_u64(), used["throttled_periods"].as_u64());
    assert!(periods.unwrap() >= 99 && throttled.unwrap() * 10 >= periods.unwrap() * 9, "{used}");
    assert_eq!(used["cpu_max"], "10000 20000");
}

#[test]
fn nested_groups_share_what_their_parent_gets() {
    let scenario = r#"{"duration":"2s","cgroups":[
        {"name":"a","cpu":{"weight":300}},
        {"name":"a/x","cpu":{"weight":200},"works":[{}]},{"name":"a/y","works":[{}]},
        {"name":"b","works":[{}]}]}"#;
    let report = deterministic(scenario, &["--cpus", "1"]).expect("pass", 0);
    for (cgroup, share) in [("a", 0.75), ("a/x", 0.5), ("a/y", 0.25), ("b", 0.25)] {
        assert_near(cpu_share(&report["record"], cgroup), share, 0.03);
    }
    let of = |index: usize| report["workers"][index]["cgroup"].as_str().unwrap().to_owned();
    assert_eq!([of(0), of(1), of(2)], ["/a/x", "/a/y", "/b"]);
}

#[test]
fn moving_200_tasks_between_groups_loses_none() {
    let scenario = r#"{"cgroups":[{"name":"from","works":[{"num_workers":200,"work_type":
        {"Bursty":{"burst_duration":"10us","sleep_duration":"60ms"}}}]},{"name":"to/in"}],
        "steps":[{"hold":{"Time":"200ms"}},
            {"ops":[{"MoveAllTasks":{"from":"from","to":"to/in"}}],"hold":{"Time":"300ms"}}]}"#;
    let report = deterministic(scenario, &["--icount-shift", "1"]).expect("pass", 0);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 200);
    for worker in workers {
        assert_eq!(worker["cgroup"], "/to/in", "{worker}");
        let steps = worker["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 2, "{worker}");
        // Each goes on where it is put.
        assert!(steps[1]["iterations"].as_u64().unwrap() > 0, "{worker}");
    }
    let steps = report["record"]["steps"].as_array().unwrap();
    let used =
        |step: usize, cgroup: &str| steps[step]["cgroups"][cgroup]["cpu_time_ns"].as_u64().unwrap();
    assert!(used(0, "from") > 1_000_000 && used(0, "to/in") == 0, "{steps:?}");
    assert!(used(1, "to/in") > 1_000_000 && used(1, "from") == 0, "{steps:?}");
}

#[test]
fn a_thousand_workers_in_64_cgroups_start_within_3_s_of_the_guest() {
    let groups: Vec<String> = (0..64)
        .map(|index| {
            let workers = if index < 40 { 16 } else { 15 };
            format!(r#"{{"name":"g{index}","works":[{{"num_workers":{workers}}}]}}"#)
        })
        .collect();
    let scenario = format!(
        r#"{{"duration":"50ms","cgroups":[{}],"expect":{{"progress":false}}}}"#,
        groups.join(",")
    );
    // Without a stop, after which the seed says when the run begins.
    let run = deterministic(&scenario, &["--icount-shift", "1", "--config-via", "initramfs"]);
    let report = run.expect("pass", 0);
    assert_eq!(report["workers"].as_array().unwrap().len(), 1000);
    let frames = run.text("frames.log");
    let number = |line: &str, key: &str| -> u64 {
        let (_, rest) = line.split_once(key).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let line = |what: &str| frames.lines().find(|line| line.contains(what)).unwrap();
    let began = number(line("\"kind\":\"hello\""), "\"started_ns\":");
    let ready = number(line("1000 workers at the gate"), "\"at_ns\":");
    assert!(ready - began < 3_000_000_000, "{} ns", ready - began);
}

#[test]
fn limits_of_memory_and_tasks_hold() {
    // 8 MiB do not fit into 4: the kernel kills, and the report says how.
    let scenario = r#"{"duration":"1s","cgroups":[{"name":"small","memory":{"max":"4M"},
        "works":[{"work_type":{"PageFaultChurn":{"region_kb":8192,"touches_per_cycle":4096}}}]}]}"#;
    let run = deterministic(scenario, &[]);
    let report = run.expect("worker-died", 4);
    assert_eq!(report["workers"][0]["exit_info"]["signaled"], 9, "{}", run.stdout);
    // A worker that forks is a task more.
    let scenario = r#"{"duration":"300ms","cgroups":[{"name":"two","pids_max":2,
        "works":[{"num_workers":2,"work_type":"ForkExit"}]}],"expect":{"progress":false}}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    for worker in report["workers"].as_array().unwrap() {
        let errors = worker["errors"].as_object().unwrap();
        assert!(errors.keys().any(|error| error.contains("fork")), "{worker}");
    }
}

#[test]
fn pcomm_workers_share_a_process_in_their_cgroup() {
    let scenario = r#"{"duration":"200ms","cgroups":[{"name":"java","pcomm":"java",
        "works":[{"num_workers":2},{"num_workers":2,"work_type":"FutexPingPong"}]}]}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    let workers = report["workers"].as_array().unwrap();
    assert!(workers.iter().all(|w| w["cgroup"] == "/java" && w["pid"] == workers[0]["pid"]));
    assert_ne!(workers[0]["tid"], workers[1]["tid"]);
}

#[test]
fn another_work_type_takes_the_place_of_the_usual_one() {
    let scenario = r#"{"duration":"200ms","workload":{"num_workers":3},"cgroups":[
        {"name":"a","swappable":true,"works":[{"num_workers":2,"work_type":"Mixed"}]},
        {"name":"b","works":[{"num_workers":2,"work_type":"Mixed"}]}]}"#;
    let run = deterministic(scenario, &["--work-type", "FutexPingPong"]);
    let report = run.expect("pass", 0);
    let types: Vec<_> =
        report["workers"].as_array().unwrap().iter().map(|w| w["work_type"].clone()).collect();
    assert_eq!(types[0], "SpinWait", "three do not make pairs");
    assert_eq!((&types[3], &types[5]), (&"FutexPingPong".into(), &"Mixed".into()));
    assert!(run.stderr.contains("workload keeps its work type: 3 workers"), "{}", run.stderr);
    assert_eq!(report["notes"].as_array().unwrap().len(), 1, "{}", report["notes"]);
}
