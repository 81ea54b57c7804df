//! `xtask matrix`: one that was killed goes on to the same table, shards merge to the whole, a lost
//! guest is its cell's alone, and rules hold.

use crate::bench::xtask;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PAIRS: &str = r#"{"duration":"60ms","workload":{"num_workers":4,"work_type":"PipeIo"}}"#;
const SPIN: &str = r#"{"duration":"60ms","workload":{"num_workers":2}}"#;
/// Two CPUs cannot run four spinners without a pause.
const CROWDED: &str =
    r#"{"duration":"60ms","workload":{"num_workers":4},"expect":{"max_gap":"1ms"}}"#;
const AXES: &str = "[axes]\nkernels = ['trixie-backports']\nscenarios = ['*.json']\n";
/// Long enough for a guest on a loaded host.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with a matrix of these rules and three scenarios.
fn folder(rules: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("pairs.json", PAIRS);
    write("spin.json", SPIN);
    write("crowded.json", CROWDED);
    write("small.toml", &format!("{AXES}{rules}"));
    dir
}

fn matrix(dir: &Path, out: &str, args: &[&str]) -> Command {
    let mut command = Command::new(xtask());
    command.arg("matrix").arg(dir.join("small.toml")).arg("--out").arg(dir.join(out)).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let all = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Waits until `seen` gives something; the matrix must not end before.
fn wait_for<T>(matrix: &mut Child, seen: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(matrix.try_wait().unwrap().is_none(), "it has ended");
        assert!(Instant::now() < deadline, "nothing was seen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How the cells of the table in `folder` stand, in its order.
fn standings(folder: &Path) -> Vec<String> {
    let table: Value = serde_json::from_str(&read(&folder.join("matrix.json"))).unwrap();
    let rows = table["rows"].as_array().unwrap();
    rows.iter().map(|row| row["standing"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn arguments_of_kernels_reach_them_and_are_shown() {
    let dir = folder("");
    let file = "[axes]\nscenarios = ['spin.json']\nkernel_args = ['own', 'preempt=full']\n\
        kernels = [{ name = 'lazy', spec = 'trixie-backports', args = ['preempt=lazy'] }]\n";
    std::fs::write(dir.path().join("small.toml"), file).unwrap();
    let text = ends(&matrix(dir.path(), "out", &[]).output().unwrap(), 0);
    assert!(text.contains("kernel arguments of lazy: preempt=lazy\n"), "{text}");
    assert!(
        text.contains("kernel arguments of lazy/preempt-full: preempt=lazy preempt=full\n"),
        "{text}"
    );
    for (cell, mode) in [("", "preempt:lazy"), ("/preempt-full", "preempt:full")] {
        let path = format!("out/runs/lazy/none/spin/own/own/deterministic{cell}/1/report.json");
        let report: Value = serde_json::from_str(&read(&dir.path().join(path))).unwrap();
        let features = report["kernel"]["features"].as_array().unwrap();
        assert!(features.contains(&mode.into()), "{features:?}");
    }
    let at = |cell: &str| dir.path().join(format!("out/runs/lazy/none/spin/own/own/{cell}/1"));
    let [a, b] = ["deterministic", "deterministic/preempt-full"].map(at);
    let compared = Command::new(xtask()).arg("compare").args([a, b]).output().unwrap();
    let text = ends(&compared, 0);
    let want = "kernel arguments: A preempt=lazy; B preempt=lazy preempt=full\n";
    assert!(text.contains(want), "{text}");
}

#[test]
fn one_that_was_killed_and_one_in_shards_have_the_table_of_the_whole() {
    let dir = folder("");
    let at = |name: &str| dir.path().join(name);
    ends(&matrix(dir.path(), "whole", &[]).output().unwrap(), 1);
    assert_eq!(standings(&at("whole")), ["fail", "pass", "pass"]);
    let whole = read(&at("whole/matrix.json"));

    let mut killed = matrix(dir.path(), "killed", &["--jobs", "1"]).spawn().unwrap();
    let results = at("killed/results.jsonl");
    let one_is_there = || {
        let text = std::fs::read_to_string(&results).unwrap_or_default();
        (text.lines().count() >= 2).then_some(())
    };
    wait_for(&mut killed, one_is_there);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!at("killed/matrix.json").exists());
    let first = read(&results);
    ends(&matrix(dir.path(), "killed", &["--resume"]).output().unwrap(), 1);
    assert_eq!(read(&at("killed/matrix.json")), whole);
    assert!(read(&results).starts_with(&first), "what was there was run again");

    for shard in ["1/2", "2/2"] {
        let out = format!("shard-{}", &shard[..1]);
        let output = matrix(dir.path(), &out, &["--shard", shard]).output().unwrap();
        assert!([Some(0), Some(1)].contains(&output.status.code()));
    }
    let mut merge = Command::new(xtask());
    merge.args(["matrix", "merge"]).args([at("shard-1"), at("shard-2")]);
    ends(&merge.arg("--out").arg(at("merged")).output().unwrap(), 1);
    assert_eq!(read(&at("merged/matrix.json")), whole);
    let run = "runs/trixie-backports/none/pairs/own/own/deterministic/1/report.json";
    assert_eq!(read(&at("merged").join(run)), read(&at("whole").join(run)));
}

/// The QEMU that writes below `folder`.
fn qemu_of(folder: &Path) -> Option<Pid> {
    let wanted = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let id = ids.find(|id| {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&wanted)
    });
    id.and_then(Pid::from_raw)
}

#[test]
fn a_guest_that_is_lost_is_lost_to_its_cell_alone() {
    let dir = folder("");
    let filters = ["--filter", "pairs", "--filter", "spin"];
    let mut running = matrix(dir.path(), "m", &filters).spawn().unwrap();
    let runs = dir.path().join("m/runs/trixie-backports/none/pairs");
    let qemu = wait_for(&mut running, || qemu_of(&runs));
    kill_process(qemu, Signal::KILL).unwrap();
    let all = ends(&running.wait_with_output().unwrap(), 4);
    assert!(all.contains("qemu-failed"), "{all}");
    assert_eq!(standings(&dir.path().join("m")), ["guest-failed", "pass"]);
}

#[test]
fn rules_are_told_and_a_cell_never_disappears() {
    let rules = r#"
[[include]]
kernels = ["bookworm"]
[[exclude]]
cells = { kernel = "bookworm", scenario = "crowded" }
reason = "no need"
[[minimum]]
cells = { scenario = "pairs" }
linux = "6.12"
[[known_failure]]
cells = { scenario = "crowded" }
reason = "two CPUs"
[[known_failure]]
cells = { scenario = "spin" }
reason = "it is mended"
"#;
    let dir = folder(rules);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (page, xml) = (file("page.html"), file("junit.xml"));
    let views = ["--html", &page, "--junit", &xml, "--github"];
    let all = ends(&matrix(dir.path(), "m", &views).output().unwrap(), 0);
    assert!(all.contains("needs Linux 6.12, this is 6.1."), "{all}");
    assert!(all.contains("::warning title="), "{all}");
    let expected =
        ["known-failure", "pass", "unexpected-pass", "skipped", "skipped", "unexpected-pass"];
    assert_eq!(standings(&dir.path().join("m")), expected);
    assert!(read(Path::new(&page)).contains("no need"));
    assert!(read(Path::new(&xml)).contains("testsuites"));
}
