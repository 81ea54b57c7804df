//! Reads the kernel's console for what must not be overlooked: panics and splats. Called by
//! `watch` while the guest runs.

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

/// Splats: the name for the report, and text that begins the message on the console, wherever
/// in the line: the console is shared.
const SPLATS: &[(&str, &str)] = &[
    ("lockup", "watchdog: BUG: soft lockup"),
    ("lockup", "BUG: workqueue lockup"),
    ("lockup", "Watchdog detected hard LOCKUP"),
    ("kasan", "BUG: KASAN:"),
    ("bug", "BUG: "),
    ("bug", "kernel BUG at "),
    ("oops", "Oops: "),
    ("oops", "general protection fault"),
    ("rcu-stall", "rcu: INFO: rcu_"),
    ("hung-task", "INFO: task "),
    ("ubsan", "UBSAN: "),
    ("warning", "WARNING: "),
];

/// Names of those that a clock makes.
const OF_TIME: &[&str] = &["lockup", "rcu-stall", "hung-task"];

/// A complaint of the kernel that is not a panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Splat {
    /// `warning`, `bug`, `lockup` and so on.
    pub(crate) name: String,
    /// Line in `console.log`, from 1.
    pub(crate) line: usize,
    /// The line without its time stamp.
    pub(crate) text: String,
    /// The pattern of the allowlist that lets it pass, if one does.
    pub(crate) allowed_by: Option<String>,
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
        }
    }

    /// Splats that nobody said may pass.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = &Splat> {
        self.splats.iter().filter(|splat| splat.allowed_by.is_none())
    }

    /// Whether each of them says no more than that something took too long by the clock.
    pub(crate) fn has_only_lockups(&self) -> bool {
        self.unexpected().all(|splat| OF_TIME.contains(&splat.name.as_str()))
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
        if self.panic.is_none() && self.splats.len() < MAX_SPLATS {
            self.splats.extend(self.splat(message));
        }
    }

    fn splat(&self, message: &str) -> Option<Splat> {
        let begins =
            |text: &str| message.starts_with(text) || message.contains(&format!("] {text}"));
        let (name, _) = SPLATS.iter().find(|(_, text)| begins(text))?;
        let allowed_by = self.allow.iter().find(|regex| regex.is_match(message));
        Some(Splat {
            name: (*name).to_owned(),
            line: self.lines,
            text: message.to_owned(),
            allowed_by: allowed_by.map(|regex| regex.as_str().to_owned()),
        })
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
mod tests {
    use super::*;

    fn read(text: &str, allow: &[&str]) -> Console {
        let allow = allow.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        let mut console = Console::new(allow, false);
        console.push(text.as_bytes(), &Progress::silent());
        console
    }

    fn names(text: &str) -> Vec<String> {
        read(text, &[]).splats.into_iter().map(|splat| splat.name).collect()
    }

    #[test]
    fn splats_of_old_and_new_kernels_are_seen() {
        assert_eq!(
            names("[    1.2] WARNING: CPU: 1 PID: 7 at kernel/sched/core.c:99 f+0x1/0x2\n"),
            ["warning"]
        );
        assert_eq!(
            names("[    1.2] WARNING: kernel/sched/core.c:99 at f+0x1/0x2, CPU#1: a/7\n"),
            ["warning"]
        );
        assert_eq!(
            names("[    1.2] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n"),
            ["lockup"]
        );
        assert_eq!(
            names("[    1.2] rcu: INFO: rcu_preempt self-detected stall on CPU\n"),
            ["rcu-stall"]
        );
        assert_eq!(names("[    1.2] BUG: KASAN: use-after-free in f\n"), ["kasan"]);
        assert_eq!(names("[    1.2] Oops: int3: 0000 [#1] PREEMPT SMP\n"), ["oops"]);
        assert_eq!(names("init said [    1.2] BUG: unable to handle page fault\n"), ["bug"]);
    }

    #[test]
    fn ordinary_lines_are_not_splats() {
        assert!(names("[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled\n").is_empty());
        assert!(names("[    0.1] DEBUG: nothing\n[    0.1] INFO: lockdep is off\n").is_empty());
    }

    #[test]
    fn a_panic_is_kept_and_what_follows_belongs_to_it() {
        let console = read("[ 1.0] Kernel panic - not syncing: sysrq\n[ 1.1] WARNING: x\n", &[]);
        assert_eq!(console.panic.as_deref(), Some("Kernel panic - not syncing: sysrq"));
        assert!(console.splats.is_empty());
    }

    #[test]
    fn an_allowed_splat_says_by_what() {
        let console = read("[ 1.0] WARNING: known thing\n", &["known"]);
        assert_eq!(console.splats[0].allowed_by.as_deref(), Some("known"));
        assert_eq!(console.splats[0].line, 1);
    }
}
