//! What crosses the serial line, in one place with one version. Written by the guest, read by
//! the host; [`crate::frame`] carries it.

mod order;
mod printed;
mod scheduler;

pub use order::{ORDER_BLOCK, ORDER_FILE, Order};
pub use printed::{Printed, line_sum};
pub use scheduler::{
    Carried, EndedBy, ExitKind, OutputLine, SchedulerExit, SchedulerLife, SchedulerOutput,
};

use serde::{Deserialize, Serialize};
use workloads::{RunRecord, Scenario, WorkerReport};

/// Raised whenever a message changes its meaning; both ends must agree.
pub const VERSION: u32 = 2;

/// Kernel arguments by which the host talks to guest-init.
pub mod args {
    /// The scenario, base64 without padding.
    pub const SCENARIO: &str = "schedlab.scenario=";
    /// How PID 1 comes to its scenario, where that is not on a disk or in the image: the value below.
    pub const CONFIG: &str = "schedlab.config=";
    /// From QEMU, once it has stopped the machine.
    pub const CONFIG_FW_CFG: &str = "fw_cfg";
    /// What is attached as the workload's disk: one of the values below.
    pub const DISK: &str = "schedlab.disk=";
    /// A raw disk that the workload may overwrite.
    pub const DISK_RAW: &str = "raw";
    /// An image of the user's, mounted if it carries a file system.
    pub const DISK_IMAGE: &str = "image";
    /// No disk of the host's: a device in the guest's memory, of so many MiB as follow.
    pub const DISK_MEMORY: &str = "memory:";
    /// What is to be recorded of context switches: the value below.
    pub const SCHEDULE: &str = "schedlab.schedule=";
    /// Two hashes over all of them.
    pub const SCHEDULE_HASH: &str = "hash";
    /// After how many milliseconds of silence PID 1 says that it lives, while the workload is
    /// measured: 0 is never.
    pub const BEAT: &str = "schedlab.beat=";
}

/// Serial numbers by which guest-init tells its disks apart.
pub mod serial {
    /// The workload's disk.
    pub const DISK: &str = "schedlab-disk";
    /// The disk that holds the scenario as text, padded with zeros.
    pub const SCENARIO: &str = "schedlab-config";
}

/// Paths inside the initramfs.
pub mod initramfs {
    /// The scenario, if it comes with the image.
    pub const SCENARIO: &str = "/scenario.json";
    /// Kernel modules, loaded in the order of their names.
    pub const MODULES: &str = "/modules";
    /// The sched_ext schedulers that it carries, as a list of [`super::Carried`].
    pub const SCHEDULERS: &str = "/schedulers.json";
    /// A folder for each of them.
    pub const SCHEDULER_FILES: &str = "/schedulers";
}

/// Programs of `cargo xtask bench`, which `examples/programs` runs in the guest.
pub mod programs {
    /// The folder of what the image carries for them.
    pub const FOLDER: &str = "/programs";
    /// A list of commands, each a list of words, run in this order.
    pub const LIST: &str = "/programs/commands.json";
    /// A word of a command that stands for the guest's disk.
    pub const DISK: &str = "{disk}";
    /// How a line on the console begins that one of them printed; its index and the line follow.
    pub const MARK: &str = "schedlab.program=";
}

/// One message. The stream is hello, waiting where the machine stops, plan, any number of the middle ones, the record, a report
/// per worker, each scheduler with what they wrote, what the kernel logged, end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// PID 1 runs.
    Hello(Hello),
    /// The machine stops at the next thing that PID 1 does, and goes on with an order.
    Waiting {},
    /// The workload is about to start.
    Plan(Box<Plan>),
    /// The run has come this far.
    Stage {
        /// CLOCK_MONOTONIC of the guest.
        at_ns: u64,
        /// What begins.
        text: String,
        /// From now on nothing need come for so long, in the guest's time.
        #[serde(default)]
        quiet_ns: u64,
    },
    /// Something is not as one would expect, and the run goes on.
    Note {
        /// CLOCK_MONOTONIC of the guest.
        at_ns: u64,
        /// One sentence.
        text: String,
    },
    /// PID 1 is alive. As short as can be: sending it takes a CPU from the workload.
    Heartbeat {},
    /// The workload runs.
    Progress {
        /// Since the measurement began.
        elapsed_ns: u64,
        /// Iterations of all workers together.
        iterations: u64,
        /// Workers that have ended.
        ended: usize,
    },
    /// What was read from outside of the workers.
    Record(Box<RunRecord>),
    /// One worker's report.
    Worker(Box<WorkerReport>),
    /// A sched_ext scheduler that was started.
    Scheduler(Box<SchedulerLife>),
    /// What the schedulers wrote.
    SchedulerOutput(SchedulerOutput),
    /// What the kernel has logged.
    Printed(Printed),
    /// Nothing follows.
    End(End),
}

/// The guest as PID 1 finds it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the guest.
    pub protocol: u32,
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// NUMA nodes that are online.
    pub nodes: usize,
    /// SMT siblings in the core of CPU 0, itself included.
    pub threads_per_core: Option<usize>,
    /// Dies of all sockets together.
    pub dies: Option<usize>,
    /// CPUs that share a core, as `0-1` and `2-3`, in the order of their first CPU. Empty, as the
    /// next two, where the kernel does not say.
    #[serde(default)]
    pub cores: Vec<String>,
    /// CPUs that share a last-level cache.
    #[serde(default)]
    pub llcs: Vec<String>,
    /// CPUs that share a socket.
    #[serde(default)]
    pub sockets: Vec<String>,
    /// The NUMA nodes; none where the kernel has no NUMA.
    #[serde(default)]
    pub numa: Vec<NodeFacts>,
    /// Memory that the kernel manages.
    pub memory_kib: u64,
    /// What this kernel's scheduler offers, `sched_ext` or `preempt:lazy`.
    pub features: Vec<String>,
    /// Who runs this guest, as its CPU says: `KVMKVMKVM` or `TCGTCGTCGTCG`.
    #[serde(default)]
    pub hypervisor: Option<String>,
    /// CLOCK_MONOTONIC when PID 1 began.
    pub started_ns: u64,
    /// Whether PID 1 can stop the machine before it knows its scenario, or why it cannot; none if it was not
    /// asked to, or is of an older schedlab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Result<(), String>>,
}

/// A NUMA node as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeFacts {
    /// Its number.
    pub node: usize,
    /// Its CPUs, as `0-1`; none in a memory-only node.
    pub cpus: String,
    /// Memory by the firmware, where there are several nodes.
    pub memory_kib: Option<u64>,
    /// To each node that is online, itself included.
    pub distances: Vec<u8>,
}

/// What the guest is about to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Reports that will follow.
    pub workers: usize,
    /// The scenario with every default filled in.
    pub scenario: Scenario,
    /// `fw_cfg`, `cmdline`, `disk`, `initramfs` or `file system`.
    pub source: String,
    /// Where the I/O types work: `/dev/vda` or a folder.
    pub io: String,
    /// Modules that were loaded.
    pub modules: Vec<String>,
}

/// How the guest ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct End {
    /// Reports that were sent.
    pub reports: usize,
    /// Why the guest could not do what was asked, if it could not.
    pub error: Option<String>,
    /// The clock behind CLOCK_MONOTONIC when the run ended.
    #[serde(default)]
    pub clocksource: Option<String>,
    /// Block counters of the workload's disk over the run, if it has one.
    pub disk: Option<DiskUse>,
}

/// Difference of two readings of /sys/block/DISK/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskUse {
    /// Read requests completed.
    pub reads: u64,
    /// Write requests completed.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flush requests completed.
    pub flushes: u64,
}
