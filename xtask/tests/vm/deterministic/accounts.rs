//! What reports say of CPU time, on kernels that count it in different ways and have other rules:
//! busy CPUs, yielders, quotas in quotas. One guest a kernel shows all of it.

use crate::bench::{Run, Vm};
use serde_json::Value;

/// CPU 0 is for a spinner and a yielder, CPU 1 for two groups below one quota; each has a step.
const SCENARIO: &str = r#"{"machine":{"cpus":2},
    "workload":{"affinity":{"Exact":[0]},
        "composed":[{"num_workers":1,"work_type":"Mixed","affinity":{"Exact":[0]}}]},
    "cgroups":[{"name":"q","cpu":{"max":{"quota":"20ms"}},"cpuset":{"Exact":[1]}},
        {"name":"q/wide","cpu":{"max":{"quota":"40ms"}},"works":[{}]},
        {"name":"q/free","works":[{}]}],
    "steps":[
        {"name":"yielder","ops":[{"Freeze":"q"}],"hold":{"Time":"500ms"},
            "expect":{"weighted_fairness_min":0.95}},
        {"name":"quota","ops":[{"Thaw":"q"}],"hold":{"Time":"500ms"},
            "expect":{"quota_tolerance":0.1}}]}"#;

fn run(kernel: &str) -> Run {
    Vm::deterministic(SCENARIO).args(["--kernel", kernel]).run()
}

#[track_caller]
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

/// The spinner and the yielder have kept CPU 0 busy, and the two below the quota CPU 1 for as long
/// as they ran: never less, and no more than what else runs there.
#[track_caller]
fn assert_busy_as_used(report: &Value) {
    let ns = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(check(report, "busy_accounting")["outcome"], "pass", "{report}");
    let (wall, cpus) = (ns(&report["record"]["wall_time_ns"]), &report["record"]["cpus"]);
    assert!(ns(&cpus[0]["busy_ns"]) > 0.98 * wall, "{cpus}");
    let workers = report["workers"].as_array().unwrap();
    let used: f64 = workers[2..].iter().map(|worker| ns(&worker["cpu_time_ns"])).sum();
    let more = ns(&cpus[1]["busy_ns"]) - used;
    assert!((-10e6..0.1 * wall).contains(&more), "{used} ns used: {cpus}");
}

/// The quota of `q` binds; that of `q/wide` cannot be reached below it.
#[track_caller]
fn assert_quota_judged(report: &Value) {
    let quota = check(report, "step quota: quota_tolerance");
    assert_eq!((&quota["outcome"], &quota["workers"]), (&"pass".into(), &Value::Array(vec![])));
}

#[test]
fn linux_6_1_gives_yielders_their_share_back() {
    let report = run("bookworm").expect("pass", 0);
    assert_busy_as_used(&report);
    assert_quota_judged(&report);
    assert_eq!(check(&report, "step yielder: weighted_fairness_min")["outcome"], "pass");
}

#[track_caller]
fn assert_yielder_is_not_judged(kernel: &str) {
    let report = run(kernel).expect("inconclusive", 5);
    assert_busy_as_used(&report);
    assert_quota_judged(&report);
    let fairness = check(&report, "step yielder: weighted_fairness_min");
    assert_eq!(fairness["outcome"], "inconclusive");
    let why = "worker 1 is a Mixed: from Linux 6.6 on each sched_yield gives up the rest";
    assert!(fairness["detail"].as_str().unwrap().contains(why), "{fairness}");
    // The effect itself: were it gone, the rule would have to go too.
    let used = |worker: usize| report["workers"][worker]["steps"][0]["cpu_time_ns"].as_f64();
    assert!(used(1).unwrap() < 0.2 * used(0).unwrap(), "{report}");
}

#[test]
fn linux_6_12_owes_a_yielder_no_share() {
    assert_yielder_is_not_judged("trixie");
}

#[test]
fn linux_7_3_owes_a_yielder_no_share_and_its_busy_time_is_counted() {
    assert_yielder_is_not_judged("trixie-backports");
}
