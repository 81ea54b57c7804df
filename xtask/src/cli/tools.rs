//! The options of `xtask kernel`, `scheduler` and `bench`. Called by `cli`.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Ask the suite for its newest kernel again and keep it.
    Fetch {
        /// debian:SUITE[/FLAVOUR] or a name from kernel-configs/kernels.toml.
        #[arg(value_name = "SPEC")]
        spec: Option<String>,
    },
    /// Build a kernel from sources and the fragments in kernel-configs; goes on where it stopped.
    Build {
        /// A `[[build]]` of kernel-configs/kernels.toml.
        #[arg(value_name = "NAME")]
        name: String,
        /// Other sources: the root of a kernel tree, or debian:SUITE.
        #[arg(long, value_name = "TREE|debian:SUITE")]
        source: Option<String>,
    },
    /// Show kernels by name and those in the cache: release, size, what their schedulers offer.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove kernels from the cache that no spec stands for any more.
    Prune {
        /// All of them; what is needed is fetched again.
        #[arg(long)]
        all: bool,
    },
    /// Show what our guest, scenarios and work types need of a kernel, and what it has of that;
    /// exit code 2 if no guest of ours can boot on it.
    Check {
        /// As for `vm --kernel`.
        #[arg(value_name = "SPEC")]
        spec: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run every work type on each of some kernels and print which did their work, as the page
    /// docs/kernels.md; exit code 1 if one did not.
    Types(KernelTypesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KernelTypesArgs {
    /// As for `vm --kernel`; several give a table [default: the default kernel].
    #[arg(value_name = "SPEC")]
    pub(crate) specs: Vec<String>,
    /// How long each work type runs.
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = humantime::parse_duration)]
    pub(crate) hold: Duration,
    /// As for `vm`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) hang_after: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    /// Build one into the cache; goes on where it stopped.
    Build {
        /// A name of images/schedulers.toml.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show them: version, oldest kernel, whether it is built.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show them: kernel, QEMU, size, how often each was used.
    List,
    /// Read all of them anew. What is damaged is removed, and exits with 1.
    Verify,
    /// Remove those that were not used for longest. Runs that want them make them again.
    Prune {
        /// How many MiB of them stay.
        #[arg(long, value_name = "MIB", default_value_t = 0)]
        keep_mib: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Boot the default kernel many times in the default mode and count lost guests.
    Boots {
        /// How many boots.
        #[arg(long, default_value_t = 100)]
        count: u32,
    },
    /// What `vm` adds to QEMU booting the same kernel and image, measured in turn.
    Overhead {
        /// Boots of each kind.
        #[arg(long, default_value_t = 10)]
        count: u32,
    },
    /// How long two kernels take to PID 1, booted in turn.
    Kernels {
        /// As for `vm --kernel`.
        #[arg(value_name = "SPEC", default_value = "base")]
        kernel: String,
        /// What it is compared with.
        #[arg(value_name = "SPEC", default_value = "trixie-backports")]
        against: String,
        /// Boots of each.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// What our bookkeeping costs: instructions of every work type that blocks or wakes beside a bare
    /// loop in C, counted in one deterministic guest. Exact, whatever else this machine does.
    Hops {
        /// Kernel, as for `vm` [default: the first of kernel-configs/kernels.toml].
        #[arg(long, value_name = "SPEC")]
        kernel: Option<String>,
    },
    /// What we measure beside other programs: minimum, percentiles and maximum of `timer` and `wake`
    /// next to loops in C and Debian's cyclictest, in one deterministic guest with two CPUs.
    Latency {
        /// Kernel, as for `vm` [default: the first of kernel-configs/kernels.toml].
        #[arg(long, value_name = "SPEC")]
        kernel: Option<String>,
        /// schbench too: the program, which Debian does not have.
        #[arg(long, value_name = "PATH")]
        schbench: Option<PathBuf>,
    },
    /// Deterministic runs from snapshots beside those of an older schedlab that boots each, in turn, with
    /// the ratios that must hold.
    Warm {
        /// That schedlab's `target/debug/xtask`, in its checkout.
        #[arg(long, value_name = "PROGRAM")]
        other: PathBuf,
        /// Rounds of each comparison.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// The workload library on this machine against bare loops, in turn, with the bounds it must keep.
    WorkTypes {
        /// Rounds of each comparison, about 2 s each.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
}
