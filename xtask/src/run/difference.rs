//! Where two runs that should be the same first differ: the frame, the console line, the field of
//! the report, and when that was in the guest. Called by `cmd::repeat`, `cmd::hunt` and `bundle`.

use super::folder::ended_by_itself;
use crate::files::Kind;
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// What is compared, in the order in which it is shown: frames tell the time best.
const FILES: [&str; 3] = ["frames.log", "console.log", "report.json"];
/// Characters of a value that are shown.
const SHOWN: usize = 160;
const ABSENT: &str = "nothing";

/// The first difference of two files of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    file: &'static str,
    /// `frame 17`, `line 210` or `workers[3].iterations`.
    place: String,
    /// The guest's time, where the file has any.
    time: Option<String>,
    one: String,
    other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, time, one, other } = self;
        let time = time.as_ref().map(|time| format!(" at {time} of the guest")).unwrap_or_default();
        write!(f, "{file}, {place}{time}:\n    {one}\n    {other}")
    }
}

/// How a broken promise is told: two runs that `what` names were not the same.
pub(crate) fn broken_promise(what: &str, found: &[Difference]) -> String {
    let found: String = found.iter().map(|difference| format!("  {difference}\n")).collect();
    format!("PROMISE BROKEN: {what}\n{found}  this is a bug of schedlab's; please report it")
}

/// What became of comparing two runs.
#[derive(Debug)]
pub(crate) enum Compared {
    Same,
    Differ(Vec<Difference>),
    /// The host ended one of them, at an instant of its own. That says nothing of the promise.
    Not,
}

/// Compares the runs in these folders byte for byte, if their guests themselves ended them.
pub(crate) fn compare_runs(one: &Path, other: &Path) -> Result<Compared> {
    if ![one, other].into_iter().all(ended_by_itself) {
        return Ok(Compared::Not);
    }
    let found = differences(one, other)?;
    Ok(if found.is_empty() { Compared::Same } else { Compared::Differ(found) })
}

/// The first difference in each file that differs.
fn differences(one: &Path, other: &Path) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for file in FILES {
        let read = |folder: &Path| {
            let kind = match file {
                "frames.log" => Kind::FRAMES,
                "console.log" => Kind::CONSOLE,
                _ => Kind::REPORT,
            };
            kind.read(&folder.join(file))
        };
        let (one, other) = (read(one)?, read(other)?);
        if one != other {
            let [one, other] = [one, other].map(|b| String::from_utf8_lossy(&b).into_owned());
            found.push(of_file(file, &one, &other));
        }
    }
    Ok(found)
}

fn of_file(file: &'static str, one: &str, other: &str) -> Difference {
    match file {
        "report.json" => in_json(one, other),
        "frames.log" => in_lines(file, one, other, "frame", 0, frame_time),
        _ => in_lines(file, one, other, "line", 1, printk_time),
    }
}

/// The first line that differs. It has the time of its own, or else of the last one before that
/// has one.
fn in_lines(
    file: &'static str,
    one: &str,
    other: &str,
    word: &str,
    first: usize,
    time_of: fn(&str) -> Option<String>,
) -> Difference {
    let (lines, others) = (one.lines(), other.lines());
    let same = lines.clone().zip(others.clone()).take_while(|(a, b)| a == b).count();
    let show = |line: Option<&str>| line.map_or_else(|| ABSENT.into(), shown);
    let until: Vec<_> = lines.clone().take(same + 1).collect();
    Difference {
        file,
        place: format!("{word} {}", same + first),
        time: until.iter().rev().find_map(|line| time_of(line)),
        one: show(lines.clone().nth(same)),
        other: show(others.clone().nth(same)),
    }
}

/// `[    1.234567]` at the beginning of a console line.
pub(crate) fn printk_time(line: &str) -> Option<String> {
    let stamp = line.strip_prefix('[')?.split_once(']')?.0.trim();
    stamp.parse::<f64>().ok().map(|_| format!("{stamp} s"))
}

/// The time that a frame's message says.
fn frame_time(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
    let ns = message.get("at_ns")?.as_u64()?;
    Some(format!("{}.{:09} s", ns / 1_000_000_000, ns % 1_000_000_000))
}

fn in_json(one: &str, other: &str) -> Difference {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let (one, other) = (parse(one), parse(other));
    let (place, one, other) =
        first_value(&one, &other).unwrap_or_else(|| ("its layout".into(), None, None));
    let show =
        |value: Option<&Value>| value.map_or_else(|| ABSENT.into(), |v| shown(&v.to_string()));
    Difference { file: "report.json", place, time: None, one: show(one), other: show(other) }
}

/// The path of a value in a document, and what each of two documents has there.
pub(crate) type Place<'a> = (String, Option<&'a Value>, Option<&'a Value>);

/// The first value that differs, in the order of the names.
pub(crate) fn first_value<'a>(one: &'a Value, other: &'a Value) -> Option<Place<'a>> {
    first_below(String::new(), Some(one), Some(other))
}

fn first_below<'a>(
    path: String,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
) -> Option<Place<'a>> {
    match (one, other) {
        (one, other) if one == other => None,
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let dot = if path.is_empty() { "" } else { "." };
            let below = |name| first_below(format!("{path}{dot}{name}"), a.get(name), b.get(name));
            names.into_iter().find_map(below)
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let below = |at| first_below(format!("{path}[{at}]"), a.get(at), b.get(at));
            (0..a.len().max(b.len())).find_map(below)
        }
        _ => Some((path, one, other)),
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(frames: &str, console: &str, report: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in FILES.iter().zip([frames, console, report]) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn texts(one: &tempfile::TempDir, other: &tempfile::TempDir) -> Vec<String> {
        let found = differences(one.path(), other.path()).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_bytes_are_no_difference() {
        let run = || folder("#SL1 0 2 0 {}\n", "[ 0.1] a\n", r#"{"schema":1}"#);
        assert!(texts(&run(), &run()).is_empty());
    }

    #[test]
    fn only_runs_that_the_guest_ended_are_compared() {
        let run = |console: &str, ended: &str| {
            let run = folder("", console, "{}");
            let host = json!({"started": "", "command": [], "qemu": "", "accel": "", "accel_reason": "",
                "kernel_image": "", "initramfs": "", "initramfs_sha256": "", "host_release": "",
                "host_cpus": 1, "load_average": ""});
            let host =
                host.to_string().replacen('{', &format!("{{\"ended_by_itself\":{ended},"), 1);
            std::fs::write(run.path().join("host.json"), host).unwrap();
            run
        };
        let compared = |one: &tempfile::TempDir, other: &tempfile::TempDir| {
            compare_runs(one.path(), other.path()).unwrap()
        };
        let (whole, other, cut) = (run("a", "true"), run("b", "true"), run("b", "false"));
        assert!(matches!(compared(&whole, &whole), Compared::Same));
        assert!(matches!(compared(&whole, &other), Compared::Differ(_)));
        for (one, other) in [(&whole, &cut), (&cut, &whole)] {
            assert!(matches!(compared(one, other), Compared::Not));
        }
        let (bare, unknown) = (folder("", "", "{}"), run("a", "null"));
        assert!(matches!(compared(&bare, &bare), Compared::Not), "nothing says who ended it");
        assert!(matches!(compared(&unknown, &whole), Compared::Not));
    }

    #[test]
    fn frames_and_lines_are_numbered_and_timed() {
        let beat = |at| format!("#SL1 0 9 0 {{\"at_ns\":7}}\n#SL1 1 9 0 {{\"at_ns\":{at}}}\n");
        let log = |word| format!("[    1.250000] first\nno stamp, {word}\n");
        let one = folder(&beat(1_000_000_001), &log("one"), "{}");
        let other = folder(&beat(2_000_000_000), &log("two"), "{}");
        let found = texts(&one, &other);
        assert!(found[0].starts_with("frames.log, frame 1 at 1.000000001 s of the guest:\n"));
        assert!(found[1].starts_with("console.log, line 2 at 1.250000 s of the guest:\n"));
        assert!(found[1].contains("no stamp, one\n    no stamp, two"), "{}", found[1]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_field_is_named_by_its_path_and_a_missing_one_is_seen() {
        let report = |text| folder("", "", text);
        let one = report(r#"{"workers":[{"iterations":5},{"iterations":6}]}"#);
        let found = texts(&one, &report(r#"{"workers":[{"iterations":5},{"iterations":7}]}"#));
        assert_eq!(found, ["report.json, workers[1].iterations:\n    6\n    7"]);
        let found = texts(&one, &report(r#"{"workers":[{"iterations":5}]}"#));
        assert!(found[0].starts_with("report.json, workers[1]:"), "{found:?}");
        let layout = texts(&report("{}"), &report("{ }"));
        assert!(layout[0].contains("its layout"), "{layout:?}");
    }

    #[test]
    fn a_file_that_ends_early_differs_where_it_ends() {
        let found = texts(&folder("", "[ 1.0] a\n", "{}"), &folder("", "[ 1.0] a\nb\n", "{}"));
        assert_eq!(found, ["console.log, line 2 at 1.0 s of the guest:\n    nothing\n    b"]);
    }
}
