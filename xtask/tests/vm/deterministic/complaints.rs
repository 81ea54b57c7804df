//! What the kernel says of itself on its console: complaints and remarks that it makes for real,
//! and workers that leave as little to everybody else as a worker may.

use crate::bench::Vm;
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
