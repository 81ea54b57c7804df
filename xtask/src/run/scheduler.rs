//! What became of sched_ext schedulers: verdict, check, and the files that their output makes.
//! Called by `verdict` and `cmd::vm`.

use super::folder::Folder;
use super::verdict::Verdict;
use super::watch::Observed;
use anyhow::Result;
use guest_init::proto::{EndedBy, ExitKind, OutputLine, SchedulerExit, SchedulerLife};
use std::fmt::Write as _;
use workloads::{Check, Outcome};

/// Every line, with its time.
pub(crate) const SCHEDULER_LOG: &str = "scheduler.log";
/// What sched_ext's user space prints of the kernel's state at an ejection.
pub(crate) const SCHEDULER_DUMP: &str = "scheduler-dump.txt";

/// The heading of a dump, and the least of the lines around it.
const DUMP: &str = "DEBUG DUMP";
const RULE: &str = "========================================";
/// Of the last lines, what advice can hold.
const LAST_LINES: usize = 3;
const LONGEST_WORDS: usize = 300;

/// The verdict on a run that a scheduler ended, with advice.
pub(super) fn scheduler_failed(seen: &Observed) -> Option<(Verdict, String)> {
    let life = seen.schedulers.iter().find(|life| life.exit.kind != ExitKind::Asked)?;
    let (exit, name) = (&life.exit, &life.name);
    let said = last_words(seen).map(|words| format!(", its last words: \"{words}\""));
    let said = said.unwrap_or_else(|| ", without a word".into());
    Some(match exit.kind {
        ExitKind::Asked | ExitKind::NotAttached => (
            Verdict::SchedulerNotAttached,
            format!("{name} did not attach: {}{said}. {}", not_attached(exit), reading(seen)),
        ),
        ExitKind::Ejected => {
            let reason = exit.reason.as_deref().unwrap_or("for no reason that it logged");
            let message = exit.message.as_ref().map(|message| format!(": {message}"));
            let message = message.unwrap_or_default();
            let again = match life.enable_seq {
                [before, after] if after > before + 1 => ", and it attached again by itself",
                _ => "",
            };
            let text = format!("the kernel disabled {name} ({reason}){message}{again}");
            (Verdict::SchedulerEjected, format!("{text}. {}", reading(seen)))
        }
        ExitKind::Died => {
            let text = format!("the process of {name} ended by itself, {}{said}", end_of(exit));
            (Verdict::SchedulerDied, format!("{text}. {}", reading(seen)))
        }
    })
}

fn not_attached(exit: &SchedulerExit) -> String {
    let by_kernel = exit.reason.iter().chain(&exit.message).cloned().collect::<Vec<_>>().join(": ");
    match (by_kernel.is_empty(), exit.by) {
        (false, EndedBy::Itself) if exit.code.is_none() => by_kernel,
        (false, _) => format!("{by_kernel}, {}", end_of(exit)),
        (true, EndedBy::Itself) => end_of(exit),
        (true, _) => "it was not enabled within 120 s of the guest's time".into(),
    }
}

fn end_of(exit: &SchedulerExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "how is not known".into(),
    }
}

/// Where there is more.
fn reading(seen: &Observed) -> &'static str {
    match dump(&lines(seen)).is_some() {
        true => "The kernel's state is in scheduler-dump.txt, its output in scheduler.log",
        false => "scheduler.log has all that it wrote, console.log what the kernel said",
    }
}

fn lines(seen: &Observed) -> Vec<&OutputLine> {
    seen.scheduler_output.iter().flat_map(|part| &part.lines).collect()
}

/// The last lines that it wrote, errors before others.
fn last_words(seen: &Observed) -> Option<String> {
    let all = lines(seen);
    let of = |stream: &str| {
        let lines = all.iter().filter(|line| line.stream == stream).map(|line| line.text.trim());
        let lines: Vec<&str> = lines.filter(|text| !text.is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
    };
    let words =
        Some(of("stderr")).filter(|words| !words.is_empty()).unwrap_or_else(|| of("stdout"));
    let words: String = words.chars().filter(|c| !c.is_control()).take(LONGEST_WORDS).collect();
    (!words.is_empty()).then_some(words)
}

/// Whether every scheduler left as it was asked to; `None` where none was attached.
pub(crate) fn judge_schedulers(seen: &Observed) -> Option<Check> {
    if seen.schedulers.is_empty() || seen.reports.is_empty() {
        return None;
    }
    let wrong: Vec<String> = seen.schedulers.iter().flat_map(complaints).collect();
    let count = u32::try_from(wrong.len()).unwrap_or(u32::MAX);
    Some(Check {
        name: "scheduler".into(),
        step: None,
        outcome: if wrong.is_empty() { Outcome::Pass } else { Outcome::Fail },
        measured: Some(count.into()),
        bound: Some(0.0),
        unit: "complaints".into(),
        workers: Vec::new(),
        detail: match wrong.is_empty() {
            true => "it ended by SIGINT with exit code 0, and the kernel went on without it".into(),
            false => wrong.join("; "),
        },
    })
}

fn complaints(life: &SchedulerLife) -> Vec<String> {
    let (exit, name) = (&life.exit, &life.name);
    let mut all = Vec::new();
    match exit.kind {
        ExitKind::Asked => {}
        ExitKind::NotAttached => return vec![format!("{name} did not attach")],
        ExitKind::Ejected => all.push(format!("{name} was ejected")),
        ExitKind::Died => all.push(format!("{name} ended by itself")),
    }
    match exit.by {
        EndedBy::Sigint | EndedBy::Itself => {}
        EndedBy::Sigterm => all.push(format!("{name} ignored SIGINT for 10 s")),
        EndedBy::Sigkill => all.push(format!("{name} ignored SIGINT and SIGTERM for 15 s")),
    }
    if exit.code != Some(0) && exit.by != EndedBy::Sigkill {
        all.push(format!("{name} ended with {}", end_of(exit)));
    }
    if !exit.fell_back {
        all.push(format!("5 s after {name} the kernel still had a scheduler"));
    }
    all
}

/// Writes what the schedulers wrote, where there were any; the name of the dump, if there is one.
pub(crate) fn write_scheduler_files(seen: &Observed, folder: &Folder) -> Result<Option<String>> {
    if seen.schedulers.is_empty() && seen.scheduler_output.is_empty() {
        return Ok(None);
    }
    let mut log = String::new();
    for part in &seen.scheduler_output {
        if part.left_out_bytes > 0 {
            let _ = writeln!(log, "[..] {} bytes are left out", part.left_out_bytes);
        }
        for line in &part.lines {
            let (seconds, rest_ns) = (line.at_ns / 1_000_000_000, line.at_ns % 1_000_000_000);
            let (rest_us, stream, text) = (rest_ns / 1000, &line.stream, &line.text);
            let _ = writeln!(log, "[{seconds:5}.{rest_us:06}] {stream}: {text}");
        }
    }
    folder.write(SCHEDULER_LOG, &log)?;
    let Some(dump) = dump(&lines(seen)) else { return Ok(None) };
    folder.write(SCHEDULER_DUMP, &dump)?;
    Ok(Some(SCHEDULER_DUMP.into()))
}

/// What is between the rules after the heading.
fn dump(lines: &[&OutputLine]) -> Option<String> {
    let heading = lines.iter().find(|line| line.text.contains(DUMP))?;
    let same_stream = |line: &&&OutputLine| line.stream == heading.stream;
    let texts = lines.iter().filter(same_stream).map(|line| line.text.as_str());
    let after = texts.skip_while(|text| !text.contains(DUMP)).skip(1);
    let body = after.skip_while(|text| text.is_empty() || text.starts_with(RULE));
    let body: Vec<&str> = body.take_while(|text| !text.starts_with(RULE)).collect();
    let text = body.join("\n");
    Some(text.trim().to_owned() + "\n").filter(|text| text.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_init::proto::SchedulerOutput;

    fn output(lines: &[&str]) -> Vec<SchedulerOutput> {
        let line = |text: &&str| OutputLine {
            at_ns: 3_402_118_400,
            stream: "stderr".into(),
            text: (*text).into(),
        };
        let lines = lines.iter().map(line).collect();
        vec![SchedulerOutput { lines, left_out_bytes: 7, total_bytes: 9 }]
    }

    fn life(exit: SchedulerExit) -> SchedulerLife {
        SchedulerLife { name: "toy".into(), enable_seq: [0, 1], exit, ..SchedulerLife::default() }
    }

    fn clean() -> SchedulerExit {
        SchedulerExit {
            code: Some(0),
            by: EndedBy::Sigint,
            fell_back: true,
            ..SchedulerExit::default()
        }
    }

    fn failed(exit: SchedulerExit, words: &[&str]) -> Option<(Verdict, String)> {
        let seen = Observed {
            schedulers: vec![life(exit)],
            scheduler_output: output(words),
            ..super::super::verdict::fixture()
        };
        scheduler_failed(&seen)
    }

    #[test]
    fn each_end_has_its_verdict_and_its_reason() {
        assert_eq!(failed(clean(), &["EXIT"]), None);
        let exit = |kind| SchedulerExit { kind, code: Some(3), fell_back: true, ..clean() };
        let (verdict, advice) = failed(exit(ExitKind::Died), &["", "Error: no"]).unwrap();
        assert_eq!(verdict, Verdict::SchedulerDied);
        assert!(advice.contains("exit code 3, its last words: \"Error: no\"."), "{advice}");
        let not = SchedulerExit { by: EndedBy::Itself, ..exit(ExitKind::NotAttached) };
        let (verdict, advice) = failed(not, &[]).unwrap();
        assert_eq!(verdict, Verdict::SchedulerNotAttached);
        assert!(advice.starts_with("toy did not attach: exit code 3, without a word."), "{advice}");
        let ejected = SchedulerExit {
            reason: Some("runtime error".into()),
            message: Some("non-existent DSQ 0x1".into()),
            ..exit(ExitKind::Ejected)
        };
        let (verdict, advice) = failed(ejected, &["DEBUG DUMP", "state"]).unwrap();
        assert_eq!(verdict, Verdict::SchedulerEjected);
        let reason = "the kernel disabled toy (runtime error): non-existent DSQ 0x1. ";
        assert!(advice.starts_with(reason) && advice.contains("scheduler-dump.txt"), "{advice}");
    }

    #[test]
    fn the_check_wants_a_clean_end() {
        let outcome = |exit: SchedulerExit| {
            let schedulers = vec![life(exit)];
            let seen = Observed { schedulers, ..super::super::verdict::fixture() };
            judge_schedulers(&seen).unwrap().outcome
        };
        assert_eq!(outcome(clean()), Outcome::Pass);
        assert_eq!(outcome(SchedulerExit { code: Some(1), ..clean() }), Outcome::Fail);
        assert_eq!(outcome(SchedulerExit { by: EndedBy::Sigterm, ..clean() }), Outcome::Fail);
        assert_eq!(outcome(SchedulerExit { fell_back: false, ..clean() }), Outcome::Fail);
    }

    #[test]
    fn a_dump_is_what_is_between_its_rules() {
        let rule = "=".repeat(80);
        let words = ["before", "DEBUG DUMP", &rule, "", "CPU 0", " task", "", &rule, "Error: EXIT"];
        let all = output(&words);
        let lines: Vec<_> = all[0].lines.iter().collect();
        assert_eq!(dump(&lines).unwrap(), "CPU 0\n task\n");
        assert_eq!(dump(&lines[..1]), None);
    }

    #[test]
    fn the_log_has_times_and_says_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let paths = crate::paths::Paths::below(dir.path());
        let folder = Folder::create(Some(&dir.path().join("run")), "x", &paths).unwrap();
        let seen =
            Observed { scheduler_output: output(&["one"]), ..super::super::verdict::fixture() };
        assert_eq!(write_scheduler_files(&seen, &folder).unwrap(), None);
        let text = std::fs::read_to_string(folder.path().join(SCHEDULER_LOG)).unwrap();
        assert_eq!(text, "[..] 7 bytes are left out\n[    3.402118] stderr: one\n");
    }
}
