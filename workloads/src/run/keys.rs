//! Every key of a scenario does something: each that the schema has must change what is done, what
//! is judged or what a worker is given. Keys that only a host reads are named with their tests;
//! parameters of work types are looked at by `work::reading`.

use super::RunOptions;
use super::stage::Stage;
use crate::expect::fixture::Case;
use crate::topology::{Cpu, Topology};
use crate::work::WorkType;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// An object of the schema, a scenario with such an object, where it stands, and another value for
/// each key that it may have.
type Place = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What no guest reads. `name` is that of run folders and `purpose` is listed
/// (`xtask::run::folder`, `cmd::list`), `machine` becomes options (`xtask::qemu::keys`), `no_splat`
/// judges the console (`run::verdict`).
const OF_THE_HOST: [(&str, &str); 4] = [
    ("Scenario", "name"),
    ("Scenario", "purpose"),
    ("Scenario", "machine"),
    ("Expect", "no_splat"),
];

const PLAIN: &str = r#"{"duration":"2s","workload":{"num_workers":2}}"#;
const BOUND: &str = r#"{"duration":"2s","workload":{"num_workers":2,"mem_policy":{"Bind":[0]}}}"#;
const CGROUP: &str = r#"{"cgroups":[{"name":"a","works":[{"mem_policy":{"Bind":[0]}}],
    "memory":{"max":"1G"},"cpu":{"max":{"quota":"50ms","period":"100ms"}}}]}"#;
const STEP: &str = r#"{"workload":{"num_workers":2},"steps":[{"hold":{"Time":"1s"}}]}"#;
const LOOP: &str = r#"{"workload":{"num_workers":2},
    "steps":[{"hold":{"Loop":{"interval":"100ms","time":"1s"}}}]}"#;
/// With an operation and an expectation in its step.
const JUDGED: &str = r#"{"cgroups":[
    {"name":"a","cpuset":{"Exact":[0,1]},"cpu":{"max":{"quota":"50ms"}},"works":[{"num_workers":2}]},
    {"name":"b","works":[{"numa_node":1}]}],
    "expect":{"latency":{"wake":{"max":"1s"}}},
    "steps":[{"hold":{"Time":"1s"},"expect":{}}]}"#;
const WHOLE: &str = r#"{"cgroups":[
    {"name":"a","cpuset":{"Exact":[0,1]},"cpu":{"max":{"quota":"50ms"}},"works":[{"num_workers":2}]},
    {"name":"b","works":[{"numa_node":1}]}],"expect":{"latency":{"wake":{"max":"1s"}}}}"#;
const UNPINNED: &str = r#"{"workload":{"num_workers":1,"affinity":{"Exact":[1]}},"expect":{},
    "steps":[{"ops":[{"CpuOffline":1}],"hold":{"Time":"1s"}},
             {"ops":[{"CpuOnline":1}],"hold":{"Time":"1s"}}]}"#;
const OF_A_SET: &[(&str, &str)] = &[
    ("work_type", r#""YieldHeavy""#),
    ("num_workers", "4"),
    ("affinity", r#""SingleCpu""#),
    ("sched_policy", r#""Batch""#),
    ("mem_policy", r#"{"Bind":[1]}"#),
    ("mpol_flags", r#"["STATIC_NODES"]"#),
    ("nice", "5"),
    ("comm", r#""other""#),
    ("uid", "5"),
    ("gid", "5"),
    ("numa_node", "0"),
];
const OF_ANY_EXPECT: &[(&str, &str)] = &[
    ("progress", "false"),
    ("isolation", "false"),
    ("wake_p99", r#""1s""#),
    ("latency", r#"{"timer":{"p50":"1s"}}"#),
    ("max_gap", r#""1s""#),
    ("fairness_min", "0.5"),
    ("fairness_spread_max", "0.5"),
    ("weighted_fairness_min", "0.5"),
    ("throughput_min", "0.5"),
    ("throughput_cv_max", "0.5"),
    ("migrations_max", "5"),
    ("run_delay_max", "0.5"),
    ("quota_tolerance", "0.5"),
    ("weight_tolerance", "0.5"),
];

const PLACES: &[Place] = &[
    (
        "Scenario",
        PLAIN,
        "",
        &[
            ("duration", r#""3s""#),
            ("warmup", r#""1s""#),
            ("seed", "7"),
            ("stagger", r#""5ms""#),
            ("iterations", "3"),
            ("workload", r#"{"num_workers":4}"#),
            ("cgroups", r#"[{"name":"a"}]"#),
            ("steps", r#"[{"hold":{"Time":"1s"}}]"#),
            ("expect", r#"{"progress":false}"#),
        ],
    ),
    ("WorkloadConfig", BOUND, "/workload", OF_A_SET),
    (
        "WorkloadConfig",
        PLAIN,
        "/workload",
        &[("clone_mode", r#""Thread""#), ("composed", r#"[{"num_workers":1}]"#)],
    ),
    ("WorkSpec", CGROUP, "/cgroups/0/works/0", OF_A_SET),
    ("WorkSpec", CGROUP, "/cgroups/0/works/0", &[("workers_pct", "100"), ("pcomm", r#""other""#)]),
    (
        "CgroupDef",
        CGROUP,
        "/cgroups/0",
        &[
            ("name", r#""b""#),
            ("cpuset", r#"{"Exact":[1]}"#),
            ("mems", "[0]"),
            ("cpu", r#"{"weight":200}"#),
            ("memory", r#"{"max":"2G"}"#),
            ("io_weight", "200"),
            ("pids_max", "50"),
            ("swappable", "true"),
            ("nice", "5"),
            ("comm", r#""other""#),
            ("pcomm", r#""other""#),
            ("uid", "5"),
            ("gid", "5"),
            ("numa_node", "1"),
            ("works", r#"[{"num_workers":2}]"#),
        ],
    ),
    (
        "CpuKnobs",
        CGROUP,
        "/cgroups/0/cpu",
        &[
            ("weight", "200"),
            ("max", r#"{"quota":"60ms"}"#),
            ("burst", r#""1ms""#),
            ("idle", "true"),
        ],
    ),
    ("CpuMax", CGROUP, "/cgroups/0/cpu/max", &[("quota", r#""60ms""#), ("period", r#""50ms""#)]),
    (
        "MemoryKnobs",
        CGROUP,
        "/cgroups/0/memory",
        &[("max", r#""2G""#), ("high", r#""512M""#), ("low", r#""64M""#)],
    ),
    (
        "Step",
        STEP,
        "/steps/0",
        &[
            ("name", r#""other""#),
            ("ops", r#"[{"SetAffinity":{"affinity":{"Exact":[0]}}}]"#),
            ("hold", r#"{"Time":"2s"}"#),
            ("expect", r#"{"max_gap":"1s"}"#),
        ],
    ),
    ("Hold.Loop", LOOP, "/steps/0/hold/Loop", &[("interval", r#""200ms""#), ("time", r#""2s""#)]),
    ("Expect", WHOLE, "/expect", OF_ANY_EXPECT),
    (
        "Expect",
        WHOLE,
        "/expect",
        &[("completed", "false"), ("applied", "false"), ("numa_locality_min", "0.5")],
    ),
    ("Expect", UNPINNED, "/expect", &[("hotplug_unpins", "true")]),
    ("StepExpect", JUDGED, "/steps/0/expect", OF_ANY_EXPECT),
    ("StepExpect", JUDGED, "/steps/0/expect", &[("stalled", r#"["a"]"#)]),
    (
        "LatencyBounds",
        WHOLE,
        "/expect/latency/wake",
        &[
            ("p50", r#""1s""#),
            ("p90", r#""1s""#),
            ("p99", r#""1s""#),
            ("p999", r#""1s""#),
            ("max", r#""2s""#),
        ],
    ),
];

/// The same for what stands in an operation, a policy or a choice of CPUs: its name, the object, and
/// other values.
type Inner = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const OPS: &[Inner] = &[
    (
        "SetCpuset",
        r#"{"cgroup":"a","cpus":{"Exact":[0,1]},"mems":[0]}"#,
        &[("cgroup", r#""b""#), ("cpus", r#"{"Exact":[0]}"#), ("mems", "[1]")],
    ),
    (
        "SetCpu",
        r#"{"cgroup":"a","cpu":{"weight":200}}"#,
        &[("cgroup", r#""b""#), ("cpu", r#"{"weight":300}"#)],
    ),
    (
        "Spawn",
        r#"{"cgroup":"a","work":{}}"#,
        &[("cgroup", r#""b""#), ("work", r#"{"num_workers":2}"#)],
    ),
    ("MoveAllTasks", r#"{"from":"a","to":"b"}"#, &[("from", r#""c""#), ("to", r#""c""#)]),
    (
        "SetAffinity",
        r#"{"cgroup":"a","affinity":{"Exact":[0]}}"#,
        &[("cgroup", r#""b""#), ("affinity", r#"{"Exact":[1]}"#)],
    ),
    (
        "Sysctl",
        r#"{"name":"kernel.one","value":"0"}"#,
        &[("name", r#""kernel.two""#), ("value", r#""1""#)],
    ),
    ("SchedKnob", r#"{"name":"one","value":"0"}"#, &[("name", r#""two""#), ("value", r#""1""#)]),
    (
        "StartScheduler",
        r#"{"name":"one","args":["a"]}"#,
        &[("name", r#""two""#), ("args", r#"["b"]"#)],
    ),
];

const CPUSETS: &[Inner] = &[
    ("Range", r#"{"start":0.0,"end":0.5}"#, &[("start", "0.25"), ("end", "1.0")]),
    ("Disjoint", r#"{"index":0,"of":2}"#, &[("index", "1"), ("of", "4")]),
    (
        "Overlap",
        r#"{"index":0,"of":2,"fraction":0.5}"#,
        &[("index", "1"), ("of", "4"), ("fraction", "0.0")],
    ),
];

const AFFINITIES: &[Inner] =
    &[("RandomSubset", r#"{"from":[0,1,2],"count":2}"#, &[("from", "[1,2]"), ("count", "1")])];

const POLICIES: &[Inner] = &[(
    "Deadline",
    r#"{"runtime":"1ms","deadline":"10ms","period":"20ms"}"#,
    &[("runtime", r#""2ms""#), ("deadline", r#""5ms""#), ("period", r#""30ms""#)],
)];

/// An enumeration of the schema, a scenario, where in it one of its values may stand, and those with
/// keys.
const WITHIN: &[(&str, &str, &str, &[Inner])] = &[
    (
        "Op",
        r#"{"cgroups":[{"name":"a","works":[{}]},{"name":"b","works":[{}]},{"name":"c","works":[{}]}],
            "steps":[{"hold":{"Time":"1s"},"ops":[null]}]}"#,
        "/steps/0/ops/0",
        OPS,
    ),
    (
        "CpusetSpec",
        r#"{"cgroups":[{"name":"a","works":[{}],"cpuset":null}]}"#,
        "/cgroups/0/cpuset",
        CPUSETS,
    ),
    (
        "AffinityIntent",
        r#"{"workload":{"num_workers":2,"affinity":null}}"#,
        "/workload/affinity",
        AFFINITIES,
    ),
    (
        "SchedPolicy",
        r#"{"workload":{"num_workers":2,"sched_policy":null}}"#,
        "/workload/sched_policy",
        POLICIES,
    ),
];

/// Four CPUs in two nodes.
fn topology() -> Topology {
    let cpu = |id| Cpu { id, core: id, llc: id / 2, node: id / 2 };
    Topology::new((0..4).map(cpu).collect(), [0, 1].into())
}

/// What is done, what workers are given and what is judged: all that a run depends on, and not the
/// scenario itself.
fn effect(text: &str) -> String {
    // It lost what it was asked for as a CPU went off line.
    let case = Case::on(&topology(), text).with(0, |r| {
        (r.cpus_asked, r.cpus_allowed) = (Some("1".into()), Some("0-3".into()));
        r.unplugged_cpu = Some(1);
    });
    let Case { scenario, plan, .. } = &case;
    let stage = Stage::new(None, scenario, plan, &RunOptions::default());
    let mut swapped = scenario.clone();
    swapped.override_work_type(&WorkType::YieldHeavy);
    let swapped = swapped.plan(&topology()).unwrap();
    format!(
        "{plan:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        plan.length(scenario),
        scenario.warmup,
        stage.options,
        swapped.crews,
        scenario.schedulers(true),
        case.checks()
    )
}

/// The text with `key` at `pointer` as `value`.
fn changed(text: &str, pointer: &str, key: &str, value: &str) -> String {
    let mut whole: Value = serde_json::from_str(text).unwrap();
    let object = whole.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} in {text}"));
    object[key] = serde_json::from_str(value).unwrap();
    whole.to_string()
}

fn assert_each_does_something(object: &str, text: &str, pointer: &str, keys: &[(&str, &str)]) {
    let before = effect(text);
    for (key, value) in keys {
        let after = effect(&changed(text, pointer, key, value));
        assert_ne!(before, after, "`{key}` of {object} does nothing");
    }
}

/// The keys of each object of the schema that is no work type.
fn keys_of_the_schema() -> BTreeMap<String, BTreeSet<String>> {
    const SCHEMA: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/scenario.schema.json"));
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut all = BTreeMap::new();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if WorkType::from_name(name).is_some()
            || ["Custom", "Sequence", "WorkType"].contains(&&**name)
        {
            continue;
        }
        note(name, definition, &mut all);
        for variant in definition["oneOf"].as_array().into_iter().flatten() {
            for (of, inner) in variant["properties"].as_object().into_iter().flatten() {
                note(&format!("{name}.{of}"), inner, &mut all);
            }
        }
    }
    all
}

fn note(name: &str, definition: &Value, all: &mut BTreeMap<String, BTreeSet<String>>) {
    let Some(properties) = definition["properties"].as_object() else { return };
    let keys: BTreeSet<_> = properties.keys().filter(|key| *key != "$schema").cloned().collect();
    all.insert(name.to_owned(), keys);
}

#[test]
fn no_key_of_a_scenario_is_without_effect() {
    let mut walked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut walk = |object: &str, text: &str, pointer: &str, keys: &[(&str, &str)]| {
        assert_each_does_something(object, text, pointer, keys);
        walked.entry(object.into()).or_default().extend(keys.iter().map(|(key, _)| (*key).into()));
    };
    for (object, text, pointer, keys) in PLACES {
        walk(object, text, pointer, keys);
    }
    for (of, text, pointer, inner) in WITHIN {
        for (name, object, keys) in *inner {
            let mut whole: Value = serde_json::from_str(text).unwrap();
            let object: Value = serde_json::from_str(object).unwrap();
            *whole.pointer_mut(pointer).unwrap() = json!({ *name: object });
            let of = match *name {
                "StartScheduler" => "SchedulerChoice".to_owned(),
                name => format!("{of}.{name}"),
            };
            walk(&of, &whole.to_string(), &format!("{pointer}/{name}"), keys);
        }
    }
    for (object, key) in OF_THE_HOST {
        walked.entry(object.into()).or_default().insert(key.into());
    }
    let mut wanted = keys_of_the_schema();
    wanted.remove("Machine");
    assert_eq!(walked, wanted);
}
