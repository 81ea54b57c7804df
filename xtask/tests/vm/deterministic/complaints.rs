//! What the kernel says of itself on its console: complaints and remarks that it makes for real,
//! and workers that leave as little to everybody else as a worker may.

use crate::bench::{Vm, instead_of_qemu};
use serde_json::Value;

/// Workers of the highest priority on every CPU, first with RT throttling, for a whole period of it
/// wherever that begins, and then without.
const HOGS: &str = r#"{"machine":{"cpus":2},"duration":"2300ms",
    "workload":{"num_workers":2,"work_type":"SpinWait","sched_policy":{"Fifo":98}},
    "steps":[{"name":"throttled","hold":{"Time":"2100ms"}},
        {"name":"alone","ops":[{"Sysctl":{"name":"kernel.sched_rt_runtime_us","value":"-1"}}]}]}"#;

fn notes(report: &Value) -> Vec<&str> {
    report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// PID 1 preempts them, so that the run ends as it should.
#[test]
fn workers_of_priority_98_take_every_cpu_and_the_run_passes() {
    for kernel in ["bookworm", "trixie", "trixie-backports"] {
        // PID 1 lets warnings through to the console all the same.
        let run = Vm::deterministic(HOGS).args(["--kernel", kernel, "--kernel-arg", "quiet"]).run();
        let report = run.expect("pass", 0);
        for worker in report["workers"].as_array().unwrap() {
            let (cpu, wall) = (&worker["cpu_time_ns"], &worker["wall_time_ns"]);
            let share = cpu.as_f64().unwrap() / wall.as_f64().unwrap();
            assert!(share > 0.9, "{kernel}: {share} {worker}");
        }
        let level = |note: &&str| note.contains("console began with level 4");
        assert_eq!(notes(&report).iter().filter(|note| level(note)).count(), 1, "{kernel}");
        // Since 6.12 the fair server is there instead.
        let throttled = notes(&report).into_iter().filter(|note| note.contains("RT throttling"));
        let throttled: Vec<_> = throttled.collect();
        assert_eq!(throttled.len(), usize::from(kernel == "bookworm"), "{kernel}: {throttled:?}");
        for note in throttled {
            let told = ": sched: RT throttling activated: SCHED_FIFO and SCHED_RR tasks used up";
            assert!(note.starts_with("console.log:") && note.contains(told), "{note}");
        }
    }
}

/// A kernel that warns in the middle of the run.
const WARNS: &str = r#"{"duration":"300ms","workload":{"work_type":{"Custom":{"name":"warn"}},
    "composed":[{"num_workers":1,"work_type":"SpinWait"}]}}"#;

/// QEMU may write 16 KiB into a file, says nothing of the rest and goes on.
#[test]
fn a_console_that_did_not_get_to_the_disk_whole_is_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join("qemu-system-x86_64"));
    let qemu = found.into_iter().find(|file| file.is_file()).unwrap();
    let script = format!("ulimit -f 32\nexec {} \"$@\"\n", qemu.display());
    let limited = instead_of_qemu(dir.path(), &script);
    for kernel in ["bookworm", "trixie-backports"] {
        let vm = Vm::deterministic(WARNS).test_init().args(["--kernel", kernel]);
        let run = vm.env("PATH", &limited).run();
        let report = run.expect("report-lost", 4);
        assert!(!run.text("console.log").contains("WARNING"), "{kernel}: that is what was lost");
        let advice = report["advice"].as_str().unwrap();
        assert!(advice.starts_with("console.log lacks "), "{kernel}: {advice}");
        let check = no_splat(&report);
        assert_eq!(check["outcome"], "inconclusive", "{kernel}: {check}");
    }
}

#[test]
fn a_kernel_that_says_it_warned_on_a_console_without_a_warning_is_inconclusive() {
    let scenario = r#"{"workload":{},"steps":[{"name":"taint","hold":{"Time":"200ms"},
        "ops":[{"Sysctl":{"name":"kernel.tainted","value":"512"}}]}]}"#;
    let run = Vm::deterministic(scenario).run();
    let report = run.expect("inconclusive", 5);
    let detail = no_splat(&report)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the kernel is tainted (W: it has warned)"), "{detail}");
    assert_eq!(report["kernel"]["tainted"], 512);
}

fn no_splat(report: &Value) -> &Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "no_splat").unwrap()
}
