//! The main job on a new kernel, an old one whose drivers are modules, and a bare image.

use crate::bench::{Run, Vm, bzimage, default_kernel, file, of_workers};
use serde_json::Value;
use std::path::Path;

fn scenario(name: &str) -> String {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(repo.join("scenarios").join(name)).unwrap()
}

/// Why the published schema refuses `document`, if it does.
fn refusal(schema: &str, document: &Value) -> Option<String> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = repo.join("docs/schema").join(schema);
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(file.to_str().unwrap(), &mut schemas).unwrap();
    schemas.validate(document, index).err().map(|error| format!("{error:#}"))
}

/// What must be true of `wake.json` wherever it ran.
fn wake_is_plausible(run: &Run) -> Value {
    let report = run.expect("pass", 0);
    assert_eq!(report["workers"].as_array().unwrap().len(), 8);
    for field in ["iterations", "work_units", "cpu_time_ns", "timeslices", "voluntary_switches"] {
        assert!(of_workers(&report, field).iter().all(|value| *value > 0), "{field}");
    }
    for worker in report["workers"].as_array().unwrap() {
        let wake = &worker["latency"]["wake"];
        let samples = wake["count"].as_u64().unwrap();
        assert!(samples > 0 && samples <= worker["iterations"].as_u64().unwrap());
        assert!(wake["p50_ns"].as_u64() <= wake["p99_ns"].as_u64());
        assert!(wake["p99_ns"].as_u64() <= wake["max_ns"].as_u64());
    }
    let cpu: u64 = of_workers(&report, "cpu_time_ns").iter().sum();
    let wall = *of_workers(&report, "wall_time_ns").iter().max().unwrap();
    assert!(cpu <= wall * 2 * 102 / 100, "{cpu} ns of CPU in {wall} ns on 2 CPUs");
    assert!(cpu >= wall / 2, "busy pairs use the machine: {cpu} ns in {wall} ns");
    let release = report["kernel"]["release"].as_str().unwrap();
    assert!(run.text("console.log").contains(&format!("Linux version {release}")));
    report
}

#[test]
fn wake_on_the_default_kernel() {
    let run = Vm::new(&scenario("wake.json")).run();
    let report = wake_is_plausible(&run);
    assert!(report["kernel"]["features"].as_array().unwrap().contains(&"eevdf".into()));
    let under = match report["machine"]["accel"].as_str() {
        Some("kvm") => "KVMKVMKVM",
        _ => "TCGTCGTCGTCG",
    };
    assert_eq!(report["machine"]["hypervisor"], under);
    for file in ["frames.log", "host.json", "qemu.args", "scenario.json"] {
        assert!(run.file(file).metadata().unwrap().len() > 0, "{file}");
    }
    assert!(run.stdout.contains("PASS: wake on Linux"), "{}", run.stdout);
    assert_eq!(run.json("scenario.json"), report["scenario"]);
    assert_eq!(refusal("scenario.schema.json", &report["scenario"]), None);
    assert_eq!(refusal("report.schema.json", &report), None);
}

#[test]
fn wake_on_a_kernel_whose_drivers_are_modules() {
    let run =
        Vm::new(&scenario("wake.json")).args(["--kernel", "debian:bookworm/cloud-amd64"]).run();
    let report = wake_is_plausible(&run);
    let modules = report["kernel"]["modules"].as_array().unwrap();
    assert!(modules.contains(&"virtio_pci".into()) && modules.contains(&"virtio_blk".into()));
}

#[test]
fn io_really_writes_the_disk() {
    for kernel in ["debian:bookworm/cloud-amd64", "trixie-backports"] {
        let run = Vm::new(&scenario("io.json")).args(["--kernel", kernel]).run();
        let report = run.expect("pass", 0);
        assert_eq!(report["totals"]["io"], "/dev/vda");
        let disk = &report["totals"]["disk"];
        let written = disk["written_bytes"].as_u64().unwrap();
        let iterations: u64 = report["workers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|w| w["work_type"] == "IoSyncWrite")
            .map(|w| w["iterations"].as_u64().unwrap())
            .sum();
        assert!(iterations > 0);
        assert!(written >= iterations * 16 * 4096, "{written} bytes for {iterations} iterations");
        assert!(disk["flushes"].as_u64().unwrap() >= iterations);
        let image = std::fs::read(run.file("disk.img")).unwrap();
        assert_eq!(image.iter().filter(|byte| **byte == 0xA5).count(), 4 * 16 * 4096);
        assert_eq!(image[..4096], [0xA5; 4096], "the first stripe is at the start");
    }
}

#[test]
fn a_bare_image_without_modules_uses_a_file() {
    // A folder of its own, so that nothing lies beside it.
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("image");
    std::fs::copy(file(&default_kernel(), "image"), &bare).unwrap();
    let run = Vm::new(&scenario("io.json")).args(["--kernel", bare.to_str().unwrap()]).run();
    let report = run.expect("pass", 0);
    let host = run.json("host.json");
    let initramfs = std::fs::metadata(host["initramfs"].as_str().unwrap()).unwrap().len();
    assert!(initramfs < 2 << 20, "{initramfs} bytes of initramfs without modules");
    assert_eq!(report["totals"]["disk"], Value::Null);
    let target = report["workers"][0]["io_target"].as_str().unwrap();
    assert!(target.starts_with("file in"), "{target}");
    assert!(report["kernel"]["missing_modules"].as_array().unwrap().contains(&"virtio_blk".into()));
    assert!(run.stdout.contains("no disk for the workload"), "{}", run.stdout);
}

#[test]
fn an_image_with_a_file_system_is_mounted_and_never_written_raw() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("fs.img");
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("keep"), "this").unwrap();
    let made = std::process::Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&files, &image])
        .arg("64M")
        .status()
        .unwrap();
    assert!(made.success());
    let run = Vm::new(&scenario("io.json")).args(["--disk", image.to_str().unwrap()]).run();
    let report = run.expect("pass", 0);
    assert_eq!(report["totals"]["io"], "/mnt/vda");
    assert!(report["totals"]["disk"]["written_bytes"].as_u64().unwrap() > 0);
    let checked =
        std::process::Command::new("/sbin/e2fsck").arg("-fn").arg(&image).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn json_output_is_the_report_and_nothing_else() {
    let run = Vm::new("{\"duration\":\"200ms\"}").args(["--json", "--console"]).run();
    run.expect("pass", 0);
    assert!(run.stderr.contains("Linux version"), "the console is on stderr: {}", run.stderr);
    assert_eq!(serde_json::from_str::<Value>(&run.stdout).unwrap(), run.json("report.json"));
}

/// Two boots with an empty memory of what KVM is worth here, the second with what the first learned.
fn discover(image: &Path, args: &[&str]) -> (Run, Run) {
    let image = image.to_str().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let boot = || {
        let vm = Vm::new("{\"duration\":\"100ms\"}").env("SCHEDLAB_CACHE", cache.path());
        vm.args(["--kernel", image]).args(args.iter().copied()).test_init().run()
    };
    let both = (boot(), boot());
    let opens = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    assert_eq!(cache.path().join("host/kvm.json").exists(), opens, "remembered if there is doubt");
    let accel = both.0.expect("pass", 0)["machine"]["accel"].clone();
    let tried = both.0.file("kvm-trial").exists();
    assert_eq!(tried && accel == "tcg", opens && accel == "tcg");
    assert_eq!(both.1.expect("pass", 0)["machine"]["accel"], accel);
    assert!(!both.1.file("kvm-trial").exists(), "the second run tried KVM again");
    both
}

#[test]
fn auto_ends_in_a_guest_that_lives_and_learns_only_once() {
    discover(&file(&default_kernel(), "image"), &[]);
}

#[test]
fn a_guest_that_kvm_stops_in_mid_boot_costs_no_boot_timeout() {
    // Where `host` makes QEMU abort, this model lets it start; then a kernel that unpacks itself
    // comes to instructions that such a KVM does not know.
    let args = ["--cpu-model", "qemu64", "--boot-timeout", "60s"];
    let (first, _) = discover(&bzimage(&default_kernel()), &args);
    let reason = first.json("host.json")["accel_reason"].as_str().unwrap().to_owned();
    let took = first.stderr.lines().find(|line| line.contains("KVM is not used"));
    let seconds = took.map(|line| {
        let stamp = line.trim_start_matches('[').split_whitespace().next().unwrap();
        stamp.parse::<f64>().unwrap()
    });
    assert!(seconds.is_none_or(|s| s < 30.0), "{reason}: {}", first.stderr);
}
