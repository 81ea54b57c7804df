//! Warm starts: a run that goes on from a snapshot is the run that was booted, a snapshot that is not
//! whole is not used, and what dies while it makes one leaves nothing that is.

use crate::bench::{Run, Vm, instead_of_qemu, qemu_of, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SCENARIO: &str =
    r#"{"duration":"50ms","seed":3,"workload":{"num_workers":4,"work_type":"PipeIo"}}"#;
const COLD: &str = "cold";
const SAVED: &str = "cold, and a snapshot was made";
const WARM: &str = "warm";

/// A cache with everything of the usual one but what guests left there.
fn without_snapshots() -> TempDir {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let below = |name: &str, more: &str| set(name).map(|dir| Path::new(&dir).join(more));
    let usual: Option<PathBuf> = set("SCHEDLAB_CACHE")
        .map(PathBuf::from)
        .or_else(|| below("XDG_CACHE_HOME", "schedlab"))
        .or_else(|| below("HOME", ".cache/schedlab"));
    let (cache, usual) = (tempfile::tempdir().unwrap(), usual.unwrap());
    fs::create_dir_all(&usual).unwrap();
    for entry in fs::read_dir(&usual).unwrap().flatten() {
        if !["snapshots", "without-ports"].map(Into::into).contains(&entry.file_name()) {
            symlink(entry.path(), cache.path().join(entry.file_name())).unwrap();
        }
    }
    cache
}

fn vm(cache: &TempDir, args: &[&str]) -> Vm {
    Vm::deterministic(SCENARIO).args(args.iter().copied()).env("SCHEDLAB_CACHE", cache.path())
}

fn start(run: &Run) -> Value {
    run.json("host.json")["start"].clone()
}

#[track_caller]
fn assert_same_bytes(one: &Run, other: &Run) {
    for name in ["report.json", "console.log", "frames.log"] {
        assert!(one.text(name) == other.text(name), "{name} differs");
    }
}

/// Folders of the snapshots that are there.
fn snapshots(cache: &TempDir) -> Vec<PathBuf> {
    let all = fs::read_dir(cache.path().join("snapshots")).into_iter().flatten().flatten();
    all.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn cache_command(cache: &TempDir, words: &[&str]) -> (Option<i32>, String) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output =
        xtask.arg("cache").args(words).env("SCHEDLAB_CACHE", cache.path()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_warm_run_is_a_cold_run_and_one_in_twenty_is_compared() {
    for kernel in ["bookworm", "trixie", "trixie-backports"] {
        let cache = without_snapshots();
        let run = |args: &[&str]| vm(&cache, &[&["--kernel", kernel], args].concat()).run();
        let (cold, saved, warm, next) = (run(&["--cold"]), run(&[]), run(&[]), run(&[]));
        let starts = [&cold, &saved, &warm, &next].map(start);
        assert_eq!(starts, [COLD, SAVED, WARM, WARM], "{kernel}");
        for other in [&saved, &warm, &next] {
            other.expect("pass", 0);
            assert_same_bytes(&cold, other);
        }
        // The first that goes on from it, and none of the 19 after that.
        let compared =
            [&saved, &warm, &next].map(|run| run.stderr.contains("repeated with a boot"));
        assert_eq!(compared, [false, true, false], "{kernel}");
        let identities = [&saved, &warm].map(|run| run.json("boot.json")["snapshot"].clone());
        assert!(identities[0].is_string() && identities[0] == identities[1], "{identities:?}");
    }
}

#[test]
fn other_machines_and_schedulers_have_snapshots_of_their_own() {
    let cache = without_snapshots();
    let machines: [&[&str]; 5] = [
        &["--cpus", "1"],
        &["--cpus", "8", "--kernel", "trixie"],
        &["--topology", "1s2d1c2t"],
        &["--numa", "2", "--cpus", "4"],
        &["--scheduler", "test"],
    ];
    for args in machines {
        let (saved, warm) = (vm(&cache, args).run(), vm(&cache, args).run());
        assert_eq!([&saved, &warm].map(start), [SAVED, WARM], "{args:?}: {}", warm.stderr);
        warm.expect("pass", 0);
        assert_same_bytes(&saved, &warm);
    }
    assert_eq!(snapshots(&cache).len(), machines.len());
}

#[test]
fn a_damaged_snapshot_is_made_again() {
    let cache = without_snapshots();
    let first = vm(&cache, &[]).run();
    let folder = snapshots(&cache).remove(0);
    for name in ["memory", "state", "files.sealed", "console.log"] {
        let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let again = vm(&cache, &[]).run();
        assert!(again.stderr.contains("is damaged"), "{name}: {}", again.stderr);
        assert_eq!(start(&again), SAVED, "{name}");
        assert_same_bytes(&first, &again);
    }
    assert_eq!(start(&vm(&cache, &[]).run()), WARM);
    fs::remove_file(folder.join("files.sealed")).unwrap();
    assert_eq!(start(&vm(&cache, &[]).run()), SAVED, "one without a list is none");
}

#[test]
fn a_snapshot_that_is_of_another_guest_is_a_broken_promise() {
    let cache = without_snapshots();
    vm(&cache, &[]).run().expect("pass", 0);
    let folder = snapshots(&cache).remove(0);
    // What the guest had written by then, in other words, and a list that says that it was so.
    let console = folder.join("console.log");
    let text = fs::read_to_string(&console).unwrap().replacen("Linux version", "Linux Version", 1);
    fs::write(&console, text).unwrap();
    seal(&folder, &console);
    let run = vm(&cache, &[]).run();
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("PROMISE BROKEN"), "{}", run.stderr);
    assert!(run.stderr.contains("console.log") && run.stderr.contains("--cold"), "{}", run.stderr);
    let kept = run.file("").with_file_name("run-cold");
    assert!(kept.join("console.log").exists(), "the run that was booted is kept");
}

/// Writes the line of `file` in the list of `folder` anew.
fn seal(folder: &Path, file: &Path) {
    let shell = |script: &str| {
        let output = Command::new("sh").args(["-c", script, "sh"]).arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let sha256 = shell("sha256sum < \"$1\" | cut -d ' ' -f 1");
    // Times of a file that was hashed long ago: it is hashed again.
    let line = format!("{sha256} {} 0 0 console.log", fs::metadata(file).unwrap().len());
    let list = folder.join("files.sealed");
    let old = fs::read_to_string(&list).unwrap();
    let lines = old.lines().skip(1).map(|old| match old.ends_with(" console.log") {
        true => line.clone() + "\n",
        false => old.to_owned() + "\n",
    });
    let lines: String = lines.collect();
    fs::write(&list, &lines).unwrap();
    let list_sha256 = Command::new("sha256sum").arg(&list).output().unwrap();
    let list_sha256 = String::from_utf8(list_sha256.stdout).unwrap();
    let list_sha256 = list_sha256.split(' ').next().unwrap();
    fs::write(&list, format!("{list_sha256}\n{lines}")).unwrap();
}

#[test]
fn who_is_killed_while_it_makes_one_leaves_none_that_is_used() {
    let cache = without_snapshots();
    vm(&cache, &[]).kill_at("PID 1 after");
    assert!(snapshots(&cache).iter().all(|path| !path.join("snapshot.json").exists()));
    let by_qemu = vm(&cache, &[]).run_and("PID 1 after", |pid| signal(qemu_of(pid), Signal::KILL));
    by_qemu.expect("qemu-failed", 4);
    assert_eq!(start(&vm(&cache, &[]).run()), SAVED);
    assert_eq!(start(&vm(&cache, &[]).run()), WARM);
}

/// QEMU may write 16 KiB into a file, says nothing of the rest and goes on.
#[test]
fn a_console_that_lost_lines_of_the_boot_is_kept_by_no_snapshot() {
    let (cache, dir) = (without_snapshots(), tempfile::tempdir().unwrap());
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join("qemu-system-x86_64"));
    let qemu = found.into_iter().find(|file| file.is_file()).unwrap();
    let script = format!("ulimit -f 32\nexec {} \"$@\"\n", qemu.display());
    let limited = instead_of_qemu(dir.path(), &script);
    let run = vm(&cache, &[]).env("PATH", &limited).run();
    run.expect("report-lost", 4);
    assert!(run.stderr.contains("no snapshot was kept"), "{}", run.stderr);
    assert!(snapshots(&cache).is_empty());
    assert_eq!(start(&vm(&cache, &[]).run()), SAVED);
}

#[test]
fn two_that_want_the_same_one_make_it_once() {
    let cache = without_snapshots();
    let [one, other] = std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| vm(&cache, &[]).run())).map(|run| run.join().unwrap())
    });
    let mut starts = [&one, &other].map(|run| start(run).as_str().unwrap().to_owned());
    starts.sort();
    assert_eq!(starts, [SAVED, WARM]);
    assert_same_bytes(&one, &other);
}

#[test]
fn a_guest_that_may_not_use_ports_is_booted_and_says_why() {
    let cache = without_snapshots();
    let run = vm(&cache, &["--kernel-arg", "lockdown=integrity"]).run();
    let report = run.expect("pass", 0);
    assert!(run.stderr.contains("each run of this guest begins with a boot: `lockdown="));
    assert_eq!(start(&run), COLD);
    assert!(run.stderr.contains("scenario by cmdline"), "{report}");
}

/// The host does not see through the quotes, which the kernel takes off.
#[test]
fn a_guest_that_alone_knows_that_it_has_no_ports_is_booted_again_once() {
    let cache = without_snapshots();
    let quoted = ["--kernel-arg", "\"lockdown=integrity\""];
    let (first, next) = (vm(&cache, &quoted).run(), vm(&cache, &quoted).run());
    for (run, boots) in [(&first, 2), (&next, 1)] {
        run.expect("pass", 0);
        assert_eq!(start(run), COLD);
        assert!(run.stderr.contains("each run of this guest begins with a boot: iopl(3) failed"));
        assert_eq!(run.stderr.matches("booting Linux").count(), boots, "{}", run.stderr);
    }
    assert_same_bytes(&first, &next);
}

#[test]
fn a_scheduler_is_attached_before_the_stop() {
    let cache = without_snapshots();
    let run = |more: &[&str]| vm(&cache, &[&["--scheduler", "test"], more].concat()).run();
    let (cold, saved, warm) = (run(&["--cold"]), run(&[]), run(&[]));
    assert_eq!([&cold, &saved, &warm].map(start), [COLD, SAVED, WARM]);
    for run in [&cold, &saved, &warm] {
        let report = run.expect("pass", 0);
        assert!(report["scheduler"]["attached_after_ns"].is_u64(), "{report}");
        assert_same_bytes(&cold, run);
    }
    let frames = warm.text("frames.log");
    let at = |text: &str| frames.find(text).unwrap_or_else(|| panic!("no {text}: {frames}"));
    assert!(
        at("attaching the scheduler") < at("waiting") && at("waiting") < at("workers at the gate")
    );
}

#[test]
fn where_no_snapshot_can_be_kept_the_guest_is_booted() {
    let cache = without_snapshots();
    fs::write(cache.path().join("snapshots"), "no folder").unwrap();
    let run = vm(&cache, &[]).run();
    run.expect("pass", 0);
    assert!(run.stderr.contains("this run begins with a boot: "), "{}", run.stderr);
    assert_eq!(start(&run), COLD);
}

#[test]
fn the_cache_command_shows_checks_and_removes_them() {
    let cache = without_snapshots();
    vm(&cache, &[]).run().expect("pass", 0);
    let (code, list) = cache_command(&cache, &["list"]);
    assert!(code == Some(0) && list.contains("1 snapshots, "), "{list}");
    assert_eq!(
        cache_command(&cache, &["verify"]),
        (Some(0), "1 of 1 snapshots are whole\n".into())
    );
    let memory = snapshots(&cache).remove(0).join("memory");
    let file = fs::File::options().write(true).open(memory).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 1 << 20).unwrap();
    let (code, said) = cache_command(&cache, &["verify"]);
    assert!(code == Some(1) && said.contains("it is damaged (`memory`); it is removed"), "{said}");
    vm(&cache, &[]).run().expect("pass", 0);
    let (code, said) = cache_command(&cache, &["prune"]);
    assert!(code == Some(0) && said.starts_with("1 snapshots removed, "), "{said}");
    assert!(snapshots(&cache).is_empty());
}
