//! Steps of scenarios: what changes while workers run, seen in the account of each step.
//! Deterministic runs, so that exact numbers can be asserted.

use crate::bench::{Run, Vm};
use serde_json::Value;
use std::collections::BTreeSet;

fn deterministic(scenario: &str, args: &[&str]) -> Run {
    Vm::deterministic(scenario).args(args.iter().copied()).run()
}

/// The account of `step` of worker `index`.
fn step(report: &Value, index: usize, step: usize) -> &Value {
    let steps = report["workers"][index]["steps"].as_array().unwrap();
    steps.iter().find(|s| s["step"] == step).unwrap_or_else(|| panic!("step {step} in {steps:?}"))
}

fn cpus_used(report: &Value, index: usize, at: usize) -> BTreeSet<u64> {
    let cpus = step(report, index, at)["cpus_used"].as_array().unwrap();
    cpus.iter().map(|cpu| cpu.as_u64().unwrap()).collect()
}

#[test]
fn a_frozen_group_makes_no_progress_and_recovers() {
    let scenario = r#"{"cgroups":[
        {"name":"ice","works":[{"num_workers":2},{"num_workers":2,"work_type":"PipeIo"}]},
        {"name":"free","works":[{"num_workers":2}]}],
        "steps":[{"hold":{"Time":"300ms"}},
            {"ops":[{"Freeze":"ice"}],"hold":{"Time":"300ms"},"expect":{"stalled":["ice"]}},
            {"ops":[{"Thaw":"ice"}],"hold":{"Time":"300ms"},"expect":{}}]}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    let done = |index, at| step(&report, index, at)["iterations"].as_u64().unwrap();
    for index in 0..4 {
        assert!(done(index, 0) > 100 && done(index, 2) > 100, "{}", report["workers"][index]);
        assert_eq!(done(index, 1), 0);
        // The kernel says that a task is frozen just before it leaves the CPU.
        let used = step(&report, index, 1)["cpu_time_ns"].as_u64().unwrap();
        assert!(used < 100_000, "{used} ns");
    }
    // The others have the machine for themselves.
    assert!(done(4, 1) > done(4, 0) * 3 / 2, "{} against {}", done(4, 1), done(4, 0));
    let used = &report["record"]["steps"][1]["cgroups"]["ice"];
    assert!(used["cpu_time_ns"].as_u64().unwrap() < 100_000, "{used}");
}

#[test]
fn a_cpuset_that_shrinks_and_grows_is_never_left() {
    let scenario = r#"{"cgroups":[{"name":"a","cpuset":{"Exact":[0,1,2]},
            "works":[{"num_workers":4},{"num_workers":4,"work_type":"FutexPingPong"}]},
            {"name":"b","cpuset":{"Exact":[3]},"works":[{"num_workers":2}]}],
        "steps":[{"hold":{"Time":"200ms"}},
            {"ops":[{"SetCpuset":{"cgroup":"a","cpus":{"Exact":[1]}}}],"hold":{"Time":"200ms"}},
            {"ops":[{"SwapCpusets":["a","b"]}],"hold":{"Time":"200ms"}},
            {"ops":[{"ClearCpuset":"a"}],"hold":{"Time":"400ms"}}]}"#;
    let run = deterministic(scenario, &["--cpus", "4"]);
    let report = run.expect("pass", 0);
    let allowed: [(&[u64], &[u64]); 4] =
        [(&[0, 1, 2], &[3]), (&[1], &[3]), (&[3], &[1]), (&[0, 1, 2, 3], &[1])];
    for (at, (a, b)) in allowed.into_iter().enumerate() {
        let within = |index: usize, cpus: &[u64]| {
            let used = cpus_used(&report, index, at);
            assert!(!used.is_empty() && used.iter().all(|cpu| cpus.contains(cpu)), "{used:?}");
        };
        (0..8).for_each(|index| within(index, a));
        (8..10).for_each(|index| within(index, b));
    }
    let all: BTreeSet<u64> = (0..8).flat_map(|index| cpus_used(&report, index, 3)).collect();
    assert!(all.len() > 2, "room is used again: {all:?}");
    let isolation = |check: &&Value| check["name"].as_str().unwrap().contains("isolation");
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| isolation(&check) && check["outcome"] == "pass"));
}

#[test]
fn a_weight_and_a_quota_that_change_change_the_shares() {
    let scenario = r#"{"cgroups":[{"name":"a","works":[{}]},{"name":"b","works":[{}]}],
        "steps":[{"hold":{"Time":"600ms"},"expect":{"weight_tolerance":0.03}},
            {"ops":[{"SetCpu":{"cgroup":"a","cpu":{"weight":300}}}],"hold":{"Time":"600ms"},
             "expect":{"weight_tolerance":0.03}},
            {"ops":[{"SetCpu":{"cgroup":"a","cpu":{"max":{"quota":"4ms","period":"20ms"}}}}],
             "hold":{"Time":"600ms"},"expect":{"quota_tolerance":0.05}}]}"#;
    let report = deterministic(scenario, &["--cpus", "1"]).expect("pass", 0);
    for (at, share) in [0.5, 0.75, 0.2].into_iter().enumerate() {
        let used = &report["record"]["steps"][at]["cgroups"]["a"];
        let ns = |field: &str| used[field].as_f64().unwrap();
        let measured = ns("cpu_time_ns") / ns("wall_time_ns");
        assert!((measured - share).abs() < 0.03, "step {at}: {measured}");
    }
}

#[test]
fn groups_come_and_go_and_every_worker_reports() {
    let scenario = r#"{"workload":{"num_workers":1},"cgroups":[{"name":"a","works":[{}]}],
        "steps":[{"hold":{"Time":"200ms"}},
            {"ops":[{"AddCgroup":{"name":"b","cpu":{"weight":50},"works":[{"num_workers":2}]}},
                    {"Spawn":{"cgroup":"a","work":{"num_workers":2,"work_type":"PipeIo"}}}],
             "hold":{"Time":"200ms"}},
            {"ops":[{"RemoveCgroup":"b"},{"Stop":"a"}],"hold":{"Time":"200ms"}},
            {"ops":[{"Spawn":{"work":{"num_workers":1}}}],"hold":{"Time":"200ms"}}]}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    let there: Vec<Vec<u64>> = report["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["steps"].as_array().unwrap().iter().map(|s| s["step"].as_u64().unwrap()))
        .map(Iterator::collect)
        .collect();
    let expected: [&[u64]; 7] = [&[0, 1, 2, 3], &[0, 1], &[1], &[1], &[1], &[1], &[3]];
    assert_eq!(there, expected);
    let groups: Vec<_> =
        report["workers"].as_array().unwrap().iter().map(|w| w["group_idx"].clone()).collect();
    assert_eq!(groups, [0, 1, 2, 2, 3, 3, 4]);
    assert_eq!(report["workers"][2]["cgroup"], "/b");
    assert!(report["record"]["steps"][2]["cgroups"].get("b").is_none());
}

#[test]
fn an_offline_cpu_is_not_used_and_comes_back() {
    let scenario = r#"{"workload":{"num_workers":4},
        "steps":[{"hold":{"Time":"200ms"}},
            {"ops":[{"CpuOffline":1}],"hold":{"Time":"200ms"}},
            {"ops":[{"CpuOnline":1},{"SetAffinity":{"affinity":{"Exact":[1]}}}],
             "hold":{"Time":"200ms"}},
            {"ops":[{"SetAffinity":{"affinity":"Inherit"}}],"hold":{"Time":"200ms"}}]}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    let all = |at| (0..4).flat_map(|i| cpus_used(&report, i, at)).collect::<BTreeSet<u64>>();
    assert_eq!(
        [all(0), all(1), all(2), all(3)],
        [[0, 1].into(), [0].into(), [1].into(), [0, 1].into()]
    );
}

#[test]
fn a_knob_is_turned_by_its_name() {
    let scenario = r#"{"workload":{"num_workers":2},"steps":[
        {"ops":[{"Sysctl":{"name":"kernel.sched_cfs_bandwidth_slice_us","value":"3000"}},
                {"SchedKnob":{"name":"features","value":"NO_WAKEUP_PREEMPTION"}}],
         "hold":{"Time":"100ms"}}]}"#;
    deterministic(scenario, &[]).expect("pass", 0);
}

#[test]
fn a_step_that_fails_says_which_operation_on_which_file_and_why() {
    let scenario = r#"{"workload":{"num_workers":2},"steps":[{"hold":{"Time":"100ms"}},
        {"ops":[{"CpuOffline":1},{"SchedKnob":{"name":"no_such_knob","value":"1"}}],
         "hold":{"Time":"100ms"}}]}"#;
    let run = deterministic(scenario, &[]);
    let report = run.expect("guest-error", 4);
    let advice = report["advice"].as_str().unwrap();
    for part in ["steps[1].ops[1] SchedKnob", "/sys/kernel/debug/sched/no_such_knob", "ENOENT"] {
        assert!(advice.contains(part), "{advice}");
    }
    // What had been measured until then is not lost.
    assert_eq!(report["workers"].as_array().unwrap().len(), 2);
    assert_eq!(report["record"]["steps"].as_array().unwrap().len(), 1);
}

#[test]
fn steps_are_held_in_full_and_judged_by_all_that_is_so_in_them_if_they_are_not_too_short() {
    let scenario = r#"{"cgroups":[
        {"name":"a","cpuset":{"Exact":[0]},"works":[{"work_type":"YieldHeavy"}]},
        {"name":"b","cpuset":{"Exact":[1]},"works":[{"work_type":"YieldHeavy"}]}],
        "steps":[{"name":"slow","ops":[{"CpuOffline":1},{"CpuOnline":1},{"Freeze":"a"},{"Thaw":"a"}],
                  "hold":{"Time":"20ms"},"expect":{}},
            {"name":"next","hold":{"Time":"20ms"},"expect":{}},
            {"name":"swaps","ops":[{"SwapCpusets":["a","b"]},{"SwapCpusets":["a","b"]}],
             "hold":{"Loop":{"interval":"20ms","time":"300ms"}}},
            {"name":"slow rounds","ops":[{"CpuOffline":1},{"CpuOnline":1}],
             "hold":{"Loop":{"interval":"10ms","time":"30ms"}},"expect":{}},
            {"name":"short","ops":[{"Spawn":{"cgroup":"a","work":{"num_workers":16}}}],
             "hold":{"Time":"1ms"},"expect":{"isolation":false}}]}"#;
    let mut seen = Vec::new();
    // They differ in when and how a cpuset follows its CPUs, and in what hotplug takes.
    for kernel in ["bookworm", "trixie", "trixie-backports"] {
        let report = deterministic(scenario, &["--kernel", kernel]).expect("inconclusive", 5);
        // One CPU does not give 16 workers a turn each in a millisecond.
        let checks = report["checks"].as_array().unwrap();
        let open = checks.iter().filter(|check| check["outcome"] != "pass");
        let open: Vec<_> = open.map(|c| (c["name"].as_str(), c["detail"].as_str())).collect();
        assert!(open.iter().any(|(name, _)| *name == Some("step short: progress")), "{open:?}");
        for (name, detail) in open {
            let detail = detail.unwrap();
            assert!(name.unwrap().ends_with("progress"), "{name:?}: {detail}");
            assert!(
                detail.contains("too short to judge: ") && detail.contains("on CPU 0"),
                "{detail}"
            );
        }
        let steps = report["record"]["steps"].as_array().unwrap();
        for (step, hold_ms) in steps.iter().zip([20, 20, 300, 30, 1]) {
            let ns = |field: &str| step[field].as_u64().unwrap_or(0);
            let quiet_ns = ns("held_ns") - ns("later_operations_ns");
            assert!((hold_ms..hold_ms + 3).contains(&(quiet_ns / 1_000_000)), "{kernel}: {step}");
            assert!(step["name"] != "slow rounds" || ns("later_operations_ns") > 0, "{step}");
        }
        seen.extend((0..2).map(|index| cpus_used(&report, index, 2).len()));
    }
    // Somebody was where it is for a moment in each round.
    assert!(seen.contains(&2), "{seen:?}");
}

#[test]
fn a_loop_does_its_operations_again_and_again() {
    let scenario = r#"{"cgroups":[
        {"name":"a","cpuset":{"Exact":[0]},"works":[{"num_workers":2}]},
        {"name":"b","cpuset":{"Exact":[1]},"works":[{"num_workers":2}]}],
        "steps":[{"ops":[{"SwapCpusets":["a","b"]}],
                  "hold":{"Loop":{"interval":"50ms","time":"500ms"}}}]}"#;
    let report = deterministic(scenario, &[]).expect("pass", 0);
    assert_eq!(report["record"]["steps"][0]["rounds"], 10);
    for index in 0..4 {
        // Nine swaps after the step has begun, each of them a move.
        let moves = step(&report, index, 0)["migrations"].as_u64().unwrap();
        assert_eq!(moves, 9, "{}", report["workers"][index]);
        assert_eq!(cpus_used(&report, index, 0), [0, 1].into());
    }
}
