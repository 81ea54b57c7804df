//! Settings of workers hold to the end on every kernel: those that cgroups, cpusets and hotplug
//! take away are set again or told. Also what the kernels themselves do, so that it is noticed when
//! that changes.

use crate::bench::{Run, Vm};
use serde_json::Value;

/// The oldest kernel that forgets affinities, and two that keep them.
const KERNELS: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];

fn run(scenario: &str, kernel: &str) -> Run {
    let args = ["--topology", "2s2c", "--numa", "2", "--kernel", kernel];
    Vm::deterministic(scenario).args(args).run()
}

fn worker(report: &Value, index: usize) -> &Value {
    &report["workers"][index]
}

fn applied(report: &Value) -> &Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "applied").unwrap()
}

/// Every way in which a worker asks for CPUs, and every way in which its cgroup is another
/// afterwards. CPUs 2 and 3 are node 1.
const PLACED: &str = r#"{"cgroups":[
    {"name":"pinned","works":[{"num_workers":2,"affinity":{"Exact":[1]}}]},
    {"name":"node","works":[{"numa_node":1}]},
    {"name":"java","pcomm":"java","works":[{"num_workers":2,"affinity":{"Exact":[2]}}]},
    {"name":"from","works":[{"affinity":{"Exact":[3]}}]}, {"name":"to"},
    {"name":"narrow","works":[{"affinity":{"Exact":[0,3]}}]},
    {"name":"told","works":[{}]},
    {"name":"restless","works":[
        {"work_type":"AffinityChurn","affinity":{"Exact":[0,1]}},
        {"work_type":"AffinityChurn"},
        {"work_type":"CgroupChurn","affinity":{"Exact":[2]}},
        {"work_type":"NiceSweep","nice":3,"affinity":{"Exact":[0]}},
        {"work_type":"PolicyChurn","sched_policy":"Batch","mem_policy":{"Bind":[0]}},
        {"work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"9ms"}},
            "sched_policy":{"Fifo":1},"nice":5,"affinity":{"Exact":[0]}},
        {"work_type":{"PreemptStorm":{"cfs_workers":1}},"num_workers":2}]}],
    "steps":[{"hold":{"Time":"60ms"}},
        {"ops":[{"MoveAllTasks":{"from":"from","to":"to"}},
                {"SetCpuset":{"cgroup":"narrow","cpus":{"Exact":[3]}}},
                {"SetCpuset":{"cgroup":"restless","cpus":{"Exact":[0,1,2]}}},
                {"SetAffinity":{"cgroup":"told","affinity":{"Exact":[1,2]}}},
                {"SetCpuset":{"cgroup":"told","cpus":{"Exact":[0,1]}}}],
         "hold":{"Time":"60ms"}},
        {"ops":[{"ClearCpuset":"narrow"},{"ClearCpuset":"told"},{"ClearCpuset":"restless"}],
         "hold":{"Time":"60ms"}}],
    "expect":{"progress":false,"isolation":false}}"#;

#[test]
fn workers_have_the_cpus_and_settings_that_they_ask_for_on_every_kernel() {
    for kernel in KERNELS {
        let report = run(PLACED, kernel).expect("pass", 0);
        let held = |field: &str| -> Vec<Value> {
            report["workers"].as_array().unwrap().iter().map(|w| w[field].clone()).collect()
        };
        let cpus =
            ["1", "1", "2-3", "2", "2", "3", "0,3", "1-2", "0-1", "0-3", "2", "0", "0-3", "0"];
        assert_eq!(held("cpus_allowed")[..cpus.len()], cpus, "{kernel}");
        assert!(held("not_held").iter().all(Value::is_null), "{kernel}");
        // Some have no turn in a step: it is short, and the restless are many.
        for step in 0..3 {
            let within = |index: usize, cpus: &[u64]| {
                let used = worker(&report, index)["steps"][step]["cpus_used"].as_array().unwrap();
                let is_in = |cpu: &Value| cpus.contains(&cpu.as_u64().unwrap());
                assert!(used.iter().all(is_in), "{kernel}: worker {index}: {used:?}");
            };
            within(0, &[1]);
            within(2, &[2, 3]);
            within(3, &[2]);
            within(5, &[3]);
            within(6, if step == 1 { &[3] } else { &[0, 3] });
            within(8, &[0, 1]);
            within(10, &[2]);
        }
        assert_eq!(worker(&report, 13)["nice"], 5, "{kernel}: kept beside SCHED_FIFO");
        // Since Linux 6.12 the kernel says which slice a fair task has.
        assert_eq!(worker(&report, 0)["slice_ns"].is_u64(), kernel != "bookworm");
        assert_eq!(worker(&report, 12)["mem_policy"], "Bind 0");
    }
}

#[test]
fn two_spinners_on_one_cpu_have_half_of_it_each_in_a_cgroup_of_6_1_too() {
    let scenario = r#"{"machine":{"cpus":2},"duration":"200ms","cgroups":[
        {"name":"a","works":[{"num_workers":2,"affinity":{"Exact":[1]}}]}]}"#;
    let report = Vm::deterministic(scenario).args(["--kernel", "bookworm"]).run();
    let report = report.expect("pass", 0);
    for index in [0, 1] {
        let used = worker(&report, index)["cpu_time_ns"].as_f64().unwrap();
        let share = used / worker(&report, index)["wall_time_ns"].as_f64().unwrap();
        assert!((0.45..0.52).contains(&share), "{share}");
    }
}

/// docs/settings.md says so: if a kernel does otherwise, that page is to be changed.
#[test]
fn linux_6_1_forgets_an_affinity_where_newer_ones_restore_it() {
    let scenario = r#"{"cgroups":[{"name":"a","works":[{"affinity":{"Exact":[0,1]}}]},{"name":"b"}],
        "steps":[{"hold":{"Time":"20ms"}},
            {"ops":[{"SetCpuset":{"cgroup":"a","cpus":{"Exact":[1]}}}],"hold":{"Time":"20ms"}},
            {"ops":[{"ClearCpuset":"a"}],"hold":{"Time":"20ms"}},
            {"ops":[{"MoveAllTasks":{"from":"a","to":"b"}}],"hold":{"Time":"20ms"}}]}"#;
    // It came into a cgroup, that was narrow and became wide again, and it came into another.
    for (kernel, forgotten) in KERNELS.into_iter().zip([3, 0, 0]) {
        let report = run(scenario, kernel).expect("pass", 0);
        let again = worker(&report, 0)["affinity_set_again"].as_u64().unwrap_or(0);
        assert_eq!(again, forgotten, "{kernel}");
    }
}

/// Worker 0 loses its only CPU for a while, worker 1 one of two, and the cgroup of worker 2 one that
/// it does not use.
const UNPLUGGED: &str = r#"{"workload":{"num_workers":1,"affinity":{"Exact":[1]},
        "composed":[{"num_workers":1,"affinity":{"Exact":[1,2]}}]},
    "cgroups":[{"name":"a","works":[{"affinity":{"Exact":[2]}}]}],
    "steps":[{"hold":{"Time":"40ms"}},{"ops":[{"CpuOffline":1}],"hold":{"Time":"40ms"}},
        {"ops":[{"CpuOnline":1}],"hold":{"Time":"40ms"}}]}"#;

#[test]
fn a_worker_that_lost_its_cpu_to_hotplug_is_told_unless_that_is_expected() {
    for kernel in KERNELS {
        let report = run(UNPLUGGED, kernel).expect("fail", 1);
        let check = applied(&report);
        assert_eq!(check["outcome"], "fail");
        assert_eq!(check["workers"], serde_json::json!([0]), "{kernel}: {check}");
        let detail = "worker 0: affinity: asked for CPUs 1, its cgroup has 0-3, the kernel holds \
                      0-3; it lost them when CPU 1 went off line";
        assert!(check["detail"].as_str().unwrap().starts_with(detail), "{kernel}: {check}");
        assert_eq!(worker(&report, 1)["cpus_allowed"], "1-2", "{kernel}");
        assert_eq!(worker(&report, 2)["cpus_allowed"], "2", "{kernel}");
    }
    let expected = UNPLUGGED.replacen('{', r#"{"expect":{"hotplug_unpins":true},"#, 1);
    run(&expected, KERNELS[2]).expect("pass", 0);
    // Asked for again, it is there again.
    let again = UNPLUGGED.replace(
        r#"{"CpuOnline":1}]"#,
        r#"{"CpuOnline":1},{"SetAffinity":{"affinity":{"Exact":[1,2]}}}]"#,
    );
    run(&again, KERNELS[0]).expect("pass", 0);
}
