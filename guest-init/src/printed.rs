//! What the kernel's console must show by the end of a run: its log once more, as checksums. The
//! host cannot know otherwise that bytes of the console were lost on their way to its disk. Called
//! by `runner` when nothing is measured any more, and by `order` before the stop.

use crate::loglevel;
use crate::proto::{Printed, line_sum};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// CONSOLE_EXT_LOG_MAX: one record is never longer.
const LONGEST_RECORD: usize = 8192;
/// Of a record of several lines a console prints those that fit into its buffer of 1,024 bytes, with
/// a prefix each. What is behind this may be missing.
const SURELY_PRINTED: usize = 900;
const PREFIX: usize = 32;

/// A message without an end of line could go on, and until the next one neither we nor the console see it
/// (`prb_commit`). This one is of the lowest level, which consoles do not show.
const NEXT: &str = "<7>schedlab: read up to here\n";

/// The log as it is now.
pub(crate) fn read() -> Printed {
    // Refused, the log is only less whole.
    let _ = std::fs::write("/dev/kmsg", NEXT);
    let tainted = std::fs::read_to_string("/proc/sys/kernel/tainted");
    let tainted = tainted.ok().and_then(|flags| flags.trim().parse().ok());
    // `Y` unless it was configured or told not to.
    let time = std::fs::read_to_string("/sys/module/printk/parameters/time");
    let stamped = time.is_ok_and(|time| time.starts_with('Y'));
    let mut printed = Printed { stamped, tainted, ..Printed::default() };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match (open("/dev/kmsg", flags, Mode::empty()), loglevel::lowest()) {
        (Ok(log), Some(level)) => take_all(&log, level, &mut printed),
        (Err(errno), _) => printed.error = Some(format!("open(/dev/kmsg) failed: {errno}")),
        (_, None) => printed.error = Some("the level of the console is not known".into()),
    }
    printed
}

fn take_all(log: &OwnedFd, level: u32, printed: &mut Printed) {
    let mut record = [0; LONGEST_RECORD];
    let mut next = 0;
    loop {
        match rustix::io::read(log, &mut record) {
            Ok(length) => {
                let Some(record) = Record::parse(&record[..length]) else { continue };
                printed.overwritten += record.sequence.saturating_sub(next);
                next = record.sequence + 1;
                if record.level < level {
                    let stamp_us = printed.stamped.then_some(record.stamp_us);
                    let lines = record.lines().map(|line| line_sum(stamp_us, &line));
                    printed.lines.extend(lines.collect::<Vec<_>>());
                }
            }
            // Records that were overwritten meanwhile are skipped by the next read.
            Err(Errno::INTR | Errno::PIPE) => {}
            Err(_) => return,
        }
    }
}

/// One of /dev/kmsg: `PRIORITY,SEQUENCE,MICROSECONDS,FLAG;TEXT`, then lines of no concern here.
struct Record {
    level: u32,
    sequence: u64,
    stamp_us: u64,
    text: Vec<u8>,
}

impl Record {
    fn parse(record: &[u8]) -> Option<Self> {
        let semicolon = record.iter().position(|byte| *byte == b';')?;
        let mut head = std::str::from_utf8(&record[..semicolon]).ok()?.split(',');
        let priority: u32 = head.next()?.parse().ok()?;
        let text = record[semicolon + 1..].split(|byte| *byte == b'\n').next()?;
        Some(Self {
            // The facility is above it.
            level: priority & 7,
            sequence: head.next()?.parse().ok()?,
            stamp_us: head.next()?.parse().ok()?,
            text: unescaped(text),
        })
    }

    /// As the console prints them, without the stamp.
    fn lines(&self) -> impl Iterator<Item = String> {
        let mut printed = 0;
        self.text.split(|byte| *byte == b'\n').enumerate().map_while(move |(index, line)| {
            printed += line.len() + PREFIX;
            let is_sure = index == 0 || printed <= SURELY_PRINTED;
            is_sure.then(|| String::from_utf8_lossy(line).into_owned())
        })
    }
}

/// The kernel writes `\x0a` for what is not printable.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|hex| hex.get(..2));
        let escaped = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[4..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_lines_that_a_console_prints() {
        let record = br"28,339,5140900,-;one \x5c two\x0a three\x0a";
        let record = Record::parse(&[record, &b"\n SUBSYSTEM=x\n"[..]].concat()).unwrap();
        assert_eq!((record.level, record.sequence, record.stamp_us), (4, 339, 5_140_900));
        let lines: Vec<_> = record.lines().collect();
        assert_eq!(lines, [r"one \ two", " three", ""]);
    }

    #[test]
    fn a_caller_in_the_head_is_no_part_of_the_text() {
        let record = Record::parse(b"6,0,12,-,caller=T1;a,b;c\n").unwrap();
        assert_eq!(record.lines().collect::<Vec<_>>(), ["a,b;c"]);
        assert!(Record::parse(b"no record").is_none());
    }

    #[test]
    fn lines_that_may_not_fit_into_the_console_are_not_asked_for() {
        let text = vec!["x".repeat(200); 9].join("\n").into_bytes();
        let record = Record { level: 4, sequence: 0, stamp_us: 0, text };
        assert_eq!(record.lines().count(), 3);
        let record = Record { level: 4, sequence: 0, stamp_us: 0, text: vec![b'x'; 992] };
        assert_eq!(record.lines().count(), 1);
    }
}
