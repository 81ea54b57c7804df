//! `bench warm`: this program beside an older one that boots each run, in turn. Called by `bench`.

use crate::error::{Refusal, exit};
use crate::progress::{Progress, to_stdout};
use crate::report::new_table;
use crate::sys::wait_with_memory;
use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SCENARIO: &str =
    r#"{"name":"warm","duration":"60ms","workload":{"num_workers":8,"work_type":"PipeIo"}}"#;
/// What `vm` says once the guest knows its scenario.
const SCENARIO_KNOWN: &str = "scenario by ";
/// In the first round kernels are unpacked, PID 1 is built and snapshots are made; the next run from each is compared
/// with a boot.
const UNCOUNTED: u32 = 2;
const KIB_IN_MIB: f64 = 1024.0;

/// What is run with each of the two programs.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    measures: &'static [Measure],
}

/// What is measured of a case, and what must hold.
struct Measure {
    name: &'static str,
    unit: &'static str,
    of: fn(&Seen) -> f64,
    /// The most that this program may have of what the other one has.
    most_ratio: f64,
    /// The most that it may have.
    most: f64,
}

/// One run of a program.
struct Seen {
    /// From the command to its end.
    took_s: f64,
    /// From the command to the guest knowing its scenario.
    known_s: f64,
    /// Of the largest of its processes, which is QEMU.
    memory_mib: f64,
}

const fn seconds(name: &'static str, of: fn(&Seen) -> f64, most_ratio: f64, most: f64) -> Measure {
    Measure { name, unit: "s", of, most_ratio, most }
}

const CASES: [Case; 3] = [
    Case {
        name: "vm, 60 ms",
        words: &["vm", "--deterministic", "--config", "SCENARIO"],
        measures: &[
            seconds("to its end", |seen| seen.took_s, 0.15, f64::INFINITY),
            seconds("to the scenario", |seen| seen.known_s, 1.0, 0.5),
            Measure {
                name: "memory of a guest",
                unit: "MiB",
                of: |seen| seen.memory_mib,
                most_ratio: 0.5,
                most: f64::INFINITY,
            },
        ],
    },
    Case {
        name: "hunt, 40 seeds, one job",
        words: &["hunt", "--jobs", "1", "--seeds", "1..40", "--config", "SCENARIO"],
        measures: &[seconds("to its end", |seen| seen.took_s, 1.0 / 6.0, f64::INFINITY)],
    },
    Case {
        name: "matrix-quick.toml",
        words: &["matrix", "MATRIX"],
        measures: &[seconds("to its end", |seen| seen.took_s, 0.4, f64::INFINITY)],
    },
];

pub(super) fn run(other: &Path, count: u32) -> Result<u8> {
    let own = std::env::current_exe().context("readlink(/proc/self/exe) failed")?;
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let config = dir.path().join("scenario.json");
    std::fs::write(&config, SCENARIO).context("write(scenario) failed")?;
    let progress = Progress::new();
    let mut table = new_table(&["", "", "with a boot each", "this program", "ratio", "must be"]);
    let mut holds = true;
    for case in &CASES {
        let mut seen = [Vec::new(), Vec::new()];
        for round in 0..UNCOUNTED + count {
            for (program, seen) in [other, &own].into_iter().zip(&mut seen) {
                let one = once(case, program, &config, &dir.path().join("out"))?;
                let (name, by) = (case.name, program.display());
                progress.step(format!("{name}: {:.2} s by {by}", one.took_s));
                seen.extend((round >= UNCOUNTED).then_some(one));
            }
        }
        for measure in case.measures {
            let [before, now] = seen.each_ref().map(|seen| median(seen, measure.of));
            holds &= now <= measure.most && now <= before * measure.most_ratio;
            let unit = measure.unit;
            table.add_row([
                case.name.to_owned(),
                measure.name.to_owned(),
                format!("{before:.2} {unit}"),
                format!("{now:.2} {unit}"),
                format!("{:.3}", now / before),
                bound(measure),
            ]);
        }
    }
    to_stdout(|out| Ok(writeln!(out, "{table}\nmedians of {count}")?))?;
    Ok(if holds { exit::PASS } else { exit::FAIL })
}

fn bound(measure: &Measure) -> String {
    match measure.most.is_finite() {
        true => format!("at most {} {}", measure.most, measure.unit),
        false => format!("at most {:.3}", measure.most_ratio),
    }
}

/// One run, whose folder is gone afterwards.
fn once(case: &Case, program: &Path, config: &Path, out: &Path) -> Result<Seen> {
    let mut command = Command::new(program);
    for word in case.words {
        match *word {
            "SCENARIO" => command.arg(config),
            "MATRIX" => command.arg(checkout(program)?.join("matrix-quick.toml")),
            word => command.arg(word),
        };
    }
    // Each finds the checkout around itself.
    command.arg("--out").arg(out).env_remove("CARGO_MANIFEST_DIR");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let running = || format!("run(`{}`) failed", program.display());
    let mut child = command.spawn().with_context(running)?;
    let said = child.stderr.take().with_context(running)?;
    let (mut known_s, mut last) = (0.0, String::new());
    for line in BufReader::new(said).lines() {
        last = line.with_context(running)?;
        if known_s == 0.0 && last.contains(SCENARIO_KNOWN) {
            known_s = begun.elapsed().as_secs_f64();
        }
    }
    let (status, memory_kib) = wait_with_memory(child).with_context(running)?;
    let took_s = begun.elapsed().as_secs_f64();
    std::fs::remove_dir_all(out).with_context(|| format!("remove(`{}`) failed", out.display()))?;
    if !status.success() {
        let message = format!("`{}` failed at: {}: {last}", program.display(), case.name);
        let fix =
            "pass the `target/debug/xtask` of a whole checkout of an older schedlab as --other";
        return Err(Refusal::input(message, fix).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 KiB")]
    let memory_mib = memory_kib as f64 / KIB_IN_MIB;
    Ok(Seen { took_s, known_s, memory_mib })
}

/// That of `target/debug/xtask`.
fn checkout(program: &Path) -> Result<PathBuf> {
    let folder = program.ancestors().nth(3).map(Path::to_owned).unwrap_or_default();
    ensure!(folder.join("Cargo.toml").is_file(), "`{}` is in no checkout", program.display());
    Ok(folder)
}

fn median(seen: &[Seen], of: fn(&Seen) -> f64) -> f64 {
    let mut values: Vec<_> = seen.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
