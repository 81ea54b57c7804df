//! The options of `xtask bundle`. Called by `cli`.

use crate::files::{Output, folder_parser};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Pack a finished run. The same run is always the same bytes.
    Pack {
        /// A run folder.
        #[arg(value_name = "RUN")]
        run: PathBuf,
        /// The bundle to write, as bug.tar.zst.
        #[arg(short, long, value_name = "FILE", value_parser = Output::parser())]
        output: Output,
        /// A text file with your words to whoever replays it.
        #[arg(long, value_name = "FILE")]
        note: Option<PathBuf>,
        /// Leave out kernel and modules; whoever replays it must have the same kernel.
        #[arg(long)]
        no_kernel: bool,
    },
    /// Show what is in a bundle; runs nothing.
    Show {
        /// A bundle.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print its manifest as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check every hash of a bundle, replay it, and say whether it is reproduced: 0 it is, 1 it is
    /// not, 2 the bundle is bad, 3 this host lacks something, 4 the guest failed as the recorded one
    /// did not.
    Run(BundleRunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BundleRunArgs {
    /// A bundle.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Another kernel, as for `vm --kernel`: is it fixed there? For a bundle without a kernel its
    /// own, which is told by its hash.
    #[arg(long, value_name = "SPEC")]
    pub(crate) kernel: Option<String>,
    /// Start QEMU stopped, or stop it at --until, with a port for gdb on this machine alone; there
    /// are no time limits then. What is to be exact to the instruction is a breakpoint's work.
    #[arg(long)]
    pub(crate) gdb: bool,
    /// Stop the guest at this time, as its console counts it. It stops up to 25 ms of its time
    /// later, and later still where it is idle and its time passes at once.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) until: Option<Duration>,
    /// As for `vm`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) hang_after: Option<Duration>,
    /// Run folder; must be new or empty [default: one under target/schedlab/runs].
    #[arg(long, value_name = "DIR", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    /// Print what it came to as JSON and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
