//! What is read from outside of the workers: cgroups, times of steps. Made by `stage` and `steps`,
//! sent to the host, judged by `expect`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The run as its runner saw it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RunRecord {
    /// Release of the kernel, by which checks know what its scheduler does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_release: String,
    /// CLOCK_MONOTONIC from the start of the measurement to the stop.
    pub wall_time_ns: u64,
    /// How long a fair task may keep its CPU while others wait: a slice, read as the measurement
    /// began, and a tick. Checks that a few turns more or less decide are inconclusive. Absent from
    /// reports that are older than this.
    #[serde(skip_serializing_if = "is_zero")]
    pub turn_ns: u64,
    /// What each cgroup used in the measurement, by path. One that was removed is not here, but
    /// in the steps that it was there for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cgroups: BTreeMap<String, CgroupUse>,
    /// What each CPU did in the measurement, less those that were off line at a time, and those
    /// that charge tasks without a tick (`nohz_full=`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<CpuUse>,
    /// What of `cpus` could not be read, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpus_unavailable: BTreeMap<String, String>,
    /// Steps in order, as far as the run came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
    /// Its context switches, if it was asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleRecord>,
    /// Changes of the sched_ext scheduler by steps, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swaps: Vec<SwapRecord>,
    /// Settings that this kernel does not have, and so were not made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_applied: Vec<String>,
}

/// The context switches of all CPUs from the opening of the gate to the stop, warm-up included. Two
/// runs with the same hash took the same decisions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ScheduleRecord {
    /// How many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switches: Option<u64>,
    /// Those, at least, that the kernel could not record.
    pub lost: u64,
    /// FNV-1a, 64 bits in hex, over CPU, previous and next task of each switch in the order of
    /// their times, as three words of 32 bits, the lowest byte first. A worker's number is its
    /// index plus 1, an idle CPU's task is 0, and others count from 2^31 as they appear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_hash: Option<String>,
    /// The same with the nanoseconds since the beginning after each switch, as 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_hash: Option<String>,
    /// Why there are no hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StepRecord {
    /// As in the scenario, or its number.
    pub name: String,
    /// When its operations began, from the start of the measurement.
    pub began_ns: u64,
    /// How long they took, in a loop those of the first round.
    pub operations_ns: u64,
    /// From their end to its own; what is counted by step is counted in this time.
    pub held_ns: u64,
    /// How long the operations of later rounds of a loop took, all together. They are in
    /// `held_ns` too.
    #[serde(skip_serializing_if = "is_zero")]
    pub later_operations_ns: u64,
    /// How long the bench read counters just before and just after it was held. Its own process, above
    /// all workers, kept one CPU for that, which is in what is counted of the whole run.
    pub reading_ns: u64,
    /// How often the operations were done.
    pub rounds: usize,
    /// What each cgroup used while it was held, by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cgroups: BTreeMap<String, CgroupUse>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A sched_ext scheduler that was stopped, started or replaced by a step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SwapRecord {
    /// When it began, from the start of the measurement.
    pub at_ns: u64,
    /// The one that was stopped, by its name; none if none ran.
    pub from: Option<String>,
    /// The one that was started; none if none was.
    pub to: Option<String>,
    /// From the signal to the end of the one that was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_ns: Option<u64>,
    /// From the start of the other one to its being enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_ns: Option<u64>,
    /// `/sys/kernel/sched_ext/enable_seq` before and after.
    pub enable_seq: [u64; 2],
}

/// What a cgroup used between two readings of `cpu.stat`. The kernel brings a running task's
/// time up to date at ticks and switches, so that both ends are within a tick a CPU.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CgroupUse {
    /// CLOCK_MONOTONIC between the readings.
    pub wall_time_ns: u64,
    /// CPU time of all tasks in it and below, ended ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ns: Option<u64>,
    /// Periods of the quota in which it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periods: Option<u64>,
    /// Those in which it used its quota up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
    /// Time that its tasks were kept from running on each CPU, summed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
    /// `cpu.max` at the end, as the kernel prints it: quota and period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<String>,
    /// `cpu.weight` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// `cpuset.cpus.effective` at the end, as `0-3,8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_effective: Option<String>,
    /// What could not be read, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<String, String>,
}

/// What a CPU did between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CpuUse {
    /// Its number.
    pub cpu: usize,
    /// Time in which a task ran on it, whichever, within a tick of the kernel at both ends: what
    /// the kernel charged to tasks. Interrupts count where they interrupt a task, unless the
    /// kernel has CONFIG_IRQ_TIME_ACCOUNTING; where they interrupt an idle CPU they do not. Of
    /// `xtask host`: wall time in which it was not idle, within 10 ms, as `/proc/stat` counts.
    pub busy_ns: u64,
    /// Time that tasks were runnable on its run queue and did not run, summed; of those that have
    /// got to run since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_delay_ns: Option<u64>,
    /// How often a task began to run on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeslices: Option<u64>,
}
