//! Every infrastructure verdict, provoked for real, with its exit code and its advice.

use crate::bench::{Run, Vm, qemu_of, run_and, signal, xtask};
use rustix::process::Signal;
use std::time::Duration;

fn custom(name: &str) -> String {
    format!(
        r#"{{"duration":"3s","workload":{{"work_type":{{"Custom":{{"name":"{name}"}}}},
            "composed":[{{"num_workers":1,"work_type":"SpinWait"}}]}}}}"#
    )
}

fn advice(run: &Run) -> String {
    run.json("report.json")["advice"].as_str().unwrap().to_owned()
}

const LONG: &str = r#"{"duration":"60s"}"#;
/// They keep PID 1 from its CPUs.
fn hogs(duration: &str) -> String {
    format!(
        r#"{{"duration":"{duration}","workload":{{"num_workers":2,
            "work_type":{{"Custom":{{"name":"starve-init"}}}}}}}}"#
    )
}

#[test]
fn boot_failed_when_the_kernel_does_not_run_our_init() {
    let run = Vm::new(LONG).args(["--kernel-arg", "rdinit=/nowhere"]).run();
    run.expect("boot-failed", 4);
    assert!(advice(&run).contains("Kernel panic"), "{}", advice(&run));
    assert!(advice(&run).contains("`--kernel-arg rdinit=/nowhere`"), "{}", advice(&run));
    assert!(run.stderr.contains("last lines of the console"), "{}", run.stderr);
}

#[test]
fn boot_failed_when_pid_1_never_speaks() {
    let run = Vm::new(LONG).args(["--accel", "tcg", "--boot-timeout", "300ms"]).run();
    run.expect("boot-failed", 4);
    assert!(advice(&run).contains("--boot-timeout"));
}

#[test]
fn panic_when_the_kernel_dies_under_the_workload() {
    let run = Vm::new(&custom("panic-kernel")).test_init().run();
    run.expect("panic", 4);
    assert!(advice(&run).contains("sysrq triggered crash"), "{}", advice(&run));
    assert!(run.text("console.log").contains("Call Trace"));
}

#[test]
fn hang_when_pid_1_gets_no_cpu_and_the_back_traces_are_there() {
    let throttling_off = ["--kernel-arg", "sysctl.kernel.sched_rt_runtime_us=-1"];
    // A deterministic guest is told by its own clock.
    let deterministic = Vm::deterministic(&hogs("100ms")).args(["--hang-after", "1s"]);
    for vm in [Vm::new(&hogs("60s")), deterministic] {
        let run = vm.test_init().args(throttling_off).run();
        run.expect("hang", 4);
        // Each worker is named with its CPU.
        let advice = advice(&run);
        assert!(advice.contains("(PID ") && advice.contains("in user mode"), "{advice}");
        let console = run.text("console.log");
        assert!(console.contains("NMI"), "{console}");
        assert!(console.contains("Call Trace"), "{console}");
    }
}

#[test]
fn inconclusive_and_no_hang_when_qemu_was_stopped() {
    // Whoever goes on after the limit must not be told of a hang either.
    let run = Vm::new(LONG)
        .args(["--accel", "tcg", "--hang-after", "3s"])
        .run_and("PID 1 after", |xtask| signal(qemu_of(xtask), Signal::STOP));
    run.expect("inconclusive", 5);
    assert!(advice(&run).contains("QEMU stood still for"), "{}", advice(&run));
    let still = run.json("host.json")["load"]["qemu_stood_still_s"].as_f64().unwrap();
    assert!(still > 2.5, "{still}");
}

#[test]
fn a_qemu_that_stands_still_for_less_than_the_limit_goes_on() {
    // The guest's time stands still with it, so that nothing is in doubt.
    let scenario = r#"{"duration":"500ms"}"#;
    let run =
        Vm::deterministic(scenario).args(["--hang-after", "8s"]).run_and("PID 1 after", |xtask| {
            // The whole job for longer than the limit, as by Ctrl-Z, then QEMU alone for less.
            let (job, qemu) = (xtask.cast_signed(), qemu_of(xtask));
            for (stopped, seconds) in [(vec![job, qemu], 10), (vec![qemu], 4)] {
                stopped.iter().for_each(|pid| signal(*pid, Signal::STOP));
                std::thread::sleep(Duration::from_secs(seconds));
                stopped.iter().for_each(|pid| signal(*pid, Signal::CONT));
            }
        });
    run.expect("pass", 0);
    let still = run.json("host.json")["load"]["qemu_stood_still_s"].as_f64().unwrap();
    assert!(still > 13.0, "{still}");
}

#[test]
fn timeout_when_the_run_does_not_end() {
    let run = Vm::new(LONG).args(["--timeout", "2s"]).run();
    run.expect("timeout", 4);
    assert!(advice(&run).contains("--timeout"));
}

#[test]
fn worker_died_when_a_worker_is_killed() {
    let run = Vm::new(&custom("kill-self")).test_init().run();
    let report = run.expect("worker-died", 4);
    assert_eq!(report["workers"][0]["exit_info"]["signaled"], 9);
    assert!(report["workers"][1]["exit_info"].is_null(), "the other one reports");
    assert!(report["workers"][1]["iterations"].as_u64().unwrap() > 0);
}

#[test]
fn worker_died_when_a_worker_panics_and_says_why() {
    let run = Vm::new(&custom("panic-self")).test_init().run();
    let report = run.expect("worker-died", 4);
    let message = report["workers"][0]["exit_info"]["panicked"].as_str().unwrap();
    assert!(message.contains("as asked"), "{message}");
}

#[test]
fn worker_died_when_the_kernel_kills_one_for_its_memory() {
    let scenario = r#"{"duration":"3s","workload":{"work_type":{"Custom":{"name":"eat-memory"}},
        "composed":[{"num_workers":2,"work_type":"FutexPingPong"},{"num_workers":1}]}}"#;
    let run = Vm::new(scenario).test_init().run();
    let report = run.expect("worker-died", 4);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers[0]["exit_info"]["signaled"], 9, "{}", workers[0]);
    let killed = format!("Memory cgroup out of memory: Killed process {} ", workers[0]["tid"]);
    assert!(run.text("console.log").contains(&killed), "{}", run.text("console.log"));
    assert_eq!(workers.len(), 4);
    for other in &workers[1..] {
        assert!(other["completed"] == true && other["exit_info"].is_null(), "{other}");
        assert!(other["iterations"].as_u64() > Some(0), "{other}");
        assert!(other["cpu_time_ns"].as_u64() > Some(0), "{other}");
    }
}

#[test]
fn report_lost_when_the_guest_powers_off_in_the_middle() {
    let run = Vm::new(&custom("power-off")).test_init().run();
    run.expect("report-lost", 4);
    assert!(advice(&run).contains("without a last frame"), "{}", advice(&run));
}

#[test]
fn report_lost_when_somebody_writes_to_the_report_port() {
    let run = Vm::new(&custom("garble-reports")).test_init().run();
    run.expect("report-lost", 4);
    assert!(advice(&run).contains("damaged"), "{}", advice(&run));
}

#[test]
fn guest_error_when_the_runner_is_killed() {
    let run = Vm::new(&custom("kill-runner")).test_init().run();
    run.expect("guest-error", 4);
    assert!(advice(&run).contains("killed by signal Some(9)"), "{}", advice(&run));
}

#[test]
fn a_panic_of_pid_1_is_a_frame_and_a_power_off() {
    let run = Vm::new(&custom("panic-init")).test_init().run();
    run.expect("guest-error", 4);
    assert!(advice(&run).contains("guest-init panicked"), "{}", advice(&run));
    let console = run.text("console.log");
    assert!(!console.contains("Kernel panic"), "{console}");
    assert!(console.contains("reboot: Power down"), "{console}");
}

#[test]
fn pid_1_reaps_what_workers_leave_behind() {
    let scenario = r#"{"duration":"3s","workload":{"work_type":{"Custom":{"name":"orphans"}},
        "composed":[{"num_workers":1,"work_type":{"Custom":{"name":"count-zombies"}}}]}}"#;
    let report = Vm::new(scenario).test_init().run().expect("pass", 0);
    assert_eq!(report["workers"][0]["work_units"], 20, "children were started");
    assert_eq!(report["workers"][1]["work_units"], 1, "no zombie is left");
}

#[test]
fn splat_when_the_kernel_warns_unless_it_is_allowed() {
    let run = Vm::new(&custom("warn")).test_init().run();
    let report = run.expect("splat", 4);
    assert_eq!(report["splats"][0]["name"], "warning");
    let allowed = Vm::new(&custom("warn")).test_init().args(["--allow-splat", "nowhere/in"]).run();
    let report = allowed.expect("pass", 0);
    assert_eq!(report["splats"][0]["allowed_by"], "nowhere/in", "recorded all the same");
}

#[test]
fn fail_when_an_expectation_does_not_hold() {
    let scenario = r#"{"duration":"300ms","expect":{"max_gap":"1ns"}}"#;
    // In the host's time a disturbed host would leave it in doubt.
    let run = Vm::deterministic(scenario).run();
    let report = run.expect("fail", 1);
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "max_gap").unwrap();
    assert_eq!((&check["outcome"], &check["workers"]), (&"fail".into(), &serde_json::json!([0])));
}

#[test]
fn inconclusive_when_nothing_was_measured() {
    let run = Vm::new(r#"{"duration":"300ms","expect":{"wake_p99":"1ms"}}"#).run();
    run.expect("inconclusive", 5);
}

#[test]
fn qemu_failed_when_qemu_is_killed() {
    let run = Vm::new(LONG).args(["--accel", "tcg"]).run_and("PID 1 after", |xtask| {
        signal(qemu_of(xtask), Signal::KILL);
    });
    run.expect("qemu-failed", 4);
    assert!(advice(&run).contains("Signaled(9)"), "{}", advice(&run));
}

#[test]
fn qemu_failed_when_qemu_refuses_its_arguments() {
    // More memory than any host has.
    let run = Vm::new(LONG).args(["--accel", "tcg", "--memory", "4000000G"]).run();
    run.expect("qemu-failed", 4);
    assert!(advice(&run).to_lowercase().contains("memory"), "{}", advice(&run));
}

#[test]
fn interrupted_by_ctrl_c_leaves_a_readable_folder() {
    let run = Vm::new(LONG).run_and("PID 1 after", |xtask| {
        signal(i32::try_from(xtask).unwrap(), Signal::INT);
    });
    run.expect("interrupted", 130);
    assert!(run.text("console.log").contains("Linux version"));
    assert!(run.json("host.json")["timings"]["total_ms"].as_u64().unwrap() > 0);
}

#[test]
fn no_qemu_outlives_a_killed_xtask() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("long.json");
    std::fs::write(&config, LONG).unwrap();
    let mut command = std::process::Command::new(xtask());
    command.arg("vm");
    command.args([&"--config".into(), &config, &"--out".into(), &dir.path().join("run")]);
    let mut pidfd = None;
    run_and(command, "PID 1 after", |xtask| {
        let pid = rustix::process::Pid::from_raw(qemu_of(xtask)).unwrap();
        let flags = rustix::process::PidfdFlags::empty();
        pidfd = Some(rustix::process::pidfd_open(pid, flags).unwrap());
        signal(i32::try_from(xtask).unwrap(), Signal::KILL);
    });
    let pidfd = pidfd.unwrap();
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "QEMU still runs");
}
