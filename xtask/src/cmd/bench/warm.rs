//! `bench warm`: this program beside an older one that boots each run, in turn. Called by `bench`.

use crate::error::{Refusal, exit};
use crate::progress::{Progress, to_stdout};
use crate::report::new_table;
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SCENARIO: &str =
    r#"{"name":"warm","duration":"60ms","workload":{"num_workers":8,"work_type":"PipeIo"}}"#;
const SEEDS: u32 = 40;
/// What must hold.
const LEAST_SPEEDUP: f64 = 6.0;
const MOST_WALL: f64 = 0.15;

/// What is run with each of the two programs.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    /// By how many times it must be faster.
    least_speedup: f64,
}

const CASES: [Case; 2] = [
    Case {
        name: "hunt of 40 seeds, one job",
        words: &["hunt", "--jobs", "1", "--seeds"],
        least_speedup: LEAST_SPEEDUP,
    },
    Case {
        name: "vm, to its end",
        words: &["vm", "--deterministic"],
        least_speedup: 1.0 / MOST_WALL,
    },
];

pub(super) fn run(other: &Path, count: u32) -> Result<u8> {
    let own = std::env::current_exe().context("readlink(/proc/self/exe) failed")?;
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let config = dir.path().join("scenario.json");
    std::fs::write(&config, SCENARIO).context("write(scenario) failed")?;
    let progress = Progress::new();
    let mut table =
        new_table(&["", "with a boot each", "from snapshots", "times as fast", "must be"]);
    let mut holds = true;
    for case in &CASES {
        // Kernels are unpacked, PID 1 is built and the snapshot is made before anything counts.
        let timed = |program: &Path, round: u32| {
            let took = once(case, program, &config, &dir.path().join(format!("out-{round}")))?;
            progress.step(format!(
                "{}: {:.2} s by {}",
                case.name,
                took.as_secs_f64(),
                program.display()
            ));
            anyhow::Ok(took)
        };
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=count {
            for (program, times) in [other, &own].into_iter().zip(&mut times) {
                let took = timed(program, round)?;
                times.extend((round > 0).then_some(took));
            }
        }
        let [slow, fast] = times.map(median);
        let speedup = slow.as_secs_f64() / fast.as_secs_f64();
        holds &= speedup >= case.least_speedup;
        table.add_row([
            case.name.to_owned(),
            format!("{:.2} s", slow.as_secs_f64()),
            format!("{:.2} s", fast.as_secs_f64()),
            format!("{speedup:.1}"),
            format!("{:.1}", case.least_speedup),
        ]);
    }
    to_stdout(|out| Ok(writeln!(out, "{table}\nmedians of {count}")?))?;
    Ok(if holds { exit::PASS } else { exit::FAIL })
}

/// One run, whose folder is gone afterwards.
fn once(case: &Case, program: &Path, config: &Path, out: &Path) -> Result<Duration> {
    let mut command = Command::new(program);
    command.args(case.words);
    if case.words[0] == "hunt" {
        command.arg(format!("1..{SEEDS}"));
    }
    command.arg("--config").arg(config).arg("--out").arg(out);
    // Each finds the checkout around itself.
    command.env_remove("CARGO_MANIFEST_DIR").stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status =
        command.status().with_context(|| format!("run(`{}`) failed", program.display()))?;
    let took = begun.elapsed();
    std::fs::remove_dir_all(out).with_context(|| format!("remove(`{}`) failed", out.display()))?;
    if !status.success() {
        let message = format!("`{}` failed at: {}", program.display(), case.name);
        let fix =
            "pass the `target/debug/xtask` of a whole checkout of an older schedlab as --other";
        return Err(Refusal::input(message, fix).into());
    }
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
