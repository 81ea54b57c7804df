//! What is refused before anything boots, with its exit code and its fix.

use crate::bench::{Run, Vm};

#[track_caller]
fn refused(run: &Run, code: i32, texts: &[&str]) {
    assert_eq!(run.code, code, "{}", run.stderr);
    for text in texts {
        assert!(run.stderr.contains(text), "no `{text}` in: {}", run.stderr);
    }
    assert!(run.stderr.contains("\n  fix: "), "{}", run.stderr);
    assert!(!run.file("").exists(), "a refused run leaves no folder");
}

#[test]
fn a_typo_is_refused_with_its_line_and_the_nearest_name() {
    let run = Vm::new("{\n  \"workload\": {\n    \"work_type\": \"SpinWiat\"\n  }\n}").run();
    refused(&run, 2, &["line 3 column", "workload.work_type", "did you mean `SpinWait`"]);
}

#[test]
fn a_group_that_does_not_divide_is_refused_with_its_line() {
    let run = Vm::new("{\n\"num_workers\": 3,\n\"work_type\": \"PipeIo\"\n}").run();
    refused(&run, 2, &["line 2 column 16", "`num_workers` is 3", "groups of 2"]);
}

#[test]
fn a_cpu_that_the_guest_does_not_have_is_refused() {
    let run = Vm::new(r#"{"affinity":{"Exact":[2]}}"#).run();
    refused(&run, 2, &["CPUs 2 are not", "--cpus"]);
    let smt = Vm::new(r#"{"affinity":{"Exact":[4]}}"#).args(["--topology", "2c2t"]).run();
    refused(&smt, 2, &["CPUs 4 are not", "CPUs 0-3", "--topology"]);
}

#[test]
fn nodes_that_do_not_fit_the_cpus_or_the_memory_are_refused() {
    let cores = Vm::new("{}").args(["--topology", "1c2t", "--numa", "2"]).run();
    refused(&cores, 2, &["whole cores", "--numa 1"]);
    let memory = Vm::new("{}").args(["--cpus", "3", "--numa", "3", "--memory", "256M"]).run();
    refused(&memory, 2, &["3 equal nodes", "--memory 258M"]);
}

#[test]
fn a_missing_or_foreign_kernel_is_refused() {
    let missing = Vm::new("{}").args(["--kernel", "/no/such/bzImage"]).run();
    refused(&missing, 2, &["/no/such/bzImage"]);
    let text = Vm::new("{}").args(["--kernel", file!()]).run();
    assert_eq!(text.code, 2, "{}", text.stderr);
    let unknown = Vm::new("{}").args(["--kernel", "bookwurm"]).run();
    refused(&unknown, 2, &["bookworm"]);
}

#[test]
fn a_missing_qemu_is_the_hosts_lack() {
    let empty = tempfile::tempdir().unwrap();
    let run = Vm::new("{}").env("PATH", empty.path()).run();
    refused(&run, 3, &["qemu-system-x86_64", "apt-get install"]);
}

#[test]
fn an_unlinked_custom_function_is_refused() {
    let run = Vm::new(r#"{"work_type":{"Custom":{"name":"mine"}}}"#).run();
    refused(&run, 2, &["`mine`", "--init"]);
}

#[test]
fn an_occupied_run_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("report.json"), "precious").unwrap();
    let out = dir.path().to_str().unwrap().to_owned();
    let config = dir.path().join("c.json");
    std::fs::write(&config, "{}").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["vm", "--config", config.to_str().unwrap(), "--out", &out])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(dir.path().join("report.json")).unwrap(), "precious");
}
