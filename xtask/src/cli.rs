//! The command line: every command and option with its help. Read by `main`.

mod bundle;
mod matrix;
#[cfg(test)]
mod tests;
mod tools;

pub(crate) use bundle::{BundleCommand, BundleRunArgs};
pub(crate) use matrix::{MatrixArgs, MatrixCommand, MatrixMergeArgs, ViewArgs};
pub(crate) use tools::{
    BenchCommand, CacheCommand, KernelCommand, KernelTypesArgs, SchedulerCommand,
};

use crate::cmd::compare::Repeat;
use crate::compare::Gate;
use crate::files::{Output, folder_parser};
use crate::hunt::{Seeds, Shard};
use crate::image::Programs;
use crate::qemu::{AccelChoice, MachineArgs};
use crate::run::ConfigVia;
use crate::units::parse_disk;
use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A bench for Linux schedulers: boots a kernel under QEMU, runs a workload, judges the report.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The shift of a deterministic run: 250 million instructions a second. At 1 `wake.json` takes more
/// than 2.5 times the default mode's time on the host, at 2 less than twice.
const ICOUNT_SHIFT: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes: 0 pass; 1 an expectation failed; 2 bad input; 3 this host lacks something;
4 the guest failed (panic, hang, boot failure, lost report), or a run did not repeat;
5 inconclusive; 130 interrupted.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot a kernel and run a workload on it.
    Vm(Box<VmArgs>),
    /// Run a scenario deterministically over many seeds; keep, group and shrink what fails.
    Hunt(Box<HuntArgs>),
    /// Run kernels, schedulers and scenarios, each with each, as a file says.
    Matrix(Box<MatrixArgs>),
    /// Run a workload on this machine, without a VM.
    Host(HostArgs),
    /// Validate scenarios and print what they come to on a machine; boots nothing.
    Check(Box<CheckArgs>),
    /// Print a finished run again.
    Report(ReportArgs),
    /// Two runs, or two sets of runs, side by side: what differs, and whether it is more than noise.
    Compare(CompareArgs),
    /// One file that replays a run, for somebody else: make one, look into one, replay one.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Kernels: fetch one from its suite again.
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// sched_ext schedulers: build one, show which there are.
    #[command(subcommand)]
    Scheduler(SchedulerCommand),
    /// Show what there is to choose from: work types, kernels, machines, scenarios.
    List(ListArgs),
    /// Snapshots of deterministic guests in the cache: show them, check them, remove some.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Make what is in docs/ anew from the code: the page on work types, the JSON Schemas.
    Docs(DocsArgs),
    /// Every check that CI makes, in order.
    Ci(CiArgs),
    /// Measurements that the documentation quotes; not part of the tests.
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct VmArgs {
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// How guest code runs; auto tries KVM and remembers for a day whether it works here.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub(crate) accel: AccelChoice,
    /// Forget what is remembered of KVM here, and try it again.
    #[arg(long)]
    pub(crate) retry_kvm: bool,
    /// Virtual time, nothing from the host after the boot: the same inputs give the same bytes of
    /// report.json and console.log. Several times slower; needs TCG.
    #[arg(long)]
    pub(crate) deterministic: bool,
    /// An instruction of a deterministic guest takes 2^N ns of its time.
    #[arg(long, value_name = "N", default_value_t = ICOUNT_SHIFT, requires = "deterministic", value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) icount_shift: u8,
    /// Hash the sequence of context switches; the report then has `record.schedule`.
    #[arg(long)]
    pub(crate) schedule_hash: bool,
    /// Run N times and compare: deterministic runs must be the same bytes, which exits with 4 if
    /// they are not; of others there is a summary. Each has a folder below --out.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "json", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// Boot a deterministic guest anew, though there may be a snapshot of it at its stop. The bytes
    /// are the same.
    #[arg(long, requires = "deterministic")]
    pub(crate) cold: bool,
    /// Whether the caller compares runs by itself.
    #[arg(skip)]
    pub(crate) unchecked: bool,
    /// How the scenario gets into the guest.
    #[arg(long, value_enum, default_value_t = ConfigVia::Auto)]
    pub(crate) config_via: ConfigVia,
    /// The workload's /dev/vda: the size of a scratch disk, an image (written to!), or none. The
    /// scratch disk of a deterministic guest is in its memory.
    #[arg(long, value_name = "SIZE|PATH|none", default_value = "64M", value_parser = parse_disk)]
    pub(crate) disk: crate::run::Disk,
    /// Time from QEMU's start to PID 1 [default: 30s with KVM, 2m with TCG].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) boot_timeout: Option<Duration>,
    /// Time from PID 1 to the last report [default: a multiple of the scenario's duration].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Run folder; must be new or empty [default: one under target/schedlab/runs].
    #[arg(long, value_name = "DIR", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    /// Show the kernel's console on stderr while it runs.
    #[arg(long)]
    pub(crate) console: bool,
    /// Print the report as JSON and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// What `bench` has the guest run.
    #[arg(skip)]
    pub(crate) programs: Programs,
}

impl VmArgs {
    /// What `xtask vm` with these words would be told.
    pub(crate) fn of<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Result<Self> {
        let name = ["xtask", "vm"].map(OsStr::new);
        match Cli::try_parse_from(name.into_iter().chain(words))?.command {
            Command::Vm(args) => Ok(*args),
            _ => bail!("`vm` parsed as another command"),
        }
    }
}

#[cfg(test)]
impl MatrixArgs {
    /// What `xtask matrix` with these words would be told.
    pub(crate) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        match Cli::try_parse_from(["xtask", "matrix"].into_iter().chain(words))?.command {
            Command::Matrix(args) => Ok(*args),
            _ => bail!("`matrix` parsed as another command"),
        }
    }
}

/// What a guest is booted with, whoever boots it.
#[derive(Debug, Clone, Args)]
pub(crate) struct GuestArgs {
    /// Kernel: a bzImage, vmlinux, build tree or .deb, debian:SUITE[/FLAVOUR], host, or a name
    /// from kernel-configs/kernels.toml.
    #[arg(long, value_name = "SPEC")]
    pub(crate) kernel: Option<String>,
    /// Scenario or bare WorkloadConfig [default: scenarios/wake.json].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// QEMU's CPU model [default: host with KVM, max with TCG; on AMD hosts KVM's has topoext].
    #[arg(long, value_name = "NAME")]
    pub(crate) cpu_model: Option<String>,
    /// One more kernel argument; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_arg: Vec<String>,
    /// PID 1 to use instead of guest-init: a static program that links the guest-init library, or
    /// the folder of a Cargo package to build one from.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub(crate) init: Option<PathBuf>,
    /// Let console lines that match this pass; recorded in the report; may be repeated.
    #[arg(long, value_name = "REGEX")]
    pub(crate) allow_splat: Vec<Regex>,
    /// Silence of PID 1 after which the guest counts as hung, and standstill of QEMU after which the
    /// run is given up [default: 5s with KVM, 15s with TCG; if deterministic 5s of the guest's
    /// time, beside what it announces, and a standstill of 1m].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) hang_after: Option<Duration>,
    /// sched_ext scheduler that runs from before the workload to after it: an executable, or a name
    /// from images/schedulers.toml.
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) scheduler: Option<String>,
    /// The scheduler's arguments.
    #[arg(last = true, value_name = "ARGS", requires = "scheduler")]
    pub(crate) scheduler_args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HuntArgs {
    /// Seeds, both ends included; several ranges with commas.
    #[arg(long, value_name = "FIRST..LAST", default_value = "1..200")]
    pub(crate) seeds: Seeds,
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// How long to measure, instead of what the scenario says.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Work type, as for `vm`.
    #[arg(long, value_name = "NAME")]
    pub(crate) work_type: Option<String>,
    /// Each worker begins after a time below this that the seed chooses [default: what the
    /// scenario says, else 5ms, at most a tenth of the duration].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) stagger: Option<Duration>,
    /// Guests side by side [default: as many as this host has CPUs].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Only the part I of N of the seeds.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// A sound kernel: a failure is made smaller only as far as the scenario passes there, and not
    /// at all if it fails there too.
    #[arg(long, value_name = "SPEC")]
    pub(crate) passes_on: Option<String>,
    /// Smaller scenarios to run for each kind of failure, at most.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) tries: usize,
    /// Folder of the hunt; one that was ended goes on there [default: one of its inputs' own
    /// under target/schedlab/hunts].
    #[arg(long, value_name = "DIR", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    /// An instruction takes 2^N ns of the guest's time.
    #[arg(long, value_name = "N", default_value_t = ICOUNT_SHIFT, value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) icount_shift: u8,
    /// The size of the disk in the guest's memory, or none.
    #[arg(long, value_name = "SIZE|none", default_value = "64M", value_parser = parse_disk)]
    pub(crate) disk: crate::run::Disk,
}

/// What of a scenario can be changed from the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct Overrides {
    /// How long to measure, instead of what the scenario says.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Seed of every random choice, instead of what the scenario says.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Work type for sets of the workload that are SpinWait, and for all of swappable cgroups.
    #[arg(long, value_name = "NAME")]
    pub(crate) work_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Scenario or bare WorkloadConfig [default: scenarios/wake.json].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Print the workers' reports as JSON and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print the scenarios with every default filled in, and their plans, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run folder.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A run folder, a folder of `vm --repeat`, or a baseline.
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// The same, compared with A.
    #[arg(value_name = "B", required_unless_present = "save")]
    pub(crate) b: Option<PathBuf>,
    /// Boot both again in turn, A B B A, as their run folders say, and compare those;
    /// deterministic ones with a new seed each time. N runs a side, or with auto as many as the
    /// number of metrics takes, at most twice as many, less if it is decided before.
    #[arg(long, value_name = "N|auto", requires = "b")]
    pub(crate) repeat: Option<Repeat>,
    /// Folder for the runs of --repeat [default: a new one under target/schedlab/runs].
    #[arg(long, value_name = "DIR", requires = "repeat", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 1 if this metric, or any, is worse by more, and with 5 if the runs do not show
    /// that it is not, as 5%, wake_p99=10% or "wake_p99 of PipeIo=10%"; may be repeated. For shares
    /// and indices it is points of a hundred. A metric that is neither better nor worse, as
    /// migrations=20%, is bounded either way.
    #[arg(long, value_name = "[METRIC[ of SET]=]PERCENT%", requires = "b", value_parser = Gate::worse)]
    pub(crate) threshold: Vec<Gate>,
    /// The same for a change either way; 0% asks whether anything changed at all.
    #[arg(long, value_name = "[METRIC[ of SET]=]PERCENT%", requires = "b", value_parser = Gate::either_way)]
    pub(crate) max_change: Vec<Gate>,
    /// Judge differences between runs under KVM and under TCG, or in different modes, too.
    #[arg(long, requires = "b")]
    pub(crate) across_accelerators: bool,
    /// Keep the values of A in this file, a baseline that can be checked in.
    #[arg(long, value_name = "FILE", value_parser = Output::parser())]
    pub(crate) save: Option<Output>,
    /// Print the comparison as JSON and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only these [default: all].
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: Option<Listed>,
    /// Print everything that is known of them as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `list` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    WorkTypes,
    Kernels,
    Machines,
    Scenarios,
}

#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Write nothing; fail if a file is not what would be written.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CiArgs {
    /// Leave out the tests that boot guests.
    #[arg(long)]
    pub(crate) no_vm: bool,
}
