//! `xtask scheduler` as a user calls it, on hosts that lack something. Builds nothing.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// On a host whose programs are those in `path`, with an empty cache.
fn scheduler(words: &[&str], path: &Path) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.arg("scheduler").args(words).env("PATH", path).env("SCHEDLAB_CACHE", cache.path());
    xtask.env_remove("BPF_CLANG").output().unwrap()
}

fn refusal(words: &[&str], path: &Path) -> String {
    let output = scheduler(words, path);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    text
}

#[test]
fn a_host_without_clang_is_told_the_package() {
    let path = tempfile::tempdir().unwrap();
    let text = refusal(&["build", "test"], path.path());
    assert!(text.contains("building `test` needs `gcc`, "), "{text}");
    assert!(text.contains("apt-get install --no-install-recommends gcc "), "{text}");
    assert!(text.contains(" clang-19`"), "{text}");
}

#[test]
fn a_clang_that_is_too_old_is_as_good_as_none() {
    let path = tempfile::tempdir().unwrap();
    for (program, says) in [("clang", "clang version 17.0.6"), ("gcc", ""), ("make", "")] {
        let file = path.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\necho {says}\n")).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
    let text = refusal(&["build", "scx_bpfland"], path.path());
    assert!(text.contains("clang-19`") && !text.contains(" gcc"), "{text}");
    // Ours takes older ones, and lacks the rest.
    let text = refusal(&["build", "test"], path.path());
    assert!(text.contains("pkg-config") && !text.contains("clang"), "{text}");
}

#[test]
fn the_list_says_of_each_what_it_is_and_whether_it_is_built() {
    let path = tempfile::tempdir().unwrap();
    let output = scheduler(&["list", "--json"], path.path());
    assert!(output.status.success());
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(row("test")["version"], serde_json::Value::Null);
    let published = row("scx_bpfland");
    assert!(published["version"].is_string() && published["minimum_kernel"].is_string());
    assert!(rows.iter().all(|row| row["bytes"].is_null()), "the cache is empty");
    let text = String::from_utf8(scheduler(&["list"], path.path()).stdout).unwrap();
    assert!(text.contains("scx_bpfland") && text.contains(" no "), "{text}");
}
