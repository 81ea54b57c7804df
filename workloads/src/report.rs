//! What a worker reports: made by `Worker` in the worker, carried over the serial line, judged
//! by `expect`, printed by the host.

use crate::counters::Sighting;
use crate::histogram::LatencySummary;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a latency sample means. One meaning for every work type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(transform = crate::schema::as_names)
)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// From the waker's time stamp, taken just before its wake call, to the wakee running; from the
    /// wakee's last look at the clock before it waited, if that is later.
    Wake,
    /// How late a timed sleep returned.
    Timer,
    /// From the call of sched_yield(2) to running again.
    Yield,
    /// Time to acquire a lock.
    Lock,
    /// One I/O operation.
    Io,
}

impl Latency {
    pub(crate) const COUNT: usize = 5;
    pub(crate) const ALL: [Self; Self::COUNT] =
        [Self::Wake, Self::Timer, Self::Yield, Self::Lock, Self::Io];

    /// As scenarios and reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Timer => "timer",
            Self::Yield => "yield",
            Self::Lock => "lock",
            Self::Io => "io",
        }
    }
}

/// How a worker ended that did not report by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExitInfo {
    /// Exited with this status before it had reported.
    Exited(i32),
    /// Killed by this signal.
    Signaled(i32),
    /// Did not leave in time after the stop and was killed.
    TimedOut,
    /// Panicked with this message.
    Panicked(String),
    /// Its end could not be learned, for this reason.
    WaitFailed(String),
}

/// A setting that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotApplied {
    /// The field of the configuration, as `affinity`; also `timer_slack`.
    pub setting: String,
    /// The value asked for.
    pub wanted: String,
    /// The kernel's answer.
    pub error: String,
}

impl NotApplied {
    pub(crate) fn new(setting: &str, wanted: &dyn std::fmt::Debug, error: Errno) -> Self {
        Self { setting: setting.into(), wanted: format!("{wanted:?}"), error: error.to_string() }
    }
}

/// A setting that the kernel took and that is another at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotHeld {
    /// `sched_policy`, `nice`, `slice_ns` or `mem_policy`.
    pub setting: String,
    /// What the scenario asked for, the loop chose for itself, or the worker began with.
    pub asked: String,
    /// What the kernel holds at the end.
    pub held: String,
}

/// A worker's account of one step: the time in which it was held, its operations left out.
/// Counters are read from outside at both ends, so that they hold for one that did not run at
/// all; latencies, gaps and CPUs are those that the worker saw.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StepReport {
    /// Index of the step.
    pub step: usize,
    /// CLOCK_MONOTONIC between the readings.
    pub wall_time_ns: u64,
    /// Loops completed.
    pub iterations: u64,
    /// Steps of work done.
    pub work_units: u64,
    /// CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ns: Option<u64>,
    /// Time spent runnable on a run queue. Of a wait that spans an end of the step, what lies in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_delay_ns: Option<u64>,
    /// Times it was put on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeslices: Option<u64>,
    /// Switches because it blocked or yielded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// Switches because another task was preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Moves between CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations: Option<u64>,
    /// CPUs that it found itself on.
    pub cpus_used: BTreeSet<usize>,
    /// Longest wall time between two checkpoints, split where the step begins and ends; absent
    /// for one that reached no checkpoint in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap_ns: Option<u64>,
    /// Samples by meaning; one that spans a beginning belongs to the step in which it ended.
    pub latency: BTreeMap<Latency, LatencySummary>,
    /// The worker's clocks as it saw the beginning and the end, on their way to who splits waits
    /// there.
    #[serde(skip_serializing_if = "nobody_looked")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    #[doc(hidden)]
    pub sightings: [Option<Sighting>; 2],
}

fn nobody_looked(sightings: &[Option<Sighting>; 2]) -> bool {
    *sightings == [None, None]
}

/// One worker's account. Counters cover the measured part of the run, after the warm-up. A
/// counter that could not be read is absent, and `unavailable` says why.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WorkerReport {
    /// Thread id of the worker.
    pub tid: i32,
    /// Process (thread group) of the worker: its own, or the one that hosts its threads.
    pub pid: i32,
    /// Index among all workers of the run.
    pub index: usize,
    /// 0 for the primary set, i + 1 for `composed[i]`.
    pub group_idx: usize,
    /// What the worker is within its group.
    pub role: String,
    /// `task->comm` at the end of the run.
    pub comm: Option<String>,
    /// cgroup v2 path at the end of the run.
    pub cgroup: Option<String>,
    /// Name of the work type.
    pub work_type: String,
    /// Steps of work done; what a step is depends on the type.
    pub work_units: u64,
    /// Loops completed.
    pub iterations: u64,
    /// Whether partners decide how many loops there are, in a run by iterations too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub served: bool,
    /// Whether the worker ended its loop by itself and reported.
    pub completed: bool,
    /// CLOCK_MONOTONIC over the measured part.
    pub wall_time_ns: u64,
    /// CLOCK_THREAD_CPUTIME_ID over the measured part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ns: Option<u64>,
    /// Wall time less CPU time: blocked or waiting for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_cpu_ns: Option<u64>,
    /// Time spent runnable on a run queue: `sched_info.run_delay`, from schedstat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_delay_ns: Option<u64>,
    /// Times the worker was put on a CPU: `sched_info.pcount`, from schedstat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeslices: Option<u64>,
    /// Switches because the worker blocked or yielded: `nvcsw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// Switches because another task was preferred: `nivcsw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Moves between CPUs, counted by the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations: Option<u64>,
    /// Where `switches` and `migrations` were counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counted_by: BTreeMap<String, String>,
    /// CPUs that the worker found itself on, looked at once an iteration.
    pub cpus_used: BTreeSet<usize>,
    /// Longest wall time between two checkpoints, deliberate blocking left out up to its deadline or
    /// to the wake-up call that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap_ns: Option<u64>,
    /// CPU time that the worker itself used within that gap, to about 1 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap_cpu_ns: Option<u64>,
    /// When that gap ended, from the start of the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap_at_ns: Option<u64>,
    /// The CPU that the worker was on when it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap_on_cpu: Option<usize>,
    /// CPU time that it used in the measured part before its first iteration, as for its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_cpu_ns: Option<u64>,
    /// Page faults served without I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_faults: Option<u64>,
    /// Page faults that needed I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
    /// Samples by meaning; a meaning without samples is absent.
    pub latency: BTreeMap<Latency, LatencySummary>,
    /// Policy at the end of the run as the kernel reports it, `SCHED_FIFO 50`;
    /// runtime, deadline and period follow SCHED_DEADLINE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sched_policy: Option<String>,
    /// Pages by NUMA node at the end of the run: those of the type's own region where it has one,
    /// else the anonymous ones of the worker's process, some of them shared with its parent since
    /// fork. On machines with several nodes only. Nodes are text because serde finds no numbers in
    /// the keys of a tagged enum, which frames are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numa_pages: BTreeMap<String, u64>,
    /// Nice level at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Slice of a task of the fair class at the end of the run; kernels before 6.12 do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_ns: Option<u64>,
    /// Memory policy at the end of the run, as `Bind 0-1`, of a worker that was to have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_policy: Option<String>,
    /// CPUs that the worker may use at the end of the run, as the kernel writes lists: `0-2,5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_allowed: Option<String>,
    /// CPUs that it was to run on at the end of the run, as far as its cgroup has them; absent for a
    /// worker that might run on all of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_asked: Option<String>,
    /// How often the kernel had forgotten these and they were set again: after the worker came into
    /// another cgroup, or the CPUs of its cgroup changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub affinity_set_again: u64,
    /// The CPU with which the last of these went off line. The kernel then lets the worker run
    /// anywhere in its cgroup, also when that CPU is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unplugged_cpu: Option<usize>,
    /// Where the I/O types wrote: a device or a temporary file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_target: Option<String>,
    /// The registers that `AluHot` used: `vec256`, or `vec256 instead of vec512` where the CPU
    /// lacks what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alu_width: Option<String>,
    /// Operations of the loop that failed, as `fork: EAGAIN`, with how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, u64>,
    /// What of this belongs to each step of the scenario that the worker was there for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepReport>,
    /// What only this work type counts, as `signals_sent`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tallies: BTreeMap<String, u64>,
    /// Settings that the kernel refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_applied: Vec<NotApplied>,
    /// Settings that are others at the end than they were to be; CPUs are told apart from these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_held: Vec<NotHeld>,
    /// Counters and settings that could not be read, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<String, String>,
    /// Whether the loop was over before the run was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_early: bool,
    /// Why the loop could not go on, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Set for a worker that died without a report; its counters are what it last published.
    pub exit_info: Option<ExitInfo>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "for serde")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
