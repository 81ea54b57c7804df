//! Every expectation finds a fault of its kind: a scenario in which something is wrong, often by
//! a hand behind the run's back, and the check that must say so. Deterministic runs.

use crate::bench::{Run, Vm};
use serde_json::Value;

fn deterministic(scenario: &str, args: &[&str]) -> Run {
    Vm::new(scenario).test_init().args(["--deterministic"]).args(args.iter().copied()).run()
}

/// The check of this name, of the run or of a step.
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

/// Exactly these checks fail, none is open, and each says what was measured against which bound.
#[track_caller]
fn assert_failed(report: &Value, names: &[&str]) {
    let checks = report["checks"].as_array().unwrap();
    let with = |outcome: &str| {
        let with = checks.iter().filter(|check| check["outcome"] == outcome);
        with.map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let mut failed = with("fail");
    failed.sort_unstable();
    assert_eq!(failed, expected, "{checks:#?}");
    assert!(with("inconclusive").is_empty(), "{checks:#?}");
    for name in names {
        let check = check(report, name);
        assert!(check["measured"].is_number() && check["bound"].is_number(), "{check}");
    }
}

#[test]
fn knobs_turned_behind_the_runs_back_are_found() {
    let group = |name: &str, more: &str| {
        format!(r#"{{"name":"{name}",{more},"works":[{{"num_workers":2}}]}}"#)
    };
    let run = |groups: &[String], meddler: &str, expect: &str| {
        let scenario = format!(
            r#"{{"duration":"600ms","warmup":"100ms","workload":{{"num_workers":1,
                "work_type":{{"Custom":{{"name":"{meddler}"}}}}}},
                "cgroups":[{}],"expect":{{{expect}}}}}"#,
            groups.join(",")
        );
        deterministic(&scenario, &[]).expect("fail", 1)
    };
    let limited = group("limited", r#""cpu":{"max":{"quota":"50ms"}}"#);
    let report = run(&[limited], "lift-quota", r#""quota_tolerance":0.05"#);
    assert_failed(&report, &["quota_tolerance"]);

    let weights =
        [group("heavy", r#""cpu":{"weight":400}"#), group("light", r#""cpu":{"weight":100}"#)];
    let report = run(&weights, "level-weights", r#""weight_tolerance":0.1"#);
    assert_failed(&report, &["weight_tolerance"]);

    let narrow = group("narrow", r#""cpuset":{"Exact":[1]}"#);
    let report = run(&[narrow], "widen-cpuset", "");
    assert_failed(&report, &["applied", "isolation"]);
    assert!(!check(&report, "isolation")["workers"].as_array().unwrap().is_empty());

    let victim = group("victim", r#""cpu":{"weight":100}"#);
    let report = run(&[victim], "freeze-victim", "");
    assert_failed(&report, &["progress"]);
    assert_eq!(check(&report, "progress")["workers"], serde_json::json!([1, 2]));
    // Whenever in the warm-up it was frozen, the measured part is the time that it had.
    for worker in &report["workers"].as_array().unwrap()[1..] {
        let wall_ms = worker["wall_time_ns"].as_u64().unwrap() / 1_000_000;
        assert!((595..=650).contains(&wall_ms), "{worker}");
    }
}

#[test]
fn one_worker_that_gets_less_is_found_and_named() {
    let scenario = r#"{"duration":"1s","warmup":"100ms","workload":{"num_workers":1,
        "work_type":{"Custom":{"name":"press-one"}},
        "composed":[{"num_workers":3,"comm":"pressed"}]},
        "expect":{"fairness_min":0.95,"fairness_spread_max":0.3,"run_delay_max":0.9,
                  "throughput_min":2000,"max_gap":"50ms"}}"#;
    let report = deterministic(scenario, &["--cpus", "1"]).expect("fail", 1);
    assert_failed(
        &report,
        &[
            "applied",
            "fairness_min",
            "fairness_spread_max",
            "run_delay_max",
            "throughput_min",
            "max_gap",
        ],
    );
    let detail = check(&report, "applied")["detail"].as_str().unwrap();
    assert!(detail.ends_with("nice: asked for 0, the kernel holds 19"), "{detail}");
    for name in ["run_delay_max", "throughput_min", "max_gap"] {
        assert_eq!(check(&report, name)["workers"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn shares_that_are_not_those_of_the_weights_are_found() {
    // What the nice level 0 of the scenario entitles to is not what level 19 gets.
    let scenario = r#"{"duration":"1s","warmup":"100ms","cgroups":[
        {"name":"a","works":[{"num_workers":3,"comm":"pressed"}]},
        {"name":"meddler","works":[{"work_type":{"Custom":{"name":"press-one"}}}]}],
        "steps":[{"hold":{"Time":"1s"}}],"expect":{}}"#;
    let scenario = scenario.replace(r#""expect":{}"#, r#""expect":{"fairness_min":0.95}"#);
    let report = deterministic(&scenario, &["--cpus", "1"]).expect("fail", 1);
    assert_failed(&report, &["applied", "fairness_min"]);
    let weighted = r#"{"duration":"1s","warmup":"100ms","cgroups":[
        {"name":"a","cpu":{"weight":300},"works":[{}]},
        {"name":"b","cpu":{"weight":100},"works":[{"nice":5},{"nice":0}]}],
        "expect":{"weighted_fairness_min":0.98}}"#;
    deterministic(weighted, &["--cpus", "1"]).expect("pass", 0);
    let unweighted =
        weighted.replace(r#""cpu":{"weight":300},"#, r#""cpu":{"max":{"quota":"5ms"}},"#);
    let report = deterministic(&unweighted, &["--cpus", "1"]).expect("inconclusive", 5);
    let check = check(&report, "weighted_fairness_min");
    assert!(check["detail"].as_str().unwrap().contains("quota"), "{check}");
}

#[test]
fn a_weight_changed_behind_the_runs_back_is_unfair_by_weight_from_then_on() {
    let scenario = r#"{"duration":"1s","cgroups":[
        {"name":"heavy","cpu":{"weight":400},"works":[{}]},
        {"name":"light","cpu":{"weight":100},"works":[{}]},{"name":"meddler"}],
        "steps":[
            {"name":"before","hold":{"Time":"300ms"},"expect":{"weighted_fairness_min":0.95}},
            {"name":"meddling","ops":[{"Spawn":{"cgroup":"meddler","work":
                {"work_type":{"Custom":{"name":"level-weights"}}}}}],"hold":{"Time":"100ms"}},
            {"name":"after","ops":[{"Stop":"meddler"}],"hold":{"Time":"500ms"},
             "expect":{"weighted_fairness_min":0.95}}]}"#;
    let report = deterministic(scenario, &["--cpus", "1"]).expect("fail", 1);
    assert_failed(&report, &["step after: weighted_fairness_min"]);
    assert_eq!(
        check(&report, "step after: weighted_fairness_min")["workers"],
        serde_json::json!([0, 1])
    );
}

#[test]
fn late_wake_ups_migrations_and_uneven_work_are_found() {
    // Of a dozen wake-ups between two bursts of the real-time task on their CPU one is late.
    let scenario = r#"{"duration":"600ms","workload":{"num_workers":2,"affinity":{"Exact":[0]},
        "work_type":{"FutexPingPong":{"spin_iters":8192}},"composed":[
            {"num_workers":1,"affinity":{"Exact":[0]},"sched_policy":{"Fifo":10},
             "work_type":{"Bursty":{"burst_duration":"2ms","sleep_duration":"2ms"}}},
            {"num_workers":2,"work_type":"AffinityChurn"},
            {"num_workers":5,"work_type":"FutexFanOut"}]},
        "expect":{"wake_p99":"200us","latency":{"wake":{"max":"1ms"},"timer":{"p50":"20ms"}},
                  "migrations_max":3,"throughput_cv_max":0.01}}"#;
    let report = deterministic(scenario, &[]).expect("fail", 1);
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["outcome"] == "fail")
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    for name in ["wake_p99", "migrations_max", "throughput_cv_max"] {
        assert!(failed.iter().any(|failed| failed == name), "{name} is not in {failed:?}");
    }
    assert!(failed.iter().any(|name| name.contains("wake") && name.contains("max")), "{failed:?}");
    assert!(!failed.iter().any(|name| name.contains("timer")), "{failed:?}");
}

#[test]
fn memory_on_another_node_is_found() {
    let scenario = |nodes: &str| {
        format!(
            r#"{{"duration":"300ms","workload":{{"num_workers":2,"numa_node":0,
                "mem_policy":{{"Bind":[{nodes}]}},
                "work_type":{{"CachePressure":{{"size_kb":16384}}}}}},
                "expect":{{"numa_locality_min":0.5}}}}"#
        )
    };
    let args = ["--topology", "2s1c", "--numa", "2"];
    let report = deterministic(&scenario("1"), &args).expect("fail", 1);
    assert_failed(&report, &["numa_locality_min"]);
    deterministic(&scenario("0"), &args).expect("pass", 0);
}

#[test]
fn a_step_has_expectations_of_its_own() {
    let scenario = r#"{"cgroups":[{"name":"a","works":[{"num_workers":2}]}],
        "steps":[{"name":"free","hold":{"Time":"200ms"},"expect":{"stalled":["a"]}},
            {"name":"ice","ops":[{"Freeze":"a"}],"hold":{"Time":"200ms"},"expect":{"stalled":["a"]}}]}"#;
    let report = deterministic(scenario, &[]).expect("fail", 1);
    let stalled: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["name"].as_str().unwrap().contains("stalled"))
        .map(|check| (check["step"].clone(), check["outcome"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(stalled, [(0.into(), "fail".into()), (1.into(), "pass".into())]);
}

#[test]
fn what_the_kernel_refuses_and_what_user_code_could_not_do_is_found() {
    // Of three budgets of nine tenths two fit on two CPUs. Who may not make cgroups cannot go round
    // them.
    let scenario = r#"{"duration":"200ms","workload":{"work_type":{"Custom":{"name":"give-up"}},
        "composed":[{"num_workers":3,
            "sched_policy":{"Deadline":{"runtime":"9ms","deadline":"10ms","period":"10ms"}},
            "work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"10ms"}}},
        {"num_workers":1,"work_type":"CgroupChurn","uid":1000}]},
        "expect":{"progress":false}}"#;
    let run = Vm::deterministic(scenario).test_init().args(["--cpus", "2"]).run();
    let report = run.expect("fail", 1);
    assert_failed(&report, &["applied", "completed"]);
    assert_eq!(check(&report, "completed")["workers"], serde_json::json!([0, 4]));
    assert!(run.stdout.contains("worker 0: the device went away"), "{}", run.stdout);
    assert_eq!(check(&report, "applied")["workers"].as_array().unwrap().len(), 1);
}
