//! `xtask ci`: every check that CI makes, in order, each with the command that repeats it.

use crate::cli::CiArgs;
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::fmt;
use std::io::Write as _;
use std::time::Instant;
use xshell::{Shell, cmd};

/// What a step is, its command, and what its environment has beside ours.
struct Step {
    name: &'static str,
    command: &'static str,
    env: &'static [(&'static str, &'static str)],
}

const fn step(name: &'static str, command: &'static str) -> Step {
    Step { name, command, env: &[] }
}

/// In this order; the last ones boot guests.
const STEPS: &[Step] = &[
    step("format", "cargo fmt --all --check"),
    step("lints", "cargo clippy --workspace --all-targets -- --deny warnings"),
    step("lints of the guest tests", "cargo clippy --package xtask --test vm -- --deny warnings"),
    step("tests", "cargo test --workspace"),
    step(
        "format of the test scheduler",
        "cargo fmt --manifest-path schedulers/test/Cargo.toml --check",
    ),
    step(
        "lints of the test scheduler",
        "cargo clippy --locked --manifest-path schedulers/test/Cargo.toml --target-dir target/schedulers --all-targets -- --deny warnings",
    ),
    step(
        "tests of the test scheduler",
        "cargo test --locked --manifest-path schedulers/test/Cargo.toml --target-dir target/schedulers",
    ),
    Step {
        name: "address sanitizer",
        // Less the test that limits address space, of which the sanitizer itself takes terabytes.
        command: "cargo test --package workloads --lib --test it --target x86_64-unknown-linux-gnu --target-dir target/asan -- --skip a_buffer_that_does_not_fit",
        // The pinned compiler has the sanitizer's library, and keeps the flag to itself.
        env: &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")],
    },
    step("documentation", "cargo doc --workspace --no-deps --document-private-items"),
    step("page in a browser", "cargo test --package xtask --bins -- --ignored chromium"),
    // All that is linked for guests at once: each by itself would have one core to link on.
    step(
        "programs of guests",
        "cargo build --package guest-init --bin guest-init --example test-init --profile guest --config images/build.toml --target x86_64-unknown-linux-gnu --target-dir target/guest",
    ),
    // One after the other, as guests in the host's time disturb each other.
    step("timed guests", "cargo test --package xtask --test vm -- main_job:: modes::"),
    step(
        "guests",
        "cargo test --package xtask --test vm -- --skip deterministic:: --skip main_job:: --skip modes:: --test-threads=2",
    ),
    step(
        "deterministic guests",
        "cargo test --package xtask --test vm deterministic:: -- --test-threads=2",
    ),
    step("matrix of guests", "cargo xtask matrix matrix-quick.toml"),
];
/// How names end of steps that boot guests.
const GUESTS: &str = "guests";

pub(crate) fn run(args: &CiArgs, paths: &Paths) -> Result<u8> {
    let sh = Shell::new()?;
    sh.change_dir(&paths.repo);
    sh.set_var("RUSTDOCFLAGS", "--deny warnings");
    let begun = Instant::now();
    for step in STEPS.iter().filter(|step| !(args.no_vm && step.name.ends_with(GUESTS))) {
        let Step { name, env, .. } = step;
        let command = step.to_string();
        let begun = Instant::now();
        writeln!(std::io::stderr(), "== {name}: {command}")?;
        let words: Vec<&str> = step.command.split(' ').collect();
        let (program, rest) = words.split_first().context("an empty step")?;
        let run = cmd!(sh, "{program} {rest...}").envs(env.iter().copied()).quiet();
        run.run().with_context(|| {
            Refusal::host(format!("{name} failed"), format!("repeat it with `{command}`"))
        })?;
        writeln!(std::io::stderr(), "== {name}: ok after {:.0} s", begun.elapsed().as_secs_f64())?;
    }
    writeln!(std::io::stderr(), "== all passed after {:.0} s", begun.elapsed().as_secs_f64())?;
    Ok(exit::PASS)
}

/// As a shell takes it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.env.iter().try_for_each(|(name, value)| write!(f, "{name}={value} "))?;
        f.write_str(self.command)
    }
}
