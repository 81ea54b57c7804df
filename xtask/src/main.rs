//! The command line of schedlab. Each command is a file in `cmd` whose `run` returns the exit
//! code; a failure prints what failed and what mends it.

mod cli;
mod cmd;
mod disk;
mod error;
mod files;
mod jobs;
#[cfg(test)]
mod keys;
mod lines;
mod packages;
mod paths;
mod progress;
mod terminal;
mod units;

mod bundle;
mod compare;
mod hunt;
mod image;
mod kernel;
mod matrix;
mod qemu;
mod report;
mod run;
mod scheduler;
mod sealed;
mod snapshot;
mod sparse;
mod sys;

use clap::Parser as _;
use cli::{Cli, Command};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // It quotes words of the command line, which may be names of files.
            let _ = write!(std::io::stderr(), "{}", terminal::tame(&error.render().to_string()));
            return ExitCode::from(error::exit::BAD_INPUT);
        }
        Err(help) => help.exit(),
    };
    let outcome = dispatch(cli.command);
    ExitCode::from(outcome.unwrap_or_else(|error| {
        // A closed stderr leaves the exit code to speak.
        let _ = writeln!(std::io::stderr(), "{}", terminal::tame(&error::render(&error)));
        error::exit_code(&error)
    }))
}

/// What looks at given files alone needs no checkout.
fn dispatch(command: Command) -> anyhow::Result<u8> {
    let paths = paths::Paths::from_env;
    match command {
        Command::Vm(args) => cmd::vm::run(&args, &paths()?),
        Command::Hunt(args) => cmd::hunt::run(&args, &paths()?),
        Command::Matrix(args) => cmd::matrix::run(&args, &paths()?),
        Command::Host(args) => cmd::host::run(&args, &paths()?),
        Command::Check(args) => cmd::check::run(&args),
        Command::Report(args) => cmd::report::run(&args),
        Command::Compare(args) => cmd::compare::run(&args, &paths()?),
        Command::Bundle(command) => cmd::bundle::run(&command, &paths()?),
        Command::Kernel(command) => cmd::kernel::run(&command, &paths()?),
        Command::Scheduler(command) => cmd::scheduler::run(&command, &paths()?),
        Command::List(args) => cmd::list::run(&args, &paths()?),
        Command::Cache(command) => cmd::cache::run(&command, &paths()?),
        Command::Docs(args) => cmd::docs::run(&args, &paths()?),
        Command::Ci(args) => cmd::ci::run(&args, &paths()?),
        Command::Bench(command) => cmd::bench::run(&command, &paths()?),
    }
}
