//! Bundles of real runs: replayed by `bundle run` and by their own script, with another kernel,
//! without theirs, and with a record that lies.

use crate::bench::{Run, Vm, instead_of_qemu, xtask};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SMALL: &str = r#"{"name":"small","duration":"100ms","seed":1,
    "workload":{"num_workers":2,"work_type":"PipeIo"}}"#;
/// Fails on every kernel: nothing is as fast.
const FAILS: &str = r#"{"name":"fails","duration":"100ms","seed":1,
    "workload":{"num_workers":2,"work_type":"FutexPingPong"},"expect":{"wake_p99":"1ns"}}"#;

/// Workers that leave no CPU to PID 1, where the kernel lets real-time tasks have everything.
const HANGS: &str = r#"{"name":"hangs","duration":"100ms","seed":1,
    "workload":{"num_workers":2,"work_type":{"Custom":{"name":"starve-init"}}}}"#;

fn recorded(scenario: &str, verdict: &str, code: i32) -> Run {
    let run = Vm::deterministic(scenario).run();
    run.expect(verdict, code);
    run
}

fn bundle(args: &[&str]) -> Output {
    Command::new(xtask()).arg("bundle").args(args).output().unwrap()
}

fn pack(run: &Run, more: &[&str]) -> PathBuf {
    let (folder, file) = (run.file(""), run.file("../bug.tar.zst"));
    let args = ["pack", folder.to_str().unwrap(), "-o", file.to_str().unwrap()];
    let output = bundle(&[args.as_slice(), more].concat());
    assert!(output.status.success(), "{output:?}");
    file
}

/// Replays `file` and asserts what it came to.
#[track_caller]
fn replay(file: &Path, more: &[&str], says: &str, code: i32) -> String {
    let out = tempfile::tempdir().unwrap();
    let args = ["run", file.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
    let output = bundle(&[args.as_slice(), more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(says), "`{says}` is not in: {all}");
    assert_eq!(output.status.code(), Some(code), "{all}");
    text
}

fn sh(command: &str, dir: &Path) -> Output {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).current_dir(dir);
    sh.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
}

fn unpacked(file: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let output = sh(&format!("tar --zstd -xf {}", file.display()), dir.path());
    assert!(output.status.success(), "{output:?}");
    dir
}

#[track_caller]
fn assert_script_gives_the_same(dir: &Path) {
    let output = sh("exec sh run.sh", dir);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("console.log: same bytes\nframes.log: same bytes\n"), "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_failure_is_reproduced_exactly_by_its_bundle_and_by_its_script() {
    let run = recorded(FAILS, "fail", 1);
    let note = run.file("../note");
    std::fs::write(&note, "Look at the wake-ups.\n").unwrap();
    let file = pack(&run, &["--note", note.to_str().unwrap()]);
    let bytes = std::fs::read(&file).unwrap();
    pack(&run, &["--note", note.to_str().unwrap()]);
    assert!(bytes == std::fs::read(&file).unwrap(), "packed twice, these are other bytes");
    replay(&file, &[], "reproduced exactly: fail, the same bytes", 0);

    let empty = unpacked(&file);
    let readme = std::fs::read_to_string(empty.path().join("README")).unwrap();
    assert!(readme.contains("What was seen: fail") && readme.contains("Look at the wake-ups."));
    assert_script_gives_the_same(empty.path());
    let replayed = std::fs::read(empty.path().join("replay/console.log")).unwrap();
    assert!(replayed == std::fs::read(run.file("console.log")).unwrap());
}

/// It never comes to its stop, where the script has another QEMU take it over.
#[test]
fn a_boot_that_fails_is_reproduced_by_its_script() {
    let nothing = ["--kernel-arg", "init=/nothing", "--kernel-arg", "rdinit=/nothing"];
    let run = Vm::deterministic(SMALL).args(nothing).run();
    run.expect("boot-failed", 4);
    assert_script_gives_the_same(unpacked(&pack(&run, &[])).path());
}

#[test]
fn a_guest_that_breaks_out_of_qemu_finds_few_rights() {
    let run = recorded(SMALL, "pass", 0);
    let file = pack(&run, &[]);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // In place of QEMU, which would do it by a fault of its own.
    let script = r#"[ "$1" = --version ] && PATH="${PATH#*:}" exec qemu-system-x86_64 --version
        echo > "$OUTSIDE"; grep -e CapEff -e NoNewPrivs /proc/self/status > "$INSIDE""#;
    let mut command = Command::new(xtask());
    command.args(["bundle", "run"]).arg(file).arg("--out").arg(at("replay"));
    command.env("PATH", instead_of_qemu(dir.path(), script));
    command.env("OUTSIDE", at("outside")).env("INSIDE", at("replay/seen"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let seen = std::fs::read_to_string(at("replay/seen")).expect(&said);
    assert!(seen.contains("NoNewPrivs:\t1"), "{seen}");
    assert!(seen.contains("CapEff:\t0000000000000000") || said.contains("CAP_SETPCAP"), "{seen}");
    assert!(!at("outside").exists() || said.contains("has no Landlock"), "{said}");
}

#[test]
fn a_bundle_without_its_kernel_is_small_and_knows_it_by_its_hash() {
    let run = recorded(SMALL, "pass", 0);
    let file = pack(&run, &["--no-kernel"]);
    assert!(file.metadata().unwrap().len() < 5_000_000);
    let without = bundle(&["run", file.to_str().unwrap()]);
    assert_eq!(without.status.code(), Some(2), "{without:?}");
    assert!(String::from_utf8_lossy(&without.stderr).contains("it was linux-image-"));
    replay(&file, &["--kernel", "trixie-backports"], "reproduced exactly: pass", 0);
    let other = replay(&file, &["--kernel", "bookworm"], "reproduced: pass", 0);
    assert!(other.contains("why it may differ: another kernel: Linux 6.1"), "{other}");
}

#[test]
fn a_hang_is_reproduced_though_the_host_ends_it() {
    let throttling_off = ["--kernel-arg", "sysctl.kernel.sched_rt_runtime_us=-1"];
    // In the guest's time.
    let hang_after = ["--hang-after", "1s"];
    let run = Vm::deterministic(HANGS).test_init().args(throttling_off).args(hang_after).run();
    let report = run.expect("hang", 4);
    let advice = report["advice"].as_str().unwrap();
    assert!(advice.contains("take every CPU, and the kernel works"), "{advice}");
    let console = run.text("console.log");
    assert!(console.contains("NMI backtrace") && console.contains("Call Trace"), "{console}");
    let text = replay(&pack(&run, &[]), &hang_after, "reproduced: hang, with the same checks", 0);
    assert!(text.contains("the host ended the guest, at an instant of its own"), "{text}");
}

#[test]
fn a_record_that_lies_is_not_reproduced() {
    let run = recorded(SMALL, "pass", 0);
    // In itself it is consistent, or `pack` would refuse it.
    let report = run.text("report.json").replacen("\"pass\"", "\"fail\"", 2);
    std::fs::write(run.file("report.json"), report).unwrap();
    let file = pack(&run, &[]);
    let text = replay(&file, &[], "not reproduced: pass; recorded fail", 1);
    assert!(text.contains("first difference: report.json verdict"), "{text}");
    // It is stopped long before that shows.
    let text = replay(&file, &["--until", "500ms"], "so far the console is the recorded one", 0);
    let at = text.split_once("stopped at ").unwrap().1.split_once(' ').unwrap().0;
    assert!((0.5..1.0).contains(&at.parse::<f64>().unwrap()), "{text}");
}
