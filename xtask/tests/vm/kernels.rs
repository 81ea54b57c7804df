//! Kernels as users have them: one that unpacks itself, in a build tree, one that cannot boot our
//! guest. Made from the default kernel.

use crate::bench::{Vm, bzimage, default_kernel, file, xtask};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const SHORT: &str = r#"{"duration":"100ms"}"#;

/// A build tree with the default kernel in it, and its configuration less `option`.
fn tree(kernel: &Value, option: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let boot = dir.path().join("arch/x86/boot");
    std::fs::create_dir_all(&boot).unwrap();
    std::fs::create_dir_all(dir.path().join("include/config")).unwrap();
    std::fs::copy(bzimage(kernel), boot.join("bzImage")).unwrap();
    let config = std::fs::read_to_string(file(kernel, "configuration")).unwrap();
    let kept = config.lines().filter(|line| !line.starts_with(option));
    let kept: Vec<&str> = kept.collect();
    std::fs::write(dir.path().join(".config"), kept.join("\n")).unwrap();
    std::fs::write(dir.path().join("modules.order"), "").unwrap();
    dir
}

#[track_caller]
fn assert_boots(spec: &Path, kernel: &Value) {
    let spec = spec.to_str().unwrap();
    let report = Vm::new(SHORT).args(["--accel", "tcg", "--kernel", spec]).run().expect("pass", 0);
    assert_eq!(report["kernel"]["release"], kernel["release"]);
}

#[test]
fn a_build_tree_is_the_kernel_that_was_built_in_it() {
    let kernel = default_kernel();
    // The default kernel is booted unpacked everywhere else.
    assert!(file(&kernel, "image").ends_with("vmlinux"));
    assert_boots(tree(&kernel, "no option").path(), &kernel);
}

#[test]
fn every_work_type_is_seen_on_a_kernel() {
    let output = Command::new(xtask()).args(["kernel", "types", "--json"]).output().unwrap();
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    let types = table["kernels"][0]["types"].as_array().unwrap();
    assert_eq!(types.len(), workloads::WorkType::ALL_NAMES.len());
    // On a loaded host one of many workers may not get to its first step; these do.
    for name in ["SpinWait", "PipeIo", "IoRandRead", "CgroupChurn", "Custom"] {
        let cell = types.iter().find(|cell| cell[0] == name).unwrap();
        assert_eq!(cell[1], "runs", "{table:#}");
    }
}

/// `xtask` with these arguments and this variable of the environment.
fn run(args: &[&str], name: &str, value: &Path) -> Output {
    Command::new(xtask()).args(args).env(name, value).output().unwrap()
}

#[test]
fn without_apt_only_debian_specs_do_not_work() {
    let kernel = default_kernel();
    let (nowhere, image) = (tempfile::tempdir().unwrap(), file(&kernel, "image"));
    let checked = run(&["kernel", "check", image.to_str().unwrap()], "PATH", nowhere.path());
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let fetched = run(&["kernel", "fetch", "debian:sid"], "PATH", nowhere.path());
    let said = String::from_utf8_lossy(&fetched.stderr);
    assert_eq!(fetched.status.code(), Some(3), "{said}");
    assert!(said.contains("needs `apt-get`") && said.contains("bzImage"), "{said}");
}

/// A package with `image` in it.
fn package(dir: &Path, image: &Path) -> PathBuf {
    let (tree, deb) = (dir.join("tree"), dir.join("kernel.deb"));
    std::fs::create_dir_all(tree.join("boot")).unwrap();
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = "Package: linux-image-test\nVersion: 1\nArchitecture: amd64\n\
                   Maintainer: nobody <nobody@example.org>\nDescription: test\n";
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    std::fs::copy(image, tree.join("boot/vmlinuz-test")).unwrap();
    let build = ["--build", "--root-owner-group", "-Zgzip"];
    let output = Command::new("dpkg-deb").args(build).arg(&tree).arg(&deb).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    deb
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_kernel() {
    let kernel = default_kernel();
    let dir = tempfile::tempdir().unwrap();
    let deb = package(dir.path(), &bzimage(&kernel));
    let cache = dir.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    // A disk of its own that is smaller than the image, seen by nobody else.
    let script = "mount -t tmpfs -o size=4m none \"$SCHEDLAB_CACHE\" && \"$0\" kernel check \"$1\"; \
                  status=$?; ls \"$SCHEDLAB_CACHE/kernels\"; exit $status";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, xtask()])
        .arg(&deb)
        .env("SCHEDLAB_CACHE", &cache)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "lock");
    let again = run(&["kernel", "check", deb.to_str().unwrap()], "SCHEDLAB_CACHE", &cache);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn a_kernel_that_cannot_boot_our_guest_is_refused_by_the_option_that_it_lacks() {
    let kernel = default_kernel();
    let tree = tree(&kernel, "CONFIG_SERIAL_8250_CONSOLE=");
    let run = Vm::new(SHORT).args(["--kernel", tree.path().to_str().unwrap()]).run();
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("CONFIG_SERIAL_8250_CONSOLE=y"), "{}", run.stderr);
    assert!(!run.file("console.log").exists());
}
