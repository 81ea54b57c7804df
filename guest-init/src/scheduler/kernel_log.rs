//! What the kernel logs about sched_ext: the only place that says why a scheduler was disabled.
//! Called by `keeper`.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::Errno;

/// CONSOLE_EXT_LOG_MAX: one record is never longer.
const LONGEST_RECORD: usize = 8192;
const PREFIX: &str = "sched_ext: ";

/// The log from now on.
#[derive(Debug)]
pub(super) struct KernelLog(OwnedFd);

impl KernelLog {
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let log = open("/dev/kmsg", flags, Mode::empty())?;
        seek(&log, SeekFrom::End(0))?;
        Ok(Self(log))
    }

    /// What was said about sched_ext since the last call, a sentence each.
    pub(super) fn take(&self) -> Vec<String> {
        let mut said = Vec::new();
        let mut record = [0; LONGEST_RECORD];
        loop {
            match rustix::io::read(&self.0, &mut record) {
                Ok(length) => said.extend(sentence(&String::from_utf8_lossy(&record[..length]))),
                // Records that were overwritten are skipped by the next read.
                Err(Errno::INTR | Errno::PIPE) => {}
                Err(_) => return said,
            }
        }
    }
}

impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The text of a record `6,339,5140900,-;sched_ext: ..`, if it is about sched_ext.
fn sentence(record: &str) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    let (_, said) = text.lines().next()?.split_once(PREFIX)?;
    Some(said.to_owned())
}

/// Why the kernel disabled a scheduler, and what it said beside it, by these sentences. One that
/// restarted itself was disabled more than once; the first time is what it is about.
pub(super) fn reason(said: &[String]) -> (Option<String>, Option<String>) {
    const DISABLED: &str = "\" disabled (";
    let Some(at) = said.iter().position(|line| line.contains(DISABLED)) else {
        return (None, None);
    };
    let reason = said[at].split_once(DISABLED).map(|(_, rest)| rest.trim_end_matches(')'));
    let name = said[at].split('"').nth(1).unwrap_or_default();
    let message =
        said[at + 1..].iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    (reason.map(str::to_owned), message.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Vec<String> {
        lines.iter().filter_map(|line| sentence(line)).collect()
    }

    #[test]
    fn the_reason_and_the_message_come_from_two_records() {
        let log = said(&[
            "6,1,2,-;sched_ext: BPF scheduler \"toy\" enabled\n SUBSYSTEM=x\n",
            "3,2,3,-;sched_ext: BPF scheduler \"toy\" disabled (runnable task stall)\n",
            "3,3,3,-;other: sched\n",
            "3,4,3,-;sched_ext: toy: worker[57] failed to run for 5.2s\n",
        ]);
        assert_eq!(log.len(), 3);
        let (reason, message) = reason(&log);
        assert_eq!(reason.as_deref(), Some("runnable task stall"));
        assert_eq!(message.as_deref(), Some("worker[57] failed to run for 5.2s"));
    }

    #[test]
    fn what_still_runs_has_no_reason() {
        let log = said(&["6,1,2,-;sched_ext: BPF scheduler \"toy\" enabled\n"]);
        assert_eq!(reason(&log), (None, None));
    }
}
