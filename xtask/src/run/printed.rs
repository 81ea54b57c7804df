//! Whether the console is whole: every line of the kernel's log that a console prints is looked up
//! in `console.log` by its checksum. QEMU drops what it cannot write and says nothing. Called by
//! `watch` at the end, asked by `verdict`.

use guest_init::proto::{Printed, line_sum};
use std::collections::HashMap;

/// What the guest says that its kernel printed, against what is on the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Lines that must be there.
    lines: usize,
    /// Those that are not.
    missing: usize,
    /// Records of which nobody knows any more whether they are there.
    overwritten: u64,
    tainted: Option<u64>,
    error: Option<String>,
}

/// Flags that the kernel sets when it finds itself at fault: bit, letter, what happened, and the
/// complaints that explain it; by any but those of time where none is named.
const FAULTS: [(u32, char, &str, Option<&str>); 5] = [
    (4, 'M', "the CPU has reported an error", None),
    (5, 'B', "a page was in a bad state", None),
    (7, 'D', "it has had an oops", None),
    (9, 'W', "it has warned", None),
    (14, 'L', "a CPU has scheduled nobody for a long time", Some("lockup")),
];

impl Comparison {
    pub(super) fn of(console: &[u8], printed: Printed) -> Self {
        Self {
            lines: printed.lines.len(),
            missing: missing(&String::from_utf8_lossy(console), &printed),
            overwritten: printed.overwritten,
            tainted: printed.tainted,
            error: printed.error,
        }
    }

    /// /proc/sys/kernel/tainted at the end of the run.
    pub(crate) fn tainted(&self) -> Option<u64> {
        self.tainted
    }

    /// Says that the console has holes, if it has.
    pub(super) fn hole(&self) -> Option<String> {
        let Self { lines, missing, .. } = self;
        (*missing > 0).then(|| {
            format!(
                "console.log lacks {missing} of {lines} lines that the kernel printed: was the disk \
                 full, or the size of files limited? Make room and run it again"
            )
        })
    }

    /// Why a console without a complaint does not show that there was none, where `complaints` are
    /// the names of those that it has.
    pub(super) fn doubt(
        &self,
        complaints: &[&str],
        is_of_time: fn(&str) -> bool,
    ) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(format!("whether console.log is whole is not known: {error}"));
        }
        let tainted = self.tainted?;
        let is_shown = |by: Option<&str>| match by {
            Some(by) => complaints.contains(&by),
            None => complaints.iter().any(|name| !is_of_time(name)),
        };
        let hidden = FAULTS.iter().find(|(bit, .., by)| tainted >> bit & 1 == 1 && !is_shown(*by));
        let (_, letter, what, _) = hidden?;
        Some(format!(
            "the kernel is tainted ({letter}: {what}), and console.log has no complaint of that kind"
        ))
    }

    /// What nobody can check any more.
    pub(crate) fn note(&self) -> Option<String> {
        (self.overwritten > 0).then(|| {
            format!(
                "the kernel's log had lost its first {} records by the end: whether console.log has \
                 them was not checked; --kernel-arg log_buf_len=4M keeps more",
                self.overwritten
            )
        })
    }
}

/// How many lines of the log are not on the console.
fn missing(console: &str, printed: &Printed) -> usize {
    let mut found: HashMap<u32, usize> = HashMap::new();
    for line in console.lines() {
        for sum in sums(line, printed.stamped) {
            *found.entry(sum).or_default() += 1;
        }
    }
    let mut left: HashMap<u32, usize> = HashMap::new();
    for sum in &printed.lines {
        match found.get_mut(sum).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => *left.entry(*sum).or_default() += 1,
        }
    }
    if !printed.stamped && !left.is_empty() {
        find_behind_others(console, &mut left);
    }
    left.values().sum()
}

/// Of every message that may begin in `line`: with stamps wherever one is, else at its begin.
fn sums(line: &str, stamped: bool) -> Vec<u32> {
    if !stamped {
        return vec![line_sum(None, line)];
    }
    let stamps = line.match_indices('[').filter_map(|(at, _)| {
        let (stamp, text) = line[at + 1..].split_once(']')?;
        let (seconds, fraction) = stamp.trim_start().split_once('.')?;
        let (seconds, fraction): (u64, u64) = (seconds.parse().ok()?, fraction.parse().ok()?);
        // Between the two is the caller, where the kernel was built to print it.
        let text = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((caller, text)) if is_caller(caller) => text,
            _ => text,
        };
        let text = text.strip_prefix(' ').unwrap_or(text);
        Some(line_sum(Some(seconds * 1_000_000 + fraction), text))
    });
    stamps.collect()
}

/// `T1` or `C0`, to the right of spaces.
fn is_caller(text: &str) -> bool {
    let number = text.trim_start().strip_prefix(['T', 'C']);
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Takes out of `left` what begins in the middle of a line: a program's half line comes before it.
fn find_behind_others(console: &str, left: &mut HashMap<u32, usize>) {
    for line in console.lines() {
        for (at, _) in line.char_indices().skip(1) {
            let sum = line_sum(None, &line[at..]);
            if let Some(count) = left.get_mut(&sum).filter(|count| **count > 0) {
                *count -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    0.000000] Linux\r\n[    0.100000] \r\n[    1.000001] same\r\n\
        a program's [    1.000001] same\r\n[   12.345678][   T1] by a caller  \r\n";

    fn printed(lines: &[(u64, &str)]) -> Printed {
        let lines = lines.iter().map(|(stamp, text)| line_sum(Some(*stamp), text)).collect();
        Printed { lines, stamped: true, tainted: Some(0), ..Printed::default() }
    }

    fn whole() -> Printed {
        printed(&[
            (0, "Linux"),
            (100_000, ""),
            (1_000_001, "same"),
            (1_000_001, "same"),
            (12_345_678, "by a caller"),
        ])
    }

    fn lacking(console: &str, printed: Printed) -> usize {
        Comparison::of(console.as_bytes(), printed).missing
    }

    #[test]
    fn a_whole_console_has_every_line() {
        let comparison = Comparison::of(CONSOLE.as_bytes(), whole());
        assert_eq!(comparison.missing, 0);
        assert_eq!((comparison.hole(), comparison.note()), (None, None));
    }

    #[test]
    fn a_line_that_is_cut_garbled_or_gone_is_missed_wherever_it_was() {
        let lines: Vec<&str> = CONSOLE.split_inclusive('\n').collect();
        for gone in 0..lines.len() {
            let mut left = lines.clone();
            left.remove(gone);
            assert_eq!(lacking(&left.concat(), whole()), 1, "{gone}");
        }
        for end in 1..CONSOLE.len() - 6 {
            assert!(lacking(&CONSOLE[..end], whole()) > 0, "{end}");
        }
        // The end of one line and the begin of the next.
        assert_eq!(lacking(&CONSOLE.replacen("ux\r\n[    0.1", "", 1), whole()), 2);
        let text = Comparison::of(b"", whole()).hole().unwrap();
        assert!(text.starts_with("console.log lacks 5 of 5 lines"), "{text}");
    }

    #[test]
    fn without_stamps_a_line_is_known_by_its_text() {
        let lines = ["one", "two", "two"].iter().map(|text| line_sum(None, text)).collect();
        let printed = Printed { lines, ..Printed::default() };
        assert_eq!(lacking("one\r\ntwo\r\nhalf of a line: two\r\n", printed.clone()), 0);
        assert_eq!(lacking("one\r\ntwo\r\n", printed.clone()), 1);
        assert_eq!(lacking("", printed), 3);
    }

    #[test]
    fn a_taint_that_no_complaint_explains_is_a_doubt() {
        let doubt = |tainted: u64, complaints: &[&str]| {
            let printed = Printed { tainted: Some(tainted), ..whole() };
            let comparison = Comparison::of(CONSOLE.as_bytes(), printed);
            comparison.doubt(complaints, |name| name == "lockup")
        };
        assert_eq!(doubt(0, &[]), None);
        // Proprietary, forced, unsigned, out of the tree: no faults.
        assert_eq!(doubt(1 | 2 | 1 << 12 | 1 << 13, &[]), None);
        for bit in [4, 5, 7, 9, 14] {
            assert!(doubt(1 << bit, &[]).is_some(), "{bit}");
        }
        let text = doubt(1 << 9, &["lockup"]).unwrap();
        assert!(text.contains("(W: it has warned)"), "{text}");
        assert_eq!(doubt(1 << 9, &["warning"]), None);
        assert_eq!(doubt(1 << 14, &["lockup"]), None);
        assert!(doubt(1 << 14, &["warning"]).is_some());
    }

    #[test]
    fn what_could_not_be_read_or_was_overwritten_is_said() {
        let unread = Printed { error: Some("no".into()), ..Printed::default() };
        let comparison = Comparison::of(CONSOLE.as_bytes(), unread);
        assert!(comparison.doubt(&["warning"], |_| false).unwrap().contains("not known: no"));
        let printed = Printed { overwritten: 3, ..whole() };
        let comparison = Comparison::of(CONSOLE.as_bytes(), printed);
        assert!(comparison.note().unwrap().contains("lost its first 3 records"));
    }
}
