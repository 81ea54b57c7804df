//! `xtask ci`: every check that CI makes, in order, each with the command that repeats it.

use crate::cli::CiArgs;
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::time::Instant;
use xshell::{Shell, cmd};

/// The steps: what it is, and the command. The last one boots guests.
const STEPS: &[(&str, &str)] = &[
    ("format", "cargo fmt --all --check"),
    ("lints", "cargo clippy --workspace --all-targets -- --deny warnings"),
    ("lints of the guest tests", "cargo clippy --package xtask --test vm -- --deny warnings"),
    ("tests", "cargo test --workspace"),
    ("documentation", "cargo doc --workspace --no-deps --document-private-items"),
    ("guests", "cargo test --package xtask --test vm"),
];

pub(crate) fn run(args: &CiArgs, paths: &Paths) -> Result<u8> {
    let sh = Shell::new()?;
    sh.change_dir(&paths.repo);
    sh.set_var("RUSTDOCFLAGS", "--deny warnings");
    let begun = Instant::now();
    for (name, command) in STEPS.iter().filter(|(name, _)| !(args.no_vm && *name == "guests")) {
        let step = Instant::now();
        writeln!(std::io::stderr(), "== {name}: {command}")?;
        let words: Vec<&str> = command.split(' ').collect();
        let (program, rest) = words.split_first().context("an empty step")?;
        cmd!(sh, "{program} {rest...}").quiet().run().with_context(|| {
            Refusal::host(format!("{name} failed"), format!("repeat it with `{command}`"))
        })?;
        writeln!(std::io::stderr(), "== {name}: ok after {:.0} s", step.elapsed().as_secs_f64())?;
    }
    writeln!(std::io::stderr(), "== all passed after {:.0} s", begun.elapsed().as_secs_f64())?;
    Ok(exit::PASS)
}
