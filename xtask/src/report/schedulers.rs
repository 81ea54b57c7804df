//! A sched_ext scheduler in the report: as data, and as people read it. Called by `report` and
//! `table`.

use crate::units::{float, show_ns};
use anyhow::Result;
use guest_init::proto::SchedulerLife;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write;
use workloads::SwapRecord;

/// The sched_ext scheduler of the run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SchedulerReport {
    /// The first one that was started.
    #[serde(flatten)]
    pub(crate) life: SchedulerLife,
    /// Those that steps started after it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) later: Vec<SchedulerLife>,
    /// What all of them wrote to stdout and stderr together; `scheduler.log` has at most 512 KiB.
    pub(crate) output_bytes: u64,
    /// The file with the kernel's state at an ejection, if a scheduler printed it.
    pub(crate) dump: Option<String>,
}

impl SchedulerReport {
    /// What was started first, in words.
    pub(crate) fn words(&self) -> String {
        words(&self.life)
    }
}

/// A line a scheduler, those of its events that happened, and a line a swap.
pub(super) fn print_scheduler(
    report: Option<&SchedulerReport>,
    swaps: &[SwapRecord],
    out: &mut impl Write,
) -> Result<()> {
    let Some(report) = report else { return Ok(()) };
    for life in [&report.life].into_iter().chain(&report.later) {
        writeln!(out, "  scheduler: {}", line(life))?;
        let events = life.events.iter().filter(|(_, count)| **count > 0);
        let events: Vec<_> = events.map(|(name, count)| format!("{name} {count}")).collect();
        if !events.is_empty() {
            writeln!(out, "  scheduler events: {}", events.join(", "))?;
        }
    }
    for swap in swaps {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
        let attached = swap.attach_ns.map(|ns| format!(", attached in {}", show_ns(float(ns))));
        writeln!(
            out,
            "  at {}: scheduler {} to {}{}",
            show_ns(float(swap.at_ns)),
            name(&swap.from),
            name(&swap.to),
            attached.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Name, version and arguments.
fn words(life: &SchedulerLife) -> String {
    let words = [Some(&life.name), life.version.as_ref()].into_iter().flatten().chain(&life.args);
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn line(life: &SchedulerLife) -> String {
    let words = words(life);
    let Some(after_ns) = life.attached_after_ns else { return format!("{words}, not attached") };
    let ops = life.ops.as_deref().unwrap_or("?");
    let tasks = match life.switch_all {
        Some(true) => ", all fair tasks",
        Some(false) => ", SCHED_EXT tasks alone",
        None => "",
    };
    format!("{words} as {ops}{tasks}, attached in {}", show_ns(float(after_ns)))
}
