//! Reads the kernel's console for what must not be overlooked: panics, complaints, and what
//! explains numbers. Called by `watch` while the guest runs.

use super::backtrace::Backtraces;
use super::complaint::{Complaint, Kind};
use crate::progress::Progress;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Lines kept for the message of a failed run.
const RECENT: usize = 15;
/// More splats than this say nothing new.
const MAX_SPLATS: usize = 50;

/// What ends a kernel.
const PANIC: &str = "Kernel panic - not syncing";

/// Names of those that a clock makes.
const OF_TIME: &[&str] =
    &["lockup", "rcu-stall", "rcu-starvation", "hung-task", "deadline-lag", "resched-latency"];

/// Whether a complaint of this name says no more than that something took too long by the clock.
pub(super) fn is_of_time(name: &str) -> bool {
    OF_TIME.contains(&name)
}

/// A complaint of the kernel that is not a panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Splat {
    /// `warning`, `bug`, `lockup` and so on; docs/complaints.md lists them.
    pub(crate) name: String,
    /// Line in `console.log`, from 1.
    pub(crate) line: usize,
    /// The line without its time stamp.
    pub(crate) text: String,
    /// The pattern of the allowlist that lets it pass, if one does.
    pub(crate) allowed_by: Option<String>,
}

/// Lines that the kernel wrote about one thing that is no fault.
#[derive(Debug)]
struct Remark {
    complaint: &'static Complaint,
    /// The first one in `console.log`, from 1.
    line: usize,
    text: String,
    count: usize,
}

/// The console so far.
#[derive(Debug)]
pub(crate) struct Console {
    allow: Vec<Regex>,
    /// Whether lines are shown as they come.
    echo: bool,
    partial: Vec<u8>,
    lines: usize,
    /// The last time stamp that is not zero.
    pub(super) stamp: Option<f64>,
    pub(crate) recent: VecDeque<String>,
    pub(crate) panic: Option<String>,
    pub(crate) splats: Vec<Splat>,
    remarks: Vec<Remark>,
    /// Of the panic.
    pub(super) backtraces: Backtraces,
}

impl Console {
    pub(crate) fn new(allow: Vec<Regex>, echo: bool) -> Self {
        Self {
            allow,
            echo,
            partial: Vec::new(),
            lines: 0,
            stamp: None,
            recent: VecDeque::new(),
            panic: None,
            splats: Vec::new(),
            remarks: Vec::new(),
            backtraces: Backtraces::default(),
        }
    }

    /// Splats that nobody said may pass.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = &Splat> {
        self.splats.iter().filter(|splat| splat.allowed_by.is_none())
    }

    /// Whether each of them says no more than that something took too long by the clock.
    pub(crate) fn has_only_lockups(&self) -> bool {
        self.unexpected().all(|splat| is_of_time(&splat.name))
    }

    /// The names of all complaints that it has, allowed ones too.
    pub(super) fn complaints(&self) -> Vec<&str> {
        self.splats.iter().map(|splat| splat.name.as_str()).collect()
    }

    /// How the console says that lines of it are missing, if some are.
    pub(super) fn loss(&self) -> Option<&str> {
        let lost = self.remarks.iter().find(|remark| remark.complaint.kind == Kind::Loss);
        lost.map(|remark| remark.text.as_str())
    }

    /// What the kernel remarked, for the report.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        self.remarks.iter().map(|remark| {
            let Remark { complaint, line, text, count } = remark;
            let more = match count - 1 {
                0 => String::new(),
                1 => " (and 1 more line of this kind)".to_owned(),
                more => format!(" (and {more} more lines of this kind)"),
            };
            format!("console.log:{line}: {text}{more}: {}", complaint.meaning)
        })
    }

    pub(super) fn push(&mut self, bytes: &[u8], progress: &Progress) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.partial);
                let line = String::from_utf8_lossy(&line);
                if self.echo {
                    progress.line(line.trim_end());
                }
                self.line(line.trim_end());
            } else {
                self.partial.push(byte);
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.lines += 1;
        self.recent.push_back(line.to_owned());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.stamp = stamp(line).filter(|seconds| *seconds > 0.0).or(self.stamp);
        let message = message(line);
        if self.panic.is_none() && message.contains(PANIC) {
            self.panic = Some(message.to_owned());
        }
        // After a panic everything is part of it.
        if self.panic.is_some() {
            self.backtraces.line(message);
        } else if let Some(complaint) = Complaint::of(message) {
            self.take(complaint, message);
        }
    }

    fn take(&mut self, complaint: &'static Complaint, message: &str) {
        if complaint.kind == Kind::Splat {
            let splat = self.splat(complaint, message);
            self.splats.extend((self.splats.len() < MAX_SPLATS).then_some(splat));
            return;
        }
        let same = |remark: &&mut Remark| std::ptr::eq(remark.complaint, complaint);
        match self.remarks.iter_mut().find(same) {
            Some(remark) => remark.count += 1,
            None => self.remarks.push(Remark {
                complaint,
                line: self.lines,
                text: message.to_owned(),
                count: 1,
            }),
        }
    }

    fn splat(&self, complaint: &Complaint, message: &str) -> Splat {
        let allowed_by = self.allow.iter().find(|regex| regex.is_match(message));
        Splat {
            name: complaint.name.to_owned(),
            line: self.lines,
            text: message.to_owned(),
            allowed_by: allowed_by.map(|regex| regex.as_str().to_owned()),
        }
    }
}

/// A console line without its time stamp.
fn message(line: &str) -> &str {
    let stamped = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    stamped.map_or(line, |(_, message)| message)
}

/// The seconds of its time stamp.
fn stamp(line: &str) -> Option<f64> {
    line.strip_prefix('[')?.split_once(']')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests;
