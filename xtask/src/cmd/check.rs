//! `xtask check`: what scenario files come to on a machine, or why they are refused. All files
//! are looked at before the exit code is decided.

mod table;
mod view;

use super::input::{self, Input};
use crate::cli::CheckArgs;
use crate::error::{self, exit};
use crate::progress::{json_to_stdout, to_stdout};
use crate::terminal::tame;
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;
use view::View;
use workloads::Scenario;

/// What is known of a file, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    /// It can run.
    Checked {
        file: String,
        /// With every default filled in.
        scenario: Box<Scenario>,
        plan: Box<View>,
    },
    Refused {
        file: String,
        error: String,
    },
}

pub(crate) fn run(args: &CheckArgs) -> Result<u8> {
    let (outcomes, code) = look_at_all(args);
    for outcome in &outcomes {
        match outcome {
            Outcome::Checked { file, scenario, plan } if !args.json => {
                to_stdout(|out| table::print(file, scenario, plan, out))?;
            }
            Outcome::Checked { .. } => {}
            Outcome::Refused { error, .. } => writeln!(std::io::stderr(), "{}", tame(error))?,
        }
    }
    if args.json {
        json_to_stdout(&outcomes)?;
    }
    Ok(code)
}

/// What is known of each file, and the exit code for all of them.
fn look_at_all(args: &CheckArgs) -> (Vec<Outcome>, u8) {
    let (outcomes, codes): (Vec<_>, Vec<_>) =
        args.files.iter().map(|file| look_at(file, args)).unzip();
    (outcomes, codes.into_iter().max().unwrap_or(exit::PASS))
}

/// What is known of a file, with the exit code if it were the only one.
fn look_at(path: &Path, args: &CheckArgs) -> (Outcome, u8) {
    let file = path.display().to_string();
    match check(path, args) {
        Ok((scenario, plan)) => {
            let (scenario, plan) = (Box::new(scenario), Box::new(plan));
            (Outcome::Checked { file, scenario, plan }, exit::PASS)
        }
        Err(refused) => {
            let code = error::exit_code(&refused);
            (Outcome::Refused { file, error: error::render(&refused) }, code)
        }
    }
}

fn check(file: &Path, args: &CheckArgs) -> Result<(Scenario, View)> {
    let Input { mut scenario, source } = input::load(file)?;
    let notes = input::apply(&args.overrides, &mut scenario)?;
    let layout = source.layout(&args.machine, &scenario)?;
    let plan = source.plan(&scenario, &layout.resolved())?;
    let view = View::of(&scenario, &plan, &layout, notes)?;
    Ok((scenario, view))
}

#[cfg(test)]
mod tests;
