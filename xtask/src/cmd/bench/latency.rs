//! `bench latency`: the latencies that we report beside those of other programs that measure the same,
//! in one deterministic guest: loops in C, Debian's cyclictest, and schbench where the user has it.
//! Called by `bench`.

use super::compare::{Verdict, exit_code};
use super::guest::{self, Guest};
use super::latency_table::{
    Figures, HERD, OURS, Ours, SETTLE, SLEEPER, WARMUP, max_verdict, verdict,
};
use super::rivals;
use crate::image::Programs;
use crate::paths::Paths;
use crate::progress::{Progress, to_stdout};
use crate::report::new_table;
use crate::{kernel, scheduler};
use anyhow::{Context as _, Result};
use comfy_table::CellAlignment;
use guest_init::proto::programs::FOLDER;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The oldest Debian that we know: its programs run with the C library of every later one.
const SUITE: &str = "bookworm";
const PACKAGES: [&str; 2] = ["rt-tests", "libnuma1"];
const CYCLICTEST: &str = "cyclictest";
const LOOPS: &str = "latency";
const FILES: [(&str, &str); 2] = [
    ("usr/bin/cyclictest", CYCLICTEST),
    ("usr/lib/x86_64-linux-gnu/libnuma.so.1.", "libnuma.so.1"),
];
/// In ns, beyond which cyclictest keeps no value.
const HIGHEST_NS: &str = "200000";
/// The init, which is the workload library beside it.
const RATE: &str = "/init";
const WORDS: &str = "Times of the guest, in which an instruction takes 1 ns. p50 and p99 may differ from ours by 5 % or a bucket of
our histograms, p99.9 by as much from what it is if chance moves its rank. Of single samples, 10 may be
below the least of the other side, and 10 of ours above the greatest of all others.";
const HEADER: [&str; 8] = ["sample", "", "min", "p50", "p99", "p99.9", "max", "result"];
const NUMBERS: std::ops::Range<usize> = 2..7;

/// A line of the table: another program, which is set beside a workload of ours.
struct Rival {
    name: &'static str,
    /// By its place in [`OURS`].
    ours: usize,
    command: Vec<String>,
    read: fn(&[String]) -> Result<Figures>,
}

pub(super) fn run(kernel: Option<&str>, schbench: Option<&Path>, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    progress.step("building the library and the loops");
    let mut programs = Programs::default();
    let rivals = rivals(schbench, &mut programs, paths, &progress)?;
    programs.commands.push(words(&[&place(LOOPS), SLEEPER.theirs, &SETTLE.to_string(), "0", "0"]));
    programs.commands.extend(OURS.iter().map(command));
    programs.commands.extend(rivals.iter().map(|rival| rival.command.clone()));
    let outputs = guest::outputs(programs, &Guest { kernel, cpus: 2 }, paths, &progress)?;
    let (ours, theirs) = outputs[1..].split_at(OURS.len());
    let ours: Vec<BTreeMap<u64, u64>> = OURS
        .iter()
        .zip(ours)
        .map(|(of, lines)| read_ours(of.kind, lines))
        .collect::<Result<_>>()?;
    let theirs: Vec<Figures> = rivals
        .iter()
        .zip(theirs)
        .map(|(rival, lines)| (rival.read)(lines).with_context(|| said(rival.name, lines)))
        .collect::<Result<_>>()?;
    drop(progress);
    let rows = rows(&rivals, &ours, &theirs)?;
    to_stdout(|out| print(&rows, out))?;
    let verdicts: Vec<_> = rows.into_iter().map(|row| row.verdict).collect();
    Ok(exit_code(&verdicts))
}

fn said(name: &str, lines: &[String]) -> String {
    format!("{name} printed `{}`", lines.join("\n"))
}

/// Everybody who is measured beside us, their files put into `programs`.
fn rivals(
    schbench: Option<&Path>,
    programs: &mut Programs,
    paths: &Paths,
    progress: &Progress,
) -> Result<Vec<Rival>> {
    programs.files.insert(place(LOOPS), rivals::latency(paths)?);
    let skipped = WARMUP.to_string();
    let loops = OURS.iter().enumerate().map(|(at, ours)| Rival {
        name: "a loop in C",
        ours: at,
        command: words(&[
            &place(LOOPS),
            ours.theirs,
            &ours.samples.to_string(),
            &skipped,
            &ours.near().to_string(),
        ]),
        read: |lines| Ok(serde_json::from_str(lines.first().context("no line")?)?),
    });
    let mut rivals: Vec<Rival> = loops.collect();
    let folder = kernel::files(SUITE, &PACKAGES, &FILES, paths, progress)?;
    carry(CYCLICTEST, &folder.join(CYCLICTEST), &folder, programs)?;
    let cyclictest = place(CYCLICTEST);
    let samples = SLEEPER.samples.to_string();
    // 1037 us: an interval that divides the tick would meet it always or never.
    let command = [
        "-q",
        "-m",
        "-N",
        "-t1",
        "-p80",
        "-a1",
        "-i1037",
        "-l",
        &samples,
        "-h",
        HIGHEST_NS,
        "--histfile=/dev/null",
        "--json=/proc/self/fd/1",
    ];
    rivals.push(Rival {
        name: "cyclictest",
        ours: position(SLEEPER.name),
        command: words(&[&[cyclictest.as_str()], &command[..]].concat()),
        read: read_cyclictest,
    });
    if let Some(program) = schbench {
        carry("schbench", program, &folder, programs)?;
        rivals.push(Rival {
            name: "schbench",
            ours: position(HERD.name),
            command: words(&[&place("schbench"), "-m", "1", "-t", "1", "-r", "3"]),
            read: read_schbench,
        });
    }
    Ok(rivals)
}

fn position(name: &str) -> usize {
    OURS.iter().position(|ours| ours.name == name).unwrap_or(0)
}

/// A program with all that it needs of this host, and of `folder`.
fn carry(name: &str, program: &Path, folder: &Path, programs: &mut Programs) -> Result<()> {
    programs.files.insert(place(name), program.to_path_buf());
    for library in scheduler::libraries(program, folder)? {
        programs.files.insert(library.guest_path, library.file);
    }
    Ok(())
}

fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn command(ours: &Ours) -> Vec<String> {
    let Ours { workload, duration_ms, .. } = ours;
    let scenario =
        format!(r#"{{"warmup":"{WARMUP}ms","duration":"{duration_ms}ms","workload":{workload}}}"#);
    vec![RATE.into(), scenario]
}

/// Of the line that `rate` prints: how often each bucket was hit, by its upper edge; the last by the
/// maximum.
fn read_ours(kind: &str, lines: &[String]) -> Result<BTreeMap<u64, u64>> {
    let line: Value = serde_json::from_str(lines.first().context("rate printed nothing")?)?;
    let summary: workloads::LatencySummary = serde_json::from_value(line["latency"][kind].clone())
        .with_context(|| format!("rate printed no {kind} but `{line}`"))?;
    let buckets = summary.histogram.iter();
    Ok(buckets.map(|(edge, count)| ((*edge).min(summary.max_ns), *count)).collect())
}

/// Its JSON, with lines of text before and after.
fn read_cyclictest(lines: &[String]) -> Result<Figures> {
    let json: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .skip_while(|line| !line.starts_with('{'))
        .take_while(|line| !line.starts_with('#') && !line.starts_with("T:"))
        .collect();
    let json = json.join("\n");
    let mut values = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    let all = values.next().context("no JSON")??;
    let thread = &all["thread"]["0"];
    let histogram: BTreeMap<String, u64> = serde_json::from_value(thread["histogram"].clone())?;
    let mut counts = BTreeMap::new();
    for (value, count) in histogram {
        counts.insert(value.parse()?, count);
    }
    let max = thread["max"].as_u64().context("no maximum")?;
    Ok(Figures { max, ..Figures::of(&counts, SLEEPER.near()).context("no samples")? })
}

/// Its wake-up latencies, in us.
fn read_schbench(lines: &[String]) -> Result<Figures> {
    let section = lines.iter().skip_while(|line| !line.starts_with("Wakeup Latencies"));
    let section: Vec<&String> = section.collect();
    let number = |before: &str| {
        let rest = section.iter().find_map(|line| line.split_once(before))?.1.trim_start();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(digits.parse::<u64>().ok()? * 1000)
    };
    let number = |before: &str| number(before).with_context(|| format!("no `{before}`"));
    let [p999, max] = [number("99.9th:")?, number("max=")?];
    Ok(Figures {
        min: number("min=")?,
        p50: number("50.0th:")?,
        p99: number("99.0th:")?,
        p999,
        max,
        // It prints no histogram.
        min_high: number("50.0th:")?,
        p999_low: p999,
        p999_high: max,
    })
}

/// Of the table.
struct Row {
    sample: &'static str,
    name: &'static str,
    figures: Figures,
    verdict: Verdict,
}

/// Each of ours, whose verdict is that of its maximum, and those that are set beside it.
fn rows(rivals: &[Rival], ours: &[BTreeMap<u64, u64>], theirs: &[Figures]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (at, (of, counts)) in OURS.iter().zip(ours).enumerate() {
        let figures = Figures::of(counts, of.near()).context("no samples")?;
        let beside = || rivals.iter().zip(theirs).filter(move |(rival, _)| rival.ours == at);
        let maximum = max_verdict(counts, beside().map(|(_, theirs)| *theirs));
        rows.push(Row { sample: of.kind, name: of.name, figures, verdict: maximum });
        rows.extend(beside().map(|(rival, theirs)| Row {
            sample: "",
            name: rival.name,
            figures: *theirs,
            verdict: verdict(figures, *theirs),
        }));
    }
    Ok(rows)
}

fn print(rows: &[Row], out: &mut impl Write) -> Result<()> {
    let mut table = new_table(&HEADER);
    for Row { sample, name, figures, verdict } in rows {
        let head = [(*sample).to_owned(), (*name).to_owned()];
        let numbers = figures.all().map(|ns| format!("{:.2} us", ns as f64 / 1e3));
        table.add_row(head.into_iter().chain(numbers).chain([verdict.show()]));
    }
    for column in NUMBERS {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(writeln!(out, "{table}\n\n{WORDS}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_cyclictest_prints_is_read() {
        let text = "# /dev/cpu_dma_latency\n{\n\"thread\": {\n\"0\": {\n\"histogram\": {\n\
                    \"900\": 1,\n\"1000\": 8,\n\"2000\": 1\n},\n\"min\": 900, \"max\": 2000\n}\n}\n}\n\
                    T: 0 (1) P:80";
        let figures = read_cyclictest(&lines(text)).unwrap();
        assert_eq!(figures.all(), [900, 1000, 2000, 2000, 2000]);
    }

    #[test]
    fn what_schbench_prints_is_read() {
        let text = "Wakeup Latencies percentiles (usec) runtime 3 (s) (9 total samples)\n\
                    \t  50.0th: 5          (3 samples)\n\t  90.0th: 6          (1 samples)\n\
                    \t* 99.0th: 8          (1 samples)\n\t  99.9th: 9          (0 samples)\n\
                    \t  min=4, max=12\nRequest Latencies percentiles (usec)\n\t  50.0th: 77\n";
        assert_eq!(read_schbench(&lines(text)).unwrap().all(), [4000, 5000, 8000, 9000, 12000]);
    }
}
