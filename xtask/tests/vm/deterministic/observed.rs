//! Workers as the kernel shows them in /proc to another worker, which watches them while they run:
//! what they set is really set, and what was configured is back at the end.

use crate::bench::Vm;
use serde_json::Value;
use std::collections::BTreeSet;

/// Alone on the last of four CPUs, it looks every few milliseconds, under TCG too.
const APART: &str = r#""affinity":{"Exact":[3]}"#;
/// Settings of an observer and of a worker that yields, so that each yield of the one is a look of
/// the other: the kernel moves a task of SCHED_FIFO that yields behind those of its priority.
const IN_TURN: &str = r#""sched_policy":{"Fifo":10},"affinity":{"Exact":[0]}"#;

/// Runs `sets`, the fields of a set each, with an observer after them. Nobody had an error.
fn run(length: &str, sets: &[&str], observer: &str, cpus: &str) -> Value {
    run_with(&["--cpus", cpus], length, sets, observer)
}

/// The same with these options of `vm`.
fn run_with(options: &[&str], length: &str, sets: &[&str], observer: &str) -> Value {
    let (first, rest) = sets.split_first().unwrap();
    let composed: String = rest.iter().map(|set| format!("{{{set}}},")).collect();
    let scenario = format!(
        r#"{{{length},"workload":{{{first},"composed":[{composed}
        {{"num_workers":1,"work_type":{{"Custom":{{"name":"observe"}}}},{observer}}}]}}}}"#
    );
    let report = Vm::deterministic(&scenario)
        .test_init()
        .args(options.iter().copied())
        .run()
        .expect("pass", 0);
    for worker in report["workers"].as_array().unwrap() {
        assert!(worker["errors"].is_null() && worker["not_applied"].is_null(), "{worker}");
    }
    report
}

fn observer(report: &Value) -> &Value {
    report["workers"].as_array().unwrap().last().unwrap()
}

/// The values of `what` that worker `index` was seen with.
fn seen(report: &Value, index: usize, what: &str) -> BTreeSet<String> {
    let prefix = format!("{} {what} ", report["workers"][index]["tid"]);
    let tallies = observer(report)["tallies"].as_object().unwrap();
    tallies.keys().filter_map(|key| Some(key.strip_prefix(&prefix)?.to_owned())).collect()
}

fn set<T: ToString>(values: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// Policy, nice level and CPUs of a worker at the end, by its own report.
fn at_the_end(report: &Value, index: usize) -> (&str, i64, &str) {
    let worker = &report["workers"][index];
    let text = |field: &str| worker[field].as_str().unwrap();
    (text("sched_policy"), worker["nice"].as_i64().unwrap(), text("cpus_allowed"))
}

const MODEST: &str = r#""nice":7,"sched_policy":"Batch","affinity":{"Exact":[0,2]}"#;

#[test]
fn a_nice_sweep_goes_through_all_forty_levels() {
    // On the only CPU nobody gets ahead at the gate: who opens it has a higher priority.
    let sweep = format!(r#""num_workers":1,"work_type":"NiceSweep",{IN_TURN}"#);
    let report = run(r#""iterations":200"#, &[&sweep], IN_TURN, "1");
    assert_eq!(seen(&report, 0, "nice"), set(-20..=19));
    assert_eq!(at_the_end(&report, 0), ("SCHED_FIFO 10", 0, "0"));
}

#[test]
fn a_policy_churn_takes_every_policy_and_what_was_configured_comes_back() {
    // Each of the five is held for about 20 ms, ten times.
    let churn = r#""num_workers":1,"work_type":{"PolicyChurn":{"spin_iters":5000000}}"#;
    let sweep = r#""num_workers":1,"work_type":"NiceSweep""#;
    let sets = [&*format!("{churn},{MODEST}"), &*format!("{sweep},{MODEST}")];
    let report = run(r#""iterations":50"#, &sets, APART, "4");
    assert_eq!(seen(&report, 0, "policy"), set([0, 1, 2, 3, 5]));
    assert_eq!(seen(&report, 0, "rt_priority"), set([0, 1]));
    assert_eq!(seen(&report, 0, "nice"), set([7]), "the nice level stays");
    for index in [0, 1] {
        assert_eq!(at_the_end(&report, index), ("SCHED_BATCH", 7, "0,2"));
    }
}

#[test]
fn an_affinity_churn_binds_itself_to_each_of_its_cpus_and_to_no_other() {
    let churn = r#""num_workers":1,"affinity":{"Exact":[0,1,2]},
        "work_type":{"AffinityChurn":{"spin_iters":5000000}}"#;
    let report = run(r#""iterations":50"#, &[churn], APART, "4");
    let mut masks = seen(&report, 0, "cpus");
    masks.remove("0-2");
    assert_eq!(masks, set([0, 1, 2]));
    assert_eq!(at_the_end(&report, 0), ("SCHED_OTHER", 0, "0-2"));
}

#[test]
fn a_cgroup_churn_is_in_each_of_its_cgroups_and_leaves_none() {
    let churn = r#""num_workers":2,"work_type":{"CgroupChurn":{"groups":3,"cycle_ms":30}},
        "affinity":{"Exact":[0,1,2]}"#;
    let report = run(r#""iterations":30"#, &[churn], APART, "4");
    for index in [0, 1] {
        let mut cgroups = seen(&report, index, "cgroup");
        cgroups.remove("/");
        assert_eq!(cgroups, set([0, 1, 2].map(|i| format!("/schedlab-churn-{index}-{i}"))));
        assert_eq!(report["workers"][index]["cgroup"], "/");
    }
    let tallies = observer(&report)["tallies"].as_object().unwrap();
    let left: Vec<_> = tallies.keys().filter(|key| key.starts_with("left ")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_fork_exit_makes_as_many_processes_as_it_has_iterations() {
    let forker = format!(r#""num_workers":1,"work_type":"ForkExit",{IN_TURN}"#);
    let report = run(r#""iterations":300"#, &[&forker], IN_TURN, "1");
    assert_eq!(report["workers"][0]["iterations"], 300);
    let forks = observer(&report)["tallies"]["forks"].as_u64().unwrap();
    // The kernel counts its own threads too, of which it makes a few when they are needed, and
    // the forker may have the first turn.
    assert!(forks.abs_diff(300) <= 10, "{forks} forks");
}

#[test]
fn a_fork_exec_executes_a_program_an_iteration_and_a_fork_exit_none() {
    for (work_type, wanted) in [("ForkExec", 300), ("ForkExit", 0)] {
        let forker = format!(r#""num_workers":1,"work_type":"{work_type}",{IN_TURN}"#);
        let recorded = ["--cpus", "1", "--kernel-arg", "trace_event=sched:sched_process_exec"];
        let report = run_with(&recorded, r#""iterations":300"#, &[&forker], IN_TURN);
        assert_eq!(report["workers"][0]["iterations"], 300);
        let counted = |what: &str| observer(&report)["tallies"][what].as_u64().unwrap();
        // The forker may have the first turn.
        assert!(counted("execs").abs_diff(wanted) <= 3, "{work_type}: {} execs", counted("execs"));
        assert!(counted("forks").abs_diff(300) <= 10, "{work_type}: {} forks", counted("forks"));
    }
}

#[test]
fn types_of_several_classes_really_have_them() {
    let sets = [
        r#""num_workers":2,"affinity":{"Exact":[0]},
            "work_type":{"AsymmetricWaker":{"waker_class":"Rt","wakee_class":"Idle"}}"#,
        r#""num_workers":3,"affinity":{"Exact":[0]},"nice":3,
            "work_type":{"PreemptStorm":{"cfs_workers":2}}"#,
        r#""num_workers":3,"affinity":{"Exact":[1]},
            "work_type":{"RtStarvation":{"cfs_workers":2,"rt_priority":40}}"#,
        r#""num_workers":3,"affinity":{"Exact":[2]},"work_type":"PriorityInversion""#,
    ];
    let report = run(r#""duration":"2s""#, &sets, APART, "4");
    let (other, fifo, idle) = ("0", "1", "5");
    for (index, policy, priority) in [
        (0, fifo, "50"),
        (1, idle, "0"),
        (2, fifo, "1"),
        (3, other, "0"),
        (4, other, "0"),
        (5, fifo, "40"),
        (6, other, "0"),
        (7, other, "0"),
        (8, fifo, "70"),
        (9, fifo, "50"),
        (10, fifo, "30"),
    ] {
        let role = &report["workers"][index];
        let policies = seen(&report, index, "policy");
        assert!(policies.contains(policy), "{policies:?}: {role}");
        // Before its loop and after it a worker is under the configured policy.
        assert!(policies.is_subset(&set([policy, other])), "{policies:?}: {role}");
        let priorities = seen(&report, index, "rt_priority");
        assert!(priorities.contains(priority), "{priorities:?}: {role}");
        assert!(priorities.is_subset(&set([priority, "0"])), "{priorities:?}: {role}");
    }
    assert_eq!(seen(&report, 3, "nice"), set([3]));
}

#[test]
fn the_holder_of_a_pi_lock_runs_at_the_priority_of_its_waiter() {
    let tiers = |mode: &str, cpu: u32| {
        format!(
            r#""num_workers":3,"affinity":{{"Exact":[{cpu}]}},"work_type":
            {{"PriorityInversion":{{"hold_iters":2000000,"work_iters":1000,"pi_mode":"{mode}"}}}}"#
        )
    };
    let sets = [&*tiers("Plain", 0), &*tiers("Pi", 1)];
    let report = run(r#""iterations":20"#, &sets, APART, "4");
    // The kernel shows real-time priority p as -1 - p; low has 30, high 70, medium 50.
    let (low, high) = ("-31".to_owned(), "-71".to_owned());
    let (plain, pi) = (seen(&report, 2, "priority"), seen(&report, 5, "priority"));
    assert!(plain.contains(&low) && !plain.contains(&high), "{plain:?}");
    assert!(pi.contains(&high), "{pi:?}");
    assert!(seen(&report, 5, "rt_priority").is_subset(&set([0, 30])), "what is set stays");
}

#[test]
fn a_spinner_makes_its_own_cpu_busy_and_no_other() {
    let scenario = r#"{"duration":"2s","workload":{"num_workers":1,"work_type":"SpinWait",
        "affinity":{"Exact":[1]}}}"#;
    let report = Vm::deterministic(scenario).args(["--cpus", "2"]).run().expect("pass", 0);
    let record = &report["record"];
    assert!(record["cpus_unavailable"].is_null(), "{record}");
    let wall_ns = record["wall_time_ns"].as_f64().unwrap();
    let cpus = record["cpus"].as_array().unwrap();
    let share = |at: usize| cpus[at]["busy_ns"].as_f64().unwrap() / wall_ns;
    assert_eq!((cpus.len(), &cpus[1]["cpu"]), (2, &Value::from(1)));
    assert!((0.98..1.02).contains(&share(1)) && share(0) < 0.1, "{record}");
    // The scenario has nobody who would wait for the spinner, or for whom it would wait long.
    assert!(cpus[1]["run_delay_ns"].as_f64().unwrap() < wall_ns / 10.0, "{record}");
    assert!(cpus[0]["timeslices"].as_u64().unwrap() > 0, "{record}");
}
