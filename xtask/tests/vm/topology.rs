//! Guests with sockets, dies, SMT siblings and NUMA nodes: that their kernels see them, and that
//! a guest without them is not judged. Under TCG: what KVM shows depends on the host's CPU.

use crate::bench::{Run, Vm, of_workers};
use serde_json::Value;

fn tcg(scenario: &str, args: &[&str]) -> Run {
    Vm::new(scenario).args(["--accel", "tcg"]).args(args.iter().copied()).run()
}

/// What the report says of a machine of this shape.
fn machine(args: &[&str]) -> Value {
    let report = tcg(r#"{"iterations":100}"#, args).expect("pass", 0);
    // A difference between plan and guest would be a note.
    assert_eq!(report["notes"], serde_json::json!([]));
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
    assert_eq!(report["workers"][0]["cpus_used"], serde_json::json!([0, 1]));
    // Before the first round it may be on either node.
    let migrations = of_workers(&report, "migrations")[0];
    assert!(migrations >= 19, "{migrations} migrations in 20 rounds");
}

#[test]
fn smt_siblings_are_seen_and_both_run() {
    let scenario =
        r#"{"iterations":2000,"workload":{"num_workers":2,"work_type":"SmtSiblingSpin"}}"#;
    for kernel in ["trixie-backports", "debian:bookworm/cloud-amd64"] {
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
