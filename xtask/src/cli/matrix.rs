//! The options of `xtask matrix`. Called by `cli`.

use crate::files::{Output, folder_parser};
use crate::hunt::Shard;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct MatrixArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MatrixCommand>,
    /// The matrix: axes and rules; matrix.toml and matrix-quick.toml are ready ones.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Print the cells and how long they took in the past; boots and fetches nothing. With --json
    /// as GitHub's `strategy.matrix` takes them.
    #[arg(long)]
    pub(crate) list: bool,
    /// Only cells in whose name this is; `*` stands for anything; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
    /// Only the part I of N of the cells; a cell stays in its part whatever others there are.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Guests side by side, as far as CPUs and memory of this host go [default: its CPUs].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// As for `vm`, of every cell.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) hang_after: Option<Duration>,
    /// Begin no other cell once one is bad.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Go on in the folder of --out, or else in the newest one of this matrix.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Folder of the matrix; must be new or empty, unless it is resumed [default: a new one under
    /// target/schedlab/matrices].
    #[arg(long, value_name = "DIR", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) views: ViewArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MatrixCommand {
    /// One table of the results of several shards: the same as that of one run of all.
    Merge(MatrixMergeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MatrixMergeArgs {
    /// The folders of the shards.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// Folder of the whole; must be new or empty [default: a new one under
    /// target/schedlab/matrices].
    #[arg(long, value_name = "DIR", value_parser = folder_parser())]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) views: ViewArgs,
}

/// How a table is shown beside the terminal.
#[derive(Debug, Clone, Args)]
pub(crate) struct ViewArgs {
    /// Print the table as JSON and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Add the table to this file as Markdown, as $GITHUB_STEP_SUMMARY.
    #[arg(long, value_name = "FILE", value_parser = Output::parser())]
    pub(crate) markdown: Option<Output>,
    /// Write JUnit's XML.
    #[arg(long, value_name = "FILE", value_parser = Output::parser())]
    pub(crate) junit: Option<Output>,
    /// Write a page with everything, which needs no network.
    #[arg(long, value_name = "FILE", value_parser = Output::parser())]
    pub(crate) html: Option<Output>,
    /// Print bad cells as annotations of GitHub Actions.
    #[arg(long, conflicts_with = "json")]
    pub(crate) github: bool,
}
