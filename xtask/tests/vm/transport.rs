//! How a scenario gets in and reports get out.

use crate::bench::{Vm, of_workers};
use serde_json::Value;

const SMALL: &str = r#"{"name":"small","duration":"200ms","seed":5,"workload":{"num_workers":2,
    "work_type":{"PipeIo":{"burst_iters":7}}}}"#;

/// `sets` composed sets, so that the text outgrows the command line.
fn large(sets: usize) -> String {
    let set = r#"{"num_workers":1,"work_type":{"Bursty":{"burst_duration":"1ms","sleep_duration":"3ms"}}}"#;
    let composed = vec![set; sets].join(",");
    format!(r#"{{"name":"large","iterations":3,"workload":{{"composed":[{composed}]}}}}"#)
}

#[test]
fn every_way_in_gives_the_same_scenario() {
    let mut resolved: Vec<Value> = Vec::new();
    for (via, source) in [("cmdline", "cmdline"), ("disk", "disk"), ("initramfs", "initramfs")] {
        let report = Vm::new(SMALL).args(["--config-via", via]).run().expect("pass", 0);
        assert_eq!(report["scenario_source"], source);
        resolved.push(report["scenario"].clone());
    }
    assert!(resolved.windows(2).all(|pair| pair[0] == pair[1]), "{resolved:?}");
}

#[test]
fn a_scenario_too_big_for_the_command_line_goes_by_disk_by_itself() {
    let run = Vm::new(&large(30)).args(["--disk", "none"]).run();
    let report = run.expect("pass", 0);
    assert_eq!(report["scenario_source"], "disk");
    assert_eq!(report["workers"].as_array().unwrap().len(), 31);
    assert_eq!(report["totals"]["io"], "/tmp", "the scenario's disk is not the workload's");
    let by_image = Vm::new(&large(30)).args(["--config-via", "initramfs"]).run().expect("pass", 0);
    assert_eq!(by_image["scenario"], report["scenario"]);
    let refused = Vm::new(&large(30)).args(["--config-via", "cmdline"]).run();
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--config-via disk"), "{}", refused.stderr);
}

#[test]
fn two_mebibytes_of_frames_arrive_whole() {
    let scenario = r#"{"iterations":15,"workload":{"num_workers":2600,
        "work_type":{"Bursty":{"burst_duration":"10us","sleep_duration":"20ms"}}}}"#;
    let run = Vm::new(scenario).args(["--memory", "2G"]).run();
    let report = run.expect("pass", 0);
    let size = run.file("frames.log").metadata().unwrap().len();
    assert!(size > 2 << 20, "{size} bytes of frames");
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2600);
    assert!(workers.iter().enumerate().all(|(index, worker)| worker["index"] == index));
    assert!(of_workers(&report, "iterations").iter().all(|count| *count == 15));
}

#[test]
fn console_noise_does_not_damage_a_report() {
    let scenario = r#"{"duration":"2s","workload":{"work_type":{"Custom":{"name":"flood-console"}},
        "composed":[{"num_workers":4,"work_type":"SpinWait"}]}}"#;
    let run = Vm::new(scenario).test_init().run();
    let report = run.expect("pass", 0);
    let noise = run.text("console.log").matches("noise that nobody asked for").count();
    assert!(noise > 50, "{noise} lines of noise");
    assert_eq!(report["workers"].as_array().unwrap().len(), 5);
}
