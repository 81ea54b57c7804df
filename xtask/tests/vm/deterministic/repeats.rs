//! `--deterministic`: the same inputs are the same bytes, other inputs are not, and what would
//! break that is refused.

use crate::bench::{Run, Vm, instead_of_qemu, of_workers, qemu_of, signal};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Disk I/O, sleepers and pairs side by side.
const MIXED: &str = r#"{"name":"mixed","duration":"200ms","seed":1,"workload":{"num_workers":2,
    "work_type":"IoSyncWrite","composed":[{"num_workers":2,"work_type":"PipeIo"},
    {"num_workers":2,"work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"20ms"}}}]}}"#;

const WAKE: &str = include_str!("../../../../scenarios/wake.json");

fn deterministic(scenario: &str, args: &[&str]) -> Vm {
    Vm::deterministic(scenario).args(args.iter().copied())
}

#[track_caller]
fn assert_same_bytes(one: &Run, other: &Run) {
    for name in ["report.json", "console.log", "frames.log"] {
        let (one, other) = (one.text(name), other.text(name));
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(differs.is_none(), "{name}: {differs:?}");
        assert_eq!(one.len(), other.len(), "{name}");
    }
}

/// Bad input, said with all `texts` and a fix, before anything is written.
#[track_caller]
fn assert_refused(run: &Run, texts: &[&str]) {
    assert_eq!(run.code, 2, "{}", run.stderr);
    for text in texts.iter().chain(&["\n  fix: "]) {
        assert!(run.stderr.contains(text), "no `{text}` in: {}", run.stderr);
    }
    assert!(!run.file("").exists(), "a refused run leaves no folder");
}

#[test]
fn two_runs_with_a_disk_are_the_same_bytes() {
    let run = || deterministic(MIXED, &["--disk", "48M"]).run();
    let (one, other) = (run(), run());
    let report = one.expect("pass", 0);
    assert_same_bytes(&one, &other);
    let machine = &report["machine"];
    assert_eq!((&machine["deterministic"], &machine["icount_shift"]), (&true.into(), &2.into()));
    assert_eq!(report["totals"]["io"], "/dev/vda");
    assert!(report["totals"]["disk"]["writes"].as_u64().unwrap() > 16, "{}", report["totals"]);
    assert!(report["totals"]["disk"]["flushes"].as_u64().unwrap() > 0, "{}", report["totals"]);
    // A request takes the 100 us of the device's timer, whatever the host's disk does.
    let fastest = &report["workers"][0]["latency"]["io"]["p50_ns"];
    assert!(fastest.as_u64().unwrap() > 100_000, "{fastest}");
    assert!(one.text("console.log").contains("null_blk: disk vda created"));
}

#[test]
fn four_cpus_are_the_same_bytes_and_another_seed_is_another_run() {
    let args = ["--cpus", "4", "--duration", "300ms"];
    let run = || deterministic(WAKE, &args).run();
    let (one, other) = (run(), run());
    let report = one.expect("pass", 0);
    assert_same_bytes(&one, &other);
    let reseeded = deterministic(WAKE, &args).args(["--seed", "2"]).run().expect("pass", 0);
    let iterations = |report: &Value| report["workers"].as_array().unwrap().clone();
    assert_ne!(iterations(&report), iterations(&reseeded));
}

#[test]
fn neighbours_that_never_pause_get_equal_turns() {
    // Where QEMU starves one of them, it is the later one.
    for (cpus, one, other) in [("2", 0, 1), ("4", 1, 2)] {
        let scenario = json!({"duration": "200ms", "workload": {
            "work_type": "SpinWait",
            "affinity": {"Exact": [one]},
            "composed": [
                {"work_type": "SpinWait", "num_workers": 1, "affinity": {"Exact": [other]}},
            ],
        }})
        .to_string();
        let report = deterministic(&scenario, &["--cpus", cpus]).run().expect("pass", 0);
        let done = of_workers(&report, "iterations");
        let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
        assert!(least * 10 > most * 9, "{cpus} CPUs: {done:?}");
        let gaps = of_workers(&report, "max_gap_ns");
        assert!(gaps.iter().all(|gap| *gap < 20_000_000), "{cpus} CPUs: {gaps:?}");
    }
}

#[test]
fn a_kernel_that_spins_while_it_starts_its_cpus_boots() {
    let run = || deterministic(MIXED, &["--kernel", "bookworm"]).run();
    let (one, other) = (run(), run());
    one.expect("pass", 0);
    assert_same_bytes(&one, &other);
}

#[test]
fn a_guest_with_one_cpu_ends_by_itself() {
    let run = deterministic(MIXED, &["--cpus", "1"]).run();
    run.expect("pass", 0);
    // QEMU ended by us would leave the console unfinished, at an instant of the host's.
    let console = run.text("console.log");
    assert!(console.contains("reboot: Power down"), "{console}");
}

#[test]
fn qemu_has_one_cpu_of_the_host_and_is_told_nothing() {
    let mut allowed = String::new();
    let run = deterministic(MIXED, &["--icount-shift", "4"]).run_and("PID 1 after", |xtask| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", qemu_of(xtask))).unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        allowed = line["Cpus_allowed_list:".len()..].trim().to_owned();
    });
    let report = run.expect("pass", 0);
    assert_eq!(report["machine"]["icount_shift"], 4);
    assert_eq!(run.json("host.json")["host_cpu"].to_string(), allowed);
    assert!(run.text("qemu.args").contains(&format!("taskset --cpu-list {allowed} qemu-")));
}

#[test]
fn a_lost_deterministic_guest_still_shows_where_it_is() {
    let run = deterministic(r#"{"duration":"10m"}"#, &["--timeout", "2s"]).run();
    run.expect("timeout", 4);
    let console = run.text("console.log");
    assert!(console.contains("NMI") && console.contains("Call Trace"), "{console}");
}

#[test]
fn a_scenario_too_big_for_the_command_line_goes_by_initramfs_where_no_stop_is() {
    let set = r#"{"num_workers":1,"work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"3ms"}}}"#;
    let composed = vec![set; 30].join(",");
    let scenario = format!(r#"{{"iterations":3,"workload":{{"composed":[{composed}]}}}}"#);
    let report = deterministic(&scenario, &[]).run().expect("pass", 0);
    assert_eq!(report["scenario_source"], "fw_cfg");
    let locked = ["--kernel-arg", "lockdown=integrity"];
    let report = deterministic(&scenario, &locked).run().expect("pass", 0);
    assert_eq!(report["scenario_source"], "initramfs");
}

#[test]
fn a_kernel_without_null_blk_uses_a_file_and_says_so() {
    let first = deterministic(MIXED, &["--disk", "none"]).run();
    assert_eq!(first.expect("pass", 0)["totals"]["io"], "/tmp");
    let bare = tempfile::tempdir().unwrap();
    let image = bare.path().join("image");
    std::fs::copy(first.json("host.json")["kernel_image"].as_str().unwrap(), &image).unwrap();
    let run = deterministic(MIXED, &["--kernel", image.to_str().unwrap()]).run();
    let report = run.expect("pass", 0);
    assert_eq!(report["totals"]["io"], "/tmp");
    let notes = report["notes"].to_string();
    assert!(notes.contains("null_blk") && notes.contains("use files"), "{notes}");
}

#[test]
fn what_would_break_the_promise_is_refused_by_name() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let image = image.path().to_str().unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--accel", "kvm"], &["KVM", "--accel kvm"]),
        (&["--config-via", "disk"], &["--config-via disk", "--config-via initramfs"]),
        (&["--disk", image], &[image, "--disk", "memory"]),
        (&["--disk", "1025K"], &["whole MiB"]),
        (&["--disk", "768M"], &["768 MiB in 1024 MiB", "--memory"]),
    ];
    for (args, texts) in cases {
        assert_refused(&deterministic("{}", args).run(), texts);
    }
    let alone = Vm::new("{}").args(["--icount-shift", "2"]).run();
    assert_eq!(alone.code, 2);
    assert!(alone.stderr.contains("--deterministic"), "{}", alone.stderr);
}

#[test]
fn an_old_qemu_has_no_turns_for_128_cpus() {
    let dir = tempfile::tempdir().unwrap();
    let path = instead_of_qemu(dir.path(), "echo QEMU emulator version 8.0.5\n");
    let run = deterministic("{}", &["--cpus", "128"]).env("PATH", path).run();
    assert_refused(&run, &["1s128c1t", "up to QEMU 8.0", "half as many CPUs"]);
}

#[test]
fn repeated_runs_are_compared_and_said_to_be_the_same() {
    let run = deterministic(MIXED, &["--repeat", "2"]).run();
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let said = "2 runs: the same bytes of report.json and console.log";
    assert!(run.stdout.starts_with(said), "{}", run.stdout);
    assert!(run.file("1/report.json").exists() && run.file("2/console.log").exists());
}

#[test]
fn a_repeated_run_that_differs_is_shown_where_it_does() {
    let dir = tempfile::tempdir().unwrap();
    // The second has another time.
    let script = r#"case "$*" in */run/2/*) for arg; do shift
        set -- "$@" "$(printf %s "$arg" | sed 's/^shift=2,/shift=3,/')"; done;; esac
        PATH=${PATH#*:} exec qemu-system-x86_64 "$@"
        "#;
    let path = instead_of_qemu(dir.path(), script);
    let run = deterministic(MIXED, &["--repeat", "2"]).env("PATH", path).run();
    assert_eq!(run.code, 4, "{}{}", run.stdout, run.stderr);
    let out = &run.stdout;
    assert!(out.starts_with("PROMISE BROKEN: run 2 is not run 1"), "{out}");
    for text in ["frames.log, frame ", "console.log, line ", " s of the guest:", "report.json, "] {
        assert!(out.contains(text), "no `{text}` in: {out}");
    }
}

#[test]
fn a_run_whose_qemu_was_killed_says_nothing_of_the_promise() {
    let args = ["--repeat", "2", "--console", "--duration", "2s"];
    let run = deterministic(MIXED, &args).run_and("] PID 1 after", |xtask| {
        signal(qemu_of(xtask), Signal::KILL);
    });
    assert_eq!(run.code, 4, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("was lost, so the runs were not compared"), "{}", run.stdout);
}

#[test]
fn other_runs_are_counted_by_verdict_and_not_compared() {
    // A check of time would be in doubt on a disturbed host.
    let scenario = r#"{"duration":"100ms","workload":{"work_type":"AffinityChurn"},
        "expect":{"migrations_max":1}}"#;
    let run = Vm::new(scenario).args(["--repeat", "2"]).run();
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("2 runs: 2 fail\n"), "{}", run.stdout);
    assert!(run.stdout.contains("without --deterministic"), "{}", run.stdout);
}
