//! Guests with sockets, dies, last-level caches, SMT siblings and NUMA nodes: that their kernels
//! see them, and that a guest without them is not judged. Under TCG: what KVM shows depends on the
//! host's CPU.

use crate::bench::{Run, Vm, of_workers};
use serde_json::{Value, json};

const NEWEST: &str = "trixie-backports";
const OLDEST: &str = "debian:bookworm/cloud-amd64";

fn tcg(scenario: &str, args: &[&str]) -> Run {
    Vm::new(scenario).args(["--accel", "tcg"]).args(args.iter().copied()).run()
}

/// What the report says of a machine of this shape.
fn machine(args: &[&str]) -> Value {
    let report = tcg(r#"{"iterations":100}"#, args).expect("pass", 0);
    // A difference between plan and guest would be a note.
    assert_eq!(report["notes"], json!([]));
    report["machine"].clone()
}

#[test]
fn a_guest_of_two_nodes_has_two_cpus_and_two_nodes() {
    let machine = machine(&["--topology", "2s1c1t", "--numa", "2"]);
    assert_eq!((&machine["cpus"], &machine["nodes"]), (&2.into(), &2.into()));
    assert_eq!(machine["topology"], "2s1c1t");
    assert_eq!(machine["threads_per_core"], 1);
}

#[test]
fn numa_churn_moves_to_the_other_node_in_each_round() {
    let scenario =
        r#"{"iterations":20,"workload":{"work_type":{"NumaMigrationChurn":{"period_ms":2}}}}"#;
    let report = tcg(scenario, &["--numa", "2"]).expect("pass", 0);
    assert_eq!(report["workers"][0]["cpus_used"], json!([0, 1]));
    // Before the first round it may be on either node.
    let migrations = of_workers(&report, "migrations")[0];
    assert!(migrations >= 19, "{migrations} migrations in 20 rounds");
}

#[test]
fn smt_siblings_are_seen_and_both_run() {
    let scenario =
        r#"{"iterations":2000,"workload":{"num_workers":2,"work_type":"SmtSiblingSpin"}}"#;
    for kernel in [NEWEST, OLDEST] {
        let run = tcg(scenario, &["--topology", "1s1c2t", "--kernel", kernel]);
        let report = run.expect("pass", 0);
        assert_eq!(report["machine"]["cpus"], 2);
        assert_eq!(report["machine"]["threads_per_core"], 2, "{kernel}");
        assert_eq!(of_workers(&report, "iterations"), [2000, 2000]);
    }
}

#[test]
fn dies_and_nodes_within_a_socket_are_seen_without_a_warning() {
    assert_eq!(machine(&["--topology", "1s2d1c2t", "--numa", "2"])["topology"], "1s2d1c2t");
    assert_eq!(machine(&["--topology", "4c", "--numa", "2"])["nodes"], 2);
}

/// CPU masks of the scheduling domains of CPU 0, from the innermost.
fn domains(args: &[&str]) -> Vec<u64> {
    let scenario = r#"{"iterations":1,"workload":{"work_type":{"Custom":{"name":"domains"}}}}"#;
    let vm = Vm::new(scenario).test_init().args(["--accel", "tcg"]).args(args.iter().copied());
    let report = vm.run().expect("pass", 0);
    let tallies = report["workers"][0]["tallies"].as_object().unwrap();
    tallies.values().map(|mask| mask.as_u64().unwrap()).collect()
}

#[test]
fn the_scheduler_balances_within_each_llc_of_a_socket() {
    for kernel in [NEWEST, OLDEST] {
        let split = ["--topology", "1s2l2c", "--kernel", kernel];
        assert_eq!(machine(&split)["llcs"], json!(["0-1", "2-3"]), "{kernel}");
        assert_eq!(domains(&split), [0b0011, 0b1111], "{kernel}");
        assert_eq!(domains(&["--topology", "4c", "--kernel", kernel]), [0b1111], "{kernel}");
    }
}

#[test]
fn a_memory_only_node_gives_memory_to_whom_is_bound_to_it() {
    let scenario = r#"{"iterations":5,"workload":{"work_type":{"CachePressure":{"size_kb":4096}},
        "mem_policy":{"Bind":[2]}}}"#;
    let nodes = "0:256M,1:256M,-:128M";
    for kernel in [NEWEST, OLDEST] {
        let report = tcg(scenario, &["--numa", nodes, "--kernel", kernel]).expect("pass", 0);
        let machine = &report["machine"];
        assert_eq!((&machine["nodes"], &machine["memory_mib"]), (&3.into(), &640.into()));
        assert_eq!(machine["numa"][2]["cpus"], "", "{kernel}");
        let pages = report["workers"][0]["numa_pages"]["2"].as_u64().unwrap();
        assert!(pages >= 1024, "{pages} pages on the node, {kernel}");
    }
}

#[test]
fn a_ready_machine_has_its_nodes_near_and_far() {
    let four = ["--machine", "four-node"];
    let machine = machine(&four);
    assert_eq!((&machine["topology"], &machine["nodes"]), (&"4s2c1t".into(), &4.into()));
    let distances: Vec<_> = (0..4).map(|node| machine["numa"][node]["distances"].clone()).collect();
    let expected = [[10, 16, 32, 32], [16, 10, 32, 32], [32, 32, 10, 16], [32, 32, 16, 10]]
        .map(|row| json!(row));
    assert_eq!(distances, expected);
    // A node, its pair of nodes, all.
    assert_eq!(domains(&four), [0b11, 0b1111, 0xff]);
}

#[test]
fn distances_are_those_that_were_asked_for() {
    for kernel in [NEWEST, OLDEST] {
        let args = ["--cpus", "3", "--numa", "3", "--numa-distance", "21,0-2=40"];
        let machine = machine(&[&args[..], &["--kernel", kernel]].concat());
        assert_eq!(machine["numa"][0]["distances"], json!([10, 21, 40]), "{kernel}");
        assert_eq!(machine["numa"][1]["distances"], json!([21, 10, 21]), "{kernel}");
    }
}

#[test]
fn a_node_with_other_memory_than_asked_for_is_a_guest_error() {
    let args = ["--numa", "2", "--kernel-arg", "mem=600M"];
    let report = tcg(r#"{"iterations":100}"#, &args).expect("guest-error", 4);
    let advice = report["advice"].as_str().unwrap();
    assert!(advice.starts_with("MiB by node 512 | 512 were asked for"), "{advice}");
}

#[test]
fn a_worker_kept_to_a_node_without_cpus_is_refused_before_the_boot() {
    let scenario = r#"{"workload":{"numa_node":1}}"#;
    let run = tcg(scenario, &["--machine", "cxl"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("is 1, which has none of the set's CPUs"), "{}", run.stderr);
}

#[test]
fn a_guest_with_fewer_nodes_or_cpus_than_asked_for_is_a_guest_error() {
    let cases = [
        (["--numa", "2", "--kernel-arg", "numa=off"], "2 NUMA nodes were asked for"),
        (["--topology", "1s1c2t", "--kernel-arg", "nosmt"], "2 CPUs were asked for"),
        // The AMD CPUs of TCG have no dies.
        (["--topology", "1s2d", "--cpu-model", "max"], "2 dies were asked for"),
    ];
    for (args, text) in cases {
        let report = tcg(r#"{"iterations":100}"#, &args).expect("guest-error", 4);
        let has = format!("{text}, the guest has 1");
        assert!(report["advice"].as_str().unwrap().starts_with(&has), "{}", report["advice"]);
        assert!(report["notes"].as_array().unwrap().contains(&has.into()), "{}", report["notes"]);
    }
}
