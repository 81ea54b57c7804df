//! An init whose work function runs programs that the image carries, one after the other, and puts
//! what they print on the console. `cargo xtask bench` boots it to measure programs that are not ours
//! in the same guest as the library. Started by itself it is `rate`, which is that library.

#[path = "../../../workloads/examples/rate.rs"]
mod rate;

use guest_init::proto::programs::{DISK, LIST, MARK};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use workloads::{WorkerReport, register};

const CONSOLE: &str = "/dev/console";
/// The disk of a deterministic guest, as new and old kernels call it.
const DISKS: [&str; 2] = ["/dev/vda", "/dev/nullb0"];

fn main() -> Result<(), Box<dyn Error>> {
    if std::process::id() != 1 {
        return rate::main();
    }
    register("programs", run_all);
    guest_init::boot()
}

/// Counts programs that ran to their end; the first that did not is why it failed.
fn run_all(_: &AtomicBool) -> WorkerReport {
    let mut done = 0;
    let ran = commands().and_then(|(commands, mut console)| {
        commands.iter().enumerate().try_for_each(|(index, command)| {
            run_one(index, command, &mut console)?;
            done += 1;
            Ok(())
        })
    });
    WorkerReport {
        work_units: done,
        iterations: done,
        failed: ran.err(),
        ..WorkerReport::default()
    }
}

fn commands() -> Result<(Vec<Vec<String>>, File), String> {
    let text = std::fs::read(LIST).map_err(|error| format!("read({LIST}) failed: {error}"))?;
    let commands =
        serde_json::from_slice(&text).map_err(|error| format!("parse({LIST}) failed: {error}"))?;
    let console = OpenOptions::new().write(true).open(CONSOLE);
    Ok((commands, console.map_err(|error| format!("open({CONSOLE}) failed: {error}"))?))
}

fn run_one(index: usize, command: &[String], console: &mut File) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("a command without a program")?;
    let disk = DISKS.into_iter().find(|disk| Path::new(disk).exists()).unwrap_or(DISK);
    let arguments = arguments.iter().map(|word| if word == DISK { disk } else { word });
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("exec({program}) failed: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {}: {}", output.status, said.trim()));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // In one write, so that no message of the kernel comes in between.
        let line = format!("{MARK}{index} {line}\n");
        let written = console.write_all(line.as_bytes());
        written.map_err(|error| format!("write({CONSOLE}) failed: {error}"))?;
    }
    Ok(())
}
