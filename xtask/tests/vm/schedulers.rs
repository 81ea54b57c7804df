//! sched_ext schedulers that `vm` cannot use, and those that print or that leave things behind. The
//! faults of a scheduler are in `deterministic::schedulers`.

use crate::bench::{Vm, test_scheduler};

const NEW: &str = "debian:trixie-backports/cloud-amd64";
const OLD: &str = "debian:bookworm/cloud-amd64";
const SHORT: &str = r#"{"duration":"500ms","workload":{"num_workers":2,"work_type":"PipeIo"}}"#;

#[track_caller]
fn refused(vm: Vm, code: i32, says: &str) {
    let run = vm.run();
    assert!(run.stderr.contains(says), "`{says}` is not in: {}", run.stderr);
    assert_eq!(run.code, code, "{}", run.stderr);
    assert!(!run.file("console.log").exists(), "it was booted");
}

#[test]
fn a_kernel_without_sched_ext_is_refused_by_the_options_that_it_lacks() {
    let vm = Vm::new(SHORT).args(["--kernel", OLD, "--scheduler", test_scheduler()]);
    refused(vm, 2, "CONFIG_SCHED_CLASS_EXT");
    let scenario = r#"{"workload":{"sched_policy":"Ext"}}"#;
    refused(Vm::new(scenario).args(["--kernel", OLD]), 2, "CONFIG_SCHED_CLASS_EXT");
}

#[test]
fn what_is_no_program_is_refused() {
    refused(Vm::new(SHORT).args(["--kernel", NEW, "--scheduler", "./Cargo.toml"]), 2, "Cargo.toml");
}

#[test]
fn steps_that_swap_schedulers_where_none_runs_are_refused_by_their_place() {
    let scenario =
        |op: &str| format!(r#"{{"duration":"1s","workload":{{}},"steps":[{{"ops":[{op}]}}]}}"#);
    let vm = |op: &str| Vm::new(&scenario(op)).args(["--kernel", NEW]);
    refused(vm(r#""StopScheduler""#), 2, "`steps[0].ops[0].StopScheduler`");
    refused(vm(r#"{"StartScheduler":{}}"#), 2, "`steps[0].ops[0].StartScheduler`");
    let replace = r#"{"ReplaceScheduler":{"args":["-v"]}}"#;
    refused(vm(replace), 2, "`steps[0].ops[0].ReplaceScheduler`");
}

#[test]
fn a_dynamic_program_has_its_shared_libraries_in_the_guest() {
    let vm = Vm::new(SHORT).args(["--kernel", NEW, "--scheduler", "/usr/bin/ls"]);
    let run = vm.args(["--", "--version"]).run();
    let report = run.expect("scheduler-not-attached", 4);
    assert!(run.text("scheduler.log").contains("stdout: ls ("), "{}", run.text("scheduler.log"));
    assert!(report["advice"].as_str().unwrap().contains("exit code 0"), "{}", report["advice"]);
}

#[test]
fn of_megabytes_of_output_both_ends_are_kept_and_the_workload_runs() {
    let vm = Vm::new(SHORT).args(["--kernel", NEW, "--scheduler", test_scheduler()]);
    let run = vm.args(["--", "--print-mb", "3"]).run();
    let report = run.expect("pass", 0);
    assert!(report["scheduler"]["output_bytes"].as_u64() > Some(3 << 20));
    let log = run.text("scheduler.log");
    assert!(log.len() < 2 << 20 && log.contains("bytes are left out"), "{} bytes", log.len());
    assert!(log.trim_end().ends_with("EXIT: unregistered from user space"));
}

#[test]
fn children_of_a_scheduler_do_not_hold_up_the_end() {
    let vm = Vm::new(SHORT).args(["--kernel", NEW, "--scheduler", test_scheduler()]);
    let report = vm.args(["--", "--forks", "5"]).run().expect("pass", 0);
    assert_eq!(report["scheduler"]["exit"]["by"], "sigint");
    assert_eq!(report["scheduler"]["exit"]["code"], 0);
}
