//! What crosses the serial line about sched_ext schedulers. Written by `scheduler`, read by the
//! host, which shows it in the report.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A scheduler that the initramfs carries: an entry of `initramfs::SCHEDULERS`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// What `--scheduler` calls it; a file by its name.
    pub name: String,
    /// Its version, if that is known.
    pub version: Option<String>,
    /// Of its executable.
    pub sha256: String,
    /// Its executable in the guest.
    pub path: String,
    /// Arguments, without the program's name.
    pub args: Vec<String>,
    /// Whether it is that of `--scheduler`, which runs from the beginning.
    pub at_start: bool,
}

/// A scheduler from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SchedulerLife {
    /// What `--scheduler` or the step calls it.
    pub name: String,
    /// Its version, if that is known.
    pub version: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Of its executable.
    pub sha256: String,
    /// What it calls itself in the kernel, as `/sys/kernel/sched_ext/root/ops` has it.
    pub ops: Option<String>,
    /// From its start to its being enabled; none if it never was.
    pub attached_after_ns: Option<u64>,
    /// `/sys/kernel/sched_ext/enable_seq` before its start and after its end. More than one apart
    /// it restarted by itself.
    pub enable_seq: [u64; 2],
    /// Whether it took all tasks of the fair class.
    pub switch_all: Option<bool>,
    /// Tasks that it refused (`SCX_EV_..` apart), before its end.
    pub nr_rejected: Option<u64>,
    /// The kernel's event counters before its end; empty where this kernel has none or it ended
    /// unasked.
    pub events: BTreeMap<String, u64>,
    /// How it ended.
    pub exit: SchedulerExit,
}

/// How a scheduler ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SchedulerExit {
    /// In one word.
    pub kind: ExitKind,
    /// What the kernel gave as the reason, as `runnable task stall`.
    pub reason: Option<String>,
    /// What it said beside it.
    pub message: Option<String>,
    /// Exit code of the process.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// What made the process end.
    pub by: EndedBy,
    /// CLOCK_MONOTONIC when its end was seen or asked for.
    pub at_ns: u64,
    /// Whether the kernel was without a sched_ext scheduler then.
    pub fell_back: bool,
}

/// How a scheduler ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExitKind {
    /// The run was over, or a step stopped it.
    #[default]
    Asked,
    /// It ended, or its time was over, before it was enabled.
    NotAttached,
    /// The kernel disabled it, or it restarted itself.
    Ejected,
    /// Its process ended unasked.
    Died,
}

/// What made the process of a scheduler end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// Nobody else.
    #[default]
    Itself,
    /// SIGINT, as by Ctrl-C.
    Sigint,
    /// SIGTERM, 10 s later.
    Sigterm,
    /// SIGKILL, 5 s later.
    Sigkill,
}

/// A line that a scheduler wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputLine {
    /// CLOCK_MONOTONIC when PID 1 read its beginning.
    pub at_ns: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Without its line feed; a long one is several.
    pub text: String,
}

/// What schedulers wrote, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SchedulerOutput {
    /// In order of their times.
    pub lines: Vec<OutputLine>,
    /// Bytes that were not kept before these lines.
    pub left_out_bytes: u64,
    /// All that was written.
    pub total_bytes: u64,
}
