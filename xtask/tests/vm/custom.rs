//! A work function of the user's in an init of one's own, given as the folder of its package.

use crate::bench::Vm;
use std::path::Path;

#[test]
fn an_init_of_ones_own_is_built_from_its_package_and_its_function_reports() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/custom-init");
    let scenario = std::fs::read_to_string(package.join("frames.json")).unwrap();
    let run = Vm::new(&scenario).args(["--init", package.to_str().unwrap()]).run();
    let report = run.expect("pass", 0);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 3);
    let frames = &workers[0];
    // Who it is comes from the handle, the rest from the function.
    assert_eq!((&frames["work_type"], &frames["role"]), (&"frames".into(), &"worker".into()));
    let number = |at: &str| frames.pointer(at).unwrap().as_u64().unwrap();
    let rendered = number("/iterations");
    assert!(rendered > 1, "{frames}");
    assert_eq!(number("/work_units"), rendered * 200_000);
    let (missed, skipped) = (number("/tallies/missed"), number("/tallies/skipped"));
    assert!(missed <= rendered && missed <= skipped, "a late frame costs one at least: {frames}");
    // Each begins at a tick of its own, and none before its time.
    let ticks = number("/wall_time_ns") / 16_000_000 + 1;
    assert!(rendered + skipped <= ticks, "{frames}");
    assert_eq!(frames["cpu_time_ns"], serde_json::Value::Null, "not measured, so absent");
    assert!(run.stdout.contains("frames"), "{}", run.stdout);
    assert!(run.stderr.contains("building `"), "{}", run.stderr);
}
