//! What gaps and run delay hold: waits for a CPU after a deadline and after a wake-up call, and the
//! part of a wait that lies in a step. Deterministic runs, so that exact numbers can be asserted.

use crate::bench::Vm;
use serde_json::Value;

const KERNELS: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];
const SPINNERS: usize = 8;
const SLEEPER: usize = SPINNERS;
const MS: u64 = 1_000_000;

/// Eight spinners, a sleeper and two pairs on one CPU. It takes longer to go round than a short step
/// lasts. In the last step nobody of them gets the CPU.
fn scenario() -> String {
    let short = r#"{"hold":{"Time":"15ms"},"expect":{"progress":false,"run_delay_max":1.0}}"#;
    format!(
        r#"{{"workload":{{"num_workers":{SPINNERS},"composed":[
            {{"num_workers":1,"work_type":{{"Bursty":{{"burst_duration":"1ms","sleep_duration":"5ms"}}}}}},
            {{"num_workers":2,"work_type":"FutexPingPong"}},
            {{"num_workers":2,"work_type":"PipeIo"}}]}},
            "steps":[{{"hold":{{"Time":"100ms"}}}},{short},{short},{short},{short},
                {{"ops":[{{"Spawn":{{"work":{{"num_workers":1,"sched_policy":{{"Fifo":50}}}}}}}}],
                 "hold":{{"Time":"300ms"}},"expect":{{"progress":false,"run_delay_max":1.0}}}}]}}"#
    )
}

#[test]
fn waits_are_split_at_steps_and_are_gaps_after_deadlines_and_calls() {
    for kernel in KERNELS {
        let run = Vm::deterministic(&scenario()).args(["--cpus", "1", "--kernel", kernel]).run();
        let report = run.expect("pass", 0);
        let workers = report["workers"].as_array().unwrap();
        for worker in &workers[..SPINNERS] {
            let steps = worker["steps"].as_array().unwrap();
            assert_eq!(steps.len(), 6);
            // In the first one they start, and may wait for each other's page faults.
            steps[1..].iter().for_each(|step| assert_on_a_cpu_or_waiting(step, kernel));
        }
        let sleeper = &workers[SLEEPER];
        let gap_ns = sleeper["max_gap_ns"].as_u64().unwrap();
        assert!(gap_ns > 290 * MS, "{kernel}: {sleeper}");
        assert_gap_holds(sleeper, "timer", kernel);
        for pair in workers[SLEEPER + 1..SLEEPER + 5].chunks(2) {
            // One of the two is called, or about to call, when nobody of them gets the CPU any more.
            let gaps = pair.iter().map(|worker| assert_gap_holds(worker, "wake", kernel));
            assert!(gaps.max() > Some(290 * MS), "{kernel}: {pair:?}");
        }
    }
}

/// A spinner does nothing else, whatever wait spans the ends of the step.
fn assert_on_a_cpu_or_waiting(step: &Value, kernel: &str) {
    let ns = |field: &str| step[field].as_u64().unwrap_or_else(|| panic!("{field} in {step}"));
    let (sum, wall) = (ns("cpu_time_ns") + ns("run_delay_ns"), ns("wall_time_ns"));
    assert!(sum.abs_diff(wall) < MS / 2, "{kernel}: {sum} of {wall}: {step}");
}

/// Who comes late has been kept from its work for that long, but for a turn of the one who called it.
/// Gives the gap.
fn assert_gap_holds(worker: &Value, latency: &str, kernel: &str) -> u64 {
    let late_ns = worker["latency"][latency]["max_ns"].as_u64().unwrap();
    let gap_ns = worker["max_gap_ns"].as_u64().unwrap();
    assert!(gap_ns + MS >= late_ns, "{kernel}: {late_ns} in {gap_ns}: {worker}");
    gap_ns
}
