//! Nothing of the bench runs while a deterministic guest is measured: what a sleeper of a real-time
//! class sees of it, on the one CPU that there is, and what is sent.

use crate::bench::Vm;

const KERNELS: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];
/// It sleeps so briefly that whatever takes its CPU delays it.
const SLEEPER: &str = r#"{"duration":"1200ms","workload":{"num_workers":1,
    "work_type":{"Bursty":{"burst_duration":"20us","sleep_duration":"100us"}},
    "sched_policy":{"Fifo":80}}}"#;
/// The most that may be between the median and the longest delay. With a heartbeat or a reading of
/// counters in the measured time it was 20.
const SPREAD: u64 = 5;

#[test]
fn nothing_of_ours_delays_a_sleeper_and_nothing_is_sent() {
    for kernel in KERNELS {
        let run = Vm::deterministic(SLEEPER).args(["--cpus", "1", "--kernel", kernel]).run();
        let report = run.expect("pass", 0);
        let timer = &report["workers"][0]["latency"]["timer"];
        let ns = |field: &str| timer[field].as_u64().unwrap_or_else(|| panic!("{field}: {timer}"));
        assert!(ns("count") > 5000, "{kernel}: {timer}");
        assert!(ns("max_ns") <= SPREAD * ns("p50_ns"), "{kernel}: {timer}");
        let frames = run.text("frames.log");
        let lines: Vec<&str> = frames.lines().collect();
        let of = |text: &str| lines.iter().position(|line| line.contains(text));
        let (begin, stop) = (of("\"measuring\""), of("\"stopping\""));
        assert_eq!(
            begin.zip(stop).map(|(begin, stop)| stop - begin),
            Some(1),
            "{kernel}: {frames}"
        );
    }
}
