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

/// Every type that samples how late it is after a deadline or a call, and what keeps it from its CPU.
fn every_waiter() -> String {
    const PAIRS: [&str; 16] = [
        r#""num_workers":8,"work_type":"PipeIo""#,
        r#""num_workers":2,"work_type":"CachePipe""#,
        r#""num_workers":4,"work_type":"FutexPingPong""#,
        r#""num_workers":4,"work_type":{"WakeChain":{"depth":4,"wake":"Pipe","work_per_hop":"50us"}}"#,
        r#""num_workers":4,"work_type":{"WakeChain":{"depth":4,"wake":"Futex","work_per_hop":"50us"}}"#,
        r#""num_workers":5,"work_type":"FutexFanOut""#,
        r#""num_workers":3,"work_type":{"FanOutCompute":{"fan_out":2,"operations":1,"cache_footprint_kb":4}}"#,
        r#""num_workers":4,"work_type":{"ThunderingHerd":{"waiters":3,"inter_batch_ms":5}}"#,
        r#""num_workers":2,"work_type":{"AsymmetricWaker":{"waker_class":"Cfs","wakee_class":"Cfs"}}"#,
        r#""num_workers":2,"work_type":{"ProducerConsumerImbalance":{"producers":1,"consumers":1}}"#,
        r#""num_workers":2,"work_type":{"EpollStorm":{"producers":1,"consumers":1}}"#,
        r#""num_workers":1,"work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"2ms"}}"#,
        r#""num_workers":1,"work_type":"IdleChurn""#,
        r#""num_workers":1,"work_type":"YieldHeavy""#,
        r#""num_workers":1,"work_type":"NiceSweep""#,
        r#""num_workers":4,"work_type":"SpinWait""#,
    ];
    let sets = PAIRS.map(|set| format!("{{{set}}}")).join(",");
    format!(r#"{{"duration":"2s","workload":{{"num_workers":1,"composed":[{sets}]}}}}"#)
}

#[test]
fn no_wait_that_is_sampled_is_longer_than_the_longest_gap() {
    let run = Vm::deterministic(&every_waiter()).args(["--cpus", "2"]).run();
    let report = run.expect("pass", 0);
    let sampled = |worker: &Value| {
        let gap_ns = worker["max_gap_ns"].as_u64().unwrap();
        let late_ns = |kind: &&str| worker["latency"][kind]["max_ns"].as_u64();
        // A lock and a disk are waited for by right.
        let late_ns: Vec<_> = ["wake", "timer", "yield"].iter().filter_map(late_ns).collect();
        assert!(
            late_ns.iter().all(|late_ns| *late_ns <= gap_ns),
            "{late_ns:?} in {gap_ns}: {worker}"
        );
        late_ns.len()
    };
    let samples: usize = report["workers"].as_array().unwrap().iter().map(sampled).sum();
    assert!(samples > 30, "{samples}");
}

/// Who comes late has been kept from its work for that long. Gives the gap.
fn assert_gap_holds(worker: &Value, latency: &str, kernel: &str) -> u64 {
    let late_ns = worker["latency"][latency]["max_ns"].as_u64().unwrap();
    let gap_ns = worker["max_gap_ns"].as_u64().unwrap();
    assert!(gap_ns >= late_ns, "{kernel}: {late_ns} in {gap_ns}: {worker}");
    gap_ns
}
